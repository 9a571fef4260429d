"""Gaussian blur of planes with a small fixed kernel, one standard deviation for each image."""

import jax
import jax.numpy as jnp


def blur_radius(size: int) -> int:
    """Half the width of the kernel, without its centre: a tenth of the image in all (Chen et al., 2020, appendix A)."""
    return max(1, size // 20)


def gaussian_weights(sigma: jax.Array, radius: int) -> jax.Array:
    """Weights ``[2 radius + 1]`` that sum to 1."""
    offsets = jnp.arange(-radius, radius + 1, dtype=jnp.float32)
    weights = jnp.exp(-0.5 * jnp.square(offsets / sigma))
    return weights / jnp.sum(weights)


def blur(planes: jax.Array, weights: jax.Array) -> jax.Array:
    """Blurs the last two axes of ``planes`` by ``weights`` ``[2 radius + 1]``, reflecting at the border."""
    for axis in (planes.ndim - 2, planes.ndim - 1):
        planes = _blur_axis(planes, weights, axis)
    return planes


def _blur_axis(planes: jax.Array, weights: jax.Array, axis: int) -> jax.Array:
    radius = weights.shape[0] // 2
    size = planes.shape[axis]
    padding = [(0, 0)] * planes.ndim
    padding[axis] = (radius, radius)
    padded = jnp.pad(planes, padding, mode="reflect")
    return sum(
        weights[tap] * jax.lax.slice_in_dim(padded, tap, tap + size, axis=axis)
        for tap in range(weights.shape[0])
    )
