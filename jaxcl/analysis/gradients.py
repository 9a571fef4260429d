"""Gradients of any loss it is handed: by similarity, by embedding, by temperature.

The papers differentiate a loss by the similarities and read its behaviour off the result. Here
``jax.grad`` does it, for any function ``loss(similarities, positives, *, temperature, where,
**constants) -> [n]``, one's own included, over a grid of temperatures in one compilation. Nothing
here knows which loss it is, a model or a device.

Where rows are coupled (a loss whose value for one anchor depends on other anchors) a gradient is
that of the sum over anchors.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxcl.losses import similarity_matrix

Loss = Callable[..., jax.Array]


class EmbeddingGradients(NamedTuple):
    """Gradients ``anchors [t, n, d]`` and ``candidates [t, m, d]``, for each temperature."""

    anchors: jax.Array
    candidates: jax.Array


def similarity_gradients(
    loss: Loss,
    similarities: Any,
    positives: Any,
    *,
    temperatures: Any,
    where: Any = None,
    **constants: Any,
) -> jax.Array:
    """Derivative of each anchor's loss by each of its similarities, for every temperature.

    Args:
        loss: any function of similarities, as in ``jaxcl.losses``.
        similarities: ``[n, m]`` cosines.
        positives: int ``[n]``, or what else the loss takes.
        temperatures: ``[t]``, positive.
        where: bool ``[n, m]``, candidates that count, or None.
        **constants: handed to the loss. Arrays are traced, everything else is compiled in.

    Returns:
        ``[t, n, m]``; zero where ``where`` is False.

    Raises:
        ValueError: a temperature that is not positive and finite, or temperatures not ``[t]``.

    Example:
        >>> from jaxcl.losses import contrastive
        >>> similarities = jnp.array([[0.5, 0.5, 0.0]])
        >>> gradients = similarity_gradients(
        ...     contrastive, similarities, jnp.array([0]), temperatures=[1.0]
        ... )
        >>> print(jnp.array_str(gradients[0], precision=3))
        [[-0.616  0.384  0.233]]

    References:
        Wang and Liu, "Understanding the Behaviour of Contrastive Loss", CVPR 2021, Eq. 4.
    """
    chex.assert_rank(similarities, 2)
    fixed, traced = split_constants(constants)
    return _similarity_gradients(
        loss, fixed, similarities, positives, check_temperatures(temperatures), where, traced
    )


def embedding_gradients(
    loss: Loss,
    anchors: Any,
    candidates: Any,
    positives: Any,
    *,
    temperatures: Any,
    normalize: bool,
    where: Any = None,
    **constants: Any,
) -> EmbeddingGradients:
    """Gradient of the summed loss by each anchor and by each candidate, for every temperature.

    Where anchors and candidates are the same embeddings, the gradient is the sum of the two.

    Args:
        loss: any function of similarities, as in ``jaxcl.losses``.
        anchors: ``[n, d]``.
        candidates: ``[m, d]``.
        positives: int ``[n]``, or what else the loss takes.
        temperatures: ``[t]``, positive.
        normalize: False: by the vectors as they are, as the papers write it. True: by vectors that
            are divided by their norms on the way, so that the gradient is tangential to the sphere.
        where: bool ``[n, m]``, candidates that count, or None.
        **constants: handed to the loss.

    Returns:
        EmbeddingGradients.

    Raises:
        ValueError: a temperature that is not positive and finite, or dimensions that differ.

    Example:
        >>> from jaxcl.losses import contrastive
        >>> anchors, candidates = jnp.array([[1.0, 0.0]]), jnp.array([[1.0, 0.0], [0.0, 1.0]])
        >>> gradients = embedding_gradients(
        ...     contrastive, anchors, candidates, jnp.array([0]), temperatures=[1.0],
        ...     normalize=True,
        ... )
        >>> print(jnp.array_str(gradients.anchors[0], precision=3))
        [[0.    0.269]]
    """
    fixed, traced = split_constants(constants)
    return _embedding_gradients(
        loss,
        fixed,
        normalize,
        anchors,
        candidates,
        positives,
        check_temperatures(temperatures),
        where,
        traced,
    )


def temperature_gradients(
    loss: Loss,
    similarities: Any,
    positives: Any,
    *,
    temperatures: Any,
    where: Any = None,
    **constants: Any,
) -> jax.Array:
    """Derivative of each anchor's loss by the temperature, for every temperature.

    Args:
        loss: any function of similarities, as in ``jaxcl.losses``.
        similarities: ``[n, m]`` cosines.
        positives: int ``[n]``, or what else the loss takes.
        temperatures: ``[t]``, positive.
        where: bool ``[n, m]``, candidates that count, or None.
        **constants: handed to the loss.

    Returns:
        ``[t, n]``.

    Raises:
        ValueError: a temperature that is not positive and finite.

    Example:
        >>> from jaxcl.losses import contrastive
        >>> similarities = jnp.array([[0.5, 0.5, 0.0]])
        >>> gradients = temperature_gradients(
        ...     contrastive, similarities, jnp.array([0]), temperatures=[1.0]
        ... )
        >>> print(jnp.array_str(gradients, precision=3))
        [[0.116]]
    """
    chex.assert_rank(similarities, 2)
    fixed, traced = split_constants(constants)
    return _temperature_gradients(
        loss, fixed, similarities, positives, check_temperatures(temperatures), where, traced
    )


def check_temperatures(temperatures: Any) -> jax.Array:
    """Return temperatures ``[t]``; a ValueError if one is known not to be positive and finite."""
    if not isinstance(temperatures, Tracer):
        values = np.asarray(temperatures)
        if values.ndim != 1 or values.size == 0:
            raise ValueError(f"temperatures must be a list [t], got shape {values.shape}")
        if not np.all((values > 0) & np.isfinite(values)):
            raise ValueError(f"temperatures must be positive and finite, got {values.tolist()}")
    return jnp.asarray(temperatures, jnp.result_type(float))


def split_constants(constants: dict[str, Any]) -> tuple[tuple[tuple[str, Any], ...], dict]:
    """Part a loss's constants into hashable ones, to be compiled in, and arrays, to be traced."""
    arrays = {k: v for k, v in constants.items() if isinstance(v, jax.Array | np.ndarray)}
    fixed = tuple(sorted((k, v) for k, v in constants.items() if k not in arrays))
    return fixed, arrays


