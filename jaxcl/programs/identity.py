"""What a row of results is about: the keys by which tables group it."""

from typing import Any

from ml_collections import ConfigDict

from jaxcl.losses import TEMPERATURE_FREE
from jaxcl.programs.assemble import loss_constants


def row(config: ConfigDict, program: str, step: int) -> dict[str, Any]:
    """The identity of a row that ``program`` found at a checkpoint."""
    without = config.loss.name in TEMPERATURE_FREE
    return {
        "program": program,
        "dataset": config.data.name,
        "loss": config.loss.name,
        "temperature": None if without else config.loss.temperature,
        "constants": loss_constants(config),
        "seed": config.seed,
        "candidates": config.candidates.kind,
        "model": config.model.name,
        "batch_size": config.train.batch_size,
        "step": step,
    }
