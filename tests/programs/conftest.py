"""Runs of the programs on the embedded digits, small enough for seconds."""

import pathlib

import pytest
from ml_collections import ConfigDict

from jaxcl import config as configs

ROOT = pathlib.Path(__file__).parent.parent.parent

TINY = {
    "model.channels": (8, 8),
    "model.pool": "mean",
    "model.dimension": 16,
    "loss.num_negatives": 8,
    "train.batch_size": 64,
    "train.steps": 6,
    "train.log_every": 2,
    "train.checkpoint_every": 3,
    "evaluate.batch_size": 512,
    "evaluate.count": 128,
}


class Lines:
    """A console that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def print(self, text: str) -> None:
        self.lines.append(text)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture
def console() -> Lines:
    return Lines()


@pytest.fixture(scope="session")
def tiny() -> ConfigDict:
    """The smallest useful run."""
    return configs.load(str(ROOT / "configs" / "digits.py"), TINY)


@pytest.fixture(scope="session")
def finished(tiny, tmp_path_factory) -> pathlib.Path:
    """A pretrained run directory, to be read only."""
    from jaxcl.programs import pretrain

    workdir = tmp_path_factory.mktemp("finished") / "run"
    pretrain.run(tiny, workdir, console=Lines())
    return workdir