@functools.partial(jax.jit, static_argnums=(0, 1))
def _similarity_gradients(
    loss: Loss,
    fixed: tuple[tuple[str, Any], ...],
    similarities: jax.Array,
    positives: jax.Array,
    temperatures: jax.Array,
    where: jax.Array | None,
    traced: dict[str, jax.Array],
) -> jax.Array:
    def total(similarities: jax.Array, temperature: jax.Array) -> jax.Array:
        constants = {**dict(fixed), **traced}
        return jnp.sum(
            loss(similarities, positives, temperature=temperature, where=where, **constants)
        )

    return jax.vmap(jax.grad(total), in_axes=(None, 0))(similarities, temperatures)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _temperature_gradients(
    loss: Loss,
    fixed: tuple[tuple[str, Any], ...],
    similarities: jax.Array,
    positives: jax.Array,
    temperatures: jax.Array,
    where: jax.Array | None,
    traced: dict[str, jax.Array],
) -> jax.Array:
    def values(temperature: jax.Array) -> jax.Array:
        constants = {**dict(fixed), **traced}
        return loss(similarities, positives, temperature=temperature, where=where, **constants)

    # Forward mode: one pass gives the derivative of every anchor.
    def derivative(temperature: jax.Array) -> jax.Array:
        return jax.jvp(values, (temperature,), (jnp.ones_like(temperature),))[1]

    return jax.vmap(derivative)(temperatures)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _embedding_gradients(
    loss: Loss,
    fixed: tuple[tuple[str, Any], ...],
    normalize: bool,
    anchors: jax.Array,
    candidates: jax.Array,
    positives: jax.Array,
    temperatures: jax.Array,
    where: jax.Array | None,
    traced: dict[str, jax.Array],
) -> EmbeddingGradients:
    def total(anchors: jax.Array, candidates: jax.Array, temperature: jax.Array) -> jax.Array:
        similarities = similarity_matrix(
            anchors,
            candidates,
            normalize=normalize,
            precision=jax.lax.Precision.HIGHEST,
            positives=positives,
        )
        constants = {**dict(fixed), **traced}
        return jnp.sum(
            loss(similarities, positives, temperature=temperature, where=where, **constants)
        )

    gradient = jax.vmap(jax.grad(total, argnums=(0, 1)), in_axes=(None, None, 0))
    return EmbeddingGradients(*gradient(anchors, candidates, temperatures))
