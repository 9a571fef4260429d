"""Losses that correct or reweight the mass of the negatives: debiased, and hard by beta (HCL)."""

import math

import jax
import jax.numpy as jnp

from jaxcl.losses.inputs import check_constant, read_rows
from jaxcl.losses.softmax import log_sum_exp, nearest_similarity


def debiased(
    similarities: jax.Array,
    positives: jax.Array,
    *,
    temperature: jax.typing.ArrayLike,
    where: jax.Array | None = None,
    tau_plus: float = 0.1,
) -> jax.Array:
    r"""The debiased contrastive loss: the expected share of positives is taken from the negatives.

    .. math:: L_i = -\log \frac{e^{s_{ii}/\tau}}{e^{s_{ii}/\tau} + G_i}, \quad
        G_i = \max \left( \frac{\sum_k e^{s_{ik}/\tau} - M \tau^+ e^{s_{ii}/\tau}}{1 - \tau^+},
        M e^{-1/\tau} \right)

    with M negatives.

    Args:
        similarities: [n, m], cosine in [-1, 1].
        positives: int [n], the column of each anchor's positive.
        temperature: positive scalar, or [n].
        where: bool [n, m], the candidates that count; the positive always does.
        tau_plus: probability that a negative is of the anchor's class, in [0, 1).

    Returns:
        [n], nats; 0 for a row without negatives.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import debiased
        >>> similarities = jnp.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.8]])
        >>> loss = debiased(similarities, jnp.array([0, 1]), temperature=0.5)
        >>> print(jnp.array_str(loss, precision=3))
        [0.17  0.799]

    References:
        C.-Y. Chuang et al., Debiased Contrastive Learning, NeurIPS 2020.
    """
    return hcl(
        similarities,
        positives,
        temperature=temperature,
        where=where,
        beta=0.0,
        tau_plus=tau_plus,
    )


def hcl(
    similarities: jax.Array,
    positives: jax.Array,
    *,
    temperature: jax.typing.ArrayLike,
    where: jax.Array | None = None,
    beta: float = 1.0,
    tau_plus: float = 0.1,
) -> jax.Array:
    r"""The hard-negative contrastive loss (HCL): negatives weighted by a power of their mass.

    As `debiased`, with the sum over negatives replaced by

    .. math:: \frac{\sum_k w_k e^{s_{ik}/\tau}}{\frac{1}{M} \sum_k w_k}, \quad
        w_k = e^{\beta s_{ik}/\tau}

    Args:
        similarities: [n, m], cosine in [-1, 1].
        positives: int [n], the column of each anchor's positive.
        temperature: positive scalar, or [n].
        where: bool [n, m], the candidates that count; the positive always does.
        beta: concentration on hard negatives, at least 0; 0 is `debiased`.
        tau_plus: probability that a negative is of the anchor's class, in [0, 1).

    Returns:
        [n], nats; 0 for a row without negatives.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import hcl
        >>> similarities = jnp.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.8]])
        >>> loss = hcl(similarities, jnp.array([0, 1]), temperature=0.5)
        >>> print(jnp.array_str(loss, precision=3))
        [0.174 0.971]

    References:
        J. Robinson et al., Contrastive Learning with Hard Negative Samples, ICLR 2021.
    """
    check_constant("beta", beta, "at least 0", beta >= 0)
    check_constant("tau_plus", tau_plus, "in [0, 1)", 0 <= tau_plus < 1)
    rows = read_rows(similarities, positives, temperature, where)
    inverse = rows.inverse_temperature
    nearest = nearest_similarity(rows.similarities, rows.negatives)
    empty = nearest == -jnp.inf
    nearest = jnp.where(empty, 0, nearest)
    log_count = jnp.log(jnp.where(empty, 1, rows.num_negatives))
    differences = rows.similarities - nearest[:, None]
    log_mass = log_sum_exp(differences, rows.negatives, (1 + beta) * inverse)
    log_weight = log_sum_exp(differences, rows.negatives, beta * inverse) if beta else log_count
    # The logarithm of (mass of the negatives / mass of the positive).
    odds = (nearest - rows.positive) * inverse + log_mass - log_weight + log_count
    floor = log_count - (1 + rows.positive) * inverse
    odds = _remove_share(odds, log_count, tau_plus, floor)
    return jnp.where(empty, 0, jax.nn.softplus(odds))


def _remove_share(
    odds: jax.Array, log_count: jax.Array, tau_plus: float, floor: jax.Array
) -> jax.Array:
    """Returns log(max((e^odds - M tau_plus) / (1 - tau_plus), e^floor)), for M = e^log_count."""
    if not tau_plus:
        return jnp.maximum(odds, floor)
    share = log_count + math.log(tau_plus) - odds
    # More is to be taken away than there is: the floor.
    none_left = share >= 0
    log_left = jnp.log(-jnp.expm1(jnp.where(none_left, -1, share)))
    corrected = odds + log_left - math.log1p(-tau_plus)
    return jnp.where(none_left, floor, jnp.maximum(corrected, floor))
