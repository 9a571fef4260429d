"""The model before training, a function of config and seed alone: where a run starts, and a baseline of the probe."""

from typing import Any

import jax
from ml_collections import ConfigDict

from jaxcl import sharding
from jaxcl.programs import assemble


def initial_variables(config: ConfigDict, channels: int, mesh: jax.sharding.Mesh) -> dict[str, Any]:
    """``params`` and ``batch_stats`` before the first step, on the mesh."""
    shape = (config.data.image_size, config.data.image_size, channels)
    model = assemble.model(config)
    init = jax.jit(lambda key: model.init(jax.random.fold_in(key, 0), shape))
    return sharding.place(init(jax.random.key(config.seed)), mesh)
