"""Losses of distances and a margin: spring-like and triplet.

Distances are those of unit vectors, d = sqrt(2 - 2 s).
"""

from typing import Literal

import jax
import jax.numpy as jnp

from jaxcl.losses.inputs import check_constant, read_rows

Form = Literal["coded", "printed"]


def spring(
    similarities: jax.Array,
    positives: jax.Array,
    *,
    temperature: jax.typing.ArrayLike = 1.0,
    where: jax.Array | None = None,
    margin: float = 1.0,
    form: Form = "coded",
) -> jax.Array:
    r"""The spring-like loss: pull the positive, push every negative that is within the margin.

    .. math:: L_i = d_{ii} + \sum_{k \ne i} [\mathit{margin} - d_{ik}]_+

    Args:
        similarities: [n, m], cosine in [-1, 1].
        positives: int [n], the column of each anchor's positive.
        temperature: checked and otherwise ignored; here so that every loss is called alike.
        where: bool [n, m], the candidates that count; the positive always does.
        margin: a distance, in (0, 2].
        form: "coded" is the formula above, what the report's numbers come from; "printed" is half
            of it, the report's formula. Both use distances where Hadsell et al. use their squares.

    Returns:
        [n], a distance; the positive's alone for a row without negatives.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import spring
        >>> similarities = jnp.array([[0.98, 0.82, -1.0], [0.5, 0.5, 0.0]])
        >>> loss = spring(similarities, jnp.array([0, 1]))
        >>> print(jnp.array_str(loss, precision=3))
        [0.6 1. ]

    References:
        Z. Wang et al., The Effect of Contrastive Losses on Unsupervised Representation Learning,
        report for EECS 442, University of Michigan, 2020.
        R. Hadsell, S. Chopra and Y. LeCun, Dimensionality Reduction by Learning an Invariant
        Mapping, CVPR 2006.
    """
    _check(margin, form)
    rows = read_rows(similarities, positives, temperature, where)
    push = jax.nn.relu(margin - distance(rows.similarities))
    loss = distance(rows.positive) + jnp.sum(jnp.where(rows.negatives, push, 0), axis=1)
    return 0.5 * loss if form == "printed" else loss


def triplet(
    similarities: jax.Array,
    positives: jax.Array,
    *,
    temperature: jax.typing.ArrayLike = 1.0,
    where: jax.Array | None = None,
    margin: float = 1.0,
    form: Form = "coded",
) -> jax.Array:
    r"""The triplet loss, summed over all negatives.

    .. math:: L_i = \sum_{k \ne i} [d_{ii} - d_{ik} + \mathit{margin}]_+

    Args:
        similarities: [n, m], cosine in [-1, 1].
        positives: int [n], the column of each anchor's positive.
        temperature: checked and otherwise ignored; here so that every loss is called alike.
        where: bool [n, m], the candidates that count; the positive always does.
        margin: a distance, in (0, 2].
        form: "printed" is the formula above, the report's for one negative; "coded" adds the
            constant margin, because its code also compares the positive with itself. The gradients
            agree.

    Returns:
        [n], a distance; no hinge but the constant for a row without negatives.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import triplet
        >>> similarities = jnp.array([[0.98, 0.82, -1.0], [0.5, 0.5, 0.0]])
        >>> loss = triplet(similarities, jnp.array([0, 1]), form="printed")
        >>> print(jnp.array_str(loss, precision=3))
        [0.6   1.586]

    References:
        The report named at `spring`.
        F. Schroff, D. Kalenichenko and J. Philbin, FaceNet, CVPR 2015 (with squared distances).
    """
    _check(margin, form)
    rows = read_rows(similarities, positives, temperature, where)
    difference = distance(rows.positive)[:, None] - distance(rows.similarities)
    hinge = jnp.where(rows.negatives, jax.nn.relu(difference + margin), 0)
    return jnp.sum(hinge, axis=1) + (margin if form == "coded" else 0.0)


def distance(similarities: jax.Array) -> jax.Array:
    """Returns the distance of unit vectors, with gradient 0 where they coincide."""
    squared = 2 - 2 * similarities
    # Rounding makes it slightly negative; the square root has no derivative at 0.
    touching = squared <= 0
    return jnp.where(touching, 0, jnp.sqrt(jnp.where(touching, 1, squared)))


def _check(margin: float, form: str) -> None:
    check_constant("margin", margin, "a distance on the unit sphere, in (0, 2]", 0 < margin <= 2)
    check_constant("form", form, "'coded' or 'printed'", form in ("coded", "printed"))
