"""The simple contrastive loss: the limit of infinite temperature, every negative pushed alike."""

import jax
import jax.numpy as jnp

from jaxcl.losses.inputs import Rows, read_rows


def simple(
    similarities: jax.Array,
    positives: jax.Array,
    *,
    temperature: jax.typing.ArrayLike = 1.0,
    where: jax.Array | None = None,
    negative_weight: float | None = None,
    count_positive: bool = False,
) -> jax.Array:
    r"""The simple contrastive loss, linear in the similarities.

    .. math:: L_i = -s_{ii} + \lambda \sum_{k \ne i} s_{ik}

    Args:
        similarities: [n, m], cosine in [-1, 1].
        positives: int [n], the column of each anchor's positive.
        temperature: checked and otherwise ignored; here so that every loss is called alike.
        where: bool [n, m], the candidates that count; the positive always does.
        negative_weight: lambda. None means 1 / (number of negatives), which balances attraction
            with repulsion; the paper gives it no value.
        count_positive: the form of the code behind the paper's tables: the mean runs over all N
            candidates, the positive among them, so that lambda is 1 / N and the positive's gradient
            is -(N - 1) / N.

    Returns:
        [n], in units of cosine; -s_ii for a row without negatives.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import simple
        >>> similarities = jnp.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.8]])
        >>> loss = simple(similarities, jnp.array([0, 1]))
        >>> print(jnp.array_str(loss, precision=3))
        [-0.85 -0.3 ]

    References:
        F. Wang and H. Liu, Understanding the Behaviour of Contrastive Loss, CVPR 2021, equations 3
        and 7.
    """
    rows = read_rows(similarities, positives, temperature, where)
    pushed = rows.negatives | rows.is_positive if count_positive else rows.negatives
    return attract_and_repel(rows, pushed, negative_weight)


def attract_and_repel(rows: Rows, pushed: jax.Array, weight: float | None) -> jax.Array:
    """Returns -s_pos + weight * (sum over the pushed candidates) [n]; weight None: their mean."""
    total = jnp.sum(jnp.where(pushed, rows.similarities, 0), axis=1)
    if weight is not None:
        return weight * total - rows.positive
    # A row without negatives divides 0 by 1.
    return total / jnp.maximum(jnp.sum(pushed, axis=1, dtype=total.dtype), 1) - rows.positive
