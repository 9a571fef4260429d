"""Wang & Liu's experiment on CIFAR-10, at the paper's scale and at one that two CPU cores can do.

* ``configs/cifar10.py`` or ``:paper``: ResNet-18, memory bank, 200 epochs (Understanding the Behaviour of Contrastive
  Loss, CVPR 2021, section 5.1; what the paper leaves open is taken from the first author's public code). Not yet run.
* ``configs/cifar10.py:cpu``: four convolutions, memory bank, 6 epochs.
* ``configs/cifar10.py:study``: a fifth of the images, 20 epochs, the scale of docs/reproduction/cifar10.
* ``configs/cifar10.py:views``: as ``paper``, but two views and the batch's negatives (SimCLR's way). Not yet run.

Commands: ``python main.py pretrain --config=configs/cifar10.py:cpu --workdir=runs/cifar10`` and
``python main.py probe --workdir=runs/cifar10``; the grid with ``sweep``, three seeds of it with ``:cpu,3``.
"""

from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from configs import wang_liu

FILE, SCALES = "configs/cifar10.py", ("paper", "cpu", "study", "views")
TRAINING_IMAGES = 50_000  # 4095 of them are the alpha of 0.0819 that the paper prints
TEMPERATURES = wang_liu.TEMPERATURES
REPEATED = (0.05, 0.07, 0.2, 0.3, 0.7, 1.0)  # study: temperatures with two seeds


def get_config(scale: str = "paper") -> ConfigDict:
    """The contrastive loss at temperature 0.2, the best of the paper's supplementary Table 1 on CIFAR-10."""
    scale, _ = wang_liu.read_argument(scale, SCALES, FILE)
    config = wang_liu.paper("cifar10", TRAINING_IMAGES)
    config.loss.temperature = 0.2
    if scale == "cpu":
        _cpu(config)
    if scale == "study":
        _cpu(config)
        _study(config)
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
    config.evaluate.augment = False
    config.evaluate.standardize = True


def _study(config: ConfigDict) -> None:
    images = TRAINING_IMAGES // 5
    config.data.train_split = f"train[:{images}]"  # shuffled by TFDS: about a fifth of each class
    config.loss.num_negatives = round(
        wang_liu.NUM_NEGATIVES / TRAINING_IMAGES * images
    )  # alpha as the paper's
    config.model.channels = (16, 32, 64, 128)
    config.train.epochs = 20.0
    config.train.checkpoint_every = 5 * (images // config.train.batch_size)
    # The gradient grows as 1/tau: with SGD one rate would favour a part of the grid. Adam's step does not depend on it.
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.weight_decay = 0.0


def sweep(scale: str = "paper") -> Iterator[dict[str, Any]]:
    """The paper's 26 cells; ``paper,3``: three seeds of each; ``study``: a second seed of 14 cells."""
    scale, seeds = wang_liu.read_argument(scale, SCALES, FILE)
    if scale != "study" or seeds > 1:
        yield from wang_liu.grid(seeds)
        return
    for seed in (0, 1):
        for cell in wang_liu.grid(1):
            if seed == 0 or cell.get("loss.temperature", REPEATED[0]) in REPEATED:
                yield cell | {"seed": seed}
