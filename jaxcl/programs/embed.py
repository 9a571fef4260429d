"""Embed every image of a split with frozen variables: BatchNorm in evaluation mode, no gradient, in order."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from jaxcl import sharding
from jaxcl.data import pipeline
from jaxcl.programs import assemble


class Embeddings(NamedTuple):
    """A split as the frozen model sees it, on the host.

    Attributes:
      backbone: encoder output ``[n, e]``, float32.
      projection: head output ``[n, d]``, float32, not normalised.
      labels: int32 ``[n]``.
    """

    backbone: np.ndarray
    projection: np.ndarray
    labels: np.ndarray


_APPLY: dict[str, Callable] = {}


def _apply(
    config: ConfigDict, mesh: jax.sharding.Mesh, views: int, augmentation: ConfigDict
) -> Callable:
    """The jitted forward pass, one for all cells of a grid."""
    key = f"{config.model}{config.data}{augmentation}{views}{mesh.devices.tolist()}"
    if key not in _APPLY:
        model = assemble.model(config)
        many = jax.process_count() > 1
        center = assemble.center(config)
        random = assemble.make_views(config, max(views, 1), augmentation)

        def make(key, images, index):
            made = random(key, images, index) if views else center(images)[:, None]
            return made.reshape(-1, *made.shape[2:])

        @jax.jit
        def apply(variables, key, batch):
            made = sharding.per_device(make, mesh, (False, True, True))(
                key, batch["image"], batch["index"]
            )
            outputs = model.apply(variables, made, train=False)[0]
            rest = {name: batch[name] for name in ("index", "label", "mask")}
            # A process can read only what its own devices hold: with several, every device gets every row.
            return jax.tree.map(sharding.gather, (outputs, rest)) if many else (outputs, rest)

        _APPLY[key] = apply
    return _APPLY[key]


def embed(
    config: ConfigDict,
    source: Any,
    variables: dict[str, Any],
    mesh: jax.sharding.Mesh,
    *,
    views: int = 0,
    seed: int = 0,
    augmentation: ConfigDict | None = None,
    tick: Callable[[int], None] = lambda done: None,
) -> Embeddings:
    """Embed a split.

    Args:
      config: names the model and the size of the images.
      source: the images, labels and their order.
      variables: ``params`` and ``batch_stats``, on the mesh.
      mesh: over which each batch is split.
      views: 0 for the evaluation's one central view; else that many random views of each image, interleaved.
      seed: of the random views.
      augmentation: of the random views; None for that of the training.
      tick: told how many images are done.

    Returns:
      The embeddings of all images in order, ``views`` rows for each; the same on every process.
    """
    chosen: ConfigDict = config.augment if augmentation is None else augmentation
    apply, repeat = _apply(config, mesh, views, chosen), max(views, 1)
    key = sharding.place(jax.random.key(seed), mesh)
    backbone, projection, labels, done = [], [], [], 0
    batches = pipeline.ordered(
        source,
        batch_size=config.evaluate.batch_size,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    for batch in batches:
        outputs, read = jax.device_get(apply(variables, key, sharding.global_batch(batch, mesh)))
        kept = np.flatnonzero(read["mask"])
        # The rows of a mesh over several hosts need not stand in the order of the split.
        kept = kept[np.argsort(read["index"][kept])]
        rows = (kept[:, None] * repeat + np.arange(repeat)).ravel()
        backbone.append(outputs.embedding[rows])
        # One projection of each image, or one of each of its streams.
        streams = outputs.projection.reshape(
            len(outputs.embedding), -1, outputs.projection.shape[1]
        )
        projection.append(streams[rows].reshape(-1, streams.shape[2]))
        labels.append(np.repeat(read["label"][kept], repeat))
        done += len(kept)
        tick(done)
    return Embeddings(np.concatenate(backbone), np.concatenate(projection), np.concatenate(labels))
