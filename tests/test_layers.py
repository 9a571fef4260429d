"""The layers of docs/design.md: an import may only point to a layer below."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent / "jaxcl"

# What each part of jaxcl may import from jaxcl, besides itself.
ALLOWED = {
    "losses": set(),
    "sharding": set(),
    "config": set(),
    "paths": set(),
    "metrics": {"losses"},
    "analysis": {"losses", "metrics"},
    "models": set(),
    "data": {"paths"},
    "training": {"sharding", "losses", "paths"},
    "reporting": {"version", "paths"},
    "programs": {
        "launch",
        "analysis",
        "config",
        "data",
        "losses",
        "metrics",
        "models",
        "paths",
        "reporting",
        "sharding",
        "training",
        "version",
    },
    "version": set(),
    "launch": set(),
    "__init__": {"version"},
}

# Third-party packages that only one part may import.
OWNERS = {
    "flax": {"models"},
    "orbax": {"training"},
    "grain": {"data"},
    "tensorflow_datasets": {"data", "programs"},
    "ml_collections": {"config", "programs"},
    "matplotlib": {"reporting"},
    "etils": {"paths"},
}


def modules() -> list[pathlib.Path]:
    return sorted(ROOT.rglob("*.py"))


def part(path: pathlib.Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: pathlib.Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    here = part(path)
    for name in imports(path):
        head, _, rest = name.partition(".")
        if head == "jaxcl":
            target = rest.split(".")[0]
            assert target == here or target in ALLOWED[here], f"{here} imports {name}"
        if head in OWNERS:
            assert here in OWNERS[head], f"{here} imports {name}"
        if here == "reporting":
            assert head not in ("jax", "flax"), f"reporting imports {name}"


def test_no_file_is_a_grab_bag():
    bad = {"utils.py", "helpers.py", "common.py", "misc.py"}
    assert not [path for path in modules() if path.name in bad]
