"""Random views of images, on the device, inside the jitted step.

What happens to an image depends on the key, the view and the image's index alone: not on the other images of the batch, the
number of devices or the order of the data. Everything here may run under ``jit`` and inside ``jax.shard_map``.
"""

import functools

import jax
import jax.numpy as jnp

from jaxcl.data import blur as blurring
from jaxcl.data import colour, crop

_NUM_DRAWS = 2 * crop.ATTEMPTS + 11


def augment(
    key: jax.Array,
    images: jax.Array,
    indices: jax.Array,
    view: int | jax.Array,
    *,
    size: int,
    crop_scale: tuple[float, float] = (0.2, 1.0),
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3),
    flip: float = 0.0,
    jitter: float = 0.0,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
    grayscale: float = 0.0,
    blur: float = 0.0,
    blur_sigma: tuple[float, float] = (0.1, 2.0),
) -> jax.Array:
    """One random view of each image: crop and flip, colour jitter, grayscale, blur, in this order.

    The colour operations follow torchvision's definitions, always in the order brightness, contrast, saturation, hue
    (torchvision shuffles them).

    Args:
      key: one key for the step.
      images: uint8 ``[b, h, w, c]`` with c = 1 or 3.
      indices: int32 ``[b]``, the position of each image in its set.
      view: which view this is; other views of the same image differ.
      size: height and width of the result.
      crop_scale: the crop's area, as a fraction of the image's.
      crop_ratio: the crop's width by its height.
      flip: probability of a horizontal flip.
      jitter: probability that the four colour operations are applied.
      brightness: the factor is uniform in [1 - brightness, 1 + brightness], never below 0.
      contrast: as brightness.
      saturation: as brightness.
      hue: the shift is uniform in [-hue, hue], in turns; at most 0.5.
      grayscale: probability that colour is removed.
      blur: probability of a Gaussian blur.
      blur_sigma: its standard deviation in pixels is uniform in this interval.

    Returns:
      float32 ``[b, size, size, c]`` in [0, 1].

    Raises:
      ValueError: see :func:`check_augment`.
    """
    one = functools.partial(
        _augment_one,
        size=size,
        crop_scale=crop_scale,
        crop_ratio=crop_ratio,
        flip=flip,
        jitter=jitter,
        brightness=brightness,
        contrast=contrast,
        saturation=saturation,
        hue=hue,
        grayscale=grayscale,
        blur=blur,
        blur_sigma=blur_sigma,
    )
    view_key = jax.random.fold_in(key, view)
    keys = jax.vmap(lambda index: jax.random.fold_in(view_key, index))(indices)
    draws = jax.vmap(lambda image_key: jax.random.uniform(image_key, (_NUM_DRAWS,)))(keys)
    return jax.vmap(one)(images, draws)


def check_augment(
    image_shape: tuple[int, int, int],
    *,
    size: int,
    crop_scale: tuple[float, float] = (0.2, 1.0),
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3),
    flip: float = 0.0,
    jitter: float = 0.0,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
    grayscale: float = 0.0,
    blur: float = 0.0,
    blur_sigma: tuple[float, float] = (0.1, 2.0),
    upsample: bool = False,
) -> None:
    """Says what is wrong with these settings for images of ``(h, w, c)``, before anything is compiled.

    Args: as :func:`augment`, and
      upsample: allow a ``size`` larger than the image.

    Raises:
      ValueError: for a size larger than the image, a value outside its range, or colour operations on gray images.
    """
    height, width, channels = image_shape
    if size < 1 or (size > min(height, width) and not upsample):
        raise ValueError(
            f"size {size} is larger than the images, which are {height}x{width}; choose at most {min(height, width)}, "
            "or allow upsampling"
        )
    colour_asked = {
        name: value
        for name, value in (
            ("saturation", jitter * saturation),
            ("hue", jitter * hue),
            ("grayscale", grayscale),
        )
        if value
    }
    if channels != 3 and colour_asked:
        raise ValueError(
            f"{' and '.join(colour_asked)} need colour images, and these have {channels} channel(s); set "
            f"{', '.join(f'{name}=0' for name in colour_asked)}"
        )


