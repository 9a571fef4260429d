"""The state before training, a function of config and seed alone: where a run starts, and a baseline of the probe."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from jaxcl import sharding
from jaxcl.programs import assemble
from jaxcl.training.state import TrainState, init_state

_INIT: dict[str, Callable] = {}


def initial_variables(config: ConfigDict, channels: int, mesh: jax.sharding.Mesh) -> dict[str, Any]:
    """``params`` and ``batch_stats`` before the first step, on the mesh."""
    shape = (config.data.image_size, config.data.image_size, channels)
    key = f"{config.model}{shape}"
    if key not in _INIT:  # one compilation for all cells of a grid
        model = assemble.model(config)
        _INIT[key] = jax.jit(lambda key: model.init(jax.random.fold_in(key, 0), shape))
    return sharding.place(_INIT[key](jax.random.key(config.seed)), mesh)


def first_state(config: ConfigDict, train: Any, variables: dict[str, Any]) -> TrainState:
    """The state before the first step that belongs to these variables, not yet on a mesh."""
    parts = assemble.parts(config, train)
    bank = parts.candidates.init(jax.random.fold_in(jax.random.key(config.seed), 2))
    kept = ()
    if parts.share_first:  # of the right shape; the first step fills it
        kept = tuple({"log_normalizer": jnp.zeros(())} for _ in range(parts.candidates.streams))
    return init_state(variables, parts.optimizer, bank, kept)


def layout(config: ConfigDict, train: Any, mesh: jax.sharding.Mesh) -> TrainState:
    """How a state lies on the mesh: whole on every device, but for a bank that is split."""
    everywhere = sharding.everywhere(mesh)
    split = sharding.split(mesh) if assemble.candidates(config, train).split_state else everywhere
    whole: Any = dict.fromkeys(TrainState._fields, everywhere)
    return TrainState(**whole)._replace(candidates=split)


def abstract_state(config: ConfigDict, train: Any) -> TrainState:
    """The shapes and types of the state, of which nothing is computed."""
    shape = (config.data.image_size, config.data.image_size, train.image_shape[2])
    model = assemble.model(config)
    return jax.eval_shape(lambda: first_state(config, train, model.init(jax.random.key(0), shape)))
