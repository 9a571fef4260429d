"""The demo: contrastive and hard contrastive loss on scikit-learn's handwritten digits, six temperatures, three seeds.

Command: ``make demo``, or ``python main.py sweep --config=configs/digits.py --workdir=runs/demo``.
Hardware, wall time, result: not yet run.
"""

from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from configs import default

TEMPERATURES = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
LOSSES = ("contrastive", "hard")
SEEDS = (0, 1, 2)


def get_config() -> ConfigDict:
    """One cell: contrastive loss, temperature 0.1, seed 0."""
    config = default.get_config().unlock()
    config.model.channels = (16, 32, 64)
    config.model.batch_norm = True
    config.model.pool = "mean"
    config.train.steps = 180  # 36 epochs
    config.train.checkpoint_every = 180
    return config.lock()


def sweep() -> Iterator[dict[str, Any]]:
    """All seeds of a cell one after another, so that an interrupted grid has whole cells."""
    for temperature in TEMPERATURES:
        for loss in LOSSES:
            for seed in SEEDS:
                yield {"loss.name": loss, "loss.temperature": temperature, "seed": seed}
