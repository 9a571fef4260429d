"""The encoder in parts of the batch, one after another, before one loss of the whole.

The loss of a batch is not the mean of the losses of its parts, since an anchor's negatives are all other images; so
gradients that are accumulated over parts are those of a smaller batch. Here only the encoder goes in parts: their
projections are joined, the loss is that of the full batch, and for its gradient each part is encoded a second time,
which is what saves the memory: of all parts but one, nothing is kept but the projections.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax import Array

from jaxcl.sharding import collect, deal

Apply = Callable[..., tuple[Any, Any]]


def encode(
    apply: Apply,
    variables: dict[str, Any],
    images: Array,
    mesh: jax.sharding.Mesh,
    *,
    microbatches: int = 1,
    views: int = 1,
) -> tuple[Array, Any]:
    """Projections of images ``[n@data, h, w, c]`` and the batch statistics after them.

    Args:
      apply: (variables, images, train=True) -> (outputs, batch statistics).
      variables: ``params`` and ``batch_stats``.
      images: views of an image are consecutive rows.
      mesh: of the images.
      microbatches: parts in which the images are encoded, of equal size on every device.
      views: rows of an image, which stay in one part.

    Returns:
      Projections ``[n@data, d]``, in the order of the images (two streams: ``[2n@data, d]``), and the statistics.
      BatchNorm has the statistics of each part in place of those of the batch; what it keeps moves by their mean.
    """
    if microbatches == 1:
        outputs, batch_stats = apply(variables, images, train=True)
        return outputs.projection, batch_stats

    @jax.checkpoint
    def encode_part(variables: dict[str, Any], part: Array) -> tuple[Array, Any]:
        outputs, batch_stats = apply(variables, part, train=True)
        return outputs.projection, batch_stats

    def one(carry: None, part: Array) -> tuple[None, tuple[Array, Any]]:
        return carry, encode_part(variables, part)

    parts = deal(images, microbatches, views, mesh)
    # XLA's CPU compiler is a hundred times slower on convolutions in a loop than on the same ones written out.
    written_out = mesh.devices.flat[0].platform == "cpu"
    _, (projections, batch_stats) = jax.lax.scan(one, None, parts, unroll=written_out or 1)
    rows = projections.shape[1] * microbatches // images.shape[0] * views
    joined = collect(projections, rows, mesh)
    return joined, jax.tree.map(lambda each: each.mean(0), batch_stats)
