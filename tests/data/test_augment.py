"""Views depend on key, view and index alone, and each setting does what it says."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxcl import sharding
from jaxcl.data import augment, render, views

_EVERYTHING = {
    "size": 8,
    "crop_scale": (0.3, 1.0),
    "flip": 0.5,
    "jitter": 0.8,
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.4,
    "hue": 0.1,
    "grayscale": 0.2,
    "blur": 0.5,
}
# The whole image at its own size: what is left is what the other settings do.
_WHOLE = {"size": 12, "crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0)}


@functools.cache
def compiled(**settings):
    settings = dict(settings)
    return jax.jit(functools.partial(augment.augment, **settings))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (64, 12, 12, 3), np.uint8)


@pytest.fixture(scope="module")
def made(images) -> np.ndarray:
    """View 0 of all images under every setting."""
    indices = np.arange(100, 164, dtype=np.int32)
    return np.asarray(compiled(**_EVERYTHING)(jax.random.key(7), images, indices, 0))


def test_a_view_is_float32_between_0_and_1(made):
    assert made.shape == (64, 8, 8, 3)
    assert made.dtype == np.float32
    assert 0 <= made.min() and made.max() <= 1


def test_an_image_does_not_see_its_batch(images, made):
    order = np.random.default_rng(1).permutation(64)
    indices = (100 + order).astype(np.int32)
    shuffled = compiled(**_EVERYTHING)(jax.random.key(7), images[order], indices, 0)
    np.testing.assert_allclose(shuffled, made[order], atol=1e-6)


@pytest.mark.parametrize("devices", [2, 8])
def test_an_image_does_not_see_the_number_of_devices(images, made, devices):
    mesh = sharding.make_mesh(jax.devices()[:devices])
    make = functools.partial(views.single, **_EVERYTHING)
    batch = {"image": images, "index": np.arange(100, 164, dtype=np.int32)}
    with jax.set_mesh(mesh):
        placed = sharding.global_batch(batch, mesh)
        key = sharding.place(jax.random.key(7), mesh)
        apart = jax.jit(sharding.per_device(make, mesh, (False, True, True)))
        result = apart(key, placed["image"], placed["index"])
    np.testing.assert_allclose(np.asarray(result)[:, 0], made, atol=1e-6)


def test_views_keys_and_indices_give_different_views(images, made):
    make = compiled(**_EVERYTHING)
    indices = np.arange(100, 164, dtype=np.int32)
    others = [
        make(jax.random.key(7), images, indices, 1),
        make(jax.random.key(8), images, indices, 0),
        make(jax.random.key(7), images, indices + 1000, 0),
    ]
    for other in others:
        differ = np.abs(np.asarray(other) - made).max(axis=(1, 2, 3)) > 0.01
        assert differ.all()


def test_several_views_are_those_of_each_number(images, made):
    indices = np.arange(100, 164, dtype=np.int32)
    two = jax.jit(functools.partial(views.two_crops, **_EVERYTHING))
    result = np.asarray(two(jax.random.key(7), images, indices))
    assert result.shape == (64, 2, 8, 8, 3)
    np.testing.assert_allclose(result[:, 0], made, atol=1e-6)
    second = compiled(**_EVERYTHING)(jax.random.key(7), images, indices, 1)
    np.testing.assert_allclose(result[:, 1], second, atol=1e-6)


@pytest.mark.parametrize(("size", "channels"), [(8, 3), (20, 1), (20, 3)])
def test_the_two_ways_to_render_agree(images, size, channels):
    """What a CPU does and what other hardware does, on images that are not square."""
    count, key = 16, jax.random.key(3)
    crops = jnp.asarray(images[:count, :, :10, :channels])
    boxes = jnp.asarray(np.random.default_rng(2).integers(1, 5, (count, 4)), jnp.float32)
    # For the first image nothing was drawn.
    factors = {name: jnp.linspace(1.0, 1.4, count) for name in ("brightness", "contrast")}
    if channels == 3:
        factors["saturation"] = jnp.linspace(1.0, 0.0, count)
        factors["hue"] = jnp.linspace(0.0, 0.5, count)
    to_gray = jnp.arange(count) % 5 == 1 if channels == 3 else None
    kernels = jax.nn.softmax(jax.random.normal(key, (count, 5)))
    kernels = kernels.at[0].set(jax.nn.one_hot(2, 5))
    flips = jnp.arange(count) % 2 == 0
    drawn = render.Drawn(boxes, flips, factors, to_gray, kernels)
    on_cpu = jax.jit(functools.partial(render.render_on_cpu, size=size))(crops, drawn)
    elsewhere = jax.jit(functools.partial(render.render_by_matrices, size=size))(crops, drawn)
    assert on_cpu.shape == (count, size, size, channels)
    np.testing.assert_allclose(on_cpu, elsewhere, atol=2e-6)


def test_accelerators_get_matrix_products_and_a_cpu_few_pixels(images):
    traced = compiled(**_EVERYTHING).trace(
        jax.random.key(0), images, np.arange(64, dtype=np.int32), 0
    )
    for platform, products in (("tpu", True), ("cuda", True), ("cpu", False)):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert ("dot_general" in text) == products


def test_images_must_be_uint8(images):
    with pytest.raises(AssertionError, match="type"):
        augment.augment(jax.random.key(0), images / 255, np.arange(64), 0, size=8)


def test_large_images_are_rendered_block_by_block_with_the_same_result(images, made, monkeypatch):
    monkeypatch.setattr(render, "_BLOCK_BYTES", 5 * 4 * 8 * 8 * 3)
    in_blocks = jax.jit(lambda *arguments: augment.augment(*arguments, **_EVERYTHING))
    indices = np.arange(100, 164, dtype=np.int32)
    assert "while" in in_blocks.lower(jax.random.key(7), images, indices, 0).as_text()
    result = in_blocks(jax.random.key(7), images, indices, 0)
    np.testing.assert_allclose(result, made, atol=1e-6)


def whole(images, **settings) -> np.ndarray:
    indices = np.arange(len(images), dtype=np.int32)
    return np.asarray(compiled(**_WHOLE, **settings)(jax.random.key(0), images, indices, 0))


def test_the_whole_image_without_settings_is_itself(images):
    np.testing.assert_allclose(whole(images), images / 255, atol=1e-6)


def test_a_flip_mirrors_about_half_of_the_images(images):
    result = whole(images, flip=0.5)
    plain, mirrored = images / 255, images[:, :, ::-1] / 255
    is_plain = np.abs(result - plain).max(axis=(1, 2, 3)) < 1e-5
    is_mirrored = np.abs(result - mirrored).max(axis=(1, 2, 3)) < 1e-5
    assert (is_plain ^ is_mirrored).all()
    # Five standard deviations of a fair coin thrown 64 times.
    assert abs(is_mirrored.sum() - 32) < 5 * 4


def test_brightness_is_uniform_in_its_interval(images):
    dark = (images // 4).astype(np.uint8)  # so that nothing is cut off
    factors = (whole(dark, jitter=1.0, brightness=0.4) / np.maximum(dark / 255, 1e-9)).max(
        (1, 2, 3)
    )
    assert 0.6 <= factors.min() < 0.7
    assert 1.3 < factors.max() <= 1.4
    # The mean of 64 uniform draws has a standard deviation of 0.4 / sqrt(3 * 64).
    assert abs(factors.mean() - 1) < 5 * 0.4 / np.sqrt(3 * 64)


def test_grayscale_of_all_images_leaves_their_luma(images):
    result = whole(images, grayscale=1.0)
    luma = images / 255 @ np.array([0.2989, 0.587, 0.114])
    np.testing.assert_allclose(result, np.repeat(luma[..., None], 3, axis=-1), atol=1e-6)


def test_crops_stay_within_the_settings():
    """On a ramp, the extremes of a crop tell how much of the width it shows."""
    ramp = np.broadcast_to(
        np.arange(0, 240, 4, dtype=np.uint8)[None, None, :, None], (64, 60, 60, 1)
    )
    settings = {"size": 60, "crop_scale": (0.25, 0.25), "crop_ratio": (1.0, 1.0)}
    indices = np.arange(64, dtype=np.int32)
    result = np.asarray(compiled(**settings)(jax.random.key(0), ramp, indices, 0)) * 255
    shown = (result.max((1, 2, 3)) - result.min((1, 2, 3))) / 4 + 1
    np.testing.assert_allclose(shown, 30, atol=1e-2)
    corners = np.rint(result.min((1, 2, 3)) / 4)
    assert corners.min() >= 0 and corners.max() <= 30 and len(set(corners)) > 20


def test_gray_images_can_be_augmented(digits):
    settings = {
        "size": 16,
        "flip": 0.5,
        "jitter": 1.0,
        "brightness": 0.2,
        "contrast": 0.2,
        "blur": 1.0,
    }
    augment.check_augment(digits.image_shape, upsample=True, **settings)
    batch = digits[range(8)]
    result = compiled(**settings)(jax.random.key(0), batch["image"], batch["index"], 0)
    assert result.shape == (8, 16, 16, 1)
    assert np.isfinite(result).all()


@pytest.mark.parametrize(("shape", "size"), [((20, 14, 3), 6), ((8, 8, 1), 16), ((9, 9, 3), 9)])
def test_the_central_view_is_the_centre_square_resized(shape, size):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    side = min(shape[:2])
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    square = image[top : top + side, left : left + side].astype(np.float32) / 255
    expected = np.stack(
        [
            np.asarray(Image.fromarray(plane).resize((size, size), Image.Resampling.BILINEAR))
            for plane in np.moveaxis(square, -1, 0)
        ],
        axis=-1,
    )
    result = augment.center_view(jnp.asarray(image[None]), size)
    np.testing.assert_allclose(np.asarray(result)[0], expected, atol=1e-5)


def test_normalizing_takes_a_value_for_each_channel_or_one_for_all():
    images = jnp.full((2, 3, 3, 3), 0.5)
    by_channel = augment.normalize_images(images, (0.5, 0.25, 0.0), (1.0, 0.5, 0.25))
    np.testing.assert_allclose(np.asarray(by_channel)[0, 0, 0], [0, 0.5, 2])
    np.testing.assert_allclose(np.asarray(augment.normalize_images(images, (0.5,), (0.5,))), 0)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"size": 13}, "size 13 is larger than the images, which are 12x16; choose at most 12"),
        ({"size": 1}, "size 1 must be at least 2"),
        ({"flip": 1.5}, r"flip 1.5 is a probability and must lie in \[0, 1\]"),
        ({"blur": -0.1}, "blur -0.1 is a probability"),
        ({"crop_scale": (0.5, 0.2)}, r"crop_scale \(0.5, 0.2\) must be two positive .* order"),
        ({"crop_scale": (0.5, 1.2)}, "at most 1.0"),
        ({"crop_ratio": (0.0, 1.0)}, r"crop_ratio \(0.0, 1.0\) must be two positive numbers"),
        ({"blur_sigma": (0.0, 1.0)}, "blur_sigma"),
        ({"brightness": -0.1}, "brightness -0.1 must not be negative"),
        ({"hue": 0.6}, r"hue 0.6 must lie in \[0, 0.5\]"),
    ],
)
def test_impossible_settings_are_named(settings, match):
    with pytest.raises(ValueError, match=match):
        augment.check_augment((12, 16, 3), **{"size": 8, **settings})


def test_colour_operations_on_gray_images_are_refused():
    gray = (12, 12, 1)
    match = (
        "saturation, hue, grayscale need colour images, and these are gray; set saturation=0, hu"
    )
    with pytest.raises(ValueError, match=match):
        augment.check_augment(gray, size=8, jitter=0.8, saturation=0.4, hue=0.1, grayscale=0.2)
    augment.check_augment(gray, size=8, jitter=0.0, saturation=0.4, hue=0.1)
    with pytest.raises(ValueError, match="images of 4 channels cannot be augmented"):
        augment.check_augment((12, 12, 4), size=8)


def test_images_may_be_enlarged_on_request():
    augment.check_augment((8, 8, 1), size=16, upsample=True)
