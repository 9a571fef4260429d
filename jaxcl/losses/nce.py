"""Noise-contrastive estimation: telling the positive from noise, one candidate at a time."""

import math

import jax
import jax.numpy as jnp

from jaxcl.losses.inputs import Rows, by_row, check_constant, read_rows


def nce(
    similarities: jax.Array,
    positives: jax.Array,
    *,
    temperature: jax.typing.ArrayLike,
    where: jax.Array | None = None,
    num_data: int | None = None,
    log_normalizer: jax.typing.ArrayLike | None = None,
    detach_normalizer: bool = False,
    epsilon: float = 0.0,
) -> jax.Array:
    r"""Noise-contrastive estimation against uniform noise, with M negatives.

    .. math:: L_i = -\log h_{ii} - \sum_{k \ne i} \log (1 - h_{ik}), \quad
        h_{ij} = \frac{P_{ij}}{P_{ij} + M / N}, \quad P_{ij} = \frac{e^{s_{ij}/\tau}}{Z}

    The normalizer Z of the batch couples its anchors. Pass `log_normalizer`, from
    `nce_log_normalizer` on the first batch, to keep it fixed as CMC does, or to evaluate in chunks.

    Args:
        similarities: [n, m], cosine in [-1, 1].
        positives: int [n], the column of each anchor's positive.
        temperature: positive scalar, or [n].
        where: bool [n, m], the candidates that count; the positive always does.
        num_data: N, the number of instances that noise is drawn from; None means m.
        log_normalizer: log Z. None computes it from these rows, at every call.
        detach_normalizer: whether to stop the gradient through Z. The code of the report does not.
        epsilon: added to the denominator of h, and of 1 - h; 1e-7 in the code of CMC and of the
            report, 0 in the formula.

    Returns:
        [n], nats; 0 for a row without negatives.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import nce
        >>> similarities = jnp.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.8]])
        >>> loss = nce(similarities, jnp.array([0, 1]), temperature=0.5)
        >>> print(jnp.array_str(loss, precision=3))
        [1.047 1.611]

    References:
        M. Gutmann and A. Hyvarinen, Noise-contrastive estimation, AISTATS 2010.
        Z. Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR
        2018.
        Y. Tian, D. Krishnan and P. Isola, Contrastive Multiview Coding, ECCV 2020.
    """
    rows = read_rows(similarities, positives, temperature, where)
    size = _number_of_data(rows, num_data)
    if log_normalizer is None and detach_normalizer:
        log_normalizer = jax.lax.stop_gradient(_batch_log_normalizer(rows, size))
    elif log_normalizer is None:
        rows = _subtract_largest(rows)
        log_normalizer = _batch_log_normalizer(rows, size)
    # A row without negatives has M = 0; 1 keeps its discarded branch finite.
    noise = jnp.log(jnp.maximum(rows.num_negatives, 1) / size)
    floor = jnp.log(jnp.exp(noise) + epsilon) if epsilon else noise
    scaled = rows.similarities * by_row(rows.inverse_temperature) - log_normalizer
    positive = rows.positive * rows.inverse_temperature - log_normalizer
    rejected = jax.nn.softplus(scaled - floor[:, None]) + (floor - noise)[:, None]
    rejection = jnp.sum(jnp.where(rows.negatives, rejected, 0), axis=1)
    loss = jax.nn.softplus(floor - positive) + rejection
    return jnp.where(jnp.any(rows.negatives, axis=1), loss, 0)


def nce_log_normalizer(
    similarities: jax.Array,
    positives: jax.Array,
    *,
    temperature: jax.typing.ArrayLike,
    where: jax.Array | None = None,
    num_data: int | None = None,
) -> jax.Array:
    r"""The logarithm of the normalizer of `nce`, estimated from a batch.

    .. math:: Z = N \cdot \mathrm{mean}_{ij} \, e^{s_{ij}/\tau}

    Args:
        similarities: [n, m], cosine in [-1, 1].
        positives: int [n], the column of each anchor's positive.
        temperature: positive scalar, or [n].
        where: bool [n, m], the candidates that count; the positive always does.
        num_data: N; None means m.

    Returns:
        [], log Z.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import nce_log_normalizer
        >>> similarities, positives = jnp.zeros((2, 3)), jnp.array([0, 1])
        >>> log_z = nce_log_normalizer(similarities, positives, temperature=0.5, num_data=10)
        >>> print(f"{jnp.exp(log_z):.1f}")
        10.0

    References:
        Y. Tian, D. Krishnan and P. Isola, Contrastive Multiview Coding, ECCV 2020: its code fixes Z
        at its value in the first batch.
    """
    rows = read_rows(similarities, positives, temperature, where)
    return _batch_log_normalizer(rows, _number_of_data(rows, num_data))


def _number_of_data(rows: Rows, num_data: int | None) -> int:
    size = rows.similarities.shape[1] if num_data is None else num_data
    check_constant("num_data", size, "at least 1", size >= 1)
    return size


def _subtract_largest(rows: Rows) -> Rows:
    """Returns the rows less their common maximum, which the normalizer of the batch takes up again.

    So that 1 / tau does not cancel in the derivative by tau. Anchors with temperatures of their own
    have no common shift.
    """
    if rows.inverse_temperature.ndim:
        return rows
    counted = rows.negatives | rows.is_positive
    largest = jnp.max(jnp.where(counted, jax.lax.stop_gradient(rows.similarities), -jnp.inf))
    return rows._replace(similarities=rows.similarities - largest, positive=rows.positive - largest)


def _batch_log_normalizer(rows: Rows, num_data: int) -> jax.Array:
    counted = rows.negatives | rows.is_positive
    scaled = rows.similarities * by_row(rows.inverse_temperature)
    total = jax.nn.logsumexp(jnp.where(counted, scaled, -jnp.inf))
    return total - jnp.log(jnp.sum(counted, dtype=scaled.dtype)) + math.log(num_data)
