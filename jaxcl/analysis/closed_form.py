"""The formulas of the papers, as printed, each with its equation number.

They predict what ``jax.grad`` of the losses gives, and the tests hold the two against each other.
They are written for reading, not for speed, and know no loss of this library.

Every function takes ``similarities [n, m]`` (cosines), ``positives`` int ``[n]``, a ``temperature``
and ``where`` bool ``[n, m]``, the candidates that count (the positive always does).

References:
    [WL] F. Wang and H. Liu, "Understanding the Behaviour of Contrastive Loss", CVPR 2021.
    [DCL] C.-H. Yeh et al., "Decoupled Contrastive Learning", ECCV 2022.
"""

from typing import Any

import jax
import jax.numpy as jnp


def probabilities(
    similarities: Any, positives: Any, *, temperature: Any, where: Any = None
) -> jax.Array:
    """``P_ij``, the probability that anchor i is recognised as candidate j ([WL] Eq. 2), ``[n,
    m]``.

    Example:
        >>> print(probabilities(jnp.zeros((1, 4)), jnp.array([0]), temperature=0.1))
        [[0.25 0.25 0.25 0.25]]
    """
    similarities, is_positive, negatives = _split(similarities, positives, where)
    return _softmax(similarities / temperature, is_positive | negatives)


def contrastive_gradients(
    similarities: Any, positives: Any, *, temperature: Any, where: Any = None
) -> jax.Array:
    """Gradient of the contrastive loss by the similarities ([WL] Eq. 4), ``[n, m]``.

    ``-(1/tau) sum_{k != i} P_ik`` by the positive and ``P_ij / tau`` by a negative.

    Example:
        >>> print(contrastive_gradients(jnp.zeros((1, 4)), jnp.array([0]), temperature=0.5))
        [[-1.5  0.5  0.5  0.5]]
    """
    _, is_positive, negatives = _split(similarities, positives, where)
    p = probabilities(similarities, positives, temperature=temperature, where=where)
    missed = jnp.sum(jnp.where(negatives, p, 0.0), axis=1, keepdims=True)
    return jnp.where(is_positive, -missed, p) / temperature


def contrastive_temperature_gradient(
    similarities: Any, positives: Any, *, temperature: Any, where: Any = None
) -> jax.Array:
    """``dL/dtau = (s_ii - E_P[s]) / tau^2`` of the contrastive loss, ``[n]``.

    Follows from [WL] Eqs. 1 and 2.

    Example:
        >>> similarities = jnp.array([[0.5, 0.5, 0.5, 0.5]])
        >>> print(contrastive_temperature_gradient(similarities, jnp.array([0]), temperature=0.1))
        [0.]
    """
    similarities, is_positive, _ = _split(similarities, positives, where)
    p = probabilities(similarities, positives, temperature=temperature, where=where)
    expected = jnp.sum(p * similarities, axis=1)
    return (jnp.sum(jnp.where(is_positive, similarities, 0.0), axis=1) - expected) / temperature**2


def contrastive_hessian(
    similarities: Any, positives: Any, *, temperature: Any, where: Any = None
) -> jax.Array:
    """Second derivative ``(diag(P_i) - P_i P_i^T) / tau^2`` by the similarities, ``[n, m, m]``.

    Positive semidefinite: the contrastive loss is convex in the similarities. Follows from [WL]
    Eq. 4.

    Example:
        >>> print(contrastive_hessian(jnp.zeros((1, 2)), jnp.array([0]), temperature=0.5))
        [[[ 1. -1.]
          [-1.  1.]]]
    """
    p = probabilities(similarities, positives, temperature=temperature, where=where)
    diagonal = p[:, :, None] * jnp.eye(p.shape[1], dtype=p.dtype)[None]
    return (diagonal - p[:, :, None] * p[:, None, :]) / temperature**2


def relative_penalties(
    similarities: Any, positives: Any, *, temperature: Any, where: Any = None
) -> jax.Array:
    """``r_ij = exp(s_ij / tau) / sum_{k != i} exp(s_ik / tau)`` ([WL] Eq. 5), ``[n, m]``.

    A Boltzmann distribution over the negatives; 0 at the positive, whose similarity is irrelevant.

    Example:
        >>> similarities = jnp.array([[0.9, 0.2, 0.2]])
        >>> print(relative_penalties(similarities, jnp.array([0]), temperature=0.1))
        [[0.  0.5 0.5]]
    """
    similarities, _, negatives = _split(similarities, positives, where)
    return _softmax(similarities / temperature, negatives)


