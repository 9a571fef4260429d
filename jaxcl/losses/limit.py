"""The limit of zero temperature: only the nearest negative is left."""

import jax
import jax.numpy as jnp

from jaxcl.losses.inputs import read_rows


def zero_temperature(
    similarities: jax.Array,
    positives: jax.Array,
    *,
    temperature: jax.typing.ArrayLike = 1.0,
    where: jax.Array | None = None,
) -> jax.Array:
    r"""The limit of temperature times the contrastive loss as the temperature goes to zero.

    .. math:: L_i = [s_{max} - s_{ii}]_+, \quad s_{max} = \max_{k \ne i} s_{ik}

    A triplet loss of margin 0 against the nearest negative. Negatives that tie for the nearest
    share the gradient.

    Args:
        similarities: [n, m], cosine in [-1, 1].
        positives: int [n], the column of each anchor's positive.
        temperature: checked and otherwise ignored; here so that every loss is called alike.
        where: bool [n, m], the candidates that count; the positive always does.

    Returns:
        [n], in units of cosine; 0 for a row without negatives.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import zero_temperature
        >>> similarities = jnp.array([[0.9, 0.1, 0.0], [0.2, 0.4, 0.8]])
        >>> loss = zero_temperature(similarities, jnp.array([0, 1]))
        >>> print(jnp.array_str(loss, precision=3))
        [0.  0.4]

    References:
        F. Wang and H. Liu, Understanding the Behaviour of Contrastive Loss, CVPR 2021, equation 6.
    """
    rows = read_rows(similarities, positives, temperature, where)
    # A row without negatives has the maximum -inf, which the hinge turns into 0.
    nearest = jnp.max(jnp.where(rows.negatives, rows.similarities, -jnp.inf), axis=1)
    return jax.nn.relu(nearest - rows.positive)
