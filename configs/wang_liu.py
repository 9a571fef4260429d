"""What the experiments of Wang & Liu have in common, at the paper's scale; not a config itself.

"Paper": Understanding the Behaviour of Contrastive Loss, CVPR 2021, section 5.1 and the supplementary material. "Code":
the first author's public code. Where the two differ, the code is followed, and the line says so.
"""

from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from configs import default

# Paper, supplementary Tables 1 and 2.
TEMPERATURES = (0.05, 0.07, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
NUM_NEGATIVES = 4095  # paper
BATCH_SIZE = 128  # paper


def read_argument(argument: str, scales: tuple[str, ...], file: str) -> tuple[str, int]:
    """``SCALE`` or ``SCALE,SEEDS`` as the scale and the number of seeds; 1 if it is not given."""
    scale, comma, seeds = argument.partition(",")
    if scale not in scales:
        raise ValueError(f"{file} has no scale {scale!r}; there are: {', '.join(scales)}")
    if comma and not (seeds.isdecimal() and int(seeds) > 0):
        raise ValueError(f"{file}:{argument}: after the comma stands the number of seeds, from 1")
    return scale, int(seeds) if comma else 1


def paper(name: str, num_images: int) -> ConfigDict:
    """The experiment on images of 32 pixels, unlocked.

    Args:
      name: of the data set.
      num_images: of its training split.
    """
    config = default.get_config().unlock()
    config.data.name = name
    _images(config)
    _augmentation(config)
    config.model.name = "resnet18"  # paper
    config.model.stem = "cifar"  # paper: first convolution 3x3; code: stride 1, no pool
    config.model.head = "linear"  # code; the paper does not say
    config.model.dimension = 128  # code; the paper does not say
    # The paper gives alpha, the share of the negatives that count as hard, beside K = 4095; two of its four values
    # are not 4095 / (training images), so K is what is set here. The code takes the nearest 4096 of all slots, the
    # positive's own among them; here the positive is apart and K counts negatives.
    config.loss.num_negatives = NUM_NEGATIVES
    # simple, hard_simple: the paper does not say its lambda. Here it is 1 / (number of negatives). The code's is 1 / N
    # over N slots with the positive's own among them (the nearest for hard_simple), a loss smaller by 1 - 1/N.
    # Paper: one slot for each training image, one view of an image in a step.
    config.candidates.kind = "memory_bank"
    config.candidates.momentum = 0.5  # code; the paper says only that it is a moving average
    config.optimizer.name = "sgd"  # paper
    config.optimizer.momentum = 0.9  # paper
    config.optimizer.learning_rate = 0.03  # paper
    config.optimizer.weight_decay = 5e-4  # paper; code: on all parameters
    config.optimizer.schedule = "step"
    config.optimizer.boundaries = (160, 190)  # paper
    config.optimizer.factor = 0.1  # paper
    config.train.batch_size = BATCH_SIZE
    config.train.epochs = 200.0  # paper; code: one more, with the rate x0.1 once more
    config.train.log_every = 50
    config.train.monitor_every = 5.0  # code: kNN each epoch; here of 5000 test images
    config.train.checkpoint_every = 10 * (num_images // BATCH_SIZE)  # ten epochs
    config.evaluate.tsne = True  # paper: Figure 2
    _readout(config)
    return config


def in_batch(config: ConfigDict, num_images: int) -> None:
    """Two views of each image and the batch's negatives (SimCLR's way) in place of the bank; not in the paper.

    Args:
      config: as `paper` made it.
      num_images: of the training split.
    """
    config.candidates.kind = "batch"
    negatives = 2 * config.train.batch_size - 2
    # The share of the batch's negatives that 4095 is of the bank's.
    config.loss.num_negatives = round(NUM_NEGATIVES / (num_images - 1) * negatives)


def grid(seeds: int) -> Iterator[dict[str, Any]]:
    """Two losses over twelve temperatures, and the two losses that have none: 26 cells for each seed.

    All seeds of a cell come one after another, so that an interrupted grid has whole cells.
    """
    cells: list[dict[str, Any]] = [
        {"loss.name": loss, "loss.temperature": temperature}
        for loss in ("contrastive", "hard")
        for temperature in TEMPERATURES
    ]
    cells += [{"loss.name": loss} for loss in ("simple", "hard_simple")]
    for cell in cells:
        for seed in range(seeds):
            yield cell | {"seed": seed} if seeds > 1 else cell


def _images(config: ConfigDict) -> None:
    config.data.image_size = 32  # paper
    config.data.upscale = False
    # Code, for CIFAR-10, CIFAR-100 and SVHN alike. CIFAR-10's own deviations are 0.247, 0.2435 and 0.2616.
    config.data.mean = (0.4914, 0.4822, 0.4465)
    config.data.std = (0.2023, 0.1994, 0.2010)


def _augmentation(config: ConfigDict) -> None:
    config.augment.crop_scale = (0.2, 1.0)  # code; paper: a crop of a randomly resized image
    # The paper lists a horizontal flip; the code has it commented out. The paper's words: flip = 0.5.
    config.augment.flip = 0.0
    config.augment.jitter = 1.0  # code; the paper gives no probability and no strengths
    config.augment.brightness = 0.4
    config.augment.contrast = 0.4
    config.augment.saturation = 0.4
    config.augment.hue = 0.4
    config.augment.grayscale = 0.2  # code; the paper gives no probability


def _readout(config: ConfigDict) -> None:
    # Paper: SGD at rate 30 without weight decay, x0.2 after 40, 60 and 80 of 100 epochs. Code: batches of 256, momentum
    # 0.9, pooled features of the backbone in evaluation mode, of training images that are flipped and no more.
    # Quick form: augment = False takes the features once, from the centre crop.
    config.evaluate.solver = "sgd"
    config.evaluate.epochs = 100
    config.evaluate.sgd_learning_rate = 30.0
    config.evaluate.readout_batch_size = 256
    config.evaluate.augment = True
    config.evaluate.augmentation.flip = 0.5
    config.evaluate.features = "backbone"
    config.evaluate.standardize = False
    config.evaluate.neighbors = 200  # code
    config.evaluate.knn_temperature = 0.07  # code
