"""Wang & Liu's experiment on SVHN, at the paper's scale.

* ``configs/svhn.py`` or ``:paper``: ResNet-18, memory bank, 200 epochs (Understanding the Behaviour of Contrastive
  Loss, CVPR 2021, section 5.1; what the paper leaves open is taken from the first author's public code). Not yet run.
* ``configs/svhn.py:views``: as ``paper``, but two views and the batch's negatives (SimCLR's way). Not yet run.

Commands: ``python main.py prepare --dataset=svhn_cropped`` once,
``python main.py pretrain --config=configs/svhn.py --workdir=runs/svhn`` and
``python main.py probe --workdir=runs/svhn``; the grid with ``sweep``, three seeds of it with ``:paper,3``.
"""

from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from configs import wang_liu

FILE, SCALES = "configs/svhn.py", ("paper", "views")
# Without the split "extra". 4095 of them are an alpha of 0.0559; the paper prints 0.0315, a misprint, it seems, since
# 0.0819 for CIFAR is right and all four stand for "4095 negative samples".
TRAINING_IMAGES = 73_257


def get_config(scale: str = "paper") -> ConfigDict:
    """The contrastive loss at temperature 0.3, the best of the paper's supplementary Table 1 on SVHN."""
    scale, _ = wang_liu.read_argument(scale, SCALES, FILE)
    config = wang_liu.paper("svhn_cropped", TRAINING_IMAGES)
    # Colours are normalised by CIFAR-10's mean and deviation, as in the code; the paper does not say.
    config.loss.temperature = 0.3
    # Code: the readout's images are not flipped (digits), but coloured as those of the training.
    config.evaluate.augmentation.flip = 0.0
    config.evaluate.augmentation.jitter = 1.0
    config.evaluate.augmentation.hue = 0.4
    config.evaluate.augmentation.saturation = 0.4
    config.evaluate.augmentation.grayscale = 0.2
    if scale == "views":
        wang_liu.in_batch(config, TRAINING_IMAGES)
    return config.lock()


def sweep(scale: str = "paper") -> Iterator[dict[str, Any]]:
    """The paper's 26 cells; ``paper,3``: three seeds of each."""
    return wang_liu.grid(wang_liu.read_argument(scale, SCALES, FILE)[1])
