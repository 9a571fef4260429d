"""A convolution as one matrix product, where XLA's own is slow on a CPU.

That is where the images have few channels (the first layer took more time than the rest of a small network) and where
they have few places left (the last). There every window is copied out, and one product does the work. The numbers are
the same but for the order of the sums; elsewhere, and on other devices, the convolution stays what it was.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

MOST_CHANNELS = 4  # of the images
MOST_PLACES = 4  # of the output


def convolve(images: Array, kernel: Array, strides: Any, padding: Any, **settings: Any) -> Array:
    """As `jax.lax.conv_general_dilated` for ``[n, h, w, c]`` and ``[k, k, c, f]``, without dilation or groups.

    Fits the argument ``conv_general_dilated`` of `flax.linen.Conv`.
    """

    def native(images: Array, kernel: Array) -> Array:
        return jax.lax.conv_general_dilated(images, kernel, strides, padding, **settings)

    def product(images: Array, kernel: Array) -> Array:
        return jnp.matmul(_windows(images, kernel, strides, padding), kernel.reshape(-1, f))

    f = kernel.shape[3]
    places = jax.eval_shape(native, images, kernel).shape[1:3]
    if images.shape[3] > MOST_CHANNELS and math.prod(places) > MOST_PLACES:
        return native(images, kernel)
    return jax.lax.platform_dependent(images, kernel, cpu=product, default=native)


def _windows(images: Array, kernel: Array, strides: Any, padding: Any) -> Array:
    """``[n, h', w', k * k * c]``: what the kernel sees at each place."""
    padded = jnp.pad(images, ((0, 0), *padding, (0, 0)))
    n, height, width, c = padded.shape
    rows, columns = kernel.shape[:2]
    down, right = (
        (s - k) // t for s, k, t in zip((height, width), (rows, columns), strides, strict=True)
    )
    pieces = [
        jax.lax.slice(
            padded,
            (0, i, j, 0),
            (n, i + down * strides[0] + 1, j + right * strides[1] + 1, c),
            (1, *strides, 1),
        )
        for i in range(rows)
        for j in range(columns)
    ]
    return jnp.concatenate(pieces, axis=3)
