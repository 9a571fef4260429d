"""The loss of two temperatures: one for the anchor's own negatives, one for its weight."""

import jax
import jax.numpy as jnp

from jaxcl.losses.inputs import check_constant, read_rows
from jaxcl.losses.softmax import log_odds


def dual_temperature(
    similarities: jax.Array,
    positives: jax.Array,
    *,
    temperature: jax.typing.ArrayLike,
    where: jax.Array | None = None,
    ratio: float = 10.0,
) -> jax.Array:
    r"""The contrastive loss whose anchors are weighted at a second, higher temperature.

    .. math:: L_i = \mathrm{sg} \left[ \frac{q_i(c \tau)}{q_i(\tau)} \right] (-\log P_i(\tau)),
        \quad q_i = 1 - P_i

    so that q at c tau takes the place of q at tau in front of the gradient; sg stops the gradient.

    Args:
        similarities: [n, m], cosine in [-1, 1].
        positives: int [n], the column of each anchor's positive.
        temperature: tau, positive scalar, or [n].
        where: bool [n, m], the candidates that count; the positive always does.
        ratio: c, positive; 1 is the contrastive loss.

    Returns:
        [n], nats; 0 for a row without negatives.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import dual_temperature
        >>> similarities = jnp.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.8]])
        >>> loss = dual_temperature(similarities, jnp.array([0, 1]), temperature=0.1)
        >>> print(jnp.array_str(loss, precision=3))
        [0.461 0.843]

    References:
        C. Zhang et al., Dual Temperature Helps Contrastive Learning Without Many Negative Samples,
        CVPR 2022.
    """
    check_constant("ratio", ratio, "positive", ratio > 0)
    rows = read_rows(similarities, positives, temperature, where)
    odds = log_odds(rows)
    softened = log_odds(rows._replace(inverse_temperature=rows.inverse_temperature / ratio))
    empty = odds == -jnp.inf
    odds = jnp.where(empty, 0, odds)
    weight = jax.lax.stop_gradient(jax.nn.sigmoid(softened))
    # -log P / q and its weighted gradient, q(c tau) d(odds): neither divides by a q of e^-200.
    value = jax.lax.stop_gradient(_loss_over_miss(odds))
    return jnp.where(empty, 0, weight * (value + odds - jax.lax.stop_gradient(odds)))


def _loss_over_miss(odds: jax.Array) -> jax.Array:
    """Returns softplus(odds) / sigmoid(odds), which is 1 in the limit of -inf."""
    bounded = jnp.maximum(odds, -30)
    return jnp.where(odds > -30, jax.nn.softplus(bounded) * (1 + jnp.exp(-bounded)), 1)
