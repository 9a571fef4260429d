"""How many views of an image the loss sees, and in which order."""

import jax
import jax.numpy as jnp

from jaxcl.data import augment as augmentation


def two_crops(
    key: jax.Array, images: jax.Array, indices: jax.Array, *, size: int, **settings
) -> jax.Array:
    """Two independent random views of each image.

    Args:
      key: one key for the step.
      images: uint8 ``[b, h, w, c]``.
      indices: int32 ``[b]``, the position of each image in its set.
      size: height and width of a view.
      **settings: of :func:`jaxcl.data.augment.augment`.

    Returns:
      float32 ``[b, 2, size, size, c]`` in [0, 1]. Flattened over the first two axes, the positive
      of row i is i XOR 1.
    """
    return several(key, images, indices, num_views=2, size=size, **settings)


def single(
    key: jax.Array, images: jax.Array, indices: jax.Array, *, size: int, **settings
) -> jax.Array:
    """One random view of each image, ``[b, 1, size, size, c]``; see :func:`two_crops`."""
    return several(key, images, indices, num_views=1, size=size, **settings)


def several(
    key: jax.Array, images: jax.Array, indices: jax.Array, *, num_views: int, size: int, **settings
) -> jax.Array:
    """``num_views`` independent random views of each image ``[b, num_views, size, size, c]``.

    See :func:`two_crops`.
    """
    # One call for all views: one program to compile, and nothing to put together afterwards.
    batch = images.shape[0]
    made = augmentation.augment(
        key,
        jnp.repeat(images, num_views, axis=0),
        jnp.repeat(indices, num_views, axis=0),
        jnp.tile(jnp.arange(num_views, dtype=jnp.int32), batch),
        size=size,
        **settings,
    )
    return made.reshape(batch, num_views, *made.shape[1:])
