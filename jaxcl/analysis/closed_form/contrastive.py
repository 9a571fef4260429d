"""The formulas of the contrastive loss; see the package for arguments and references."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcl.analysis.closed_form.rows import softmax, split


def probabilities(
    similarities: Any, positives: Any, *, temperature: Any, where: Any = None
) -> jax.Array:
    """``P_ij``, the probability that anchor i is recognised as candidate j ([WL] Eq. 2), ``[n,
    m]``.

    Example:
        >>> print(probabilities(jnp.zeros((1, 4)), jnp.array([0]), temperature=0.1))
        [[0.25 0.25 0.25 0.25]]
    """
    similarities, is_positive, negatives = split(similarities, positives, where)
    return softmax(similarities / temperature, is_positive | negatives)


def contrastive_gradients(
    similarities: Any, positives: Any, *, temperature: Any, where: Any = None
) -> jax.Array:
    """Gradient of the contrastive loss by the similarities ([WL] Eq. 4), ``[n, m]``.

    ``-(1/tau) sum_{k != i} P_ik`` by the positive and ``P_ij / tau`` by a negative.

    Example:
        >>> print(contrastive_gradients(jnp.zeros((1, 4)), jnp.array([0]), temperature=0.5))
        [[-1.5  0.5  0.5  0.5]]
    """
    _, is_positive, negatives = split(similarities, positives, where)
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
    similarities, is_positive, _ = split(similarities, positives, where)
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
    similarities, _, negatives = split(similarities, positives, where)
    return softmax(similarities / temperature, negatives)


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
    similarities, _, _ = split(similarities, positives, where)
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
    similarities, is_positive, negatives = split(similarities, positives, where)
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
    similarities, is_positive, negatives = split(similarities, positives, where)
    terms = 1.0 + jnp.sum(negatives, axis=1)
    positive = jnp.sum(jnp.where(is_positive, similarities, 0.0), axis=1)
    others = jnp.sum(jnp.where(negatives, similarities, 0.0), axis=1)
    slopes = (-(terms - 1.0) * positive + others) / (terms * temperature)
    return slopes + jnp.log(terms)
