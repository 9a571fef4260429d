"""Wang & Liu's experiment on CIFAR-100, at the paper's scale.

* ``configs/cifar100.py`` or ``:paper``: ResNet-18, memory bank, 200 epochs (Understanding the Behaviour of Contrastive
  Loss, CVPR 2021, section 5.1; what the paper leaves open is taken from the first author's public code). Not yet run.
* ``configs/cifar100.py:views``: as ``paper``, but two views and the batch's negatives (SimCLR's way). Not yet run.

Commands: ``python main.py prepare --dataset=cifar100`` once,
``python main.py pretrain --config=configs/cifar100.py --workdir=runs/cifar100`` and
``python main.py probe --workdir=runs/cifar100``; the grid with ``sweep``, three seeds of it with ``:paper,3``.
"""

from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from configs import wang_liu

FILE, SCALES = "configs/cifar100.py", ("paper", "views")
TRAINING_IMAGES = 50_000  # 4095 of them are the alpha of 0.0819 that the paper prints


def get_config(scale: str = "paper") -> ConfigDict:
    """The contrastive loss at temperature 0.3, the best of the paper's supplementary Table 1 on CIFAR-100."""
    scale, _ = wang_liu.read_argument(scale, SCALES, FILE)
    config = wang_liu.paper("cifar100", TRAINING_IMAGES)
    config.loss.temperature = 0.3
    if scale == "views":
        wang_liu.in_batch(config, TRAINING_IMAGES)
    return config.lock()


def sweep(scale: str = "paper") -> Iterator[dict[str, Any]]:
    """The paper's 26 cells; ``paper,3``: three seeds of each."""
    return wang_liu.grid(wang_liu.read_argument(scale, SCALES, FILE)[1])
