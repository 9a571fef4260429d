"""The contrastive loss: the softmax that picks the positive out of the candidates.

Everything here is written in terms of one number an anchor, ``log_odds = log(sum_k exp((s_k - s_pos) / tau))`` over its
negatives. It is the decoupled loss as it stands; the contrastive loss is its softplus, and its
sigmoid is the probability of missing the positive. So nothing cancels when the positive is nearly
certain.
"""

import jax
import jax.numpy as jnp

from jaxcl.losses.inputs import Rows, by_row, read_rows


def log_odds(rows: Rows, negatives: jax.Array | None = None) -> jax.Array:
    """Returns log(sum_k exp((s_k - s_pos) / tau)) [n]; -inf for a row without negatives.

    Similarities are subtracted before they are scaled, so that the error is that of the differences
    which matter and not that of 1 / tau.
    """
    negatives = rows.negatives if negatives is None else negatives
    any_negative = jnp.any(negatives, axis=1)
    nearest = nearest_negative(rows, negatives)
    differences = (rows.similarities - nearest[:, None]) * by_row(rows.inverse_temperature)
    # Masked after the scaling: -inf * (1 / tau) has a NaN derivative by tau.
    mass = jnp.sum(jnp.exp(jnp.where(negatives, differences, -jnp.inf)), axis=1)
    # A row without negatives: log 1 in the branch that is not taken keeps its gradient finite.
    log_mass = jnp.log(jnp.where(any_negative, mass, 1))
    odds = (nearest - rows.positive) * rows.inverse_temperature + log_mass
    return jnp.where(any_negative, odds, -jnp.inf)


def nearest_negative(rows: Rows, negatives: jax.Array) -> jax.Array:
    """Returns the largest similarity among the negatives [n], without gradient; 0 where there are none."""
    similarities = jax.lax.stop_gradient(rows.similarities)
    nearest = jnp.max(similarities, axis=1, where=negatives, initial=-jnp.inf)
    return jnp.where(jnp.any(negatives, axis=1), nearest, 0)


def contrastive(
    similarities: jax.Array,
    positives: jax.Array,
    *,
    temperature: jax.typing.ArrayLike,
    where: jax.Array | None = None,
    epsilon: float = 0.0,
) -> jax.Array:
    r"""The contrastive loss (InfoNCE, NT-Xent, (N+1)-way softmax), one value an anchor.

    .. math:: L_i = -\log P_i, \quad
        P_i = \frac{e^{s_{ii}/\tau}}{e^{s_{ii}/\tau} + \sum_{k \ne i} e^{s_{ik}/\tau}}

    Args:
        similarities: [n, m], cosine in [-1, 1].
        positives: int [n], the column of each anchor's positive.
        temperature: positive scalar, or [n].
        where: bool [n, m], the candidates that count; the positive always does.
        epsilon: added to the probability inside the logarithm. The code behind Wang & Liu's tables
            has 1e-7, which caps the loss at 16.118 and damps the gradient of the hardest anchors; 0
            is the formula of the paper.

    Returns:
        [n], nats; 0 for a row without negatives.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import contrastive
        >>> similarities = jnp.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.8]])
        >>> loss = contrastive(similarities, jnp.array([0, 1]), temperature=0.5)
        >>> print(jnp.array_str(loss, precision=3))
        [0.313 0.833]

    References:
        F. Wang and H. Liu, Understanding the Behaviour of Contrastive Loss, CVPR 2021, equation 1.
        T. Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, ICML
        2020, equation 1. Its published code adds the means over the two views, twice the mean over
        all anchors.
    """
    rows = read_rows(similarities, positives, temperature, where)
    return negative_log_probability(log_odds(rows), epsilon)


def negative_log_probability(odds: jax.Array, epsilon: float = 0.0) -> jax.Array:
    """Returns -log(sigmoid(-odds) + epsilon)."""
    loss = jax.nn.softplus(odds)
    return -jnp.logaddexp(-loss, jnp.log(jnp.asarray(epsilon, loss.dtype))) if epsilon else loss


def coupling(
    similarities: jax.Array,
    positives: jax.Array,
    *,
    temperature: jax.typing.ArrayLike,
    where: jax.Array | None = None,
) -> jax.Array:
    r"""The negative-positive coupling multiplier q_B: the probability that the softmax misses the positive.

    .. math:: q_i = 1 - P_i = \frac{U_i}{e^{s_{ii}/\tau} + U_i}, \quad U_i = \sum_{k \ne i} e^{s_{ik}/\tau}

    Every gradient of the contrastive loss is q times that of the decoupled loss.

    Args:
        similarities: [n, m], cosine in [-1, 1].
        positives: int [n], the column of each anchor's positive.
        temperature: positive scalar, or [n].
        where: bool [n, m], the candidates that count; the positive always does.

    Returns:
        [n] in [0, 1]; 0 for a row without negatives.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import coupling
        >>> similarities = jnp.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.8]])
        >>> loss = coupling(similarities, jnp.array([0, 1]), temperature=0.5)
        >>> print(jnp.array_str(loss, precision=3))
        [0.269 0.565]

    References:
        C.-H. Yeh et al., Decoupled Contrastive Learning, ECCV 2022.
    """
    return jax.nn.sigmoid(log_odds(read_rows(similarities, positives, temperature, where)))


# SimCLR's name, and that of the colour-space comparison, for the same function.
nt_xent = contrastive
softmax = contrastive
