"""What the formulas do with a row of similarities: its parts, its softmax, its largest."""

from typing import Any

import jax
import jax.numpy as jnp


def split(similarities: Any, positives: Any, where: Any) -> tuple[jax.Array, ...]:
    """Similarities, which entry of each row is the positive, and which are negatives."""
    similarities = jnp.asarray(similarities)
    columns = jnp.arange(similarities.shape[1])[None, :]
    is_positive = columns == jnp.asarray(positives)[:, None]
    return similarities, is_positive, ~is_positive & (True if where is None else where)


def softmax(logits: jax.Array, where: jax.Array) -> jax.Array:
    """Softmax over the entries that count; a row without any is all zero."""
    highest = jnp.max(jnp.where(where, logits, -jnp.inf), axis=1, keepdims=True)
    highest = jnp.where(highest > -jnp.inf, highest, 0.0)
    masses = jnp.where(where, jnp.exp(jnp.where(where, logits - highest, 0.0)), 0.0)
    total = jnp.sum(masses, axis=1, keepdims=True)
    return masses / jnp.where(total > 0, total, 1.0)


def nearest(similarities: jax.Array, where: jax.Array, count: int) -> jax.Array:
    """Mask of the ``count`` largest entries of each row that count."""
    order = jnp.argsort(-jnp.where(where, similarities, -jnp.inf), axis=1, stable=True)
    ranks = jnp.argsort(order, axis=1)
    return where & (ranks < count)
