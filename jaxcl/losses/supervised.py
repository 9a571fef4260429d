"""The supervised contrastive loss: several positives an anchor."""

import jax
import jax.numpy as jnp

from jaxcl.losses.inputs import (
    by_row,
    check_constant,
    check_where,
    invert_temperature,
    read_mask_of_positives,
    read_similarities,
)
from jaxcl.losses.softmax import log_sum_exp, nearest_similarity


def supcon(
    similarities: jax.Array,
    positives: jax.Array,
    *,
    temperature: jax.typing.ArrayLike,
    where: jax.Array | None = None,
    base_temperature: float | None = None,
) -> jax.Array:
    r"""The supervised contrastive loss (SupCon), with the mean outside of the logarithm.

    .. math:: L_i = -\frac{\tau}{\tau_0} \frac{1}{|P(i)|} \sum_{p \in P(i)}
        \log \frac{e^{s_{ip}/\tau}}{\sum_{k \in A(i)} e^{s_{ik}/\tau}}

    A(i) is every candidate that counts, the positives P(i) among them. With one positive it is the
    contrastive loss.

    Args:
        similarities: [n, m], cosine in [-1, 1].
        positives: bool [n, m], the positives of each anchor (itself not among them); or int [n].
        temperature: positive scalar, or [n].
        where: bool [n, m], the candidates that count (not the anchor itself); positives always do.
        base_temperature: tau_0. None means tau, a factor of one; 0.07 in the published code.

    Returns:
        [n], nats; 0 for a row without positives.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import supcon
        >>> similarities = jnp.array([[0.9, 0.7, 0.0], [0.2, 0.8, 0.8]])
        >>> positives = jnp.array([[True, True, False], [False, True, False]])
        >>> loss = supcon(similarities, positives, temperature=0.5)
        >>> print(jnp.array_str(loss, precision=3))
        [0.807 0.833]

    References:
        P. Khosla et al., Supervised Contrastive Learning, NeurIPS 2020, equation 2.
    """
    similarities = read_similarities(similarities)
    is_positive = read_mask_of_positives(positives, similarities)
    negatives = ~is_positive
    if where is not None:
        negatives = negatives & check_where(where, similarities)
    inverse = invert_temperature(temperature, similarities)
    nearest_positive = nearest_similarity(similarities, is_positive)
    empty = nearest_positive == -jnp.inf
    nearest_positive = jnp.where(empty, 0, nearest_positive)
    differences = similarities - nearest_positive[:, None]
    odds = _log_odds(differences, is_positive, negatives, inverse)
    loss = _spread(differences * by_row(inverse), is_positive) + jax.nn.softplus(odds)
    if base_temperature is not None:
        rule = "positive, or None for the temperature itself"
        check_constant("base_temperature", base_temperature, rule, base_temperature > 0)
        loss = loss / (base_temperature * inverse)
    return jnp.where(empty, 0, loss)


@jax.custom_jvp
def _spread(logits: jax.Array, where: jax.Array) -> jax.Array:
    """Returns the log-sum-exp less the mean [n] of the logits that count, at most 0.

    For a single one it is log 1, whatever the logit. Its derivative, softmax less 1 / count, is
    written out so that it is exactly 0 there: left to cancel against the rest of the loss it would
    swallow the gradient of a positive that is nearly certain.
    """
    counted = jnp.where(where, logits, 0)
    log_mass = log_sum_exp(logits, where, jnp.ones((), logits.dtype))
    return log_mass - jnp.sum(counted, axis=1) / _count(where, logits.dtype)


@_spread.defjvp
def _spread_jvp(
    primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    logits, where = primals
    weights = jax.nn.softmax(logits, axis=1, where=where)
    weights = jnp.where(where, weights - 1 / _count(where, logits.dtype)[:, None], 0)
    return _spread(logits, where), jnp.sum(weights * tangents[0], axis=1)


def _count(where: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
    # 1 for an empty row, which is discarded.
    return jnp.maximum(jnp.sum(where, axis=1, dtype=dtype), 1)


def _log_odds(
    differences: jax.Array, is_positive: jax.Array, negatives: jax.Array, inverse: jax.Array
) -> jax.Array:
    """Returns log(mass of the negatives / mass of the positives); -inf without negatives."""
    log_mass = log_sum_exp(differences, is_positive, inverse)
    nearest = nearest_similarity(differences, negatives)
    empty = nearest == -jnp.inf
    nearest = jnp.where(empty, 0, nearest)
    log_negatives = log_sum_exp(differences - nearest[:, None], negatives, inverse)
    return jnp.where(empty, -jnp.inf, nearest * inverse + log_negatives - log_mass)
