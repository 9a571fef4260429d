"""The words that tables and figures use for data sets, losses and candidates, and their order."""

from __future__ import annotations

from collections.abc import Sequence

DATASET_NAMES = {
    "digits": "Digits",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
    "svhn_cropped": "SVHN",
    "imagenet100": "ImageNet100",
    "fashion_mnist": "Fashion-MNIST",
    "stl10": "STL-10",
    "tiny_imagenet20": "Tiny ImageNet, 20 classes",
    "imagenet2012": "ImageNet-1K",
}
LOSS_NAMES = {
    "contrastive": "Contrastive",
    "hard": "Hard contrastive",
    "simple": "Simple",
    "hard_simple": "Hard simple",
    "nt_xent": "NT-Xent",
    "dcl": "DCL",
    "dclw": "DCLW",
    "spring": "Spring-like",
    "triplet": "Triplet",
    "softmax": "Softmax",
    "nce": "NCE",
    "supcon": "SupCon",
    "sigmoid": "Sigmoid (SigLIP)",
    "debiased": "Debiased",
    "hcl": "HCL",
    "spectral": "Spectral",
    "clip": "CLIP",
    "zero_temperature": "Limit τ → 0",
    "fixed_entropy": "Fixed entropy",
    "dual_temperature": "Dual temperature",
    "alignment_uniformity": "Align + uniform",
}
CANDIDATE_NAMES = {
    "batch": "in-batch negatives",
    "memory_bank": "memory bank",
    "streams": "the other stream of the batch",
    "stream_banks": "memory banks of two streams",
}


def dataset_title(dataset: str) -> str:
    return DATASET_NAMES.get(dataset, dataset)


def dataset_order(dataset: str) -> int:
    known = list(DATASET_NAMES)
    return known.index(dataset) if dataset in known else len(known)


def candidates_title(candidates: str) -> str:
    return CANDIDATE_NAMES.get(candidates, candidates.replace("_", " "))


def loss_title(loss: str) -> str:
    """The name of a loss in the papers' words; constants in brackets stay.

    >>> loss_title("hard (num_negatives 64)")
    'Hard contrastive (num_negatives 64)'
    """
    name, bracket, rest = loss.partition(" (")
    return LOSS_NAMES.get(name, name.replace("_", " ")) + bracket + rest


def loss_order(loss: str) -> tuple[int, str]:
    """Sorts the papers' losses first, in their order, the rest by name."""
    name = loss.split(" (")[0]
    known = list(LOSS_NAMES)
    return (known.index(name) if name in known else len(known), loss)


def file_name(text: str) -> str:
    """
    >>> file_name("hard (num_negatives 64)")
    'hard-num_negatives-64'
    """
    kept = "".join(c if c.isalnum() or c in "-._" else " " for c in text.lower())
    return "-".join(kept.split())


def temperature_words(temperature: float) -> str:
    """A temperature as the paper prints it.

    >>> temperature_words(0.07), temperature_words(1.0)
    ('0.07', '1.0')
    """
    return f"{temperature:.1f}" if temperature == round(temperature) else f"{temperature:g}"


def seed_words(counts: Sequence[int]) -> str:
    """How many seeds cells have.

    >>> seed_words([3, 3]), seed_words([1, 3]), seed_words([1])
    ('3 seeds', '1–3 seeds', '1 seed')
    """
    if not counts:
        return "no runs"
    low, high = min(counts), max(counts)
    return f"{low}–{high} seeds" if low != high else f"{low} seed" + ("s" if low > 1 else "")
