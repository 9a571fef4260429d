"""Colour operations on planes ``[c, h, w]`` with values in [0, 1], by torchvision's definitions for float images."""

import jax
import jax.numpy as jnp


def gray(planes: jax.Array) -> jax.Array:
    """Luma ``[h, w]`` of red, green, blue (ITU-R 601-2)."""
    return 0.2989 * planes[0] + 0.587 * planes[1] + 0.114 * planes[2]


def adjust_brightness(planes: jax.Array, factor: jax.Array) -> jax.Array:
    return jnp.clip(planes * factor, 0.0, 1.0)


def adjust_contrast(planes: jax.Array, factor: jax.Array) -> jax.Array:
    """Blends with the image's mean luma."""
    luma = gray(planes) if planes.shape[0] == 3 else planes
    return jnp.clip(factor * planes + (1 - factor) * jnp.mean(luma), 0.0, 1.0)


def adjust_saturation(planes: jax.Array, factor: jax.Array) -> jax.Array:
    """Blends with the luma."""
    return jnp.clip(factor * planes + (1 - factor) * gray(planes)[None], 0.0, 1.0)


def adjust_hue(planes: jax.Array, shift: jax.Array) -> jax.Array:
    """Turns the hue of the HSV form by ``shift`` in [-0.5, 0.5] of the circle; value and saturation stay."""
    red, green, blue = planes[0], planes[1], planes[2]
    value = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = value - jnp.minimum(jnp.minimum(red, green), blue)
    # A gray pixel has no hue: any finite number will do, since it is multiplied by a chroma of zero.
    inverse = 1 / jnp.where(chroma > 0, chroma, 1.0)
    sector = jnp.where(
        value == red,
        (green - blue) * inverse,
        jnp.where(value == green, 2 + (blue - red) * inverse, 4 + (red - green) * inverse),
    )
    sector = sector + 6 * shift

    def channel(offset: float) -> jax.Array:
        position = sector + offset
        position = position - 6 * jnp.floor(position * (1 / 6))
        return value - chroma * jnp.clip(jnp.minimum(position, 4 - position), 0.0, 1.0)

    return jnp.stack([channel(5.0), channel(3.0), channel(1.0)])
