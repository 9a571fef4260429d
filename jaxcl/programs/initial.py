"""The model before training, a function of config and seed alone: where a run starts, and a baseline of the probe."""

from collections.abc import Callable
from typing import Any

import jax
from ml_collections import ConfigDict

from jaxcl import sharding
from jaxcl.programs import assemble

_INIT: dict[str, Callable] = {}


def initial_variables(config: ConfigDict, channels: int, mesh: jax.sharding.Mesh) -> dict[str, Any]:
    """``params`` and ``batch_stats`` before the first step, on the mesh."""
    shape = (config.data.image_size, config.data.image_size, channels)
    key = f"{config.model}{shape}"
    if key not in _INIT:  # one compilation for all cells of a grid
        model = assemble.model(config)
        _INIT[key] = jax.jit(lambda key: model.init(jax.random.fold_in(key, 0), shape))
    return sharding.place(_INIT[key](jax.random.key(config.seed)), mesh)
