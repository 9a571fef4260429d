"""What every readout of frozen features needs: labels that can be judged by, and the configured features."""

import numpy as np
from ml_collections import ConfigDict

from jaxcl.data.sources import Source
from jaxcl.programs.embed import Embeddings


def features(config: ConfigDict, embeddings: Embeddings) -> np.ndarray:
    """``[n, d]``, what ``evaluate.features`` names."""
    backbone = config.evaluate.features == "backbone"
    return embeddings.backbone if backbone else embeddings.projection


def neighbors(config: ConfigDict, count: int) -> int:
    """Voters of kNN among ``count`` training images."""
    return max(1, min(config.evaluate.neighbors, count // 10))


def labels(source: Source) -> np.ndarray:
    """int32 ``[n]`` of a split."""
    return source.labels if source.labels is not None else source[np.arange(len(source))]["label"]


def check_labels(source: Source, purpose: str) -> None:
    """Raise `ValueError` for a split whose labels cannot judge an encoder.

    Args:
      source: the split.
      purpose: what needs the labels, for the message.
    """
    found = labels(source)
    if found.min() < 0 or source.num_classes < 2:
        raise ValueError(
            f"{source.name}/{source.split} has images without a label; {purpose} needs a data.train_split and "
            "a data.test_split with labels"
        )
    empty = np.flatnonzero(np.bincount(found, minlength=source.num_classes) == 0)
    if len(empty):
        names = ", ".join(source.class_names[i] for i in empty[:5])
        raise ValueError(
            f"{source.name}/{source.split} has no image of {len(empty)} of its {source.num_classes} "
            f"classes ({names}); a readout cannot be judged on it"
        )
