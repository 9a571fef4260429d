"""The sigmoid loss (SigLIP): each pair is a binary decision of its own, no normalization."""

import jax
import jax.numpy as jnp

from jaxcl.losses.inputs import (
    by_row,
    check_where,
    invert_temperature,
    read_mask_of_positives,
    read_similarities,
)


def sigmoid(
    similarities: jax.Array,
    positives: jax.Array,
    *,
    temperature: jax.typing.ArrayLike,
    where: jax.Array | None = None,
    bias: jax.typing.ArrayLike = -10.0,
) -> jax.Array:
    r"""The pairwise sigmoid loss.

    .. math:: L_i = -\sum_j \log \sigma(z_{ij} (s_{ij} / \tau + b)), \quad
        z_{ij} = 1 \text{ for positives, } -1 \text{ for negatives}

    A sum over candidates and a mean over anchors, as published.

    Args:
        similarities: [n, m], cosine in [-1, 1].
        positives: int [n], the column of each anchor's positive; or bool [n, m].
        temperature: positive scalar, or [n]. Published as its inverse t, which is learned and
            begins at 10: see `temperature_of_log_scale`.
        where: bool [n, m], the candidates that count; positives always do.
        bias: b, which is learned and begins at -10, so that training starts near the prior of one
            positive among many.

    Returns:
        [n], nats.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import sigmoid
        >>> similarities = jnp.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.8]])
        >>> loss = sigmoid(similarities, jnp.array([0, 1]), temperature=0.1, bias=-5.0)
        >>> print(jnp.array_str(loss, precision=3))
        [0.043 3.146]

    References:
        X. Zhai et al., Sigmoid Loss for Language Image Pre-Training, ICCV 2023.
    """
    similarities = read_similarities(similarities)
    is_positive = read_mask_of_positives(positives, similarities)
    inverse = invert_temperature(temperature, similarities)
    logits = similarities * by_row(inverse) + jnp.asarray(bias, similarities.dtype)
    terms = jax.nn.softplus(jnp.where(is_positive, -logits, logits))
    if where is not None:
        terms = jnp.where(is_positive | check_where(where, similarities), terms, 0)
    return jnp.sum(terms, axis=1)
