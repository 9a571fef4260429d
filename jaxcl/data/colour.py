"""Colour operations by torchvision's definitions for float images.

An image is a tuple of one or three channels, each ``[b, w, h]`` with values in [0, 1]; a factor is
``[b, 1, 1]``. Every operation keeps values in [0, 1].
"""

import jax
import jax.numpy as jnp

Channels = tuple[jax.Array, ...]


def luma(channels: Channels) -> jax.Array:
    """Brightness as seen ``[b, w, h]`` (ITU-R 601-2); a gray image is its own."""
    if len(channels) == 1:
        return channels[0]
    red, green, blue = channels
    return 0.2989 * red + 0.587 * green + 0.114 * blue


def adjust_brightness(channels: Channels, factor: jax.Array) -> Channels:
    """Multiplies by ``factor``."""
    return tuple(_clip(channel * factor) for channel in channels)


def adjust_contrast(channels: Channels, factor: jax.Array) -> Channels:
    """Blends with the image's mean luma: 0 is flat, 1 changes nothing."""
    flat = (1 - factor) * jnp.mean(luma(channels), axis=(1, 2), keepdims=True)
    return tuple(_clip(factor * channel + flat) for channel in channels)


def adjust_saturation(channels: Channels, factor: jax.Array) -> Channels:
    """Blends with the luma: 0 is gray, 1 changes nothing."""
    gray = (1 - factor) * luma(channels)
    return tuple(_clip(factor * channel + gray) for channel in channels)


def adjust_hue(channels: Channels, shift: jax.Array) -> Channels:
    """Turns the hue by ``shift`` of a full circle; HSV's value and saturation stay as they are."""
    red, green, blue = channels
    highest = jnp.maximum(jnp.maximum(red, green), blue)
    lowest = jnp.minimum(jnp.minimum(red, green), blue)
    chroma = highest - lowest
    # A gray pixel has no hue: any finite one will do, since it is multiplied by a chroma of zero.
    inverse = 1 / jnp.where(chroma > 0, chroma, 1.0)
    hue = jnp.where(
        highest == red,
        (green - blue) * inverse,
        jnp.where(highest == green, 2 + (blue - red) * inverse, 4 + (red - green) * inverse),
    )
    hue = hue + 6 * shift
    hue = hue - 6 * jnp.floor(hue / 6)  # in [0, 6): red 0, green 2, blue 4
    return (
        lowest + chroma * _clip(jnp.abs(hue - 3) - 1),
        lowest + chroma * _clip(2 - jnp.abs(hue - 2)),
        lowest + chroma * _clip(2 - jnp.abs(hue - 4)),
    )


def _clip(values: jax.Array) -> jax.Array:
    return jnp.minimum(jnp.maximum(values, 0.0), 1.0)
