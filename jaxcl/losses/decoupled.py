"""Decoupled contrastive learning: no positive in the denominator; and its weighted form."""

import jax
import jax.numpy as jnp

from jaxcl.losses.inputs import check_constant, check_shared, read_rows
from jaxcl.losses.softmax import log_odds


def dcl(
    similarities: jax.Array,
    positives: jax.Array,
    *,
    temperature: jax.typing.ArrayLike,
    where: jax.Array | None = None,
) -> jax.Array:
    r"""The decoupled contrastive loss (DCL).

    .. math:: L_i = -\frac{s_{ii}}{\tau} + \log \sum_{k \ne i} e^{s_{ik}/\tau}

    Its gradients are those of the contrastive loss without the multiplier q_B (see `coupling`). It
    can be negative.

    Args:
        similarities: [n, m], cosine in [-1, 1].
        positives: int [n], the column of each anchor's positive.
        temperature: positive scalar, or [n].
        where: bool [n, m], the candidates that count; the positive always does.

    Returns:
        [n], nats; 0 for a row without negatives, where the formula has no value.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import dcl
        >>> similarities = jnp.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.8]])
        >>> loss = dcl(similarities, jnp.array([0, 1]), temperature=0.5)
        >>> print(jnp.array_str(loss, precision=3))
        [-1.002  0.263]

    References:
        C.-H. Yeh et al., Decoupled Contrastive Learning, ECCV 2022, equation 6.
    """
    odds = log_odds(read_rows(similarities, positives, temperature, where))
    return jnp.where(odds == -jnp.inf, 0, odds)


def dclw(
    similarities: jax.Array,
    positives: jax.Array,
    *,
    temperature: jax.typing.ArrayLike,
    where: jax.Array | None = None,
    sigma: float = 0.5,
    detach_weights: bool = False,
    weights: jax.Array | None = None,
) -> jax.Array:
    r"""DCL with the positive term weighted against easy positives (DCLW).

    .. math:: L_i = -w_i \frac{s_{ii}}{\tau} + \log \sum_{k \ne i} e^{s_{ik}/\tau}, \quad
        w_i = 2 - \frac{e^{s_{ii}/\sigma}}{\frac{1}{n} \sum_j e^{s_{jj}/\sigma}}

    The weights couple the anchors. To evaluate in chunks, pass `weights` that `dclw_weights` made
    from all anchors.

    Args:
        similarities: [n, m], cosine in [-1, 1].
        positives: int [n], the column of each anchor's positive.
        temperature: positive scalar, or [n].
        where: bool [n, m], the candidates that count; the positive always does.
        sigma: width of the weights, in units of cosine. 0.5 is the value of the public
            implementations; whether it is the paper's we could not check.
        detach_weights: whether to stop the gradient through the weights. The formula does not say
            so and implementations differ; the default is the formula as it stands.
        weights: [n] to use instead of those of these rows.

    Returns:
        [n], nats; 0 for a row without negatives.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import dclw
        >>> similarities = jnp.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.8]])
        >>> loss = dclw(similarities, jnp.array([0, 1]), temperature=0.5)
        >>> print(jnp.array_str(loss, precision=3))
        [-0.822  0.104]

    References:
        C.-H. Yeh et al., Decoupled Contrastive Learning, ECCV 2022.
    """
    rows = read_rows(similarities, positives, temperature, where)
    weight = dclw_weights(rows.positive, sigma=sigma)
    if weights is not None:
        weight = check_shared("weights", weights, rows.positive)
    if detach_weights:
        weight = jax.lax.stop_gradient(weight)
    odds = log_odds(rows)
    # -w s_pos / tau + log U, from the odds so that the large terms cancel before they are rounded.
    weighted = odds + (1 - weight) * rows.positive * rows.inverse_temperature
    return jnp.where(odds == -jnp.inf, 0, weighted)


def dclw_weights(positive_similarities: jax.Array, *, sigma: float = 0.5) -> jax.Array:
    r"""The weights of `dclw`, from the similarities of all anchors with their positives.

    .. math:: w_i = 2 - n \, \mathrm{softmax}(s / \sigma)_i

    Their mean is 1. They are at most 2 and can be negative.

    Args:
        positive_similarities: [n], cosine in [-1, 1], of all anchors of the batch.
        sigma: width, in units of cosine.

    Returns:
        [n].

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import dclw_weights
        >>> loss = dclw_weights(jnp.array([0.9, 0.8]))
        >>> print(jnp.array_str(loss, precision=3))
        [0.9 1.1]

    References:
        C.-H. Yeh et al., Decoupled Contrastive Learning, ECCV 2022.
    """
    check_constant("sigma", sigma, "positive", sigma > 0)
    n = positive_similarities.shape[0]
    return 2 - n * jax.nn.softmax(positive_similarities / sigma)
