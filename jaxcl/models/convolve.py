"""A convolution whose parts are each done in the form that is quick on a CPU.

XLA's convolutions on a CPU are slow in two places, which took most of a small network's step: where the images have few
channels (the first layer), and in the gradient by the images where the kernel jumps. The first becomes one product of
every window with the kernel; the second, for kernels of 4 x 4 at stride 2, goes over the images with each 2 x 2 block
of pixels as channels of one place, where nothing jumps. The numbers are the same but for the order of the sums; on
other devices, and for other kernels, the convolution stays what it was.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

MOST_CHANNELS = 4  # of images that go by windows


def convolve(images: Array, kernel: Array, strides: Any, padding: Any, **settings: Any) -> Array:
    """As `jax.lax.conv_general_dilated` for ``[n, h, w, c]`` and ``[k, k, c, f]``, without dilation or groups.

    Fits the argument ``conv_general_dilated`` of `flax.linen.Conv`. Its gradient is by reverse mode only.
    """
    native = partial(
        jax.lax.conv_general_dilated, window_strides=strides, padding=padding, **settings
    )
    halves = (
        kernel.shape[:2] == (4, 4)
        and tuple(strides) == (2, 2)
        and tuple(map(tuple, padding)) == ((1, 1), (1, 1))
        and images.shape[1] % 2 == images.shape[2] % 2 == 0
    )
    if images.shape[3] <= MOST_CHANNELS:
        quick = partial(_by_windows, strides=strides, padding=padding)
    elif halves:
        quick = _with_gradient(native, partial(_by_blocks, settings=settings))
    else:
        return native(images, kernel)
    return jax.lax.platform_dependent(images, kernel, cpu=quick, default=native)


def _with_gradient(native: Any, other: Any) -> Any:
    """``native`` in all but the gradient by the images, which is that of ``other``."""

    @jax.custom_vjp
    def function(images: Array, kernel: Array) -> Array:
        return native(images, kernel)

    def forward(images: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
        return native(images, kernel), (images, kernel)

    def backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
        images, kernel = saved
        by_images = jax.linear_transpose(lambda images: other(images, kernel), images)
        by_kernel = jax.linear_transpose(lambda kernel: native(images, kernel), kernel)
        return *by_images(gradient), *by_kernel(gradient)

    function.defvjp(forward, backward)
    return function


def _by_blocks(images: Array, kernel: Array, settings: Any) -> Array:
    """Blocks of 2 x 2 pixels as channels of one place, over which a kernel of 2 x 2 moves by one."""
    n, height, width, c = images.shape
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows, columns = height // 2 + 1, width // 2 + 1
    blocks = padded.reshape(n, rows, 2, 2 * columns, c)  # one axis at a time: the mesh asks it
    blocks = blocks.reshape(n, rows, 2, columns, 2, c).transpose(0, 1, 3, 2, 4, 5)
    blocks = blocks.reshape(n, rows, columns, 2, 2 * c)
    small = kernel.reshape(2, 2, 2, 2, c, -1).transpose(0, 2, 1, 3, 4, 5)
    return jax.lax.conv_general_dilated(
        blocks.reshape(n, rows, columns, 4 * c),
        small.reshape(2, 2, 4 * c, -1),
        (1, 1),
        "VALID",
        **settings,
    )


def _by_windows(images: Array, kernel: Array, strides: Any, padding: Any) -> Array:
    """One product of the kernel with ``[n, h', w', k * k * c]``: what it sees at each place."""
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
    return jnp.matmul(jnp.concatenate(pieces, axis=3), kernel.reshape(-1, kernel.shape[3]))
