"""Losses whose rows are coupled: what the rows share is computed from all of them first, over all devices.

Given that, every row is independent, and each device evaluates its own (`jaxcl.training.step.mean_loss`).
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxcl.losses import DECOUPLED_BY, ROW_COUPLED, dclw_weights, nce_log_normalizer
from jaxcl.training.candidates import Contrast, Rows, on_each_device

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
            f"loss.name {name!r} couples all anchors of a batch and cannot be trained over devices; "
            f"losses that can: those outside {sorted(ROW_COUPLED - set(_SHARES))}"
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
            value = nce_log_normalizer(
                similarities,
                rows.positives,
                temperature=temperature,
                where=where,
                num_data=num_data,
            )
            return value[None]

        each = on_each_device(of_device, contrast, mesh, temperature)
        # Every device has as many terms, so the mean of all is the mean of their means.
        value = jax.nn.logsumexp(each) - jnp.log(each.size)
        return {"log_normalizer": jax.lax.stop_gradient(value) if detach else value}

    return share


_SHARES = {"dclw": _weights, "nce": _log_normalizer}

