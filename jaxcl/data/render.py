"""The views that were drawn, computed: crop, flip, colours, grayscale and blur of whole batches.

It is written twice where it matters. Accelerators get two matrix products for the crop and one
expression for the rest. A CPU reads only the few source pixels that each result needs, keeps the
stages apart, takes few images at a time and skips what was drawn for none of them.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcl.data import blur, colour, crop

# Bytes of one block of images on a CPU. Small enough for the second-level cache, and so that of
# large images each is a block of its own, which may skip what was not drawn for it.
_BLOCK_BYTES = 2**17

# Operations that a CPU computes in one pass. Wherever all channels of the result need all channels
# of the source, a further operation in the same pass would compute its source three times.
_PASSES = (("brightness", "contrast"), ("saturation",), ("hue",))
_ADJUST = {
    "brightness": colour.adjust_brightness,
    "contrast": colour.adjust_contrast,
    "saturation": colour.adjust_saturation,
    "hue": colour.adjust_hue,
}


class Drawn(NamedTuple):
    """What was drawn for each image.

    Attributes:
      boxes: ``(top, left, height, width)`` of the crop, in pixels ``[b, 4]``.
      flips: bool ``[b]``.
      factors: of the colour operations, by name ``[b]``; those left out are not computed.
      to_gray: bool ``[b]``, or None: grayscale is not computed.
      kernels: of the blur ``[b, k]``, or None: blur is not computed.
    """

    boxes: jax.Array
    flips: jax.Array
    factors: dict[str, jax.Array]
    to_gray: jax.Array | None
    kernels: jax.Array | None


def render(images: jax.Array, drawn: Drawn, size: int) -> jax.Array:
    """uint8 ``[b, h, w, c]`` to float32 ``[b, size, size, c]`` in [0, 1]."""
    return jax.lax.platform_dependent(
        images,
        drawn,
        cpu=functools.partial(render_on_cpu, size=size),
        default=functools.partial(render_by_matrices, size=size),
    )


def render_by_matrices(images: jax.Array, drawn: Drawn, size: int) -> jax.Array:
    """As :func:`render`, for accelerators."""
    height, width = images.shape[1:3]
    boxes, not_flipped = drawn.boxes, jnp.zeros_like(drawn.flips)
    make = jax.vmap(crop.resize_matrix, in_axes=(0, 0, 0, None, None))
    rows = make(boxes[:, 0], boxes[:, 2], not_flipped, size, height) * (1 / 255)
    columns = make(boxes[:, 1], boxes[:, 3], drawn.flips, size, width)
    precision = jax.lax.Precision.HIGHEST
    pixels = images.astype(jnp.float32)
    planes = jnp.einsum("bsh,bhwc,btw->btcs", rows, pixels, columns, precision=precision)
    return _recolour_and_blur(planes, drawn, _always)


def _always(wanted, stage, otherwise, *operands):
    del wanted, otherwise
    return stage(*operands)


def render_on_cpu(images: jax.Array, drawn: Drawn, size: int) -> jax.Array:
    """As :func:`render`, for CPUs. One device keeps one core busy: make a device for each core."""
    count = images.shape[0]
    fitting = max(1, _BLOCK_BYTES // (4 * size * size * images.shape[3]))
    block = max(part for part in range(1, min(count, fitting) + 1) if count % part == 0)
    if block == count:
        return _render_block(images, drawn, size)
    blocks = jax.tree.map(lambda rows: rows.reshape(-1, block, *rows.shape[1:]), (images, drawn))
    rendered = jax.lax.map(lambda rows: _render_block(rows[0], rows[1], size), blocks)
    return rendered.reshape(count, *rendered.shape[2:])


def _render_block(images: jax.Array, drawn: Drawn, size: int) -> jax.Array:
    always = jnp.all(drawn.boxes[:, 2] > 0)
    planes = _apart(always, functools.partial(_resize_rows, size=size), images, drawn.boxes)
    planes = _apart(always, lambda rows: jnp.transpose(rows, (0, 2, 3, 1)), planes)
    resize_columns = functools.partial(_resize_columns, size=size)
    planes = _apart(always, resize_columns, planes, drawn.boxes, drawn.flips)
    return _recolour_and_blur(planes, drawn, jax.lax.cond)


def _apart(always: jax.Array, stage: Callable[..., jax.Array], *operands) -> jax.Array:
    """``stage(*operands)``, computed once and stored.

    Left alone, XLA's CPU compiler fuses a stage into every read of the next one (nine for a blur)
    and computes it as often; it drops optimisation barriers first. It does not look into the
    branches of a conditional, and cannot know that ``always`` is true.
    """
    result = jax.eval_shape(stage, *operands)

    def never(*_):
        # Made of ``always``, so that inside shard_map it varies over the same axes as the result.
        return jnp.broadcast_to(always.astype(result.dtype), result.shape)

    return jax.lax.cond(always, stage, never, *operands)


# From here on an image batch is ``[b, w, c, h]``: what a stage reads together then lies together,
# and one transpose at the end gives [b, h, w, c].


def _recolour_and_blur(planes: jax.Array, drawn: Drawn, cond: Callable) -> jax.Array:
    """The rest; ``cond(wanted, stage, otherwise, *operands)`` may leave out what changes nothing."""

    def unchanged(planes, *_):
        return planes

    for names in _PASSES:
        factors = {name: drawn.factors[name] for name in names if name in drawn.factors}
        if factors:
            neutral = 0 if "hue" in factors else 1
            wanted = jnp.any(jnp.stack(list(factors.values())) != neutral)
            planes = cond(wanted, _recolour, unchanged, planes, factors)
    if drawn.to_gray is not None:
        wanted = jnp.any(drawn.to_gray)
        planes = cond(wanted, _remove_colour, unchanged, planes, drawn.to_gray)
    if drawn.kernels is not None:
        wanted = jnp.any(drawn.kernels[:, drawn.kernels.shape[1] // 2] != 1)
        for axis in (1, 3):
            stage = functools.partial(blur.blur_axis, axis=axis)
            planes = cond(wanted, stage, unchanged, planes, drawn.kernels)
    # Weights that sum to 1 only up to rounding can leave a value just above it.
    return jnp.minimum(jnp.transpose(planes, (0, 3, 1, 2)), 1.0)


def _resize_rows(images: jax.Array, boxes: jax.Array, *, size: int) -> jax.Array:
    """uint8 ``[b, h, w, c]`` to float32 ``[b, size, w, c]`` in [0, 1]."""
    batch, height, width, channels = images.shape

    def resize(image, box):
        positions, weights = crop.resize_taps(box[0], box[2], jnp.asarray(False), size, height)
        return _mix_rows(image, positions, weights * (1 / 255))

    rows = jax.vmap(resize)(images.reshape(batch, height, width * channels), boxes)
    return rows.reshape(batch, size, width, channels)


def _resize_columns(
    planes: jax.Array, boxes: jax.Array, flips: jax.Array, *, size: int
) -> jax.Array:
    """``[b, w, c, size]`` to ``[b, size, c, size]``."""
    batch, width, channels, height = planes.shape

    def resize(image, box, flipped):
        positions, weights = crop.resize_taps(box[1], box[3], flipped, size, width)
        return _mix_rows(image, positions, weights)

    columns = jax.vmap(resize)(planes.reshape(batch, width, channels * height), boxes, flips)
    return columns.reshape(batch, size, channels, height)


def _mix_rows(rows: jax.Array, positions: jax.Array, weights: jax.Array) -> jax.Array:
    """Weighted sums ``[s, k]`` of the rows ``[r, k]`` at ``positions [s, taps]``."""
    total = jnp.zeros((), jnp.float32)
    for tap in range(positions.shape[1]):
        taken = jnp.take(rows, positions[:, tap], axis=0, mode="clip").astype(jnp.float32)
        total = total + weights[:, tap][:, None] * taken
    return total


def _recolour(planes: jax.Array, factors: dict[str, jax.Array]) -> jax.Array:
    channels = _channels(planes)
    for name, adjust in _ADJUST.items():
        if name in factors:
            channels = adjust(channels, factors[name][:, None, None])
    return jnp.stack(channels, axis=2)


def _remove_colour(planes: jax.Array, to_gray: jax.Array) -> jax.Array:
    gray = colour.luma(_channels(planes))[:, :, None]
    return jnp.where(to_gray[:, None, None, None], gray, planes)


def _channels(planes: jax.Array) -> colour.Channels:
    return tuple(planes[:, :, channel] for channel in range(planes.shape[2]))
