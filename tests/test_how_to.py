"""The pages of docs/how-to run as they stand: their Python blocks as scripts, their commands as commands."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs" / "how-to").glob("*.md"))


def blocks(page: pathlib.Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page as (language, text), in order."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def run(command: list[str], folder: pathlib.Path) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def commands(language: str, text: str) -> list[list[str]]:
    if language == "python":
        return [[sys.executable, "-c", text]]
    lines = [shlex.split(line) for line in text.splitlines() if line]
    return [[sys.executable, *words[1:]] for words in lines if words[0] == "python"]


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    """A folder from which the pages' paths are those of the repository."""
    for name in ("configs", "main.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


# Pages that need an extra.
NEEDS = {"export": "safetensors"}


def test_every_page_that_is_promised_is_there():
    promised = {"add_a_loss", "add_a_dataset", "add_views", "own_loop", "analyze_embeddings"}
    assert promised | {"export"} <= {page.stem for page in PAGES}


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow if "add" in page.stem else ()) for page in PAGES],
    ids=lambda page: page.stem,
)
def test_a_page_runs_as_it_stands(page, folder):
    if page.stem in NEEDS:
        pytest.importorskip(NEEDS[page.stem], reason=f"{NEEDS[page.stem]} is not installed")
    found = blocks(page)
    assert any(language == "python" for language, _ in found)
    for language, text in found:
        for command in commands(language, text):
            done = run(command, folder)
            assert done.returncode == 0, done.stderr[-2000:]
    if page.stem == "analyze_embeddings":
        text = (folder / "runs/features/rows.jsonl").read_text()
        analysis, linear, nearest = (json.loads(line) for line in text.splitlines())
        assert {"uniformity", "tolerance", "alignment", "penalty_entropy"} <= set(analysis)
        assert linear["accuracy"] > 0.8 and nearest["accuracy"] > 0.8
        assert (folder / "runs/features/report/index.html").stat().st_size > 10_000


def test_features_without_a_second_view_are_measured_without_pairs(tmp_path):
    from jaxcl.programs import features

    rng = np.random.default_rng(0)
    labels = np.repeat(["cat", "dog"], 30)
    x = rng.normal(size=(60, 4)) + 4 * (labels == "cat")[:, None]
    np.savez(tmp_path / "x.npz", features=x, labels=labels)
    page = features.run(tmp_path / "x.npz", tmp_path / "out")
    row = json.loads((tmp_path / "out/rows.jsonl").read_text().splitlines()[0])
    assert "uniformity" in row and "alignment" not in row and page.is_file()


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"features": np.ones((30, 2))}, r"lacks \['labels'\]; it holds \['features'\]"),
        ({"features": np.ones((30, 2)), "labels": np.ones(29)}, r"must be \[n, d\] and \[n\]"),
        ({"features": np.full((30, 2), np.nan), "labels": np.arange(30)}, "not finite"),
        ({"features": np.ones((30, 2)), "labels": np.ones(30)}, r"30 rows of 1 class\(es\)"),
        (
            {
                "features": np.ones((30, 2)),
                "labels": np.arange(30) % 2,
                "second_view": np.ones((30, 3)),
            },
            r"second_view \(30, 3\) must be as features",
        ),
    ],
    ids=["labels", "shapes", "finite", "classes", "second"],
)
def test_a_file_that_is_not_features_says_what_is_wrong(arrays, match, tmp_path):
    from jaxcl.programs import features

    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(ValueError, match=match):
        features.run(tmp_path / "x.npz", tmp_path / "out")


def test_a_missing_file_says_so(tmp_path):
    from jaxcl.programs import features

    with pytest.raises(ValueError, match="there is no such file"):
        features.run(tmp_path / "x.npz", tmp_path / "out")
