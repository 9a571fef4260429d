"""One step: views, forward, loss, update. One jitted function over the mesh."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxcl.losses import normalize
from jaxcl.losses.pairwise import choose_evaluation
from jaxcl.losses.sharded import sharded_mean
from jaxcl.sharding import DATA, gather, per_device
from jaxcl.training.candidates import Candidates, Contrast
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
    """

    apply: Callable[..., tuple[Any, Any]]
    views: Views
    loss: Loss
    candidates: Candidates
    optimizer: optax.GradientTransformation
    schedule: optax.Schedule


def mean_loss(loss: Loss, contrast: Contrast, temperature: Array, mesh: jax.sharding.Mesh) -> Array:
    """The mean over all anchors of a loss of their similarities to all candidates.

    Every device computes the rows of its own anchors, float32 whatever the model's dtype. Where the matrix of a device
    would not fit (`choose_evaluation` states the size), its rows are streamed; the numbers are the same.
    """
    anchors, candidates, positives, exclude, everywhere = contrast
    if evaluation(contrast, mesh) == "streamed":
        return sharded_mean(
            loss,
            anchors,
            candidates,
            positives,
            temperature=temperature,
            exclude=exclude,
            mesh=mesh,
            axis=DATA,
            candidates_everywhere=everywhere,
        )
    candidates = candidates if everywhere else gather(candidates)

    def rows(anchors, candidates, positives, exclude, temperature):
        similarities = jnp.matmul(anchors, candidates.T, preferred_element_type=jnp.float32)
        where = None
        if exclude is not None:
            where = jnp.arange(similarities.shape[1])[None, :] != exclude[:, None]
        return loss(similarities, positives, temperature=temperature, where=where)

    split = (True, False, True, True, False)
    each = per_device(rows, mesh, split)
    return each(anchors, candidates, positives, exclude, temperature).mean()


def evaluation(contrast: Contrast, mesh: jax.sharding.Mesh) -> str:
    """``dense`` or ``streamed``: how the similarities of a contrast are evaluated on each device."""
    return choose_evaluation(contrast.anchors.shape[0] // mesh.size, contrast.candidates.shape[0])


def build_step(parts: Parts, mesh: jax.sharding.Mesh) -> Step:
    """The jitted step ``(state, batch, hyper) -> (state, scalars)``; the state's memory is reused."""

    def step(state: TrainState, batch: dict[str, Array], hyper: Hyper):
        make_views = per_device(parts.views, mesh, (False, True, True))
        key = jax.random.fold_in(hyper.key, state.step)
        views = make_views(key, batch["image"], batch["index"])
        images = views.reshape(-1, *views.shape[2:])

        def objective(params: Any):
            variables = {"params": params, "batch_stats": state.batch_stats}
            outputs, batch_stats = parts.apply(variables, images, train=True)
            projections = normalize(outputs.projection)
            contrast = parts.candidates.contrast(projections, batch["index"], state.candidates)
            value = mean_loss(parts.loss, contrast, hyper.temperature, mesh)
            return value, (batch_stats, projections)

        gradient = jax.value_and_grad(objective, has_aux=True)
        (value, (batch_stats, projections)), grads = gradient(state.params)
        updates, opt_state = parts.optimizer.update(grads, state.opt_state, state.params)
        updates = jax.tree.map(lambda update: hyper.learning_rate * update, updates)
        new = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
            candidates=parts.candidates.update(projections, batch["index"], state.candidates),
        )
        scalars = {
            "loss": value,
            "learning_rate": hyper.learning_rate * parts.schedule(state.step),
            "temperature": hyper.temperature,
            "gradient_norm": optax.tree.norm(grads),
        }
        return new, scalars

    return jax.jit(step, donate_argnums=0)
