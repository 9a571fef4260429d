"""Encoded images to uint8 arrays on the host, and the resize that gives them one common size."""

import io
from collections.abc import Iterable

import numpy as np
from PIL import Image

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def decode_image(encoded: bytes, channels: int, size: int | None = None) -> np.ndarray:
    """One PNG or JPEG as uint8 ``[h, w, c]``.

    Args:
      encoded: the bytes of the file.
      channels: 1, 3 or 4; a file of another kind is converted.
      size: when given, the shorter side is resized to ``size`` (bilinear, antialiased) and the
        centre ``size x size`` is kept.
    """
    with Image.open(io.BytesIO(encoded)) as image:
        if size is not None:
            # Lets the JPEG decoder skip detail that the resize would throw away.
            image.draft(_MODES[channels], (size, size))
        return to_array(image, channels, size)


def to_array(image: Image.Image, channels: int, size: int | None) -> np.ndarray:
    """An opened image as uint8 ``[h, w, c]``; see :func:`decode_image`."""
    if image.mode != _MODES[channels]:
        image = image.convert(_MODES[channels])
    if size is not None and image.size != (size, size):
        image = _resize_and_crop(image, size)
    array = np.asarray(image)
    return array[:, :, None] if array.ndim == 2 else array


def stack_images(images: Iterable[np.ndarray], what: str) -> np.ndarray:
    """Equal images as one array ``[k, h, w, c]``; ``what`` names the set in the error."""
    listed = list(images)
    shapes = sorted({image.shape for image in listed})
    if len(shapes) > 1:
        (first, second, *_) = shapes
        raise ValueError(
            f"the images of {what} differ in size ({first} and {second}, for instance); "
            "give size=... to resize and crop them while loading"
        )
    return np.stack(listed)


def _resize_and_crop(image: Image.Image, size: int) -> Image.Image:
    width, height = image.size
    scale = size / min(width, height)
    width, height = max(size, round(width * scale)), max(size, round(height * scale))
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))
