"""Wang & Liu's experiment on CIFAR-10, at the paper's scale and at one that two CPU cores can do.

* ``configs/cifar10.py`` or ``:paper``: ResNet-18, memory bank, 200 epochs (Understanding the Behaviour of Contrastive
  Loss, CVPR 2021, section 5.1; what the paper leaves open is taken from the first author's public code). Not yet run.
* ``configs/cifar10.py:cpu``: four convolutions, memory bank, 6 epochs.
* ``configs/cifar10.py:views``: as ``paper``, but two views and the batch's negatives (SimCLR's way). Not yet run.

Commands: ``python main.py pretrain --config=configs/cifar10.py:cpu --workdir=runs/cifar10`` and
``python main.py probe --workdir=runs/cifar10``; the grid with ``sweep``.
"""

from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from configs import default

# Supplementary material, Tables 1 and 2.
TEMPERATURES = (0.05, 0.07, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def get_config(scale: str = "paper") -> ConfigDict:
    """The contrastive loss at temperature 0.2, the best of the paper's Table 1 on CIFAR-10."""
    if scale not in ("paper", "cpu", "views"):
        raise ValueError(f"configs/cifar10.py has no scale {scale!r}; there are: paper, cpu, views")
    config = default.get_config().unlock()
    _data(config)
    _paper(config)
    if scale == "cpu":
        _cpu(config)
    if scale == "views":
        config.candidates.kind = "batch"
        config.loss.num_negatives = 25  # of 254: the share that 4095 is of 49,999
    return config.lock()


def _data(config: ConfigDict) -> None:
    config.data.name = "cifar10"
    config.data.image_size = 32
    config.data.upscale = False
    config.data.mean = (0.4914, 0.4822, 0.4465)
    config.data.std = (
        0.2023,
        0.1994,
        0.2010,
    )  # the author's code; the set's own are 0.247 0.2435 0.2616
    config.augment.crop_scale = (0.2, 1.0)
    # The paper lists a horizontal flip; the author's code, which made the tables, has it commented out.
    config.augment.flip = 0.0
    config.augment.jitter = 1.0  # always applied in the author's code
    config.augment.brightness = 0.4
    config.augment.contrast = 0.4
    config.augment.saturation = 0.4
    config.augment.hue = 0.4
    config.augment.grayscale = 0.2


def _paper(config: ConfigDict) -> None:
    config.model.name = "resnet18"
    config.model.stem = "cifar"
    config.model.head = "linear"  # the author's code; the paper does not say
    config.model.dimension = 128
    config.loss.temperature = 0.2
    # 4095 / 50,000 is the alpha of 0.0819 that the paper prints.
    config.loss.num_negatives = 4095
    config.candidates.kind = "memory_bank"
    config.candidates.momentum = 0.5
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 0.03
    config.optimizer.weight_decay = 5e-4
    config.optimizer.schedule = "step"
    config.optimizer.boundaries = (160, 190)
    config.optimizer.factor = 0.1
    config.train.batch_size = 128
    config.train.epochs = 200.0
    config.train.log_every = 50
    config.train.checkpoint_every = 3900  # ten epochs
    config.evaluate.solver = "sgd"  # learning rate 30, x0.2 at 40, 60 and 80 of 100 epochs
    config.evaluate.standardize = False


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
    """The paper's grid: two losses over twelve temperatures, and the two losses that have none."""
    del scale
    for loss in ("contrastive", "hard"):
        for temperature in TEMPERATURES:
            yield {"loss.name": loss, "loss.temperature": temperature}
    for loss in ("simple", "hard_simple"):
        yield {"loss.name": loss}
