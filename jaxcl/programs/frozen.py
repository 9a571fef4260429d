"""The model of a checkpoint, read without the rest of the training state, and the proof that nobody changed it."""

import hashlib
import pathlib
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from jaxcl import sharding
from jaxcl.programs import assemble
from jaxcl.programs.workdir import check_same_run
from jaxcl.training.checkpoint import Checkpoints


def abstract_model(config: ConfigDict, channels: int, mesh: jax.sharding.Mesh) -> dict[str, Any]:
    """Shapes, types and shardings of ``params`` and ``batch_stats``."""
    shape = (config.data.image_size, config.data.image_size, channels)
    model = assemble.model(config)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), shape))
    everywhere = sharding.everywhere(mesh)
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=everywhere), shapes
    )


def restore(
    config: ConfigDict,
    workdir: pathlib.Path,
    channels: int,
    mesh: jax.sharding.Mesh,
    step: int | None,
) -> tuple[int, dict[str, Any]]:
    """Read the model of a checkpoint.

    Args:
      config: must agree with the run's in all but its evaluation.
      workdir: the run directory.
      channels: of the images.
      mesh: on which the variables shall be; it may differ from the one they were trained on.
      step: of the checkpoint; None for the last.

    Returns:
      The step and ``{"params": ..., "batch_stats": ...}``.

    Raises:
      ValueError: no run, another run, or no such checkpoint.
    """
    check_same_run(workdir, config)
    with Checkpoints(workdir / "checkpoints", config.train.keep) as checkpoints:
        steps = checkpoints.steps()
        if not steps:
            raise ValueError(f"{workdir} holds no checkpoint yet; pretrain it first")
        step = steps[-1] if step is None else step
        items = checkpoints.restore({"model": abstract_model(config, channels, mesh)}, step)
    return step, items["model"]


def fingerprint(variables: Any) -> str:
    """A digest of every bit of a tree of arrays."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(variables):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()
