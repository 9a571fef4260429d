"""Several local processes, which are several hosts to JAX: how tests start them."""

import os
import subprocess
import sys

import pytest

from tests.programs.conftest import ROOT, TINY

SHORT = {**TINY, "train.steps": 20, "train.checkpoint_every": 10}
LONG = {**TINY, "train.batch_size": 32, "train.steps": 160, "train.checkpoint_every": 10}


def flags(overrides) -> list[str]:
    return [f"--config={ROOT / 'configs' / 'digits.py'}"] + [
        f"--config.{name}={value}" for name, value in overrides.items()
    ]


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    """All processes of this file share what XLA compiled: most of their time is compiling the same programs."""
    folder = tmp_path_factory.mktemp("compiled")
    settings = {
        "JAX_COMPILATION_CACHE_DIR": str(folder),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        yield


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    return kept | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}


def launch(processes: int, devices: int, *command: str) -> subprocess.CompletedProcess:
    own = [sys.executable, "-m", "jaxcl.launch", f"--processes={processes}"]
    own += [f"--devices-per-process={devices}", "--", str(ROOT / "main.py"), *command]
    return subprocess.run(
        own, env=environment(), capture_output=True, text=True, timeout=550, check=False
    )
