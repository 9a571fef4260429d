"""Alignment and uniformity, the two limits of the contrastive loss, optimized directly."""

import jax
import jax.numpy as jnp

from jaxcl.losses.inputs import Rows, check_constant, read_rows


def alignment_uniformity(
    similarities: jax.Array,
    positives: jax.Array,
    *,
    temperature: jax.typing.ArrayLike = 1.0,
    where: jax.Array | None = None,
    alpha: float = 2.0,
    t: float = 2.0,
    alignment_weight: float = 1.0,
    uniformity_weight: float = 1.0,
    log_potential: jax.typing.ArrayLike | None = None,
) -> jax.Array:
    r"""A weighted sum of the alignment of each anchor and the uniformity of all.

    .. math:: L_i = w_a \, d_{ii}^\alpha + w_u \log \mathrm{mean}_{k \ne j} \, e^{-t d_{jk}^2},
        \quad d^2 = 2 - 2 s

    The mean runs over all pairs of the batch and couples the anchors. To evaluate in chunks, pass
    its logarithm as `log_potential`; the value and the gradient of the mean over all anchors are
    the same if every anchor has as many negatives.

    Args:
        similarities: [n, m], cosine in [-1, 1].
        positives: int [n], the column of each anchor's positive.
        temperature: checked and otherwise ignored; here so that every loss is called alike.
        where: bool [n, m], the candidates that count; the positive always does. As published,
            uniformity is within one view: exclude the other view's candidates here.
        alpha: power of the distance to the positive, positive.
        t: sharpness of the potential, positive.
        alignment_weight: w_a.
        uniformity_weight: w_u.
        log_potential: the logarithm of the mean potential of all pairs, computed beforehand (see
            `uniformity_log_potential`); its own gradient is not used.

    Returns:
        [n]; the alignment alone where there are no negatives.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import alignment_uniformity
        >>> similarities = jnp.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.8]])
        >>> loss = alignment_uniformity(similarities, jnp.array([0, 1]))
        >>> print(jnp.array_str(loss, precision=3))
        [-1.81 -1.61]

    References:
        T. Wang and P. Isola, Understanding Contrastive Representation Learning through Alignment
        and Uniformity on the Hypersphere, ICML 2020.
    """
    check_constant("alpha", alpha, "positive", alpha > 0)
    rows = read_rows(similarities, positives, temperature, where)
    uniformity = _uniformity(rows, t, log_potential)
    return alignment_weight * _power_of_distance(rows.positive, alpha) + (
        uniformity_weight * uniformity
    )


def uniformity_log_potential(
    similarities: jax.Array,
    positives: jax.Array,
    *,
    where: jax.Array | None = None,
    t: float = 2.0,
) -> jax.Array:
    r"""The uniformity of a batch, the logarithm of its mean Gaussian potential.

    .. math:: \log \mathrm{mean}_{k \ne j} \, e^{-t d_{jk}^2}, \quad d^2 = 2 - 2 s

    Args:
        similarities: [n, m], cosine in [-1, 1].
        positives: int [n], the column of each anchor's positive, which is no pair.
        where: bool [n, m], the candidates that count.
        t: sharpness of the potential, positive.

    Returns:
        [], in [-4 t, 0]; 0 without any pair.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import uniformity_log_potential
        >>> print(uniformity_log_potential(jnp.zeros((2, 3)), jnp.array([0, 1])))
        -4.0
    """
    rows = read_rows(similarities, positives, where=where)
    return _uniformity(rows, t, None)


def _uniformity(rows: Rows, t: float, log_potential: jax.typing.ArrayLike | None) -> jax.Array:
    """Returns [], or [n] of the same mean and gradient when the log potential is given."""
    check_constant("t", t, "positive", t > 0)
    logits = 2 * t * (rows.similarities - 1)
    if log_potential is not None:
        known = jax.lax.stop_gradient(jnp.asarray(log_potential, logits.dtype))
        ratio = jnp.where(rows.negatives, jnp.exp(jnp.where(rows.negatives, logits - known, 0)), 0)
        # log x = log c + x / c - 1 at x = c, and the derivatives agree there.
        return known + jnp.sum(ratio, axis=1) / jnp.maximum(rows.num_negatives, 1) - 1
    pairs = jnp.sum(rows.num_negatives)
    some = pairs > 0
    largest = jnp.max(jnp.where(rows.negatives, jax.lax.stop_gradient(logits), -jnp.inf))
    largest = jnp.where(some, largest, 0)
    mass = jnp.sum(jnp.exp(jnp.where(rows.negatives, logits - largest, -jnp.inf)))
    return jnp.where(some, jnp.log(jnp.where(some, mass / jnp.maximum(pairs, 1), 1)) + largest, 0)


def _power_of_distance(similarities: jax.Array, alpha: float) -> jax.Array:
    squared = 2 - 2 * similarities
    if alpha == 2:
        return squared
    # Rounding makes it slightly negative; below alpha 2 the power has no derivative at 0.
    touching = squared <= 0
    return jnp.where(touching, 0, jnp.where(touching, 1, squared) ** (alpha / 2))
