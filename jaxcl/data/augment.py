"""Random views of images, on the device, inside the jitted step.

What happens to an image depends on the key, the view and the image's index alone: not on the other
images of the batch, nor on the number of devices. Everything may run inside ``jax.shard_map``.
"""

import chex
import jax
import jax.numpy as jnp

from jaxcl.data import crop, render
from jaxcl.data.blur import blur_radius, gaussian_weights

# Uniform draws for each image: the box, and one for each further decision.
_BOX_DRAWS = 2 * crop.ATTEMPTS + 2
_DECISIONS = (
    "flip",
    "jitter",
    "brightness",
    "contrast",
    "saturation",
    "hue",
    "grayscale",
    "blur",
    "sigma",
)


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

    The operations follow torchvision's definitions, but the four of the colour jitter come always
    in the order brightness, contrast, saturation, hue, where torchvision shuffles them.

    Args:
      key: one key for the step.
      images: uint8 ``[b, h, w, c]`` with c = 1 or 3.
      indices: int32 ``[b]``, the position of each image in its set.
      view: which view this is, for all images or int ``[b]``; other views of an image differ.
      size: height and width of the result, in pixels.
      crop_scale: least and greatest area of the crop, as a fraction of the image's.
      crop_ratio: least and greatest width by height of the crop.
      flip: probability of a horizontal flip.
      jitter: probability that the four colour operations are applied.
      brightness: the factor is uniform in [1 - brightness, 1 + brightness], cut off at 0.
      contrast: as brightness.
      saturation: as brightness.
      hue: the shift is uniform in [-hue, hue], in full circles.
      grayscale: probability that colour is removed.
      blur: probability of a Gaussian blur; its kernel spans a tenth of ``size``.
      blur_sigma: least and greatest standard deviation of the blur, in pixels of the result.

    Returns:
      float32 ``[b, size, size, c]`` in [0, 1].

    Example::

      views = augment(key, images, indices, 0, size=32, flip=0.5, grayscale=0.2)
    """
    chex.assert_type(images, jnp.uint8)
    chex.assert_rank([images, indices], [4, 1])
    views = jnp.broadcast_to(jnp.asarray(view), indices.shape)
    draws = jax.vmap(_draw, in_axes=(None, 0, 0))(key, views, indices)
    areas, ratios, corners, decisions = jnp.split(
        draws, [crop.ATTEMPTS, 2 * crop.ATTEMPTS, _BOX_DRAWS], axis=1
    )
    draw: dict[str, jax.Array] = dict(zip(_DECISIONS, decisions.T, strict=True))
    strengths = {
        "brightness": brightness,
        "contrast": contrast,
        "saturation": saturation,
        "hue": hue,
    }
    sides = (images.shape[1], images.shape[2])
    drawn = render.Drawn(
        boxes=crop.random_boxes(areas, ratios, corners, sides, crop_scale, crop_ratio),
        flips=draw["flip"] < flip,
        factors=_factors(draw, jitter, strengths),
        to_gray=draw["grayscale"] < grayscale if grayscale else None,
        kernels=_kernels(draw, blur, blur_sigma, size) if blur else None,
    )
    return render.render(images, drawn, size)


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
    """Says what is wrong with the settings of :func:`augment`, before anything is compiled.

    Args:
      image_shape: ``(h, w, c)`` of the images.
      upsample: allow a ``size`` larger than the images.

    Raises:
      ValueError: for a size larger than the images, a value out of its range, or operations on
        colour where images are gray.
    """
    height, width, channels = image_shape
    if size < 2:
        raise ValueError(f"size {size} must be at least 2 pixels")
    if size > min(height, width) and not upsample:
        raise ValueError(
            f"size {size} is larger than the images, which are {height}x{width}; choose at most "
            f"{min(height, width)}, or allow them to be enlarged"
        )
    _check_probabilities(flip=flip, jitter=jitter, grayscale=grayscale, blur=blur)
    _check_interval("crop_scale", crop_scale, 1.0)
    _check_interval("crop_ratio", crop_ratio, float("inf"))
    _check_interval("blur_sigma", blur_sigma, float("inf"))
    for name, value in (("brightness", brightness), ("contrast", contrast)):
        _check_range(name, value, float("inf"))
    _check_range("saturation", saturation, float("inf"))
    _check_range("hue", hue, 0.5)
    _check_channels(channels, saturation=jitter * saturation, hue=jitter * hue, grayscale=grayscale)


def normalize_images(
    images: jax.Array, mean: tuple[float, ...], std: tuple[float, ...]
) -> jax.Array:
    """``(images - mean) / std`` by channel.

    Args:
      images: ``[..., c]``, in [0, 1].
      mean: one value for each channel, or one for all.
      std: as mean.
    """
    shape = (1,) * (images.ndim - 1) + (-1,)
    mean_array = jnp.asarray(mean, images.dtype).reshape(shape)
    return (images - mean_array) / jnp.asarray(std, images.dtype).reshape(shape)


def center_view(images: jax.Array, size: int) -> jax.Array:
    """The view for evaluation: the centre square, resized to ``size`` (antialiased bilinear).

    Args:
      images: uint8 ``[b, h, w, c]``.
      size: height and width of the result, in pixels.

    Returns:
      float32 ``[b, size, size, c]`` in [0, 1].
    """
    height, width = images.shape[1:3]
    pixels = images.astype(jnp.float32) / 255
    if (height, width) == (size, size):
        return pixels
    side = min(height, width)
    rows = _central_matrix(height, side, size)
    columns = _central_matrix(width, side, size)
    precision = jax.lax.Precision.HIGHEST
    view = jnp.einsum("sh,bhwc,tw->bstc", rows, pixels, columns, precision=precision)
    return jnp.minimum(view, 1.0)


def _central_matrix(pixels: int, side: int, size: int) -> jax.Array:
    start = jnp.asarray((pixels - side) // 2, jnp.float32)
    return crop.resize_matrix(
        start, jnp.asarray(side, jnp.float32), jnp.asarray(False), size, pixels
    )


def _draw(key: jax.Array, view: jax.Array, index: jax.Array) -> jax.Array:
    image_key = jax.random.fold_in(jax.random.fold_in(key, view), index)
    return jax.random.uniform(image_key, (_BOX_DRAWS + len(_DECISIONS),))


def _factors(
    draw: dict[str, jax.Array], jitter: float, strengths: dict[str, float]
) -> dict[str, jax.Array]:
    """The factors ``[b]`` of the colour operations; neutral where none was drawn."""
    factors = {}
    for name, strength in strengths.items():
        if jitter and strength:
            low, neutral = (-strength, 0) if name == "hue" else (max(1 - strength, 0), 1)
            high = neutral + strength
            drawn = low + (high - low) * draw[name]
            factors[name] = jnp.where(draw["jitter"] < jitter, drawn, neutral)
    return factors


def _kernels(
    draw: dict[str, jax.Array], probability: float, interval: tuple[float, float], size: int
) -> jax.Array:
    """The kernels ``[b, k]`` of the blur; a single 1 where none was drawn."""
    radius = blur_radius(size)
    sigma = interval[0] + (interval[1] - interval[0]) * draw["sigma"]
    unchanged = jax.nn.one_hot(radius, 2 * radius + 1)[None, :]
    drawn = gaussian_weights(sigma, radius)
    return jnp.where((draw["blur"] < probability)[:, None], drawn, unchanged)


def _check_probabilities(**probabilities: float) -> None:
    for name, value in probabilities.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} {value} is a probability and must lie in [0, 1]")


def _check_interval(name: str, interval: tuple[float, float], greatest: float) -> None:
    if len(interval) != 2 or not 0 < interval[0] <= interval[1] <= greatest:
        bound = f", at most {greatest}" if greatest < float("inf") else ""
        raise ValueError(f"{name} {interval} must be two positive numbers in order{bound}")


def _check_range(name: str, value: float, greatest: float) -> None:
    if not 0 <= value <= greatest:
        rule = f"lie in [0, {greatest}]" if greatest < float("inf") else "not be negative"
        raise ValueError(f"{name} {value} must {rule}")


def _check_channels(channels: int, **asked: float) -> None:
    if channels not in (1, 3):
        raise ValueError(f"images of {channels} channels cannot be augmented; only 1 or 3")
    names = [name for name, value in asked.items() if value]
    if channels == 1 and names:
        raise ValueError(
            f"{', '.join(names)} need colour images, and these are gray; "
            f"set {', '.join(f'{name}=0' for name in names)}"
        )
