"""The contrastive loss: the softmax that picks the positive out of the candidates.

Everything here is written in terms of one number an anchor, the logarithm of the odds against its
positive, ``log(sum_k exp((s_k - s_pos) / tau))`` over its negatives. It is the decoupled loss as it
stands; its softplus is the contrastive loss, and its sigmoid is the probability of missing the
positive. So nothing cancels when the positive is nearly certain.
"""

import jax
import jax.numpy as jnp

from jaxcl.losses.inputs import Rows, by_row, read_rows


def log_odds(rows: Rows, negatives: jax.Array | None = None) -> jax.Array:
    """Returns log(sum_k exp((s_k - s_pos) / tau)) [n]; -inf for a row without negatives.

    Similarities are subtracted before they are scaled, so that the rounding error is that of the
    differences which matter and not that of 1 / tau.
    """
    negatives = rows.negatives if negatives is None else negatives
    nearest = nearest_similarity(rows.similarities, negatives)
    empty = nearest == -jnp.inf  # Asked so that NaN is not empty, and shows.
    nearest = jnp.where(empty, 0, nearest)
    log_mass = log_sum_exp(
        rows.similarities - nearest[:, None], negatives, rows.inverse_temperature
    )
    odds = (nearest - rows.positive) * rows.inverse_temperature + log_mass
    return jnp.where(empty, -jnp.inf, odds)


def log_sum_exp(
    differences: jax.Array, where: jax.Array, inverse_temperature: jax.Array
) -> jax.Array:
    """Returns log(sum_k exp(differences_k / tau)) [n], differences at most 0; 0 for empty rows."""
    # Masked after the scaling: -inf * (1 / tau) has a NaN derivative by tau.
    logits = jnp.where(where, differences * by_row(inverse_temperature), -jnp.inf)
    mass = jnp.sum(jnp.exp(logits), axis=1)
    # An empty row: the logarithm of 1 has a finite gradient.
    return jnp.log(jnp.where(mass == 0, 1, mass))


def nearest_similarity(similarities: jax.Array, where: jax.Array) -> jax.Array:
    """Returns the largest similarity that counts [n], without gradient; -inf for empty rows."""
    return jnp.max(jnp.where(where, jax.lax.stop_gradient(similarities), -jnp.inf), axis=1)


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

    Raises:
        TypeError: similarities or positives of a wrong dtype.
        ValueError: a shape that does not match, a positive that is no column, a temperature that is
            not positive and finite.

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
        2020, equation 1. Its published code adds the means over the two views: twice the mean over
        all anchors.
    """
    rows = read_rows(similarities, positives, temperature, where)
    return negative_log_probability(log_odds(rows), epsilon)


def negative_log_probability(odds: jax.Array, epsilon: float = 0.0) -> jax.Array:
    """Returns -log(sigmoid(-odds) + epsilon)."""
    return raise_probability(jax.nn.softplus(odds), epsilon)


def raise_probability(loss: jax.Array, epsilon: float) -> jax.Array:
    """Returns -log(exp(-loss) + epsilon)."""
    if not epsilon:
        return loss
    return -jnp.logaddexp(-loss, jnp.log(jnp.asarray(epsilon, loss.dtype)))


def coupling(
    similarities: jax.Array,
    positives: jax.Array,
    *,
    temperature: jax.typing.ArrayLike,
    where: jax.Array | None = None,
) -> jax.Array:
    r"""The negative-positive coupling multiplier q_B: the probability of missing the positive.

    .. math:: q_i = 1 - P_i = \frac{U_i}{e^{s_{ii}/\tau} + U_i}, \quad
        U_i = \sum_{k \ne i} e^{s_{ik}/\tau}

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
        >>> multiplier = coupling(similarities, jnp.array([0, 1]), temperature=0.5)
        >>> print(jnp.array_str(multiplier, precision=3))
        [0.269 0.565]

    References:
        C.-H. Yeh et al., Decoupled Contrastive Learning, ECCV 2022.
    """
    return jax.nn.sigmoid(log_odds(read_rows(similarities, positives, temperature, where)))


# SimCLR's name, and that of the colour-space comparison, for the same function.
nt_xent = contrastive
softmax = contrastive
