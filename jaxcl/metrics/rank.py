"""How many dimensions a representation really uses: entropies of its singular values. Knows
embeddings only."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcl.metrics.sphere import check_embeddings


def rank_me(x: Any, *, eps: float = 1e-7) -> jax.Array:
    """RankMe, ``exp(-sum_k p_k log p_k)`` with ``p_k = s_k / sum_j s_j + eps`` over the singular
    values ``s`` of ``x``.

    Args:
        x: ``[n, d]`` embeddings, not centred; of any norm (RankMe is published for unnormalised
            embeddings).
        eps: added to every share, as published.

    Returns:
        Scalar, up to ``min(n, d)`` but for ``eps``: 1 when all embeddings are parallel. A matrix of
        zeros has rank 0.

    Example:
        >>> print(rank_me(jnp.eye(4)).round(3))
        4.0

    References:
        Garrido, Balestriero, Najman and LeCun, "RankMe: Assessing the Downstream Performance of
        Pretrained Self-Supervised Representations by Their Rank", ICML 2023, Eq. 1.
    """
    x = check_embeddings(x, "x", normalize=False)
    values = _singular_values(x)
    total = jnp.sum(values)
    shares = values / jnp.where(total > 0, total, 1.0) + eps
    return jnp.where(total > 0, jnp.exp(-jnp.sum(shares * jnp.log(shares))), 0.0)


def effective_rank(x: Any, *, center: bool = False) -> jax.Array:
    """Effective rank, ``exp(H(p))`` with ``p_k = s_k / sum_j s_j`` over the singular values ``s``;
    entropy in nats.

    Args:
        x: ``[n, d]`` embeddings of any norm.
        center: subtract the mean embedding first, so that a common offset does not count as a
            dimension.

    Returns:
        Scalar in ``[1, min(n, d)]``; 0 for a matrix of zeros (of equal rows, when centred).

    Example:
        >>> print(effective_rank(jnp.eye(4)).round(3), effective_rank(jnp.ones((4, 4))).round(3))
        4.0 1.0

    References:
        Roy and Vetterli, "The Effective Rank: a Measure of Effective Dimensionality", EUSIPCO 2007.
    """
    x = check_embeddings(x, "x", normalize=False)
    if center:
        x = x - jnp.mean(x, axis=0, keepdims=True)
    values = _singular_values(x)
    total = jnp.sum(values)
    shares = values / jnp.where(total > 0, total, 1.0)
    # 0 log 0 = 0: the inner `where` keeps the logarithm finite.
    logarithms = jnp.log(jnp.where(shares > 0, shares, 1.0))
    return jnp.where(total > 0, jnp.exp(-jnp.sum(shares * logarithms)), 0.0)


def _singular_values(x: jax.Array) -> jax.Array:
    """Singular values ``[min(n, d)]`` of ``x`` scaled to a largest entry of 1.

    A tall matrix is reduced by QR first: the eigenvalues of ``x^T x`` would be cheaper, but in
    float32 they blur every singular value below 3e-4 of the largest, and the many dimensions of a
    collapsed representation lie there.
    """
    largest = jnp.max(jnp.abs(x))
    x = x / jnp.where(largest > 0, largest, 1.0)
    if x.shape[0] > x.shape[1]:
        x = jnp.linalg.qr(x, mode="r")
    return jnp.linalg.svd(x, compute_uv=False)