def entropy_temperature_gradient(
    similarities: Any, positives: Any, *, temperature: Any, where: Any = None
) -> jax.Array:
    """``dH(r_i)/dtau = Var_r(s_ij) / tau^3``, never negative, ``[n]``.

    The compact form of the monotonicity proof in the supplementary material of [WL].

    Example:
        >>> similarities = jnp.array([[0.9, 0.5, 0.5]])
        >>> print(entropy_temperature_gradient(similarities, jnp.array([0]), temperature=0.1))
        [0.]
    """
    similarities, _, _ = _split(similarities, positives, where)
    r = relative_penalties(similarities, positives, temperature=temperature, where=where)
    mean = jnp.sum(r * similarities, axis=1, keepdims=True)
    return jnp.sum(r * (similarities - mean) ** 2, axis=1) / temperature**3


def small_temperature_limit(
    similarities: Any, positives: Any, *, temperature: Any, where: Any = None
) -> jax.Array:
    """``max(s_max - s_ii, 0) / tau``, the contrastive loss as tau -> 0 ([WL] Eq. 6), ``[n]``.

    The difference lies between 0 and the logarithm of the number of terms, for every temperature.

    Example:
        >>> similarities = jnp.array([[0.5, 0.75, -1.0], [0.5, 0.25, 0.0]])
        >>> print(small_temperature_limit(similarities, jnp.array([0, 0]), temperature=0.125))
        [2. 0.]
    """
    similarities, is_positive, negatives = _split(similarities, positives, where)
    nearest = jnp.max(jnp.where(negatives, similarities, -jnp.inf), axis=1)
    positive = jnp.sum(jnp.where(is_positive, similarities, 0.0), axis=1)
    return jnp.maximum(nearest - positive, 0.0) / temperature


def large_temperature_limit(
    similarities: Any, positives: Any, *, temperature: Any, where: Any = None
) -> jax.Array:
    """The contrastive loss as tau -> infinity ([WL] Eq. 7), ``[n]``, for N terms.

    ``-((N-1)/(N tau)) s_ii + (1/(N tau)) sum_{k != i} s_ik + log N``. The loss exceeds it by
    ``1 / (2 tau^2)`` at most, for cosines.

    Example:
        >>> similarities = jnp.array([[1.0, 0.0, 0.0, 0.0]])
        >>> limit = large_temperature_limit(similarities, jnp.array([0]), temperature=1.5)
        >>> print(jnp.array_str(limit, precision=4))
        [0.8863]
    """
    similarities, is_positive, negatives = _split(similarities, positives, where)
    terms = 1.0 + jnp.sum(negatives, axis=1)
    positive = jnp.sum(jnp.where(is_positive, similarities, 0.0), axis=1)
    others = jnp.sum(jnp.where(negatives, similarities, 0.0), axis=1)
    slopes = (-(terms - 1.0) * positive + others) / (terms * temperature)
    return slopes + jnp.log(terms)


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
    similarities, _, negatives = _split(similarities, positives, where)
    kept = _nearest(similarities, negatives, num_negatives)
    return _softmax(similarities / temperature, kept)


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
    similarities, _, negatives = _split(similarities, positives, where)
    kept = _nearest(similarities, negatives, num_negatives)
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
    similarities, is_positive, negatives = _split(similarities, positives, where)
    if num_negatives is not None:
        negatives = _nearest(similarities, negatives, num_negatives)
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
    _, _, negatives = _split(similarities, positives, where)
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
    _, is_positive, _ = _split(similarities, positives, where)
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
    _, is_positive, _ = _split(similarities, positives, where)
    r = relative_penalties(similarities, positives, temperature=temperature, where=where)
    q = coupling_multiplier(similarities, positives, temperature=temperature, where=where)
    multiplier = (jnp.ones_like(q) if decoupled else q) / temperature
    pushes = multiplier[:, None] * (r - is_positive.astype(r.dtype))
    return pushes @ candidates, pushes.T @ anchors


def _split(similarities: Any, positives: Any, where: Any) -> tuple[jax.Array, ...]:
    """Similarities, which entry of each row is the positive, and which are negatives."""
    similarities = jnp.asarray(similarities)
    columns = jnp.arange(similarities.shape[1])[None, :]
    is_positive = columns == jnp.asarray(positives)[:, None]
    return similarities, is_positive, ~is_positive & (True if where is None else where)


def _softmax(logits: jax.Array, where: jax.Array) -> jax.Array:
    """Softmax over the entries that count; a row without any is all zero."""
    highest = jnp.max(jnp.where(where, logits, -jnp.inf), axis=1, keepdims=True)
    highest = jnp.where(highest > -jnp.inf, highest, 0.0)
    masses = jnp.where(where, jnp.exp(jnp.where(where, logits - highest, 0.0)), 0.0)
    total = jnp.sum(masses, axis=1, keepdims=True)
    return masses / jnp.where(total > 0, total, 1.0)


def _nearest(similarities: jax.Array, where: jax.Array, count: int) -> jax.Array:
    """Mask of the ``count`` largest entries of each row that count."""
    order = jnp.argsort(-jnp.where(where, similarities, -jnp.inf), axis=1, stable=True)
    ranks = jnp.argsort(order, axis=1)
    return where & (ranks < count)
