"""Four losses on two colour streams: spring-like, triplet, softmax and NCE.

The study is the EECS 442 report of Wang, Zhang, Chen and Ding (University of Michigan, 2020).

* ``configs/cmc_losses.py`` or ``:report``: STL-10 at the settings of the report's code: 100,000
  unlabelled images, 64 px crops, two encoders of four convolutions, two memory banks, 100 epochs.
  Not yet run.
* ``configs/cmc_losses.py:cpu``: 20,000 images of CIFAR-10, 10 epochs (docs/reproduction/cmc).
* ``configs/cmc_losses.py:cpu64``: Tiny ImageNet with 20 classes, 64 px, the report's encoder, 10
  epochs (docs/reproduction/cmc64).

Where the report and its code differ, the code's values stand here, for they made its Table 1. Its
loss is the sum of both directions; ours is their mean, which Adam does not notice.

Command: ``python main.py sweep --config=configs/cmc_losses.py:cpu --workdir=runs/cmc``; the batch's
candidates instead of the banks' by ``--config.candidates.kind=streams``: over few epochs the banks'
age gives the positives away (docs/reproduction/cmc). ``main.py report``
shows that Table 1 beside ours, Figure 4, and whether an encoder collapsed. The spring-like loss can
rest on orthogonal constants because these are sqrt(2) apart and its margin is 1; whether that is the
reason is seen with a larger one, ``--config.loss.margin=1.5``.
"""

from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from configs import default

SCALES = ("report", "cpu", "cpu64")
SEEDS = {"report": (0,), "cpu": (0, 1), "cpu64": (0, 1)}


def get_config(scale: str = "report") -> ConfigDict:
    """The softmax loss, the best of the report's Table 1."""
    if scale not in SCALES:
        raise ValueError(
            f"configs/cmc_losses.py has no scale {scale!r}; there are: {', '.join(SCALES)}"
        )
    config = default.get_config().unlock()
    _report(config)
    if scale == "cpu":
        _cifar10(config)
    if scale == "cpu64":
        _tiny_imagenet(config)
    return config.lock()


def _report(config: ConfigDict) -> None:
    config.data.name = "stl10"
    config.data.train_split = "unlabelled"  # 100,000 images
    config.data.image_size = 64
    config.data.upscale = False
    config.data.views = "lab"
    config.data.center = "crop"  # the probe sees the central 64 of 96 pixels
    # L in 0..100 and ab in about -108..98 as they are: the report's code does not scale them.
    config.data.mean = (0.0,)
    config.data.std = (1.0,)
    # A random crop of 64 x 64 out of 96 x 96, not resized, and a flip.
    config.augment.crop_scale = ((64 / 96) ** 2, (64 / 96) ** 2)
    config.augment.crop_ratio = (1.0, 1.0)
    config.augment.flip = 0.5
    config.model.streams = 2
    config.model.name = "small_conv"
    config.model.channels = (12, 24, 48, 24)
    config.model.head = "none"
    config.model.dimension = 384  # 24 channels of 4 x 4 pixels
    config.loss.name = "softmax"
    config.loss.temperature = 0.1
    config.loss.num_data = 100_000  # nce: as many as there are training images
    config.candidates.kind = "stream_banks"
    config.candidates.momentum = 0.5
    config.candidates.draws = 127
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.betas = (0.5, 0.999)
    config.optimizer.schedule = "constant"
    config.train.batch_size = 128
    config.train.epochs = 100.0
    config.train.log_every = 100
    config.train.checkpoint_every = 781  # an epoch
    config.evaluate.features = "backbone"  # both streams side by side, 768 values
    config.evaluate.standardize = False
    # Code: a linear layer by Adam at 1e-3, weight decay 1e-4, 100 epochs, batches of 128.
    config.evaluate.solver = "adam"
    config.evaluate.weight_decay = 1e-4
    config.evaluate.readout_batch_size = 128
    config.evaluate.tsne = True  # the report's Figure 4, lower row
    config.evaluate.count = 1000  # pairs of which the report measures alignment and uniformity
    config.evaluate.train_split = "train"  # 5,000 images with labels; test has 8,000


def _cifar10(config: ConfigDict) -> None:
    config.data.name = "cifar10"
    config.data.train_split = "train[:20000]"
    config.data.image_size = 32
    config.data.center = "resize"
    # A crop of 24 x 24 out of 32 x 32, enlarged to 32 so that four convolutions leave 2 x 2 pixels.
    config.augment.crop_scale = ((24 / 32) ** 2, (24 / 32) ** 2)
    config.model.channels = (12, 24, 48, 96)  # again 384 features, of 2 x 2 pixels
    config.loss.num_data = 20_000
    config.train.epochs = 10.0
    config.train.checkpoint_every = 156
    config.evaluate.solver = "lbfgs"
    config.evaluate.standardize = True


def _tiny_imagenet(config: ConfigDict) -> None:
    config.data.name = "tiny_imagenet20"
    config.data.train_split = "train"
    config.data.test_split = "validation"
    config.data.center = "resize"
    # A crop of 48 x 48 out of 64 x 64, enlarged to 64: the report's encoder as it is.
    config.augment.crop_scale = ((48 / 64) ** 2, (48 / 64) ** 2)
    config.loss.num_data = 10_000
    config.train.epochs = 10.0
    config.train.checkpoint_every = 78
    config.evaluate.solver = "lbfgs"
    config.evaluate.standardize = True


def sweep(scale: str = "report") -> Iterator[dict[str, Any]]:
    """The four losses as coded for the report, each at its temperature."""
    losses = (
        {"loss.name": "spring"},
        {"loss.name": "triplet"},
        {"loss.name": "softmax", "loss.temperature": 0.1},
        {"loss.name": "nce", "loss.temperature": 0.5, "loss.epsilon": 1e-7},
    )
    for loss in losses:
        for seed in SEEDS[scale]:
            yield loss | {"seed": seed}
