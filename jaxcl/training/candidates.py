"""Where an anchor's candidates come from: the global batch, or a memory bank of the whole training set.

Each source says which rows of the step's projections are anchors, what they are compared with, where the positive of
each stands and which column does not count. It does not know the loss.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcl.losses import normalize
from jaxcl.sharding import gather, split_rows


class Contrast(NamedTuple):
    """A step's comparison.

    Attributes:
      anchors: unit vectors ``[n@data, d]``.
      candidates: unit vectors, ``[m@data, d]`` to be gathered, or ``[m, d]`` where every device holds them.
      positives: int32 ``[n@data]``, the candidate that is each anchor's positive.
      exclude: int32 ``[n@data]``, the candidate that is the anchor itself; None if none is.
      everywhere: whether every device holds all candidates already.
    """

    anchors: Array
    candidates: Array
    positives: Array
    exclude: Array | None
    everywhere: bool = False


class Candidates(NamedTuple):
    """A source of candidates.

    Attributes:
      views: views of each image that a step makes.
      num_anchors: anchors of a step, all devices together.
      num_candidates: columns that each anchor is compared with, itself included where it is one.
      num_negatives: negatives of each anchor.
      init: key -> the state that it keeps (an empty tuple if none).
      contrast: (projections ``[v*b@data, d]``, index ``[b@data]``, state) -> `Contrast`.
      update: (projections, index, state) -> the state after the step.
    """

    views: int
    num_anchors: int
    num_candidates: int
    num_negatives: int
    init: Callable[[Array], Any]
    contrast: Callable[[Array, Array, Any], Contrast]
    update: Callable[[Array, Array, Any], Any]


def both_views(batch_size: int) -> Candidates:
    """NT-Xent's: all 2b views are anchors, each against the 2b - 1 others (Chen et al., SimCLR, 2020).

    Rows are interleaved: the two views of image i are rows 2i and 2i + 1, so the positive of row r is r XOR 1.
    """

    def contrast(projections: Array, index: Array, state: Any) -> Contrast:
        del index, state
        rows = split_rows(2 * batch_size)
        return Contrast(projections, projections, rows ^ 1, rows)

    return Candidates(
        views=2,
        num_anchors=2 * batch_size,
        num_candidates=2 * batch_size,
        num_negatives=2 * batch_size - 2,
        init=lambda key: (),
        contrast=contrast,
        update=lambda projections, index, state: state,
    )


def cross_views(batch_size: int) -> Candidates:
    """One direction: anchors are the first views, candidates the second ones (Wang & Liu, CVPR 2021, Eq. 1)."""

    def contrast(projections: Array, index: Array, state: Any) -> Contrast:
        del index, state
        pairs = projections.reshape(batch_size, 2, -1)
        return Contrast(pairs[:, 0], pairs[:, 1], split_rows(batch_size), None)

    return Candidates(
        views=2,
        num_anchors=batch_size,
        num_candidates=batch_size,
        num_negatives=batch_size - 1,
        init=lambda key: (),
        contrast=contrast,
        update=lambda projections, index, state: state,
    )


def memory_bank(batch_size: int, size: int, dimension: int, momentum: float) -> Candidates:
    """One slot per training image (Wu et al., 2018), which is what Wang & Liu's published results were trained with.

    An anchor's positive is its own image's slot; all other slots are negatives; no gradient flows to the bank. After
    the optimizer step the slots of the batch become ``normalise(momentum * slot + (1 - momentum) * projection)``.

    Args:
      batch_size: images in the global batch, one view of each.
      size: training images.
      dimension: of the projection.
      momentum: share of the old slot that is kept.
    """

    def init(key: Array) -> Array:
        # The authors' code: uniform in +-1/sqrt(d/3), of unit norm only in expectation.
        bound = (3.0 / dimension) ** 0.5
        return jax.random.uniform(key, (size, dimension), minval=-bound, maxval=bound)

    def contrast(projections: Array, index: Array, bank: Array) -> Contrast:
        return Contrast(projections, jax.lax.stop_gradient(bank), index, None, everywhere=True)

    def update(projections: Array, index: Array, bank: Array) -> Array:
        projections, index = gather(projections), gather(index)
        slots = momentum * bank[index] + (1.0 - momentum) * projections
        return bank.at[index].set(normalize(slots))

    return Candidates(
        views=1,
        num_anchors=batch_size,
        num_candidates=size,
        num_negatives=size - 1,
        init=init,
        contrast=contrast,
        update=update,
    )


def build_candidates(
    kind: str,
    *,
    batch_size: int,
    size: int,
    dimension: int,
    views: str = "both",
    momentum: float = 0.5,
) -> Candidates:
    """Build a source of candidates from plain values.

    Args:
      kind: ``batch`` or ``memory_bank``.
      batch_size: images in the global batch.
      size: training images.
      dimension: of the projection.
      views: ``batch`` only: ``both`` or ``cross``.
      momentum: ``memory_bank`` only.

    Raises:
      ValueError: unknown kind or views.
    """
    if kind == "memory_bank":
        return memory_bank(batch_size, size, dimension, momentum)
    if kind != "batch":
        raise ValueError(f"unknown candidates.kind {kind!r}; there are: batch, memory_bank")
    if views not in ("both", "cross"):
        raise ValueError(f"unknown candidates.views {views!r}; there are: both, cross")
    return both_views(batch_size) if views == "both" else cross_views(batch_size)
