"""A temperature for each anchor, such that its relative penalties have a given entropy.

Entropy grows strictly with temperature (dH / dtau = Var_r(s) / tau^3), so that bisection finds it.
"""

import math

import jax
import jax.numpy as jnp

from jaxcl.losses.hard import choose
from jaxcl.losses.inputs import Rows, by_row, check_constant, read_rows
from jaxcl.losses.softmax import log_odds, nearest_similarity

# The code behind Wang & Liu's tables searches (0, 10).
LOWEST, HIGHEST = 1e-3, 10.0
# Halves an interval of log(10 / 0.001) = 9.2 to less than 1e-5, relative to the temperature.
STEPS = 20


def fixed_entropy(
    similarities: jax.Array,
    positives: jax.Array,
    *,
    temperature: jax.typing.ArrayLike = 1.0,
    where: jax.Array | None = None,
    entropy: float | None = None,
    num_negatives: int | None = None,
    alpha: float | None = None,
) -> jax.Array:
    r"""The contrastive loss at each anchor's own temperature of fixed entropy.

    .. math:: L_i = -\log P_i(\tau_i), \quad H(r_i(\tau_i)) = H^*, \quad
        r_{ij} = \frac{e^{s_{ij}/\tau}}{\sum_{k \ne i} e^{s_{ik}/\tau}}

    The temperature carries no gradient. See `entropy_temperature` for its range.

    Args:
        similarities: [n, m], cosine in [-1, 1].
        positives: int [n], the column of each anchor's positive.
        temperature: checked and otherwise ignored; here so that every loss is called alike.
        where: bool [n, m], the candidates that count; the positive always does.
        entropy: H*, in nats. None means half of the largest possible, log(negatives) / 2.
        num_negatives: K, to count only each anchor's K nearest negatives; see `hard`.
        alpha: K as a fraction of each anchor's negatives; see `hard`.

    Returns:
        [n], nats; 0 for a row without negatives.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import fixed_entropy
        >>> similarities = jnp.array([[0.5, 0.4, 0.0], [0.2, 0.8, 0.6]])
        >>> loss = fixed_entropy(similarities, jnp.array([0, 1]), entropy=0.5)
        >>> print(jnp.array_str(loss, precision=3))
        [0.633 0.485]

    References:
        F. Wang and H. Liu, Understanding the Behaviour of Contrastive Loss, CVPR 2021, section 3.2
        and its supplement (H grows with tau); a loss of this name is in the first author's code.
    """
    rows = read_rows(similarities, positives, temperature, where)
    negatives = _negatives(rows, num_negatives, alpha)
    found = _find_temperature(rows, negatives, entropy)
    return jax.nn.softplus(log_odds(rows._replace(inverse_temperature=1 / found), negatives))


def entropy_temperature(
    similarities: jax.Array,
    positives: jax.Array,
    *,
    entropy: float | None = None,
    where: jax.Array | None = None,
    num_negatives: int | None = None,
    alpha: float | None = None,
) -> jax.Array:
    """The temperature at which each anchor's relative penalties have a given entropy.

    Args:
        similarities: [n, m], cosine in [-1, 1].
        positives: int [n], the column of each anchor's positive.
        entropy: in nats. None means half of the largest possible, log(negatives) / 2.
        where: bool [n, m], the candidates that count; the positive always does.
        num_negatives: K, to count only each anchor's K nearest negatives; see `hard`.
        alpha: K as a fraction of each anchor's negatives; see `hard`.

    Returns:
        [n], without gradient, in [0.001, 10]. A row whose entropy is always lower (too few or too
        different negatives) gets 10, one whose entropy is always higher (equal negatives) 0.001.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import entropy_temperature
        >>> similarities = jnp.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.6]])
        >>> temperature = entropy_temperature(similarities, jnp.array([0, 1]), entropy=0.5)
        >>> print(jnp.array_str(temperature, precision=3))
        [0.072 0.288]
    """
    rows = read_rows(similarities, positives, where=where)
    return _find_temperature(rows, _negatives(rows, num_negatives, alpha), entropy)


def _negatives(rows: Rows, num_negatives: int | None, alpha: float | None) -> jax.Array:
    if num_negatives is None and alpha is None:
        return rows.negatives
    return choose(rows, num_negatives, alpha)


def _find_temperature(rows: Rows, negatives: jax.Array, entropy: float | None) -> jax.Array:
    """Bisects the logarithm of the temperature [n]."""
    nearest = nearest_similarity(rows.similarities, negatives)
    nearest = jnp.where(nearest == -jnp.inf, 0, nearest)
    differences = jax.lax.stop_gradient(rows.similarities) - nearest[:, None]
    if entropy is None:
        count = jnp.sum(negatives, axis=1, dtype=nearest.dtype)
        target = 0.5 * jnp.log(jnp.maximum(count, 1))
    else:
        check_constant("entropy", entropy, "at least 0 nats", entropy >= 0)
        target = jnp.full_like(nearest, entropy)

    def halve(_: int, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        middle = 0.5 * (low + high)
        too_low = penalty_entropy(differences, negatives, jnp.exp(-middle)) < target
        return jnp.where(too_low, middle, low), jnp.where(too_low, high, middle)

    start = jnp.full_like(nearest, math.log(LOWEST)), jnp.full_like(nearest, math.log(HIGHEST))
    low, high = jax.lax.fori_loop(0, STEPS, halve, start)
    return jnp.exp(0.5 * (low + high))


def penalty_entropy(
    differences: jax.Array, negatives: jax.Array, inverse_temperature: jax.Array
) -> jax.Array:
    """Returns the entropy [n], nats, of softmax(differences / tau), differences at most 0."""
    logits = differences * by_row(inverse_temperature)
    mass = jnp.where(negatives, jnp.exp(jnp.where(negatives, logits, 0)), 0)
    total = jnp.sum(mass, axis=1)
    total = jnp.where(total > 0, total, 1)  # A row without negatives.
    return jnp.log(total) - jnp.sum(mass * jnp.where(negatives, logits, 0), axis=1) / total
