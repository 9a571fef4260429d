"""What the README shows, works."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from jaxcl import config

ROOT = pathlib.Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, flags=re.DOTALL | re.MULTILINE)
    return [body for name, body in fences if name == language]


def test_the_ten_line_script_runs_and_draws(tmp_path):
    script = next(block for block in blocks("python") if "jax.grad" in block)
    env = os.environ | {"MPLBACKEND": "agg", "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "gradient.png").stat().st_size > 5000


def commands() -> list[list[str]]:
    lines = "\n".join(blocks("")).splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith("python main.py")]


@pytest.mark.parametrize("words", commands(), ids=lambda words: words[2])
def test_every_command_parses_and_names_files_that_exist(words):
    sys.path.insert(0, str(ROOT))
    try:
        import main
    finally:
        sys.path.remove(str(ROOT))
    arguments, overrides = main.parse(words[2:])
    if arguments.config:
        assert (ROOT / arguments.config.partition(":")[0]).is_file()
        base = config.load(os.fspath(ROOT / arguments.config))
        config.override(base, config.parse_overrides(base, overrides))


def test_the_programs_listed_are_those_that_there_are():
    sys.path.insert(0, str(ROOT))
    try:
        import main
    finally:
        sys.path.remove(str(ROOT))
    assert {words[2] for words in commands()} == set(main.PROGRAMS)


def test_links_and_pictures_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / target).exists(), target


def test_the_folders_named_exist():
    tree = next(block for block in blocks("") if block.startswith("configs/"))
    for line in tree.splitlines():
        assert (ROOT / line.split()[0]).is_dir(), line


@pytest.mark.slow
def test_the_python_example_trains_and_probes(tmp_path):
    script = next(block for block in blocks("python") if "pretrain.run" in block)
    script = script.replace("configs/digits.py", str(ROOT / "configs/digits.py"))
    env = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "example" / "rows.jsonl").is_file()


@pytest.mark.parametrize(
    ("study", "verdict", "rows"),
    [
        (
            "reproduction/cifar10",
            "claims hold",
            {
                r"Contrastive \| 0.05": "(contrastive, 0.05)",
                r"Hard contrastive \| 1.0": "(hard, 1.0)",
                r"Simple \| —": "(simple)",
            },
        ),
        (
            "reproduction/decoupled",
            "hold; linear",
            {
                r"NT-Xent \| 8": "(NT-Xent)",
                r"DCL \| 8": "(DCL)",
                r"DCLW \| 8": "(DCLW)",
            },
        ),
        (
            "reproduction/cmc",
            "hold (at 64 px",
            {
                r"Softmax \| 0.1": "(softmax)",
                r"NCE \| 0.5": "(NCE)",
                r"Triplet \| —": "(triplet)",
                r"Spring-like \| —": "(spring-like)",
            },
        ),
        ("reproduction/cmc64", ")", {}),
        (
            "results/digits",
            "claims hold",
            {
                r"Contrastive \| 0.2": "(contrastive, 0.2)",
                r"Hard contrastive \| 0.2": "(hard, 0.2)",
            },
        ),
    ],
)
def test_the_readme_says_of_a_study_what_its_tables_say(study, verdict, rows):
    folder = ROOT / "docs" / study
    claims = (folder / "claims.md").read_text()
    verdicts = re.findall(
        r"^\| \d+ \|.*\| (holds|does not hold|not enough runs) \|$", claims, re.MULTILINE
    )
    assert verdicts
    assert f"{verdicts.count('holds')} of {len(verdicts)} {verdict}".replace(" )", ")") in TEXT
    tables = (folder / "tables.md").read_text()
    for row, words in rows.items():
        accuracy = re.search(rf"^\| {row} \| \d+ \| \**([\d.]+)", tables, re.MULTILINE)
        assert accuracy and f"{accuracy[1]} % {words}" in TEXT, row


def test_the_readme_says_of_a_plan_what_its_file_says():
    plans = {
        path.stem: json.loads(path.read_text()) for path in (ROOT / "docs/plans").glob("*.json")
    }
    small, large = (plans[f"configs-imagenet100_4096_{name}"] for name in ("v5e-2x4", "v5e-8x8"))
    gib = 2.0**30
    memory, remedy = small["memory"], small["remedies"][-1]
    assert (
        f"{memory['total'] / gib:.3g} GiB of the {memory['compiler_limit'] / gib:.3g} GiB" in TEXT
    )
    assert f"{small['largest_batch']['fits']:,} images fit" in " ".join(TEXT.split())
    assert remedy["fits"] and remedy["overrides"] == {"model.dtype": "bfloat16"}
    assert f"in {remedy['total'] / gib:.3g} GiB" in TEXT
    milliseconds = 1e3 * large["estimate"]["step"]
    words = f"takes {large['memory']['total'] / gib:.3g} GiB and at least {milliseconds:.3g} ms"
    assert large["fits"] and words in TEXT
    parts = plans["configs-imagenet100_65536_v5e-2x4_train.microbatches-32"]
    assert parts["fits"] and parts["topology"] == small["topology"]
    words = f"with `--config.train.microbatches=32`, in {parts['memory']['total'] / gib:.3g} GiB"
    assert words in TEXT
    topologies = {plan["topology"] for plan in plans.values()}
    assert len({plan["config"] for plan in plans.values()}) == 3 and len(topologies) > 6
    assert "plans of three configs on six topologies and more" in TEXT
    for made in ("imagenet100_4096", "cifar10-py-views_4096", "cifar10-py-views_65536"):
        assert len([name for name in plans if name.startswith(f"configs-{made}_v")]) == 6
