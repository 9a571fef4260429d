"""Losses whose rows are coupled: what the rows share is computed from all of them first, over all devices.

Given that, every row is independent, and each device evaluates its own (`jaxcl.training.step.mean_loss`).
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxcl.losses import (
    DECOUPLED_BY,
    ROW_COUPLED,
    dclw_weights,
    nce_log_normalizer,
    uniformity_log_potential,
)
from jaxcl.losses.pairwise import choose_evaluation
from jaxcl.training.contrast import Contrast, Rows, on_each_device

CHUNK = 256  # anchors of a device at a time, at most
Share = Callable[[Contrast, Array, jax.sharding.Mesh], dict[str, Array]]


def build_share(name: str, constants: Mapping[str, Any]) -> Share | None:
    """What the rows of a loss share, as a function of a comparison; None if they share nothing.

    Args:
      name: of the loss.
      constants: of the loss.

    Returns:
      (contrast, temperature, mesh) -> keywords of the loss; values ``[n@data]`` or scalar.

    Raises:
      ValueError: the loss couples its rows in a way that is not known here.
    """
    if name not in ROW_COUPLED or constants.get(DECOUPLED_BY.get(name, "")) is not None:
        return None
    if name not in _SHARES:
        raise ValueError(
            f"loss.name {name!r} couples anchors by their columns and cannot be split over devices; "
            "its two directions are 'contrastive' with candidates.kind 'streams'"
        )
    return _SHARES[name](constants)


def _weights(constants: Mapping[str, Any]) -> Share:
    sigma = constants.get("sigma", 0.5)

    def share(contrast: Contrast, temperature: Array, mesh: jax.sharding.Mesh) -> dict[str, Array]:
        del temperature
        positive = on_each_device(Rows.positive_similarities, contrast, mesh)
        return {"weights": dclw_weights(positive, sigma=sigma)}

    return share


def _log_normalizer(constants: Mapping[str, Any]) -> Share:
    num_data, detach = constants.get("num_data"), constants.get("detach_normalizer", False)

    def share(contrast: Contrast, temperature: Array, mesh: jax.sharding.Mesh) -> dict[str, Array]:
        def of_device(rows: Rows, temperature: Array) -> Array:
            similarities, where = rows.similarities()
            return nce_log_normalizer(
                similarities,
                rows.positives,
                temperature=temperature,
                where=where,
                num_data=num_data,
            )

        value = _log_mean_exp(of_device, contrast, mesh, temperature)
        return {"log_normalizer": jax.lax.stop_gradient(value) if detach else value}

    return share


def _log_potential(constants: Mapping[str, Any]) -> Share:
    t = constants.get("t", 2.0)

    def share(contrast: Contrast, temperature: Array, mesh: jax.sharding.Mesh) -> dict[str, Array]:
        del temperature

        def of_device(rows: Rows) -> Array:
            similarities, where = rows.similarities()
            return uniformity_log_potential(similarities, rows.positives, where=where, t=t)

        return {"log_potential": _log_mean_exp(of_device, contrast, mesh)}

    return share


def _log_mean_exp(
    function: Callable[..., Array], contrast: Contrast, mesh: jax.sharding.Mesh, *more: Array
) -> Array:
    """The log of the mean over all rows of what ``function`` gives the log of the mean of; all parts are equal."""
    each = on_each_device(
        lambda rows, *values: _by_parts(function, rows, *values), contrast, mesh, *more
    )
    return jax.nn.logsumexp(each) - jnp.log(each.size)


def _by_parts(function: Callable[..., Array], rows: Rows, *values: Array) -> Array:
    """A function of rows and scalars, of equal parts of the rows ``[k]``; all at once ``[1]`` where they fit."""
    n, m = rows.anchors.shape[0], rows.candidates.shape[0]
    if rows.drawn is not None or choose_evaluation(n, m) == "dense":
        return function(rows, *values)[None]
    size = next(size for size in range(min(CHUNK, n), 0, -1) if n % size == 0)
    cut = jax.tree.map(
        lambda x: x.reshape(n // size, size, *x.shape[1:]),
        (rows.anchors, rows.positives, rows.exclude),
    )

    @jax.checkpoint  # so that no part is kept for the gradient
    def of_part(part: Any) -> Array:
        anchors, positives, exclude = part
        return function(Rows(anchors, rows.candidates, positives, exclude, None), *values)

    return jax.lax.map(of_part, cut)


_SHARES = {"dclw": _weights, "nce": _log_normalizer, "alignment_uniformity": _log_potential}
