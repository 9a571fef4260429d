"""Gaussian blur with a small fixed kernel and one standard deviation for each image."""

import jax
import jax.numpy as jnp


def blur_radius(size: int) -> int:
    """Half the width of the kernel without its centre, for images of ``size``.

    The kernel spans a tenth of the image.

    References: Chen et al., A Simple Framework for Contrastive Learning, 2020, appendix A.

    >>> blur_radius(224)
    11
    """
    return max(1, size // 20)


def gaussian_weights(sigma: jax.Array, radius: int) -> jax.Array:
    """Kernels ``[b, 2 radius + 1]`` for standard deviations ``[b]`` in pixels; each sums to 1."""
    offsets = jnp.arange(-radius, radius + 1, dtype=jnp.float32)
    weights = jnp.exp(-0.5 * jnp.square(offsets[None, :] / sigma[:, None]))
    return weights / jnp.sum(weights, axis=1, keepdims=True)


def blur_axis(planes: jax.Array, weights: jax.Array, axis: int) -> jax.Array:
    """Blurs one axis of ``[b, ...]`` with kernels ``[b, k]``; the border is reflected."""
    taps = weights.shape[1]
    padding = [(0, 0)] * planes.ndim
    padding[axis] = (taps // 2, taps // 2)
    padded = jnp.pad(planes, padding, mode="reflect")
    by_image = weights.reshape(-1, taps, *(1,) * (planes.ndim - 1))
    total = jnp.zeros((), planes.dtype)
    for tap in range(taps):
        shifted = jax.lax.slice_in_dim(padded, tap, tap + planes.shape[axis], axis=axis)
        total = total + by_image[:, tap] * shifted
    return total
