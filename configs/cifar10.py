"""Wang & Liu's experiment on CIFAR-10, at the paper's scale and at one that two CPU cores can do.

* ``configs/cifar10.py`` or ``:paper``: ResNet-18, memory bank, 200 epochs (Understanding the Behaviour of Contrastive
  Loss, CVPR 2021, section 5.1; what the paper leaves open is taken from the first author's public code). Not yet run.
* ``configs/cifar10.py:cpu``: four convolutions, memory bank, 6 epochs.
* ``configs/cifar10.py:views``: as ``paper``, but two views and the batch's negatives (SimCLR's way). Not yet run.

Commands: ``python main.py pretrain --config=configs/cifar10.py:cpu --workdir=runs/cifar10`` and
``python main.py probe --workdir=runs/cifar10``; the grid with ``sweep``, three seeds of it with ``:cpu,3``.
"""

from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from configs import wang_liu

FILE, SCALES = "configs/cifar10.py", ("paper", "cpu", "views")
TRAINING_IMAGES = 50_000  # 4095 of them are the alpha of 0.0819 that the paper prints
TEMPERATURES = wang_liu.TEMPERATURES


def get_config(scale: str = "paper") -> ConfigDict:
    """The contrastive loss at temperature 0.2, the best of the paper's supplementary Table 1 on CIFAR-10."""
    scale, _ = wang_liu.read_argument(scale, SCALES, FILE)
    config = wang_liu.paper("cifar10", TRAINING_IMAGES)
    config.loss.temperature = 0.2
    if scale == "cpu":
        _cpu(config)
    if scale == "views":
        wang_liu.in_batch(config, TRAINING_IMAGES)
    return config.lock()


def _cpu(config: ConfigDict) -> None:
    config.model.name = "small_conv"
    config.model.channels = (24, 48, 96, 192)
    config.model.batch_norm = True
    config.train.batch_size = 256
    config.train.epochs = 6.0
    config.train.checkpoint_every = 195  # an epoch
    config.optimizer.learning_rate = 0.12
    config.optimizer.schedule = "cosine"
    config.candidates.initial = "encoded"  # a random bank takes epochs to become one
    config.evaluate.solver = "lbfgs"
    config.evaluate.standardize = True


def sweep(scale: str = "paper") -> Iterator[dict[str, Any]]:
    """The paper's 26 cells; ``paper,3``: three seeds of each."""
    return wang_liu.grid(wang_liu.read_argument(scale, SCALES, FILE)[1])
