"""The formulas of the losses that vary the contrastive one, and by embeddings; see the package for the arguments."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcl.analysis.closed_form.contrastive import (
    contrastive_gradients,
    probabilities,
    relative_penalties,
)
from jaxcl.analysis.closed_form.rows import nearest, softmax, split


def hard_relative_penalties(
    similarities: Any,
    positives: Any,
    *,
    temperature: Any,
    num_negatives: int,
    where: Any = None,
) -> jax.Array:
    """Relative penalties of the hard contrastive loss ([WL] Eq. 8), ``[n, m]``.

    The distribution of Eq. 5 over the ``num_negatives`` nearest negatives, zero for the others. The
    quantile ``s_alpha`` is the similarity of the last one kept; of equal ones the first are.

    Example:
        >>> similarities = jnp.array([[0.9, 0.2, 0.2, 0.1]])
        >>> print(hard_relative_penalties(
        ...     similarities, jnp.array([0]), temperature=0.1, num_negatives=2
        ... ))
        [[0.  0.5 0.5 0. ]]
    """
    similarities, _, negatives = split(similarities, positives, where)
    kept = nearest(similarities, negatives, num_negatives)
    return softmax(similarities / temperature, kept)


def hard_gradients(
    similarities: Any,
    positives: Any,
    *,
    temperature: Any,
    num_negatives: int,
    where: Any = None,
) -> jax.Array:
    """Gradient of the hard contrastive loss by the similarities, ``[n, m]``.

    Eq. 4 over the nearest negatives alone, as [WL] Eq. 9 implies.

    Example:
        >>> similarities = jnp.array([[0.2, 0.2, 0.2, 0.1]])
        >>> print(hard_gradients(similarities, jnp.array([0]), temperature=1.0, num_negatives=1))
        [[-0.5  0.5  0.   0. ]]
    """
    similarities, _, negatives = split(similarities, positives, where)
    kept = nearest(similarities, negatives, num_negatives)
    return contrastive_gradients(similarities, positives, temperature=temperature, where=kept)


def simple_gradients(
    similarities: Any,
    positives: Any,
    *,
    negative_weight: float | None = None,
    num_negatives: int | None = None,
    where: Any = None,
) -> jax.Array:
    """Gradient of the simple loss ([WL] Eq. 3): -1 and a constant lambda on each negative.

    Args:
        similarities: ``[n, m]``.
        positives: int ``[n]``.
        negative_weight: lambda; None: one over the number of negatives that are pushed.
        num_negatives: push only so many nearest negatives ([WL] section 5.5, HardSimple).
        where: bool ``[n, m]``.

    Returns:
        ``[n, m]``.

    Example:
        >>> print(simple_gradients(jnp.zeros((1, 5)), jnp.array([0])))
        [[-1.    0.25  0.25  0.25  0.25]]
    """
    similarities, is_positive, negatives = split(similarities, positives, where)
    if num_negatives is not None:
        negatives = nearest(similarities, negatives, num_negatives)
    count = jnp.sum(negatives, axis=1, keepdims=True)
    weight = 1.0 / jnp.maximum(count, 1) if negative_weight is None else negative_weight
    return jnp.where(is_positive, -1.0, jnp.where(negatives, weight, 0.0))


def coupling_multiplier(
    similarities: Any, positives: Any, *, temperature: Any, where: Any = None
) -> jax.Array:
    """``q_B = 1 - P_ii``, the negative-positive coupling ([DCL] section 3), ``[n]``.

    Example:
        >>> print(coupling_multiplier(jnp.zeros((1, 4)), jnp.array([0]), temperature=0.1))
        [0.75]
    """
    _, _, negatives = split(similarities, positives, where)
    p = probabilities(similarities, positives, temperature=temperature, where=where)
    # The sum over negatives, and not 1 - P: the difference loses what an easy positive leaves.
    return jnp.sum(jnp.where(negatives, p, 0.0), axis=1)


def dcl_gradients(
    similarities: Any, positives: Any, *, temperature: Any, where: Any = None
) -> jax.Array:
    """Gradient of the decoupled loss by the similarities: ``-1/tau`` and ``r_ij / tau``, ``[n,
    m]``.

    From [DCL] Eq. 6: the gradient of the contrastive loss with ``q_B`` replaced by 1.

    Example:
        >>> print(dcl_gradients(jnp.zeros((1, 5)), jnp.array([0]), temperature=0.5))
        [[-2.   0.5  0.5  0.5  0.5]]
    """
    _, is_positive, _ = split(similarities, positives, where)
    r = relative_penalties(similarities, positives, temperature=temperature, where=where)
    return jnp.where(is_positive, -1.0, r) / temperature


def dclw_weights(positive_similarities: Any, *, sigma: float = 0.5) -> jax.Array:
    """``w_i = 2 - exp(s_ii / sigma) / mean_k exp(s_kk / sigma)`` of the weighted decoupled loss.

    Their mean is 1; an anchor with an easier positive weighs less, and may weigh less than nothing.

    Args:
        positive_similarities: ``[n]``.
        sigma: width; the larger, the nearer all weights are to 1.

    Returns:
        ``[n]``.

    Example:
        >>> print(dclw_weights(jnp.array([0.5, 0.5])))
        [1. 1.]

    References:
        [DCL], the weighting function of L_DCLW.
    """
    similarities = jnp.asarray(positive_similarities)
    return 2.0 - similarities.shape[0] * jax.nn.softmax(similarities / sigma)


def contrastive_embedding_gradients(
    anchors: Any,
    candidates: Any,
    positives: Any,
    *,
    temperature: Any,
    where: Any = None,
    decoupled: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Gradient of the summed contrastive loss by free vectors ([DCL] section 3).

    With ``q_i`` the coupling and ``p_ij`` the relative penalties::

        by anchor i:             -(q_i / tau) (z_pos(i) - sum_j p_ij z_j)
        by its positive:         -(q_i / tau) z_i
        by its negative j:       +(q_i / tau) p_ij z_i

    Args:
        anchors: ``[n, d]``, taken as they are.
        candidates: ``[m, d]``, taken as they are.
        positives: int ``[n]``.
        temperature: scalar.
        where: bool ``[n, m]``.
        decoupled: replace ``q_i`` by 1: the gradient of the decoupled loss.

    Returns:
        ``[n, d]`` by the anchors, ``[m, d]`` by the candidates.

    Example:
        >>> anchors, candidates = jnp.array([[1.0, 0.0]]), jnp.array([[1.0, 0.0], [0.0, 1.0]])
        >>> by_anchors, by_candidates = contrastive_embedding_gradients(
        ...     anchors, candidates, jnp.array([0]), temperature=0.5, decoupled=True
        ... )
        >>> print(by_anchors)
        [[-2.  2.]]
        >>> print(by_candidates)
        [[-2. -0.]
         [ 2.  0.]]
    """
    anchors, candidates = jnp.asarray(anchors), jnp.asarray(candidates)
    similarities = jnp.matmul(anchors, candidates.T, precision=jax.lax.Precision.HIGHEST)
    _, is_positive, _ = split(similarities, positives, where)
    r = relative_penalties(similarities, positives, temperature=temperature, where=where)
    q = coupling_multiplier(similarities, positives, temperature=temperature, where=where)
    multiplier = (jnp.ones_like(q) if decoupled else q) / temperature
    pushes = multiplier[:, None] * (r - is_positive.astype(r.dtype))
    highest = jax.lax.Precision.HIGHEST
    by_anchor = jnp.matmul(pushes, candidates, precision=highest)
    return by_anchor, jnp.matmul(pushes.T, anchors, precision=highest)
