"""What a run has to remember: arrays only, so that a checkpoint means the same everywhere."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jax import Array


class TrainState(NamedTuple):
    """The state of a run between two steps.

    Attributes:
      step: int32, steps taken.
      params: of encoder and head.
      batch_stats: of BatchNorm.
      opt_state: of the optimizer.
      candidates: what the source of candidates keeps between steps (the memory bank, or nothing).
      shared: what the rows of a loss shared in the first step, where a loss keeps that (NCE's normalizer, or nothing).
    """

    step: Array
    params: Any
    batch_stats: Any
    opt_state: Any
    candidates: Any
    shared: Any = ()


class Hyper(NamedTuple):
    """Traced inputs of the step: cells of a grid that differ only in these share one compilation.

    Attributes:
      temperature: divides the similarities.
      learning_rate: the schedule's peak, absolute.
      key: everything random in the step is folded out of this key.
    """

    temperature: Array
    learning_rate: Array
    key: Array


def init_state(
    variables: dict[str, Any],
    optimizer: optax.GradientTransformation,
    candidates: Any = (),
    shared: Any = (),
) -> TrainState:
    """The state before the first step.

    Args:
      variables: ``params`` and ``batch_stats`` of the model.
      optimizer: whose state belongs to the parameters.
      candidates: initial state of the source of candidates.
      shared: of the right shape where the loss keeps what its rows share; its values are not used.
    """
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=optimizer.init(variables["params"]),
        candidates=candidates,
        shared=shared,
    )


def to_items(state: TrainState) -> dict[str, Any]:
    """The state as the items of a checkpoint: ``model`` is all that an evaluation has to read."""
    training = {
        "step": state.step,
        "opt_state": state.opt_state,
        "candidates": state.candidates,
    }
    if state.shared:
        training["shared"] = state.shared
    return {
        "model": {"params": state.params, "batch_stats": state.batch_stats},
        "training": training,
    }


def from_items(items: dict[str, Any]) -> TrainState:
    """The inverse of `to_items`."""
    return TrainState(**items["model"], **items["training"])
