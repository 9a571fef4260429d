"""Explicitly hard losses: only the K nearest negatives of each anchor are pushed away."""

import jax
import jax.numpy as jnp

from jaxcl.losses.hardest import keep_hardest
from jaxcl.losses.inputs import Rows, check_constant, read_rows
from jaxcl.losses.simple import attract_and_repel
from jaxcl.losses.softmax import log_odds, negative_log_probability, raise_probability

# Wang & Liu, section 5.1.
DEFAULT_NEGATIVES = 4095


def hard(
    similarities: jax.Array,
    positives: jax.Array,
    *,
    temperature: jax.typing.ArrayLike,
    where: jax.Array | None = None,
    num_negatives: int | None = None,
    alpha: float | None = None,
    count_positive: bool = False,
    epsilon: float = 0.0,
) -> jax.Array:
    r"""The hard contrastive loss: the contrastive loss over each anchor's K nearest negatives.

    .. math:: L_i = -\log \frac{e^{s_{ii}/\tau}}
        {e^{s_{ii}/\tau} + \sum_{s_{ik} \ge s_\alpha^{(i)}} e^{s_{ik}/\tau}}

    Exactly K negatives are kept, per anchor; ties go to the lower column, where the inequality of
    the paper would keep more. The choice carries no gradient.

    Args:
        similarities: [n, m], cosine in [-1, 1].
        positives: int [n], the column of each anchor's positive.
        temperature: positive scalar, or [n].
        where: bool [n, m], the candidates that count; the positive always does.
        num_negatives: K. None means 4095, the paper's, or all where there are fewer.
        alpha: K as a fraction of each anchor's negatives, in (0, 1], rounded, at least 1; instead
            of num_negatives. The paper prints 0.0819 for CIFAR (4095 / 50,000); its values for SVHN
            and ImageNet100 do not agree with 4095.
        count_positive: the form of the code behind the paper's tables: the top K + 1 of all
            candidates make the denominator, the positive among them if it ranks there, and is
            missing from the denominator if not.
        epsilon: added to the probability inside the logarithm; 1e-7 in that code.

    Returns:
        [n], nats; 0 for a row without negatives.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import hard
        >>> similarities = jnp.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.8]])
        >>> loss = hard(similarities, jnp.array([0, 1]), temperature=0.5, num_negatives=1)
        >>> print(jnp.array_str(loss, precision=3))
        [0.184 0.693]

    References:
        F. Wang and H. Liu, Understanding the Behaviour of Contrastive Loss, CVPR 2021, equations 8
        and 9.
    """
    rows = read_rows(similarities, positives, temperature, where)
    kept = choose(rows, num_negatives, alpha, count_positive)
    odds = log_odds(rows, kept & ~rows.is_positive)
    if not count_positive:
        return negative_log_probability(odds, epsilon)
    in_denominator = jnp.any(kept & rows.is_positive, axis=1)
    # Where the positive is in, the other branch must not see the -inf of a row without negatives.
    without = raise_probability(jnp.where(in_denominator, 0, odds), epsilon)
    return jnp.where(in_denominator, negative_log_probability(odds, epsilon), without)


def hard_simple(
    similarities: jax.Array,
    positives: jax.Array,
    *,
    temperature: jax.typing.ArrayLike = 1.0,
    where: jax.Array | None = None,
    num_negatives: int | None = None,
    alpha: float | None = None,
    negative_weight: float | None = None,
    count_positive: bool = False,
) -> jax.Array:
    r"""The simple loss over each anchor's K nearest negatives.

    .. math:: L_i = -s_{ii} + \lambda \sum_{s_{ik} \ge s_\alpha^{(i)}} s_{ik}

    Args:
        similarities: [n, m], cosine in [-1, 1].
        positives: int [n], the column of each anchor's positive.
        temperature: checked and otherwise ignored; here so that every loss is called alike.
        where: bool [n, m], the candidates that count; the positive always does.
        num_negatives: K; see `hard`.
        alpha: K as a fraction of each anchor's negatives; see `hard`.
        negative_weight: lambda; None means one over the number of kept entries.
        count_positive: the form of the code behind the paper's tables: the mean of the top K + 1 of
            all candidates, possibly with the positive among them.

    Returns:
        [n], in units of cosine; -s_ii for a row without negatives.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import hard_simple
        >>> similarities = jnp.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.8]])
        >>> loss = hard_simple(similarities, jnp.array([0, 1]), num_negatives=1)
        >>> print(jnp.array_str(loss, precision=3))
        [-0.8  0. ]

    References:
        F. Wang and H. Liu, Understanding the Behaviour of Contrastive Loss, CVPR 2021, section 5.5.
    """
    rows = read_rows(similarities, positives, temperature, where)
    return attract_and_repel(
        rows, choose(rows, num_negatives, alpha, count_positive), negative_weight
    )


def choose(
    rows: Rows, num_negatives: int | None, alpha: float | None, count_positive: bool = False
) -> jax.Array:
    """Marks the K nearest negatives of each anchor, bool [n, m].

    With `count_positive`, marks the K + 1 nearest of all candidates instead.
    """
    available = jnp.sum(rows.negatives, axis=1, dtype=jnp.int32)
    largest = rows.similarities.shape[1] - 1
    if alpha is not None:
        if num_negatives is not None:
            raise ValueError(
                f"num_negatives {num_negatives} and alpha {alpha} are two names of K; give one"
            )
        check_constant("alpha", alpha, "a fraction of the negatives, in (0, 1]", 0 < alpha <= 1)
        count = jnp.maximum(jnp.round(alpha * available).astype(jnp.int32), 1)
    else:
        if num_negatives is None:
            num_negatives = min(DEFAULT_NEGATIVES, largest)
        else:
            rule = f"at least 1 and at most {largest}, the candidates without the positive"
            check_constant("num_negatives", num_negatives, rule, 1 <= num_negatives <= largest)
        count = jnp.minimum(available, num_negatives)
    if count_positive:
        return keep_hardest(rows.similarities, rows.negatives | rows.is_positive, count + 1)
    return keep_hardest(rows.similarities, rows.negatives, count)
