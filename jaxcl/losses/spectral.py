"""The spectral contrastive loss: a matrix factorization written as a contrastive loss."""

import jax
import jax.numpy as jnp

from jaxcl.losses.inputs import check_constant, read_rows


def spectral(
    similarities: jax.Array,
    positives: jax.Array,
    *,
    temperature: jax.typing.ArrayLike = 1.0,
    where: jax.Array | None = None,
    mu: float = 1.0,
) -> jax.Array:
    r"""The spectral contrastive loss.

    .. math:: L_i = \frac{1}{\mu} \left( -2 s_{ii} + \frac{1}{M} \sum_{k \ne i} s_{ik}^2 \right)

    with M negatives. Here s are inner products of embeddings that need not be on the sphere.

    Args:
        similarities: [n, m], inner products.
        positives: int [n], the column of each anchor's positive.
        temperature: checked and otherwise ignored; here so that every loss is called alike.
        where: bool [n, m], the candidates that count; the positive always does.
        mu: bound of the squared length of the embeddings, which `shorten` enforces. The published
            code has 1 for CIFAR and 10 for ImageNet.

    Returns:
        [n]; the positive's term alone for a row without negatives.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import spectral
        >>> similarities = jnp.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.8]])
        >>> loss = spectral(similarities, jnp.array([0, 1]))
        >>> print(jnp.array_str(loss, precision=3))
        [-1.795 -1.26 ]

    References:
        J. HaoChen et al., Provable Guarantees for Self-Supervised Deep Learning with Spectral
        Contrastive Loss, NeurIPS 2021.
    """
    check_constant("mu", mu, "positive", mu > 0)
    rows = read_rows(similarities, positives, temperature, where)
    squares = jnp.sum(jnp.where(rows.negatives, jnp.square(rows.similarities), 0), axis=1)
    # A row without negatives divides 0 by 1.
    return (squares / jnp.maximum(rows.num_negatives, 1) - 2 * rows.positive) / mu
