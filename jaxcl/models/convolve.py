"""A convolution of 4 x 4 at stride 2 whose parts are each done in the form that is quick on a CPU.

XLA's convolutions on a CPU are slow in two places, which took most of a small network's step: where the images have few
channels (the first layer), and in the gradient by the images where the kernel jumps. Both go over the images with each
2 x 2 block of pixels as the channels of one place, where nothing jumps. The numbers are the same but for the order of
the sums; on other devices, and for other kernels, the convolution stays what it was.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

MOST_CHANNELS = 4  # of images whose convolution goes by blocks


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
    if not halves:
        return native(images, kernel)
    by_blocks = partial(_by_blocks, settings=settings)
    value = by_blocks if images.shape[3] <= MOST_CHANNELS else native
    quick = _in_parts(value, by_blocks, native)
    return jax.lax.platform_dependent(images, kernel, cpu=quick, default=native)


def _in_parts(value: Any, of_images: Any, of_kernel: Any) -> Any:
    """The function whose value and whose two gradients are those of three forms of it.

    What is kept for the gradients is the arguments, and nothing larger.
    """

    @jax.custom_vjp
    def function(images: Array, kernel: Array) -> Array:
        return value(images, kernel)

    def forward(images: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
        return value(images, kernel), (images, kernel)

    def backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
        images, kernel = saved
        by_images = jax.linear_transpose(lambda images: of_images(images, kernel), images)
        by_kernel = jax.linear_transpose(lambda kernel: of_kernel(images, kernel), kernel)
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