def normalize_images(
    images: jax.Array, mean: tuple[float, ...], std: tuple[float, ...]
) -> jax.Array:
    """``(images - mean) / std`` by channel, for images ``[..., c]`` in [0, 1]."""
    shape = (1,) * (images.ndim - 1) + (-1,)
    return (images - jnp.asarray(mean, images.dtype).reshape(shape)) / jnp.asarray(
        std, images.dtype
    ).reshape(shape)


def center_view(images: jax.Array, size: int) -> jax.Array:
    """The view for evaluation: the shorter side resized to ``size`` (antialiased), then the centre square.

    Args:
      images: uint8 ``[b, h, w, c]``.
      size: height and width of the result.

    Returns:
      float32 ``[b, size, size, c]`` in [0, 1].
    """
    height, width = images.shape[1:3]
    side = min(height, width)
    pixels = images.astype(jnp.float32) / 255
    if (height, width) == (size, size):
        return pixels
    top, left = float((height - side) // 2), float((width - side) // 2)
    rows = crop.resize_weights(jnp.float32(top), jnp.float32(side), jnp.bool_(False), size, height)
    columns = crop.resize_weights(
        jnp.float32(left), jnp.float32(side), jnp.bool_(False), size, width
    )
    return jnp.einsum(
        "sh,bhwc,tw->bstc", rows, pixels, columns, precision=jax.lax.Precision.HIGHEST
    )


def _augment_one(
    image,
    draws,
    *,
    size,
    crop_scale,
    crop_ratio,
    flip,
    jitter,
    brightness,
    contrast,
    saturation,
    hue,
    grayscale,
    blur,
    blur_sigma,
):
    height, width, channels = image.shape
    area, ratio, corner, rest = jnp.split(
        draws, [crop.ATTEMPTS, 2 * crop.ATTEMPTS, 2 * crop.ATTEMPTS + 2]
    )
    flip_draw, jitter_draw, *factor_draws, gray_draw, blur_draw, sigma_draw = rest
    top, left, box_height, box_width = crop.random_box(
        area, ratio, corner, height, width, crop_scale, crop_ratio
    )
    rows = crop.resize_weights(top, box_height, jnp.bool_(False), size, height)
    columns = crop.resize_weights(left, box_width, flip_draw < flip, size, width)
    planes = jnp.einsum(
        "sh,hwc,tw->cst",
        rows,
        image.astype(jnp.float32) / 255,
        columns,
        precision=jax.lax.Precision.HIGHEST,
    )
    if jitter:
        jittered = _jitter(planes, factor_draws, brightness, contrast, saturation, hue)
        planes = jnp.where(jitter_draw < jitter, jittered, planes)
    if grayscale:
        planes = jnp.where(gray_draw < grayscale, colour.gray(planes)[None], planes)
    if blur:
        sigma = blur_sigma[0] + (blur_sigma[1] - blur_sigma[0]) * sigma_draw
        blurred = blurring.blur(
            planes, blurring.gaussian_weights(sigma, blurring.blur_radius(size))
        )
        planes = jnp.where(blur_draw < blur, blurred, planes)
    return jnp.moveaxis(planes, 0, -1)


def _jitter(planes, draws, brightness, contrast, saturation, hue):
    def factor(draw, strength):
        return jnp.maximum(1 - strength, 0) + (1 + strength - max(1 - strength, 0)) * draw

    if brightness:
        planes = colour.adjust_brightness(planes, factor(draws[0], brightness))
    if contrast:
        planes = colour.adjust_contrast(planes, factor(draws[1], contrast))
    if saturation:
        planes = colour.adjust_saturation(planes, factor(draws[2], saturation))
    if hue:
        planes = colour.adjust_hue(planes, hue * (2 * draws[3] - 1))
    return planes
