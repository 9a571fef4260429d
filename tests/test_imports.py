"""What importing and running jaxcl must not pull in."""

import os
import subprocess
import sys

import pytest

from tests.programs.conftest import ROOT

CODE = """
import sys
from jaxcl.programs import analyze, pretrain, probe, report, sweep
from jaxcl import config
cell = config.load("configs/digits.py", {overrides})
sweep.run(cell, {workdir!r}, cells=[{{}}])
loaded = [name for name in sys.modules if name.split(".")[0] == "tensorflow"]
assert not loaded, loaded
print("no tensorflow")
"""

REPORT = """
import sys
from jaxcl.programs import report
loaded = [name for name in ("jax", "flax", "tensorflow") if name in sys.modules]
assert not loaded, loaded
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_no_program_imports_tensorflow_while_it_runs(tmp_path):
    from tests.programs.conftest import TINY

    done = run(CODE.format(overrides=TINY, workdir=str(tmp_path / "grid")))
    assert done.returncode == 0, done.stderr
    assert "no tensorflow" in done.stdout
    assert (tmp_path / "grid" / "report" / "index.html").is_file()


def test_the_report_needs_no_jax():
    done = run(REPORT)
    assert done.returncode == 0, done.stderr
