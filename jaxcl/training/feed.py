"""What a step is fed: batches that the host reads, or rows of a set that lies on the devices.

Both give the same arrays, so the same compiled step makes the same numbers of them.
"""

from collections.abc import Callable

import jax
import numpy as np
from jax import Array

from jaxcl.sharding import global_batch, per_device

Feed = Callable[[dict[str, np.ndarray]], dict[str, Array]]


def from_host(mesh: jax.sharding.Mesh) -> Feed:
    """This host's part of a batch ``{"image", "index", ...}`` to global arrays ``{"image", "index"}``."""

    def feed(batch: dict[str, np.ndarray]) -> dict[str, Array]:
        return global_batch({name: batch[name] for name in ("image", "index")}, mesh)

    return feed


def from_devices(images: Array, mesh: jax.sharding.Mesh) -> Feed:
    """This host's part of the positions ``{"index"}`` to ``{"image", "index"}``; only the positions are sent.

    Args:
      images: uint8 ``[n, h, w, c]``, the whole set on every device. It is an argument of the compiled selection, so it
        is neither copied nor folded into a program.
      mesh: of the batch.
    """
    select = jax.jit(per_device(lambda images, index: images[index], mesh, (False, True)))

    def feed(batch: dict[str, np.ndarray]) -> dict[str, Array]:
        arrays = global_batch({"index": batch["index"]}, mesh)
        return {"image": select(images, arrays["index"]), **arrays}

    return feed
