"""Alignment: how near the two views of an image lie. Knows embeddings, no model and no loss."""

from typing import Any

import chex
import jax
import jax.numpy as jnp

from jaxcl.metrics.sphere import check_embeddings


def alignment(x: Any, y: Any, *, alpha: float = 2, normalize: bool | None = None) -> jax.Array:
    """Mean distance of positive pairs, ``mean_i |x_i - y_i|^alpha``. Lower is better aligned.

    On the sphere it lies in ``[0, 2^alpha]``; for ``alpha=2`` it is ``2 - 2 * mean cosine``. A
    common rotation of both sides leaves it unchanged. The gradient is finite (zero) for a pair of
    equal embeddings, for every ``alpha > 0``.

    Args:
        x: ``[n, d]`` embeddings of one view.
        y: ``[n, d]`` embeddings of the other view, row by row.
        alpha: exponent of the distance, > 0.
        normalize: None: rows must have norm 1 already; True: normalise them; False: take them as
            they are.

    Returns:
        Scalar, float32 (float64 for float64 embeddings).

    Raises:
        ValueError: ``alpha <= 0``, different shapes, or rows off the sphere with
            ``normalize=None``.

    Example:
        >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0]])
        >>> y = jnp.array([[1.0, 0.0], [0.0, -1.0]])
        >>> print(alignment(x, y), alignment(x, y, alpha=1))
        2.0 1.0

    References:
        Wang and Isola, "Understanding Contrastive Representation Learning through Alignment and
        Uniformity on the Hypersphere", ICML 2020, L_align.
    """
    if not alpha > 0:
        raise ValueError(f"alpha must be positive, got {alpha}")
    x = check_embeddings(x, "x", normalize=normalize)
    y = check_embeddings(y, "y", normalize=normalize)
    if x.shape != y.shape:
        raise ValueError(f"x and y must pair row by row, got shapes {x.shape} and {y.shape}")
    chex.assert_equal_shape([x, y])
    squares = jnp.sum((x - y) ** 2, axis=-1)
    if alpha == 2:
        return jnp.mean(squares)
    # Below alpha = 2 the power has no gradient at zero: the inner `where` keeps the NaN out of the
    # backward pass.
    apart = squares > 0
    powers = jnp.where(apart, squares, 1.0) ** (alpha / 2)
    return jnp.mean(jnp.where(apart, powers, 0.0))
