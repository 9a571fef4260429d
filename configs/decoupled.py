"""Decoupled contrastive learning: NT-Xent, DCL and DCLW over batch sizes (Yeh et al., ECCV 2022), on CIFAR-10.

* ``configs/decoupled.py`` or ``:resnet18``: two views, ResNet-18, 100 epochs at every batch size. Not yet run.
* ``configs/decoupled.py:resnet50``: the same with ResNet-50. Not yet run.
* ``configs/decoupled.py:cpu``: four convolutions, a fifth of the images, 8 epochs, four batch sizes
  (docs/reproduction/decoupled).

What the paper used on CIFAR we could not read. These are the settings of public reimplementations:
temperature 0.1, sigma 0.5, Adam at 1e-3 without a schedule, SimCLR's views without blur. All cells
see the same number of images.

Command: ``python main.py sweep --config=configs/decoupled.py:cpu --workdir=runs/decoupled``; another
set by ``--config.data.name=cifar100``. q_B, by which NT-Xent damps the gradient of each anchor, is in
``metrics.jsonl``: its mean, the share below 0.1 and a histogram of 20 bins, every ``train.log_every``
steps; kNN accuracy every ``train.monitor_every`` epochs. The report puts the batch sizes side by side:
accuracy and q_B against the batch, q_B over the training, learning curves, gradients of hard and easy
pairs, the published numbers and the verdicts.
"""

from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from configs import default

SCALES = ("resnet18", "resnet50", "cpu")
LOSSES = ("nt_xent", "dcl", "dclw")
BATCH_SIZES = (32, 64, 128, 256, 512)
CPU_BATCH_SIZES = (8, 32, 128, 512)
SEEDS = {"resnet18": (0, 1, 2), "resnet50": (0, 1, 2), "cpu": (0, 1)}


def get_config(scale: str = "resnet18") -> ConfigDict:
    """NT-Xent at batch size 256."""
    if scale not in SCALES:
        raise ValueError(
            f"configs/decoupled.py has no scale {scale!r}; there are: {', '.join(SCALES)}"
        )
    config = default.get_config().unlock()
    config.data.name = "cifar10"
    config.data.image_size = 32
    config.data.upscale = False
    config.data.mean = (0.4914, 0.4822, 0.4465)
    config.data.std = (0.2470, 0.2435, 0.2616)
    _views(config)
    config.model.name = scale
    config.model.head = "mlp"
    config.model.hidden = 512
    config.model.dimension = 128
    config.loss.name = "nt_xent"
    config.loss.temperature = 0.1
    config.loss.sigma = 0.5
    config.candidates.kind = "batch"
    config.candidates.views = "both"
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-3  # at every batch size
    config.optimizer.weight_decay = 1e-6
    config.optimizer.schedule = "constant"
    config.train.batch_size = 256
    config.train.epochs = 100.0
    config.train.log_every = 50
    config.train.log_multiplier = True
    config.train.monitor_every = 5.0  # learning curves by kNN
    config.train.checkpoint_every = 2000
    config.evaluate.neighbors = 200
    config.evaluate.knn_temperature = 0.1  # that of the loss
    if scale == "cpu":
        _cpu(config)
    return config.lock()


def _views(config: ConfigDict) -> None:
    config.augment.crop_scale = (0.08, 1.0)
    config.augment.flip = 0.5
    config.augment.jitter = 0.8
    config.augment.brightness = 0.4
    config.augment.contrast = 0.4
    config.augment.saturation = 0.4
    config.augment.hue = 0.1
    config.augment.grayscale = 0.2


def _cpu(config: ConfigDict) -> None:
    config.model.name = "small_conv"
    config.model.channels = (16, 32, 64, 128)
    config.model.batch_norm = True
    config.augment.crop_scale = (0.2, 1.0)
    config.data.train_split = "train[:10000]"
    config.train.epochs = 8.0
    config.train.log_every = 20
    config.train.monitor_every = 1.0  # learning curves
    config.train.monitor_images = 2000


def sweep(scale: str = "resnet18") -> Iterator[dict[str, Any]]:
    """Small batches first: there the losses should differ most."""
    for batch_size in CPU_BATCH_SIZES if scale == "cpu" else BATCH_SIZES:
        for loss in LOSSES:
            for seed in SEEDS[scale]:
                yield {"loss.name": loss, "train.batch_size": batch_size, "seed": seed}
