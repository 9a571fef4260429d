"""The published numbers that runs are held against, each with its source.

References:
  Feng Wang, Huaping Liu: Understanding the Behaviour of Contrastive Loss. CVPR 2021
  (arXiv:2012.09740): Table 1 and
    supplementary Tables 1 and 2.
  Chun-Hsiao Yeh, Cheng-Yao Hong, Yen-Chi Hsu, Tyng-Luh Liu, Yubei Chen, Yann LeCun: Decoupled
  Contrastive Learning.
    ECCV 2022 (arXiv:2110.06848): the abstracts of its versions.
  Ramin Nakhli: Decoupled-Contrastive-Learning, a third-party implementation
  (github.com/raminnakhli): README. Yixuan Wang, Haomeng Zhang, Qingyi Chen, Shuangrui Ding: Effect
  of Contrastive Loss on Unsupervised Representation
    Learning. EECS 442 project report, University of Michigan, 2020: Table 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

Setting = tuple[str, float | None]


@dataclass(frozen=True)
class Citation:
    """Where numbers come from, and what is known to be odd about them."""

    short: str
    full: str
    notes: tuple[str, ...] = ()


WANG_LIU = Citation(
    short="Wang & Liu 2021",
    full="F. Wang, H. Liu. Understanding the Behaviour of Contrastive Loss. CVPR 2021, "
    "arXiv:2012.09740. ResNet-18 with a 3×3 stem (ResNet-50 for ImageNet100), memory bank, 200 "
    "epochs, batch 128.",
    notes=(
        "ImageNet100 at τ = 1.0: the main Table 1 prints 63.57 (contrastive) and 74.28 (hard), "
        "the supplementary Tables 1 and 2 print 65.49 and 73.78; 74.28 is the supplementary entry "
        "of τ = 0.8.",
        "SVHN at τ = 0.8, contrastive: printed “93,22”, read as 93.22.",
        "The tolerance of Eq. 11 taken literally is bounded by the probability of a shared class "
        "(0.1 on CIFAR10); the printed values exceed it, so they are read as the mean similarity "
        "of same-class pairs, which is what is measured here.",
        "The t of the uniformity is not stated; the printed values fit t = 2 in 128 dimensions. "
        "Tables show −uniformity, as the paper does.",
        "The number of seeds behind the published values is not stated.",
    ),
)
DECOUPLED = Citation(
    short="Yeh et al. 2022",
    full="C.-H. Yeh, C.-Y. Hong, Y.-C. Hsu, T.-L. Liu, Y. Chen, Y. LeCun. Decoupled Contrastive "
    "Learning. ECCV 2022, arXiv:2110.06848. ImageNet-1K, ResNet-50, linear accuracy.",
    notes=(
        "200 epochs: SimCLR 61.8 follows from the differences stated in the abstracts (66.9 − 5.1 "
        "and 68.2 − 6.4); 66.9 is the version with SimCLR's hyper-parameters, 68.2 the one with "
        "tuned hyper-parameters.",
        "100 epochs: as quoted from the paper in a pull request of the lightly library (no. 1302).",
        "lightly: that library's own benchmark, ResNet-50, LARS, 10 epochs of warm-up, cosine schedule.",
    ),
)
DECOUPLED_THIRD_PARTY = Citation(
    short="Nakhli, third party",
    full="R. Nakhli. Decoupled-Contrastive-Learning (github.com/raminnakhli), README: a "
    "third-party implementation, not by the authors of the paper. 100 epochs, τ = 0.1, σ = 0.5, "
    "Adam 1e-3.",
    notes=("The README names a ResNet-18; the code builds a ResNet-50.",),
)
EECS = Citation(
    short="EECS 442 report",
    full="Y. Wang, H. Zhang, Q. Chen, S. Ding. Effect of Contrastive Loss on Unsupervised "
    "Representation Learning. EECS 442 project report, University of Michigan, 2020. STL-10, "
    "two-stream encoder on L and ab, 100 epochs, batch 128.",
    notes=(
        "Uniformity and alignment: lower is better; 1,000 test images. The report does not say "
        "which view feeds the uniformity.",
        "The encoder ends in a ReLU, so that similarities are not negative; an alignment of 2 "
        "means orthogonal views.",
    ),
)

TEMPERATURES = (0.05, 0.07, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

# Supplementary Table 1 (contrastive) and Table 2 (hard): linear accuracy [%] at TEMPERATURES.
ACCURACY: dict[str, dict[str, tuple[float, ...]]] = {
    "contrastive": {
        "cifar10": (
            *(76.10, 79.75, 81.82, 83.78, 83.27, 83.22),
            *(82.54, 82.97, 82.69, 82.67, 81.97, 82.21),
        ),
        "cifar100": (
            *(49.80, 51.82, 52.46, 56.05, 56.44, 55.47),
            *(54.17, 53.05, 50.99, 50.08, 50.21, 48.33),
        ),
        "svhn_cropped": (
            *(88.96, 92.55, 94.21, 95.46, 95.47, 95.36),
            *(94.66, 94.47, 94.17, 93.22, 92.66, 92.07),
        ),
        "imagenet100": (
            *(63.91, 71.53, 74.59, 75.41, 75.10, 72.98),
            *(71.10, 70.47, 69.03, 67.91, 65.93, 65.49),
        ),
    },
    "hard": {
        "cifar10": (
            *(76.22, 79.20, 80.44, 83.28, 83.63, 84.14),
            *(84.31, 84.60, 84.19, 84.60, 84.45, 84.19),
        ),
        "cifar100": (
            *(49.21, 50.77, 51.91, 55.61, 56.55, 55.66),
            *(57.37, 57.17, 57.54, 57.15, 56.53, 56.77),
        ),
        "svhn_cropped": (
            *(89.07, 91.82, 93.37, 94.58, 94.79, 94.62),
            *(94.93, 95.06, 95.02, 95.03, 95.08, 95.26),
        ),
        "imagenet100": (
            *(61.54, 68.33, 72.10, 74.53, 74.21, 75.04),
            *(74.84, 74.46, 74.70, 74.28, 74.74, 73.78),
        ),
    },
}

# Main Table 1, in its column order.
TABLE_1_SETTINGS: tuple[Setting, ...] = (
    ("contrastive", 0.07),
    ("contrastive", 0.3),
    ("contrastive", 0.7),
    ("contrastive", 1.0),
    ("simple", None),
    ("hard", 0.07),
    ("hard", 0.3),
    ("hard", 0.7),
    ("hard", 1.0),
    ("hard_simple", None),
)
# data set -> (accuracy [%], -uniformity, tolerance) at TABLE_1_SETTINGS.
TABLE_1: dict[str, dict[str, tuple[float, ...]]] = {
    "cifar10": {
        "accuracy": (79.75, 83.27, 82.69, 82.21, 74.83, 79.2, 83.63, 84.19, 84.19, 84.84),
        "minus_uniformity": (3.86, 3.60, 3.17, 2.96, 1.68, 3.88, 3.89, 3.87, 3.86, 3.85),
        "tolerance": (0.04, 0.178, 0.333, 0.372, 0.61, 0.034, 0.0267, 0.030, 0.030, 0.030),
    },
    "cifar100": {
        "accuracy": (51.82, 56.44, 50.99, 48.33, 39.31, 50.77, 56.55, 57.54, 56.77, 55.71),
        "minus_uniformity": (3.86, 3.60, 3.18, 2.96, 2.12, 3.87, 3.88, 3.87, 3.86, 3.86),
        "tolerance": (0.10, 0.269, 0.331, 0.343, 0.39, 0.088, 0.124, 0.158, 0.172, 0.174),
    },
    "svhn_cropped": {
        "accuracy": (92.55, 95.47, 94.17, 92.07, 70.83, 91.82, 94.79, 95.02, 95.26, 94.99),
        "minus_uniformity": (3.88, 3.65, 3.27, 3.05, 1.50, 3.89, 3.91, 3.90, 3.88, 3.85),
        "tolerance": (0.032, 0.137, 0.186, 0.197, 0.074, 0.025, 0.021, 0.021, 0.023, 0.026),
    },
    "imagenet100": {
        "accuracy": (71.53, 75.10, 69.03, 63.57, 48.09, 68.33, 74.21, 74.70, 74.28, 74.31),
        "minus_uniformity": (
            *(3.917, 3.693, 3.323, 3.08, 1.742),
            *(3.929, 3.932, 3.927, 3.923, 3.917),
        ),
        "tolerance": (0.093, 0.380, 0.427, 0.456, 0.528, 0.067, 0.096, 0.121, 0.134, 0.157),
    },
}
TABLE_1_NOTES = {
    "imagenet100": "At τ = 1.0 the supplementary tables print 65.49 and 73.78 (hard).",
}
WANG_LIU_DATASETS = tuple(TABLE_1)

# Third party: linear accuracy [%] at batch sizes, NT-Xent ("CE") against DCL and DCLW.
DECOUPLED_BATCH_SIZES = (32, 64, 128, 256)
DECOUPLED_TEMPERATURE = 0.1
DECOUPLED_CIFAR: dict[str, dict[str, tuple[float, ...]]] = {
    "cifar10": {
        "contrastive": (78.3, 81.47, 83.09, 83.26),
        "dcl": (84.6, 85.57, 85.63, 85.36),
        "dclw": (83.32, 82.68, 83.5, 82.7),
    },
    "cifar100": {
        "contrastive": (52.2, 57.76, 58.0, 59.6),
        "dcl": (60.1, 60.33, 61.73, 61.92),
        "dclw": (60.16, 59.7, 59.05, 57.3),
    },
}


class ImageNetColumn(NamedTuple):
    """Accuracies [%] on ImageNet-1K with ResNet-50, by loss; `nearest`: of kNN, else linear."""

    title: str
    batch_size: int
    epochs: int
    values: dict[str, float]
    nearest: bool = False


DECOUPLED_IMAGENET = (
    ImageNetColumn("batch 256, 100 epochs", 256, 100, {"contrastive": 57.5, "dcl": 64.6}),
    ImageNetColumn(
        "batch 256, 200 epochs, SimCLR's hyper-parameters",
        256,
        200,
        {"contrastive": 61.8, "dcl": 66.9},
    ),
    ImageNetColumn(
        "batch 256, 200 epochs, tuned hyper-parameters",
        256,
        200,
        {"contrastive": 61.8, "dcl": 68.2},
    ),
    ImageNetColumn(
        "lightly, batch 256, 100 epochs",
        256,
        100,
        {"contrastive": 63.2, "dcl": 65.1, "dclw": 64.5},
    ),
    ImageNetColumn(
        "lightly, batch 256, 100 epochs, kNN",
        256,
        100,
        {"contrastive": 44.8, "dcl": 49.6, "dclw": 48.5},
        nearest=True,
    ),
)

# EECS report, Table 1: loss as printed -> (linear accuracy [%], uniformity, alignment).
EECS_TABLE_1: dict[str, tuple[float, float, float]] = {
    "spring-like": (22.9, -0.012, 2.0),
    "triplet": (34.3, -0.516, 0.0473),
    "softmax": (48.1, -2.214, 0.686),
    "InfoNCE (NCE)": (41.8, -2.636, 0.374),
}


def published(dataset: str, quantity: str) -> dict[str, list[tuple[float, float]]]:
    """The published curve of each loss, (temperature, value).

    The quantity is 'accuracy', 'minus_uniformity' or 'tolerance'. Accuracies are those of the
    supplementary tables (12 temperatures), the others those of the main Table 1 (4).
    """
    if dataset not in TABLE_1:
        return {}
    if quantity == "accuracy":
        return {
            loss: list(zip(TEMPERATURES, values[dataset], strict=True))
            for loss, values in ACCURACY.items()
        }
    curves: dict[str, list[tuple[float, float]]] = {}
    values = TABLE_1[dataset][quantity]
    for (loss, temperature), value in zip(TABLE_1_SETTINGS, values, strict=True):
        if temperature is not None:
            curves.setdefault(loss, []).append((temperature, value))
    return curves


def published_constants(dataset: str, quantity: str) -> dict[str, float]:
    """The published values of the losses without temperature."""
    if dataset not in TABLE_1:
        return {}
    values = TABLE_1[dataset][quantity]
    return {
        loss: value
        for (loss, temperature), value in zip(TABLE_1_SETTINGS, values, strict=True)
        if temperature is None
    }
