"""Colour operations and blur against float64 formulas and the standard library's HSV."""

import colorsys

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcl.data import blur, colour

_WEIGHTS = np.array([0.2989, 0.587, 0.114])


@pytest.fixture
def pixels() -> np.ndarray:
    """``[b, w, h, c]`` with gray, black, white and pure pixels among random ones."""
    values = np.random.default_rng(0).random((3, 5, 4, 3))
    values[0, 0] = [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0]]
    values[0, 1] = [[0, 1, 0], [0, 0, 1], [1, 1, 0], [0.2, 0.2, 0.7]]
    return values


def apply(operation, pixels: np.ndarray, factor) -> np.ndarray:
    channels = tuple(jnp.asarray(pixels[..., channel], jnp.float32) for channel in range(3))
    result = operation(channels, jnp.asarray(factor, jnp.float32)[:, None, None])
    return np.stack([np.asarray(channel) for channel in result], axis=-1)


def test_brightness_multiplies_and_cuts_off(pixels):
    factor = np.array([0.4, 1.0, 1.7])
    expected = np.clip(pixels * factor[:, None, None, None], 0, 1)
    np.testing.assert_allclose(apply(colour.adjust_brightness, pixels, factor), expected, atol=1e-6)


def test_contrast_blends_with_the_mean_luma(pixels):
    factor = np.array([0.4, 1.0, 1.7])[:, None, None, None]
    mean = (pixels @ _WEIGHTS).mean(axis=(1, 2))[:, None, None, None]
    expected = np.clip(factor * pixels + (1 - factor) * mean, 0, 1)
    result = apply(colour.adjust_contrast, pixels, factor.ravel())
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_contrast_of_a_gray_image_blends_with_its_mean(pixels):
    plane = pixels[..., 0]
    (result,) = colour.adjust_contrast((jnp.asarray(plane, jnp.float32),), jnp.float32(0.3))
    expected = 0.3 * plane + 0.7 * plane.mean(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(np.asarray(result), expected, atol=1e-6)


def test_saturation_blends_with_the_luma(pixels):
    factor = np.array([0.0, 1.0, 1.7])[:, None, None, None]
    luma = (pixels @ _WEIGHTS)[..., None]
    expected = np.clip(factor * pixels + (1 - factor) * luma, 0, 1)
    result = apply(colour.adjust_saturation, pixels, factor.ravel())
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_hue_turns_as_in_hsv(pixels):
    shifts = np.array([-0.5, 0.1, 0.37])
    expected = np.empty_like(pixels)
    for position in np.ndindex(pixels.shape[:3]):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixels[position])
        expected[position] = colorsys.hsv_to_rgb((hue + shifts[position[0]]) % 1, saturation, value)
    np.testing.assert_allclose(apply(colour.adjust_hue, pixels, shifts), expected, atol=3e-6)


def test_no_turn_and_a_full_circle_change_nothing(pixels):
    for shift in (0.0, 1.0, -1.0):
        result = apply(colour.adjust_hue, pixels, np.full(3, shift))
        np.testing.assert_allclose(result, pixels, atol=3e-6)


@pytest.mark.parametrize("axis", [1, 2])
def test_blur_is_a_convolution_with_a_reflected_border(pixels, axis):
    sigma, radius = np.array([0.1, 0.8, 2.0]), 2
    offsets = np.arange(-radius, radius + 1)
    kernels = np.exp(-(offsets**2) / (2 * sigma[:, None] ** 2))
    kernels /= kernels.sum(axis=1, keepdims=True)
    weights = blur.gaussian_weights(jnp.asarray(sigma, jnp.float32), radius)
    np.testing.assert_allclose(np.asarray(weights), kernels, atol=1e-6)
    expected = np.empty_like(pixels)
    for image, kernel in enumerate(kernels):
        for line in np.ndindex(*np.delete(pixels.shape[1:], axis - 1)):
            index = list(line)
            index.insert(axis - 1, slice(None))
            padded = np.pad(pixels[image][tuple(index)], radius, mode="reflect")
            expected[image][tuple(index)] = np.convolve(padded, kernel, mode="valid")
    result = blur.blur_axis(jnp.asarray(pixels, jnp.float32), weights, axis)
    np.testing.assert_allclose(np.asarray(result), expected, atol=1e-6)
