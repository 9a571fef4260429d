"""The k most similar candidates of every anchor, exactly, without the matrix of all similarities.

Anchors are streamed in chunks of whole rows. Within a chunk the columns fall into blocks, and only
the k blocks with the largest maxima can hold one of the k largest entries, so that a sort of m
entries becomes two small ones. Knows vectors
only: no labels, no loss.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

Result = TypeVar("Result")


def map_chunks(function: Callable[..., Result], *arrays: jax.Array | None, chunk: int) -> Result:
    """Apply ``function`` to chunks of ``chunk`` rows of ``arrays`` in turn and join the rows of
    what it returns.

    The last chunk is filled up by repeating the last row, and the repetition is cut off again. None
    stays None.
    """
    n = next(array.shape[0] for array in arrays if array is not None)
    chunk = min(chunk, n)
    steps = -(-n // chunk)

    def step(index: jax.Array) -> Result:
        rows = jnp.minimum(index * chunk + jnp.arange(chunk), n - 1)
        return function(*(None if array is None else array[rows] for array in arrays))

    stacked = jax.lax.map(step, jnp.arange(steps))
    return jax.tree.map(lambda leaf: leaf.reshape(steps * chunk, *leaf.shape[2:])[:n], stacked)


def top_k(values: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """The ``k`` largest of each row of ``[a, m]``, descending, and their columns; exact, in two
    stages.

    Args:
        values: ``[a, m]``; -inf marks entries that do not count.
        k: how many, at most m.

    Returns:
        Values ``[a, k]`` and int32 columns ``[a, k]``.

    Example:
        >>> values, columns = top_k(jnp.array([[3.0, 1.0, 2.0, 5.0]]), 2)
        >>> values.tolist(), columns.tolist()
        ([[5.0, 3.0]], [[3, 0]])
    """
    m = values.shape[1]
    height = math.isqrt(m // k)  # sqrt(m / k) balances the sorts of the two stages
    width = m // height
    if height < 4 or width < k:
        return jax.lax.top_k(values, k)
    # Column j belongs to block j % width: blocks across the row are reduced faster than contiguous
    # ones. The last m % height columns belong to no block and go straight to the second stage.
    blocks = values[:, : height * width].reshape(-1, height, width)
    best = jax.lax.top_k(jnp.max(blocks, axis=1), k)[1]
    kept = jnp.take_along_axis(blocks, best[:, None, :], axis=2)
    columns = best[:, None, :] + width * jnp.arange(height, dtype=best.dtype)[None, :, None]
    rest = jnp.arange(height * width, m, dtype=best.dtype)
    rest = jnp.broadcast_to(rest[None, :], (values.shape[0], rest.shape[0]))
    kept = jnp.concatenate([kept.reshape(-1, height * k), values[:, height * width :]], axis=1)
    columns = jnp.concatenate([columns.reshape(-1, height * k), rest], axis=1)
    largest, places = jax.lax.top_k(kept, k)
    return largest, jnp.take_along_axis(columns, places, axis=1)


@functools.partial(jax.jit, static_argnames=("k", "chunk"))
def nearest(
    anchors: jax.Array,
    candidates: jax.Array,
    *,
    k: int,
    exclude: jax.Array | None = None,
    anchor_labels: jax.Array | None = None,
    candidate_labels: jax.Array | None = None,
    chunk: int = 256,
) -> tuple[jax.Array, jax.Array]:
    """The ``k`` largest inner products of each anchor with the candidates that count, and their
    columns.

    Args:
        anchors: ``[n, d]``.
        candidates: ``[m, d]``.
        k: how many, at most m.
        exclude: int ``[n, e]``, columns of each row that do not count; a negative number excludes
            nothing.
        anchor_labels: ``[n]`` and
        candidate_labels: ``[m]``: candidates of the anchor's own label do not count.
        chunk: anchors a step; memory beyond inputs and outputs is ``2 * chunk * m`` floats or so.

    Returns:
        Similarities ``[n, k]``, descending, and int32 columns ``[n, k]``; where fewer than ``k``
        candidates count, the similarity is -inf and the column is meaningless.

    Example:
        >>> x = jnp.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
        >>> similarities, columns = nearest(x, x, k=1, exclude=jnp.arange(3)[:, None])
        >>> columns.tolist()
        [[1], [0], [1]]
    """
    m = candidates.shape[0]

    def chunk_nearest(rows: jax.Array, columns: jax.Array | None, labels: jax.Array | None):
        similarities = jnp.matmul(rows, candidates.T, precision=jax.lax.Precision.HIGHEST)
        if labels is not None and candidate_labels is not None:
            same = labels[:, None] == candidate_labels[None, :]
            similarities = jnp.where(same, -jnp.inf, similarities)
        if columns is not None:
            # A negative index would count from the end: out of range instead, it is dropped.
            columns = jnp.where(columns < 0, m, columns)
            row = jnp.arange(rows.shape[0])[:, None]
            similarities = similarities.at[row, columns].set(-jnp.inf, mode="drop")
        return top_k(similarities, k)

    return map_chunks(chunk_nearest, anchors, exclude, anchor_labels, chunk=chunk)


def check_k(k: Any, available: int, what: str) -> int:
    """Return ``k`` as an int in ``[1, available]``, or raise a ValueError that says what there are
    too few of."""
    if isinstance(k, bool) or int(k) != k or not 1 <= k <= available:
        raise ValueError(
            f"k must be an integer from 1 to the number of {what}, {available}; got {k}"
        )
    return int(k)
