"""Where an anchor's candidates come from: the global batch, or memory banks of the whole training set.

Each source says which rows of the step's projections are anchors, what they are compared with, where the positive of
each stands and which column does not count. It does not know the loss.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcl.losses import normalize
from jaxcl.sharding import change_rows, gather, split_rows
from jaxcl.training.contrast import Contrast

# Folded into the step's key before negatives are drawn; the views fold in small numbers.
DRAWS = 2**31 - 1


class Candidates(NamedTuple):
    """A source of candidates.

    Attributes:
      views: views of each image that a step makes.
      num_anchors: anchors of a step, all devices together.
      num_candidates: columns that each anchor is compared with, itself included where it is one.
      num_negatives: negatives of each anchor.
      init: key -> the state that it keeps (an empty tuple if none).
      contrast: (key of the step, projections ``[v*b@data, d]``, index ``[b@data]``, state) -> the comparisons.
      update: (projections, index, state) -> the state after the step.
      fill: projections of the whole training set, in order -> the state; None if it keeps none.
      streams: projections that the model makes of each view.
      split_state: whether its state ``[m@data, ...]`` is split over the devices by rows; else every device holds it.
    """

    views: int
    num_anchors: int
    num_candidates: int
    num_negatives: int
    init: Callable[[Array], Any]
    contrast: Callable[[Array, Array, Array, Any], tuple[Contrast, ...]]
    update: Callable[[Array, Array, Any], Any]
    fill: Callable[[Array], Any] | None = None
    streams: int = 1
    split_state: bool = False


def both_views(batch_size: int) -> Candidates:
    """NT-Xent's: all 2b views are anchors, each against the 2b - 1 others (Chen et al., SimCLR, 2020).

    Rows are interleaved: the two views of image i are rows 2i and 2i + 1, so the positive of row r is r XOR 1.
    """

    def contrast(key: Array, projections: Array, index: Array, state: Any) -> tuple[Contrast]:
        del key, index, state
        rows = split_rows(2 * batch_size)
        return (Contrast(projections, projections, rows ^ 1, rows),)

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

    def contrast(key: Array, projections: Array, index: Array, state: Any) -> tuple[Contrast]:
        del key, index, state
        pairs = projections.reshape(batch_size, 2, -1)
        return (Contrast(pairs[:, 0], pairs[:, 1], split_rows(batch_size)),)

    return Candidates(
        views=2,
        num_anchors=batch_size,
        num_candidates=batch_size,
        num_negatives=batch_size - 1,
        init=lambda key: (),
        contrast=contrast,
        update=lambda projections, index, state: state,
    )


def memory_bank(
    batch_size: int, size: int, dimension: int, momentum: float, split: bool = False
) -> Candidates:
    """One slot per training image (Wu et al., 2018), which is what Wang & Liu's published results were trained with.

    An anchor's positive is its own image's slot; all other slots are negatives; no gradient flows to the bank. After
    the optimizer step the slots of the batch become ``normalise(momentum * slot + (1 - momentum) * projection)``.

    Args:
      batch_size: images in the global batch, one view of each.
      size: training images.
      dimension: of the projection.
      momentum: share of the old slot that is kept.
      split: whether each device keeps its rows of the bank only (see `num_slots`).
    """

    def contrast(key: Array, projections: Array, index: Array, bank: Array) -> tuple[Contrast]:
        del key
        slots = jax.lax.stop_gradient(_whole(bank, size, split))
        return (Contrast(projections, slots, index, everywhere=True),)

    def update(projections: Array, index: Array, bank: Array) -> Array:
        return _move_slots(bank, gather(projections), gather(index), momentum, split)

    return Candidates(
        views=1,
        num_anchors=batch_size,
        num_candidates=size,
        num_negatives=size - 1,
        init=lambda key: _padded(_random_bank(key, size, dimension), split),
        contrast=contrast,
        update=update,
        fill=lambda projections: _padded(normalize(projections), split),
        split_state=split,
    )


def both_streams(batch_size: int) -> Candidates:
    """Two streams of one view, each against the other stream of the batch (Tian et al., CMC, 2020).

    The model makes two projections of a view: rows 2i and 2i + 1 are the first and second stream of image i. An anchor
    is never compared with its own stream.
    """

    def contrast(key: Array, projections: Array, index: Array, state: Any) -> tuple[Contrast, ...]:
        del key, index, state
        pairs = projections.reshape(batch_size, 2, -1)
        rows = split_rows(batch_size)
        return tuple(Contrast(pairs[:, s], pairs[:, 1 - s], rows) for s in (0, 1))

    return Candidates(
        views=1,
        num_anchors=2 * batch_size,
        num_candidates=batch_size,
        num_negatives=batch_size - 1,
        init=lambda key: (),
        contrast=contrast,
        update=lambda projections, index, state: state,
        streams=2,
    )


def stream_banks(
    batch_size: int, size: int, dimension: int, momentum: float, draws: int, split: bool = False
) -> Candidates:
    """Two streams of one view, each against random slots of a memory bank of the other stream (CMC's and EECS 442's).

    Column 0 is the slot of the anchor's own image, the positive. The other columns are ``draws`` slots drawn uniformly
    with replacement, so the own slot may be among them; they are a function of (seed, step, image, stream).

    Args:
      batch_size: images in the global batch.
      size: training images.
      dimension: of the projection.
      momentum: share of the old slot that is kept.
      draws: negatives of each anchor.
      split: whether each device keeps its rows of the banks only.
    """

    def columns(key: Array, index: Array) -> Array:
        drawn = jax.random.randint(jax.random.fold_in(key, index), (draws,), 0, size, jnp.int32)
        return jnp.concatenate([index[None], drawn])

    def contrast(key: Array, projections: Array, index: Array, banks: Any) -> tuple[Contrast, ...]:
        pairs = projections.reshape(batch_size, 2, -1)
        banks = jax.lax.stop_gradient([_whole(bank, size, split) for bank in banks])

        def one(stream: int) -> Contrast:
            of_stream = jax.random.fold_in(jax.random.fold_in(key, DRAWS), stream)
            drawn = jax.vmap(columns, in_axes=(None, 0))(of_stream, index)
            return Contrast(
                pairs[:, stream], banks[1 - stream], 0 * index, drawn=drawn, everywhere=True
            )

        return one(0), one(1)

    def update(projections: Array, index: Array, banks: Any) -> Any:
        pairs, index = gather(projections.reshape(batch_size, 2, -1)), gather(index)
        return tuple(_move_slots(banks[s], pairs[:, s], index, momentum, split) for s in (0, 1))

    return Candidates(
        views=1,
        num_anchors=2 * batch_size,
        num_candidates=1 + draws,
        num_negatives=draws,
        init=lambda key: tuple(
            _padded(_random_bank(jax.random.fold_in(key, s), size, dimension), split)
            for s in (0, 1)
        ),
        contrast=contrast,
        update=update,
        fill=lambda projections: tuple(
            _padded(normalize(projections[s::2]), split) for s in (0, 1)
        ),
        streams=2,
        split_state=split,
    )


def _random_bank(key: Array, size: int, dimension: int) -> Array:
    # The authors' code: uniform in +-1/sqrt(d/3), of unit norm only in expectation.
    bound = (3.0 / dimension) ** 0.5
    return jax.random.uniform(key, (size, dimension), minval=-bound, maxval=bound)


def num_slots(size: int) -> int:
    """Rows of a bank of ``size`` slots that is split: filled up so that they divide over many numbers of devices.

    The fill depends on the size alone, so that a checkpoint fits any number of devices; it takes less than a sixteenth.
    The rows are a multiple of a power of two, at most 4,096, and every number of devices that divides them will do.
    """
    unit = min(2 ** max((size // 16).bit_length() - 1, 3), 4096)
    return -(-size // unit) * unit


def _padded(bank: Array, split: bool) -> Array:
    missing = num_slots(len(bank)) - len(bank) if split else 0
    return jnp.pad(bank, ((0, missing), (0, 0)))


def _whole(bank: Array, size: int, split: bool) -> Array:
    """All slots, on every device; of a bank that is split, only while a step compares with them."""
    return gather(bank)[:size] if split else bank


def _move_slots(
    bank: Array, projections: Array, index: Array, momentum: float, split: bool
) -> Array:
    def moved(old: Array, projections: Array) -> Array:
        return normalize(momentum * old + (1.0 - momentum) * projections)

    if split:
        return change_rows(bank, index, moved, projections)
    return bank.at[index].set(moved(bank[index], projections))


KINDS = ("batch", "memory_bank", "streams", "stream_banks")


def build_candidates(
    kind: str,
    *,
    batch_size: int,
    size: int,
    dimension: int,
    views: str = "both",
    momentum: float = 0.5,
    draws: int = 127,
    split_bank: bool = False,
) -> Candidates:
    """Build a source of candidates from plain values.

    Args:
      kind: one of `KINDS`.
      batch_size: images in the global batch.
      size: training images.
      dimension: of the projection.
      views: ``batch`` only: ``both`` or ``cross``.
      momentum: ``memory_bank`` and ``stream_banks`` only.
      draws: ``stream_banks`` only: negatives of each anchor.
      split_bank: ``memory_bank`` and ``stream_banks`` only: whether each device keeps its own rows alone.

    Raises:
      ValueError: unknown kind or views, or no draws.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown candidates.kind {kind!r}; there are: {', '.join(KINDS)}")
    if views not in ("both", "cross"):
        raise ValueError(f"unknown candidates.views {views!r}; there are: both, cross")
    if kind == "memory_bank":
        return memory_bank(batch_size, size, dimension, momentum, split_bank)
    if kind == "streams":
        return both_streams(batch_size)
    if kind == "stream_banks":
        if draws < 1:
            raise ValueError(f"candidates.draws must be at least 1, got {draws}")
        return stream_banks(batch_size, size, dimension, momentum, draws, split_bank)
    return both_views(batch_size) if views == "both" else cross_views(batch_size)
