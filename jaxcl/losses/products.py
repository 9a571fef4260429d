"""Matrix products of embeddings, with the care that a low temperature asks for.

A temperature of 0.01 multiplies the rounding of a cosine by a hundred. XLA's CPU product adds the d
terms of a cosine one after another, and of the cosines near 1, where float32 is coarsest, a loss
sees the positive's in every term of its row. So sums are taken in parts there, and the positives'
cosines apart, in pairs: half the error of the gradient for a few percent of the time
(docs/numerics.md). An accelerator rounds the operands of a float32 product unless it is told not
to, a TPU to bfloat16 and a GPU to TF32; here it is told.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

PART = 64  # terms of a cosine that a CPU adds in one go


def precision_of(precision: Any, *operands: jax.Array) -> Any:
    """Returns the precision of a product: as asked for, as jax is configured, or else the highest.

    Args:
        precision: as in `jax.lax.dot`; None where nothing was asked for.
        *operands: of the product. There is nothing to keep of those that are of low precision.
    """
    setting = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
    low = any(jnp.finfo(each.dtype).bits < 32 for each in operands)
    as_is = precision is not None or setting is not None or low
    return precision if as_is else lax.Precision.HIGHEST


def product(a: jax.Array, b: jax.Array, axes: tuple[int, int], precision: Any) -> jax.Array:
    """Returns the product of two matrices over one axis of each, summed in float32 at least."""
    dtype = jnp.promote_types(a.dtype, jnp.float32)
    axes_of_both = (((axes[0],), (axes[1],)), ((), ()))
    precision = precision_of(precision, a, b)
    return lax.dot_general(a, b, axes_of_both, precision=precision, preferred_element_type=dtype)


def similarities_between(
    a: jax.Array, b: jax.Array, axes: tuple[int, int], precision: Any
) -> jax.Array:
    """Returns the product of two matrices of embeddings, over the axes that are their dimension."""
    d = a.shape[axes[0]]

    def whole(a: jax.Array, b: jax.Array) -> jax.Array:
        return product(a, b, axes, precision)

    def in_parts(a: jax.Array, b: jax.Array) -> jax.Array:
        total = jnp.zeros((), jnp.promote_types(a.dtype, jnp.float32))
        for start in range(0, d, PART):
            end = min(start + PART, d)
            total += whole(
                lax.slice_in_dim(a, start, end, axis=axes[0]),
                lax.slice_in_dim(b, start, end, axis=axes[1]),
            )
        return total

    if d <= PART:
        return whole(a, b)
    return lax.platform_dependent(a, b, cpu=in_parts, default=whole)


def inner_products(
    anchors: jax.Array,
    candidates: jax.Array,
    precision: Any = None,
    positives: jax.Array | None = None,
) -> jax.Array:
    """Returns [n, m]; the operands stay in their low precision, the sums do not.

    Args:
        anchors: [n, d].
        candidates: [m, d].
        precision: of the matrix product; None for the highest, or what jax is configured for.
        positives: int [n], the columns to compute by themselves; one that is out of range is none.
    """
    dtype = jnp.promote_types(anchors.dtype, candidates.dtype)
    s = similarities_between(anchors.astype(dtype), candidates.astype(dtype), (1, 1), precision)
    if positives is None or positives.ndim != 1:
        return s
    own = dots(anchors, candidates.at[positives].get(mode="clip"))
    column = lax.broadcasted_iota(positives.dtype, s.shape, 1)
    return jnp.where(column == positives[:, None], own[:, None], s)


def dots(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns the inner products [...] of vectors [..., d], added in pairs, in float32 at least."""
    dtype = jnp.promote_types(jnp.promote_types(a.dtype, b.dtype), jnp.float32)
    terms = a.astype(dtype) * b.astype(dtype)
    while terms.shape[-1] % 2 == 0:
        half = terms.shape[-1] // 2
        terms = terms[..., :half] + terms[..., half:]
    return jnp.sum(terms, axis=-1)
