"""What docs/operations.md shows can be parsed: its commands by main.py, its manifests as Kubernetes reads them."""

import os
import pathlib
import re
import shlex
import sys

import pytest
import yaml

from jaxcl import config

ROOT = pathlib.Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "operations.md").read_text()
PREEMPTED = {75, 143}


@pytest.fixture(scope="module")
def main():
    sys.path.insert(0, str(ROOT))
    try:
        import main

        yield main
    finally:
        sys.path.remove(str(ROOT))


def blocks(language: str) -> list[str]:
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, flags=re.DOTALL | re.MULTILINE)
    return [body for name, body in fences if name == language]


def commands() -> list[list[str]]:
    """Every command line of main.py, also within one of srun, gcloud, a launcher or a manifest."""
    text = "\n".join(blocks("")).replace("\\\n", " ")
    found = re.findall(r"main\.py ((?:pretrain|sweep|plan|verify|report)[^'\"\n]*)", text)
    words = [shlex.split(line, comments=True) for line in found]
    for job in manifests("Job"):
        command = job["spec"]["template"]["spec"]["containers"][0]["command"]
        line = command[-1] if command[0] == "sh" else shlex.join(command)
        words.append(shlex.split(line.partition("main.py ")[2]))
    return words


def manifests(kind: str) -> list[dict]:
    found = [each for block in blocks("yaml") for each in yaml.safe_load_all(block)]
    return [each for each in found if each["kind"] == kind]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_parses_and_its_config_is_there(words, main):
    number = re.compile(r"\$(SLURM_ARRAY_TASK_ID|JOB_COMPLETION_INDEX)")
    arguments, overrides = main.parse([number.sub("3", word) for word in words])
    if arguments.config and arguments.config != "...":
        assert (ROOT / arguments.config.partition(":")[0]).is_file()
        base = config.load(os.fspath(ROOT / arguments.config))
        config.override(base, config.parse_overrides(base, overrides))


def test_a_slice_on_kubernetes_has_a_pod_for_each_host_and_starts_again_what_was_preempted():
    (service,) = manifests("Service")
    job = manifests("Job")[0]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert job["spec"]["template"]["spec"]["subdomain"] == service["metadata"]["name"]
    pod = job["spec"]["template"]["spec"]
    chips = pod["containers"][0]["resources"]["limits"]["google.com/tpu"]
    rows, columns = map(int, pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x"))
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == rows * columns // chips
    assert pod["restartPolicy"] == "Never"  # what a failure policy asks for
    ignored = job["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"]
    assert set(ignored) == PREEMPTED
    assert "--multihost" in pod["containers"][0]["command"]


def test_a_grid_as_jobs_has_one_for_each_cell():
    cells = len(config.load_sweep(os.fspath(ROOT / "configs" / "digits.py")))
    grid = manifests("Job")[1]
    assert grid["spec"]["completions"] == cells == 36
    assert f"--array=0-{cells - 1} " in TEXT
