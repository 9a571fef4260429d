"""L*a*b* against the formula in float64 and, where it is installed, scikit-image."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcl.data.lab import lightness_and_colour, rgb_to_lab


@pytest.fixture
def pixels() -> np.ndarray:
    steps = np.linspace(0, 1, 9)
    return np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(27, 27, 3)


def lab_in_float64(rgb: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, then CIE 15 with the D65 white point; primaries of ITU-R BT.709."""
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    to_xyz = np.array(
        [
            [0.412453, 0.357580, 0.180423],
            [0.212671, 0.715160, 0.072169],
            [0.019334, 0.119193, 0.950227],
        ]
    )
    scaled = linear @ to_xyz.T / [0.95047, 1.0, 1.08883]
    straight = scaled * (29 / 6) ** 2 / 3 + 4 / 29
    f = np.where(scaled > (6 / 29) ** 3, np.cbrt(scaled), straight)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def test_lab_is_the_formula(pixels):
    result = np.asarray(rgb_to_lab(jnp.asarray(pixels, jnp.float32)))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, lab_in_float64(pixels), atol=1e-3)


def test_lab_is_that_of_scikit_image(pixels):
    color = pytest.importorskip("skimage.color")
    result = np.asarray(rgb_to_lab(jnp.asarray(pixels, jnp.float32)))
    np.testing.assert_allclose(result, color.rgb2lab(pixels), atol=1e-3)


def test_gray_has_no_colour(pixels):
    gray = jnp.asarray(np.repeat(np.linspace(0, 1, 50)[:, None], 3, axis=1), jnp.float32)
    lab = np.asarray(rgb_to_lab(gray))
    np.testing.assert_allclose(lab[:, 1:], 0, atol=0.02)
    np.testing.assert_allclose(lab[[0, -1], 0], [0, 100], atol=1e-3)


def test_the_two_streams_are_lab_scaled_to_its_ranges(pixels):
    images = jnp.asarray(pixels[None], jnp.float32)
    lightness, chroma = lightness_and_colour(images)
    lab = lab_in_float64(pixels)[None]
    np.testing.assert_allclose(np.asarray(lightness), (lab[..., :1] - 50) / 50, atol=1e-4)
    middle, half = np.array([6.025, -6.6895]), np.array([92.208, 101.1675])
    np.testing.assert_allclose(np.asarray(chroma), (lab[..., 1:] - middle) / half, atol=1e-4)
