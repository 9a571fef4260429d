"""One step: views, forward, loss, update. One jitted function over the mesh."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxcl.losses import normalize
from jaxcl.losses.pairwise import choose_evaluation
from jaxcl.losses.sharded import sharded_mean
from jaxcl.sharding import DATA, GRID, of_context, on_each_cell, parts_of_batch, per_device
from jaxcl.training.candidates import Candidates
from jaxcl.training.contrast import Contrast, Rows, on_each_device
from jaxcl.training.coupled import Share
from jaxcl.training.microbatches import encode
from jaxcl.training.multiplier import multiplier_scalars
from jaxcl.training.state import Hyper, TrainState

Views = Callable[[Array, Array, Array], Array]
Loss = Callable[..., Array]
Step = Callable[[TrainState, dict[str, Array], Hyper], tuple[TrainState, dict[str, Array]]]


class Parts(NamedTuple):
    """What a step is made of.

    Attributes:
      apply: (variables, images ``[n, h, w, c]``, train=True) -> (outputs, batch statistics).
      views: (key, images uint8 ``[b, h, w, c]``, index ``[b]``) -> float ``[b, v, h, w, c]``; sees one device's rows.
      loss: rows of similarities to losses, with its constants bound.
      candidates: where the negatives come from.
      optimizer: of unit peak learning rate.
      schedule: step -> share of the peak learning rate, for the log.
      share: what the rows of the loss share; None if they are independent.
      share_first: whether what they share stays as it was in the first step.
      log_multiplier: whether the coupling multiplier q_B is logged.
      microbatches: parts in which views are made and encoded; the loss is that of the whole.
      chunk: anchors of a device at a time, where similarities are streamed.
    """

    apply: Callable[..., tuple[Any, Any]]
    views: Views
    loss: Loss
    candidates: Candidates
    optimizer: optax.GradientTransformation
    schedule: optax.Schedule
    share: Share | None = None
    share_first: bool = False
    log_multiplier: bool = False
    microbatches: int = 1
    chunk: int = 256


def mean_loss(
    loss: Loss,
    contrast: Contrast,
    temperature: Array,
    mesh: jax.sharding.Mesh,
    shared: Mapping[str, Array] | None = None,
    chunk: int = 256,
) -> Array:
    """The mean over all anchors of a loss of their similarities to their candidates.

    Every device computes the rows of its own anchors, float32 whatever the model's dtype. Where the matrix of a device
    would not fit (`choose_evaluation` states the size), its rows are streamed; the numbers are the same. ``shared`` are
    keywords of the loss, ``[n@data]`` or scalar.
    """
    shared = shared or {}
    if evaluation(contrast, mesh) == "streamed":
        by_row = {name: value for name, value in shared.items() if value.ndim}
        constants = {name: value for name, value in shared.items() if not value.ndim}
        return sharded_mean(
            loss,
            contrast.anchors,
            contrast.candidates,
            contrast.positives,
            temperature=temperature,
            exclude=contrast.exclude,
            per_anchor=by_row,
            mesh=of_context(mesh),
            axis=DATA,
            candidates_everywhere=contrast.everywhere,
            chunk=chunk,
            **constants,
        )

    def values(rows: Rows, temperature: Array, *of_rows: Array) -> Array:
        similarities, where = rows.similarities()
        keywords = dict(zip(shared, of_rows, strict=True))
        return loss(similarities, rows.positives, temperature=temperature, where=where, **keywords)

    return on_each_device(values, contrast, mesh, temperature, *shared.values()).mean()


def evaluation(contrast: Contrast, mesh: jax.sharding.Mesh) -> str:
    """``dense`` or ``streamed``: how the similarities of a contrast are evaluated on each device."""
    if contrast.drawn is not None:  # an anchor's columns are its own; they are few
        return "dense"
    rows = contrast.anchors.shape[0] // parts_of_batch(mesh)
    return choose_evaluation(rows, contrast.candidates.shape[0])


def _shared(
    parts: Parts,
    contrasts: tuple[Contrast, ...],
    temperature: Array,
    mesh: jax.sharding.Mesh,
    state: TrainState,
) -> tuple[dict[str, Array], ...]:
    """What the rows of each comparison share in this step."""
    if parts.share is None:
        return ({},) * len(contrasts)
    now = tuple(parts.share(contrast, temperature, mesh) for contrast in contrasts)
    if not parts.share_first:
        return now
    now = jax.lax.stop_gradient(now)
    return jax.tree.map(lambda a, b: jnp.where(state.step == 0, a, b), now, state.shared)


def build_step(parts: Parts, mesh: jax.sharding.Mesh) -> Step:
    """The jitted step ``(state, batch, hyper) -> (state, scalars)``; the state's memory is reused.

    On a mesh of cells every array has a leading axis ``[g@grid, ...]``, and all cells step at once.
    """

    def step(state: TrainState, batch: dict[str, Array], hyper: Hyper):
        key = jax.random.fold_in(hyper.key, state.step)
        make_views = partial(per_device(parts.views, mesh, (False, True, True)), key)

        def objective(params: Any):
            variables = {"params": params, "batch_stats": state.batch_stats}
            projections, batch_stats = encode(
                parts.apply,
                variables,
                make_views,
                (batch["image"], batch["index"]),
                mesh,
                microbatches=parts.microbatches,
            )
            projections = normalize(projections)
            contrasts = parts.candidates.contrast(
                key, projections, batch["index"], state.candidates
            )
            shared = _shared(parts, contrasts, hyper.temperature, mesh, state)
            values = [
                mean_loss(parts.loss, contrast, hyper.temperature, mesh, keywords, parts.chunk)
                for contrast, keywords in zip(contrasts, shared, strict=True)
            ]
            extra = {}
            if parts.log_multiplier:
                extra = multiplier_scalars(contrasts, hyper.temperature, mesh)
            return sum(values) / len(values), (batch_stats, projections, shared, extra)

        gradient = jax.value_and_grad(objective, has_aux=True)
        (value, (batch_stats, projections, shared, extra)), grads = gradient(state.params)
        updates, opt_state = parts.optimizer.update(grads, state.opt_state, state.params)
        updates = jax.tree.map(lambda update: hyper.learning_rate * update, updates)
        new = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
            candidates=parts.candidates.update(projections, batch["index"], state.candidates),
            shared=shared if parts.share_first else (),
        )
        scalars = {
            "loss": value,
            "learning_rate": hyper.learning_rate * parts.schedule(state.step),
            "temperature": hyper.temperature,
            "gradient_norm": optax.tree.norm(grads),
            **extra,
        }
        return new, scalars

    whole = on_each_cell(step, mesh) if GRID in mesh.shape else step
    return jax.jit(whole, donate_argnums=0)
