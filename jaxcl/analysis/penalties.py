"""What gradients by similarity say: relative penalties, their entropy, and how far positives are decoupled.

Everything is computed from `jaxcl.analysis.gradients`, for any loss that is handed in.
"""

from typing import Any

import chex
import jax
import jax.numpy as jnp

from jaxcl.analysis.gradients import Loss, similarity_gradients


def relative_penalties(
    loss: Loss,
    similarities: Any,
    positives: Any,
    *,
    temperatures: Any,
    where: Any = None,
    **constants: Any,
) -> jax.Array:
    """Relative penalty ``r_ij = |dL/ds_ij| / |dL/ds_ii|``: the push on a negative over the pull.

    For the contrastive loss it is ``softmax(s_ij / tau)`` over the negatives, a distribution.

    Args:
        loss: any function of similarities, as in ``jaxcl.losses``.
        similarities: ``[n, m]`` cosines.
        positives: int ``[n]``, or bool ``[n, m]`` for losses of several positives, whose pulls are
            then added.
        temperatures: ``[t]``, positive.
        where: bool ``[n, m]``, candidates that count, or None.
        **constants: handed to the loss.

    Returns:
        ``[t, n, m]``; zero at the positive and at candidates that do not count. A row whose
        positive is not pulled at all (a satisfied margin; or a gradient below the smallest float)
        has no ratio and is all zero.

    Raises:
        ValueError: a temperature that is not positive and finite.

    Example:
        >>> from jaxcl.losses import contrastive
        >>> similarities = jnp.array([[0.5, 0.5, 0.0]])
        >>> penalties = relative_penalties(
        ...     contrastive, similarities, jnp.array([0]), temperatures=[0.1, 1.0]
        ... )
        >>> print(jnp.array_str(penalties[:, 0], precision=3, suppress_small=True))
        [[0.    0.993 0.007]
         [0.    0.622 0.378]]

    References:
        Wang and Liu, "Understanding the Behaviour of Contrastive Loss", CVPR 2021, Eq. 5.
    """
    gradients = similarity_gradients(
        loss, similarities, positives, temperatures=temperatures, where=where, **constants
    )
    return _relative(gradients, positive_mask(positives, jnp.shape(similarities)))


def penalty_entropy(penalties: Any) -> jax.Array:
    """Entropy ``H(r_i)`` in nats of relative penalties, made a distribution first if they are none.

    Its exponential is the number of negatives that effectively share the push.

    Args:
        penalties: ``[..., m]``, non-negative.

    Returns:
        ``[...]`` in ``[0, log m]``; NaN for a row of zeros, which is no distribution: average with
        ``jnp.nanmean``.

    Example:
        >>> entropy = penalty_entropy(jnp.array([[0.5, 0.5], [0.9, 0.1]]))
        >>> print(jnp.array_str(entropy, precision=4))
        [0.6931 0.3251]
    """
    return _entropy(jnp.asarray(penalties))


def coupling(
    loss: Loss,
    similarities: Any,
    positives: Any,
    *,
    temperatures: Any,
    where: Any = None,
    **constants: Any,
) -> jax.Array:
    """The part ``tau |dL/ds_ii|`` of the full pull ``1 / tau`` on the positive that a loss exerts.

    For the contrastive loss it is the negative-positive coupling ``q_B``, which scales all of its
    gradients; for the decoupled loss it is 1.

    Args:
        loss: any function of similarities, as in ``jaxcl.losses``.
        similarities: ``[n, m]`` cosines.
        positives: int ``[n]``, or bool ``[n, m]``, whose pulls are then added.
        temperatures: ``[t]``, positive.
        where: bool ``[n, m]``, candidates that count, or None.
        **constants: handed to the loss.

    Returns:
        ``[t, n]``.

    Raises:
        ValueError: a temperature that is not positive and finite.

    Example:
        >>> from jaxcl.losses import contrastive, dcl
        >>> similarities, positives = jnp.array([[0.5, 0.5, 0.0]]), jnp.array([0])
        >>> temperatures = [0.1, 1.0]
        >>> part = coupling(contrastive, similarities, positives, temperatures=temperatures)
        >>> print(jnp.array_str(part[:, 0], precision=3))
        [0.502 0.616]
        >>> print(coupling(dcl, similarities, positives, temperatures=temperatures)[:, 0])
        [1. 1.]

    References:
        Yeh et al., "Decoupled Contrastive Learning", ECCV 2022.
    """
    gradients = similarity_gradients(
        loss, similarities, positives, temperatures=temperatures, where=where, **constants
    )
    is_positive = positive_mask(positives, gradients.shape[1:])
    pull = jnp.sum(jnp.abs(jnp.where(is_positive[None], gradients, 0.0)), axis=-1)
    return pull * jnp.asarray(temperatures, pull.dtype)[:, None]


def positive_mask(positives: Any, shape: tuple[int, ...]) -> jax.Array:
    """Bool ``[n, m]`` from the column ``[n]`` of each anchor's positive, or from such a mask."""
    positives = jnp.asarray(positives)
    if positives.dtype == jnp.bool_:
        chex.assert_shape(positives, shape)
        return positives
    chex.assert_shape(positives, (shape[0],))
    return jnp.arange(shape[1])[None, :] == positives[:, None]


@jax.jit
def _entropy(penalties: jax.Array) -> jax.Array:
    total = jnp.sum(penalties, axis=-1, keepdims=True)
    shares = penalties / jnp.where(total > 0, total, 1.0)
    # 0 log 0 = 0: the inner `where` keeps the logarithm and its gradient finite.
    entropy = -jnp.sum(shares * jnp.log(jnp.where(shares > 0, shares, 1.0)), axis=-1)
    return jnp.where(total[..., 0] > 0, entropy, jnp.nan)


@jax.jit
def _relative(gradients: jax.Array, is_positive: jax.Array) -> jax.Array:
    """Gradients ``[t, n, m]`` of negatives, relative to the pull on the positive, unsigned."""
    sizes = jnp.abs(gradients)
    is_positive = is_positive[None]
    pull = jnp.sum(jnp.where(is_positive, sizes, 0.0), axis=-1, keepdims=True)
    # No pull, no ratio: the inner `where` keeps the quotient finite.
    ratios = sizes / jnp.where(pull > 0, pull, 1.0)
    return jnp.where((pull > 0) & ~is_positive, ratios, 0.0)
