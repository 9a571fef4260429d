"""sRGB to CIE L*a*b* under the D65 white point (2 degree observer), for the streams L and ab."""

import jax
import jax.numpy as jnp

# Linear sRGB (ITU-R BT.709 primaries) to XYZ, rows X, Y, Z.
_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
_WHITE = (0.95047, 1.0, 1.08883)
# The ranges that sRGB fills: L 0..100, a -86.183..98.233, b -107.857..94.478.
_MIDDLE = (50.0, 6.025, -6.6895)
_HALF_RANGE = (50.0, 92.208, 101.1675)


def rgb_to_lab(images: jax.Array) -> jax.Array:
    """Converts sRGB ``[..., 3]`` in [0, 1] to float32 ``[..., 3]``.

    L lies in [0, 100], a in about [-86, 98] and b in about [-108, 94].

    >>> rgb_to_lab(jnp.ones((1, 3))).round(1) + 0.0
    Array([[100.,   0.,   0.]], dtype=float32)
    """
    images = jnp.asarray(images, jnp.float32)
    # Both branches stay finite: the power only ever sees a positive number.
    linear = jnp.where(
        images > 0.04045,
        jnp.power((jnp.maximum(images, 0.04045) + 0.055) / 1.055, 2.4),
        images / 12.92,
    )
    red, green, blue = linear[..., 0], linear[..., 1], linear[..., 2]
    x, y, z = (
        _cube_root((row[0] * red + row[1] * green + row[2] * blue) / white)
        for row, white in zip(_TO_XYZ, _WHITE, strict=True)
    )
    return jnp.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def lightness_and_colour(images: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The two streams of an image: L ``[..., 1]`` and ab ``[..., 2]``, each scaled to [-1, 1].

    Args:
      images: sRGB ``[..., 3]`` in [0, 1].

    References: Tian, Krishnan and Isola, Contrastive Multiview Coding, 2020.
    """
    scaled = (rgb_to_lab(images) - _broadcast(_MIDDLE, images)) / _broadcast(_HALF_RANGE, images)
    return scaled[..., :1], scaled[..., 1:]


def _broadcast(values: tuple[float, ...], images: jax.Array) -> jax.Array:
    return jnp.asarray(values, jnp.float32).reshape((1,) * (images.ndim - 1) + (-1,))


def _cube_root(t: jax.Array) -> jax.Array:
    """A cube root, with a straight line below (6/29)^3, where its slope would run to infinity."""
    edge = (6 / 29) ** 3
    return jnp.where(t > edge, jnp.cbrt(jnp.maximum(t, edge)), t * (29 / 6) ** 2 / 3 + 4 / 29)
