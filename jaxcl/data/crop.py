"""Random resized crops as linear maps: which box, and the weights of an antialiased bilinear resize of that box."""

import jax
import jax.numpy as jnp

# Boxes are drawn until one fits in the image, at most this often (as torchvision's RandomResizedCrop).
ATTEMPTS = 10


def random_box(
    area: jax.Array,
    ratio: jax.Array,
    corner: jax.Array,
    height: int,
    width: int,
    crop_scale: tuple[float, float],
    crop_ratio: tuple[float, float],
) -> jax.Array:
    """A crop box ``(top, left, height, width)`` in whole pixels, float32 ``[4]``.

    The area is a uniform fraction of the image's, the aspect ratio (width by height) is uniform in its logarithm; the
    first of ten attempts that fits is taken, else the largest centred box whose ratio is allowed.

    Args:
      area: uniform [0, 1) draws ``[ATTEMPTS]``.
      ratio: uniform [0, 1) draws ``[ATTEMPTS]``.
      corner: uniform [0, 1) draws ``[2]``.
    """
    areas = height * width * (crop_scale[0] + (crop_scale[1] - crop_scale[0]) * area)
    low, high = jnp.log(crop_ratio[0]), jnp.log(crop_ratio[1])
    ratios = jnp.exp(low + (high - low) * ratio)
    widths = jnp.round(jnp.sqrt(areas * ratios))
    heights = jnp.round(jnp.sqrt(areas / ratios))
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first = jnp.argmax(fits)
    found = jnp.any(fits)
    fallback_width, fallback_height = _largest_box(height, width, crop_ratio)
    box_width = jnp.where(found, widths[first], fallback_width)
    box_height = jnp.where(found, heights[first], fallback_height)
    top = jnp.where(
        found, jnp.floor(corner[0] * (height - box_height + 1)), (height - fallback_height) // 2
    )
    left = jnp.where(
        found, jnp.floor(corner[1] * (width - box_width + 1)), (width - fallback_width) // 2
    )
    return jnp.stack([top, left, box_height, box_width])


def resize_weights(
    start: jax.Array, length: jax.Array, flipped: jax.Array, size: int, pixels: int
) -> jax.Array:
    """The matrix ``[size, pixels]`` that resizes ``[start, start + length)`` of an axis to ``size``, each row summing to 1.

    Antialiased bilinear: a triangle of half width ``max(1, length / size)`` source pixels, cut off at the ends of the box.
    """
    scale = length / size
    support = jnp.maximum(scale, 1.0)
    position = jnp.arange(size, dtype=jnp.float32)
    position = jnp.where(flipped, size - 1 - position, position)
    centre = start + (position + 0.5) * scale
    source = jnp.arange(pixels, dtype=jnp.float32)
    weights = jnp.maximum(1 - jnp.abs(source[None, :] + 0.5 - centre[:, None]) / support, 0.0)
    inside = (source >= start) & (source < start + length)
    weights = weights * inside[None, :]
    return weights / jnp.sum(weights, axis=1, keepdims=True)


def _largest_box(height: int, width: int, crop_ratio: tuple[float, float]) -> tuple[int, int]:
    ratio = min(max(width / height, crop_ratio[0]), crop_ratio[1])
    if width / height < ratio:
        return width, round(width / ratio)
    return round(height * ratio), height
