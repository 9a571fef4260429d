"""Losses and their gradients, a chunk of anchors at a time.

A chunk holds whole rows of the similarity matrix, so any loss whose rows are independent can be
evaluated on it as it stands. Each chunk is differentiated while its similarities are at hand; what
is kept has the size of the embeddings. Knows no device and no mean.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxcl.losses.problem import (
    Columns,
    Differentiable,
    Plan,
    Problem,
    Rows,
    similarity_dtype,
)
from jaxcl.losses.products import inner_products, product

# Similarities at a time, 64 MiB in float32: what keeps 65,536 pairs, with both views as anchors
# (131,072 rows and columns), within 320 MiB on one device.
MOST_AT_ONCE = 2**24


def rows_at_once(chunk: int, m: int) -> int:
    """Returns how many anchors to take at a time: ``chunk``, fewer past very many candidates."""
    return max(min(chunk, MOST_AT_ONCE // max(m, 1)), 1)


def values_in_chunks(plan: Plan, problem: Problem) -> jax.Array:
    """Returns the losses [n]; where they are differentiated, each chunk is computed again."""
    x, rows, columns = problem

    @jax.checkpoint
    def of_chunk(anchors: jax.Array, by_row: dict[str, jax.Array], rows: Rows) -> jax.Array:
        similarities = inner_products(anchors, x.candidates, plan.precision, rows.positives)
        return losses_of(plan, rows, columns, similarities, x.shared, by_row)

    (n, _), (m, _) = x.anchors.shape, x.candidates.shape
    chunks, join = cut((x.anchors, x.by_row, rows), n, rows_at_once(plan.chunk, m))
    return join(lax.map(lambda chunk: of_chunk(*chunk), chunks))


def differentiate_in_chunks(
    plan: Plan, problem: Problem, scale: jax.Array, wanted: Differentiable
) -> tuple[jax.Array, Differentiable]:
    """Returns the losses [n], and the gradient of their sum weighted by ``scale * weights``.

    What is not wanted is None; so is the gradient by the weights, which needs no chunk. That by the
    candidates comes as [d, m]: so both operands of its product lie in memory as they are read.
    """
    x, rows, columns = problem
    dtype = similarity_dtype(x.anchors, x.candidates)
    n, (m, d) = x.anchors.shape[0], x.candidates.shape
    chunk = rows_at_once(plan.chunk, m)
    chunks, join = cut((x.anchors, x.by_row, rows), n, chunk)
    # The copies that fill the last chunk have no weight.
    weights, _ = cut(x.weights * scale, n, chunk, fill=0)

    def step(carry: Any, chunk: Any) -> tuple[Any, Any]:
        by_candidate, by_shared = carry
        (anchors, by_row, rows), weights = chunk
        similarities = inner_products(anchors, x.candidates, plan.precision, rows.positives)
        losses = functools.partial(losses_of, plan, rows, columns)
        values, pull_back = jax.vjp(losses, similarities, x.shared, by_row)
        by_similarity, more, by_row = pull_back(weights.astype(values.dtype))
        by_anchor = None
        if wanted.anchors:
            by_anchor = product(by_similarity, x.candidates.astype(dtype), (1, 0), plan.precision)
        if wanted.candidates:
            by_candidate += product(anchors.astype(dtype), by_similarity, (0, 0), plan.precision)
        return (by_candidate, jax.tree.map(jnp.add, by_shared, more)), (values, by_anchor, by_row)

    by_candidate = jnp.zeros((d, m), dtype) if wanted.candidates else None
    start = (by_candidate, jax.tree.map(jnp.zeros_like, x.shared))
    (by_candidate, by_shared), stacked = lax.scan(step, start, (chunks, weights))
    values, by_anchor, by_row = join(stacked)
    return values, Differentiable(by_anchor, by_candidate, None, by_shared, by_row)


def losses_of(
    plan: Plan,
    rows: Rows,
    columns: Columns,
    similarities: jax.Array,
    shared: dict[str, jax.Array],
    by_row: dict[str, jax.Array],
) -> jax.Array:
    """Returns the losses [n] of anchors whose similarities [n, m] are given."""
    constants = {**dict(plan.constants), **columns.constants, **rows.constants, **shared, **by_row}
    masks = []
    if rows.exclude is not None:
        column = lax.broadcasted_iota(rows.exclude.dtype, similarities.shape, 1)
        masks.append(column != rows.exclude[:, None])
    if columns.where is not None:
        masks.append(jnp.broadcast_to(columns.where[None, :], similarities.shape))
    positives = rows.positives
    if rows.labels is not None and columns.labels is not None:
        same = rows.labels[:, None] == columns.labels[None, :]
        if positives is None:
            positives = functools.reduce(jnp.logical_and, masks, same)
        else:
            masks.append(~same)
    where = functools.reduce(jnp.logical_and, masks) if masks else None
    return plan.loss(similarities, positives, where=where, **constants)


def cut(
    tree: Any, n: int, chunk: int, fill: float | None = None
) -> tuple[Any, Callable[[Any], Any]]:
    """Cuts arrays [n, ...] into [chunks, size, ...] of even size.

    Args:
        tree: of arrays [n, ...].
        n: their rows.
        chunk: the largest size.
        fill: what to fill the last chunk up with; None means copies of the last row, which are as
            well-behaved as it is.

    Returns:
        The tree cut, and the function that joins such a tree again.
    """
    chunks = max(math.ceil(n / chunk), 1)
    size = math.ceil(n / chunks)
    missing = chunks * size - n

    def split(x: jax.Array) -> jax.Array:
        if missing:
            last = x[-1:] if fill is None else jnp.full_like(x[-1:], fill)
            x = jnp.concatenate([x, jnp.broadcast_to(last, (missing, *x.shape[1:]))])
        return x.reshape(chunks, size, *x.shape[1:])

    def join(x: jax.Array) -> jax.Array:
        return x.reshape(chunks * size, *x.shape[2:])[:n]

    return jax.tree.map(split, tree), functools.partial(jax.tree.map, join)
