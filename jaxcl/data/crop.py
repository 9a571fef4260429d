"""Random resized crops as linear maps: which box, and an antialiased bilinear resize of it.

The resize is written twice. As two matrix products it suits hardware that is made for them; a CPU
is ten times faster if it reads only the few source pixels that each result needs.
"""

import math

import jax
import jax.numpy as jnp

# A box is drawn until one fits in the image, at most this often (as torchvision does).
ATTEMPTS = 10


def random_boxes(
    areas: jax.Array,
    ratios: jax.Array,
    corners: jax.Array,
    image_size: tuple[int, int],
    crop_scale: tuple[float, float],
    crop_ratio: tuple[float, float],
) -> jax.Array:
    """Crop boxes ``(top, left, height, width)`` in whole pixels, float32 ``[b, 4]``.

    The area is a uniform fraction of the image's and the logarithm of width by height is uniform.
    The first of ten attempts that fits is taken, else the largest centred box of an allowed ratio.

    Args:
      areas: uniform draws in [0, 1), ``[b, ATTEMPTS]``.
      ratios: uniform draws in [0, 1), ``[b, ATTEMPTS]``.
      corners: uniform draws in [0, 1), ``[b, 2]``.
      image_size: height and width of the images.
      crop_scale: least and greatest fraction of the area.
      crop_ratio: least and greatest width by height.
    """
    height, width = image_size
    area = height * width * (crop_scale[0] + (crop_scale[1] - crop_scale[0]) * areas)
    low, high = math.log(crop_ratio[0]), math.log(crop_ratio[1])
    ratio = jnp.exp(low + (high - low) * ratios)
    widths, heights = jnp.round(jnp.sqrt(area * ratio)), jnp.round(jnp.sqrt(area / ratio))
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    found = jnp.any(fits, axis=1)
    first = jnp.argmax(fits, axis=1)[:, None]
    fallback_height, fallback_width = _largest_box(height, width, crop_ratio)
    box_height = jnp.where(found, _pick(heights, first), fallback_height)
    box_width = jnp.where(found, _pick(widths, first), fallback_width)
    rooms = jnp.stack([height - box_height, width - box_width], axis=1)
    drawn = jnp.floor(corners * (rooms + 1))
    corner = jnp.where(found[:, None], drawn, jnp.floor(rooms / 2))
    return jnp.concatenate([corner, box_height[:, None], box_width[:, None]], axis=1)


def resize_matrix(
    start: jax.Array, length: jax.Array, flipped: jax.Array, size: int, pixels: int
) -> jax.Array:
    """The matrix ``[size, pixels]`` that resizes ``[start, start + length)`` of an axis.

    Antialiased bilinear: a triangle of half width ``max(1, length / size)`` source pixels, cut off
    at the ends of the box; every row sums to 1. ``flipped`` turns the result round.
    """
    centres, support = _centres(start, length, flipped, size)
    positions = jnp.arange(pixels, dtype=jnp.float32)[None, :]
    return _triangle(positions, centres, support, start, length)


def resize_taps(
    start: jax.Array, length: jax.Array, flipped: jax.Array, size: int, pixels: int
) -> tuple[jax.Array, jax.Array]:
    """The entries of :func:`resize_matrix` that can differ from 0.

    Returns:
      Source positions int32 ``[size, k]`` and weights ``[size, k]``, with k as large as the
      strongest reduction, ``pixels`` to ``size``, needs.
    """
    centres, support = _centres(start, length, flipped, size)
    largest = max(1.0, pixels / size)
    taps = math.ceil(2 * largest) + (largest > 1)
    first = jnp.ceil(centres - support - 0.5)
    positions = first + jnp.arange(taps, dtype=jnp.float32)[None, :]
    weights = _triangle(positions, centres, support, start, length)
    return jnp.clip(positions, 0, pixels - 1).astype(jnp.int32), weights


def _centres(start, length, flipped, size):
    """For each result its centre in the source ``[size, 1]``; and the triangle's half width."""
    scale = length / size
    position = jnp.arange(size, dtype=jnp.float32)
    position = jnp.where(flipped, size - 1 - position, position)
    return (start + (position + 0.5) * scale)[:, None], jnp.maximum(scale, 1.0)


def _triangle(positions, centres, support, start, length):
    weights = jnp.maximum(1 - jnp.abs(positions + 0.5 - centres) / support, 0.0)
    weights = weights * ((positions >= start) & (positions < start + length))
    return weights / jnp.sum(weights, axis=1, keepdims=True)


def _pick(values: jax.Array, columns: jax.Array) -> jax.Array:
    return jnp.take_along_axis(values, columns, axis=1, mode="clip")[:, 0]


def _largest_box(height: int, width: int, crop_ratio: tuple[float, float]) -> tuple[int, int]:
    if width / height < crop_ratio[0]:
        return min(height, round(width / crop_ratio[0])), width
    if width / height > crop_ratio[1]:
        return height, min(width, round(height * crop_ratio[1]))
    return height, width
