"""Crops against Pillow's resize and against a plain reading of the drawing rule."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxcl.data import crop

# (start, length, size, pixels): enlarged, reduced, whole, and a single pixel.
_CASES = [(3, 7, 16, 20), (2, 17, 6, 20), (0, 20, 20, 20), (0, 20, 5, 20), (9, 1, 4, 20)]


def pillow_matrix(start: int, length: int, size: int, pixels: int) -> np.ndarray:
    """The resize of each unit vector, by Pillow in float32: the columns of the matrix."""
    columns = []
    for position in range(pixels):
        unit = np.zeros((1, pixels), np.float32)
        unit[0, position] = 1
        part = Image.fromarray(unit[:, start : start + length])
        columns.append(np.asarray(part.resize((size, 1), Image.Resampling.BILINEAR))[0])
    return np.stack(columns, axis=1)


@pytest.mark.parametrize(("start", "length", "size", "pixels"), _CASES)
@pytest.mark.parametrize("flipped", [False, True])
def test_the_resize_is_pillows(start, length, size, pixels, flipped):
    expected = pillow_matrix(start, length, size, pixels)
    expected = expected[::-1] if flipped else expected
    arguments = (jnp.float32(start), jnp.float32(length), jnp.asarray(flipped), size, pixels)
    matrix = np.asarray(crop.resize_matrix(*arguments))
    np.testing.assert_allclose(matrix, expected, atol=2e-6)
    positions, weights = (np.asarray(part) for part in crop.resize_taps(*arguments))
    from_taps = np.zeros((size, pixels), np.float32)
    np.add.at(from_taps, (np.arange(size)[:, None], positions), weights)
    np.testing.assert_allclose(from_taps, matrix, atol=1e-7)


def drawn_box(areas, ratios, corner, image_size, scale, ratio):
    """The drawing rule read aloud, in float64."""
    height, width = image_size
    for area_draw, ratio_draw in zip(areas, ratios, strict=True):
        area = height * width * (scale[0] + (scale[1] - scale[0]) * area_draw)
        low, high = math.log(ratio[0]), math.log(ratio[1])
        shape = math.exp(low + (high - low) * ratio_draw)
        w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < w <= width and 0 < h <= height:
            return (int(corner[0] * (height - h + 1)), int(corner[1] * (width - w + 1)), h, w)
    w, h = width, height
    if width / height < ratio[0]:
        h = round(width / ratio[0])
    elif width / height > ratio[1]:
        w = round(height * ratio[1])
    return ((height - h) // 2, (width - w) // 2, h, w)


@pytest.mark.parametrize(
    ("image_size", "scale", "ratio"),
    [
        ((32, 32), (0.2, 1.0), (3 / 4, 4 / 3)),
        ((24, 40), (0.5, 1.0), (3 / 4, 4 / 3)),
        ((40, 24), (0.9, 1.0), (3 / 4, 4 / 3)),  # Often nothing fits.
        ((24, 40), (1.0, 1.0), (0.9, 1.1)),  # Nothing ever fits.
        ((20, 20), (1.0, 1.0), (1.0, 1.0)),  # The whole image.
    ],
)
def test_boxes_follow_the_drawing_rule(image_size, scale, ratio):
    draws = np.random.default_rng(0).random((64, 2 * crop.ATTEMPTS + 2), np.float32)
    areas, ratios, corners = np.split(draws, [crop.ATTEMPTS, 2 * crop.ATTEMPTS], axis=1)
    boxes = crop.random_boxes(
        jnp.asarray(areas), jnp.asarray(ratios), jnp.asarray(corners), image_size, scale, ratio
    )
    expected = [
        drawn_box(*row, image_size, scale, ratio)
        for row in zip(areas, ratios, corners, strict=True)
    ]
    np.testing.assert_array_equal(np.asarray(boxes), expected)
