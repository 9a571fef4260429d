"""The encoder in parts of the batch, one after another, before one loss of the whole.

The loss of a batch is not the mean of the losses of its parts, since an anchor's negatives are all other images; so
gradients that are accumulated over parts are those of a smaller batch. Here only views and encoder go in parts: their
projections are joined, the loss is that of the full batch, and for its gradient each part is made and encoded a second
time, which is what saves the memory: of all parts but one, nothing is kept but the images as read and the projections.
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
    views: Callable[..., Array],
    batch: tuple[Array, ...],
    mesh: jax.sharding.Mesh,
    *,
    microbatches: int = 1,
) -> tuple[Array, Any]:
    """Projections of the views of a batch, and the batch statistics after them.

    Args:
      apply: (variables, images ``[n, h, w, c]``, train=True) -> (outputs, batch statistics).
      variables: ``params`` and ``batch_stats``.
      views: (rows of each array of the batch) -> their views ``[b@data, v, h, w, c]``, those of an image the same in
        any part.
      batch: arrays ``[b@data, ...]``.
      mesh: of the batch.
      microbatches: parts in which the batch is encoded, of equal size on every device.

    Returns:
      Projections ``[v*b@data, d]``, views of an image in consecutive rows (two streams: ``[2*v*b@data, d]``), and the
      statistics. BatchNorm has the statistics of each part in place of those of the batch; what it keeps moves by their
      mean.
    """

    def encode_part(variables: dict[str, Any], *part: Array) -> tuple[Array, Any]:
        made = views(*part)
        images = made.reshape(-1, *made.shape[2:])
        outputs, batch_stats = apply(variables, images, train=True)
        return outputs.projection, batch_stats

    if microbatches == 1:
        return encode_part(variables, *batch)

    def one(carry: None, part: tuple[Array, ...]) -> tuple[None, tuple[Array, Any]]:
        return carry, jax.checkpoint(encode_part)(variables, *part)

    parts = tuple(deal(rows, microbatches, mesh) for rows in batch)
    _, (projections, batch_stats) = jax.lax.scan(one, None, parts, unroll=_written_out(mesh) or 1)
    together = projections.shape[1] * microbatches // len(batch[0])
    joined = collect(projections, together, mesh)
    return joined, jax.tree.map(lambda each: each.mean(0), batch_stats)


def _written_out(mesh: jax.sharding.Mesh) -> bool:
    """Whether there is no loop: on a CPU, XLA's convolutions are a hundred times slower in one.

    Written out, all parts' views may be there at once, as nothing says which part comes first.
    """
    return mesh.devices.flat[0].platform == "cpu"
