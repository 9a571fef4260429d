"""The coupling multiplier q_B of a step: by how much the batch damps each anchor's gradient (Yeh et al., ECCV 2022)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

from jaxcl.losses import choose_evaluation, coupling, streamed_values
from jaxcl.training.contrast import Contrast, Rows, on_each_device

BINS = 20  # of equal width in [0, 1]
LOW = 0.1  # below which an anchor's gradient counts as damped


def multiplier_scalars(
    contrasts: Sequence[Contrast], temperature: Array, mesh: jax.sharding.Mesh
) -> dict[str, Array]:
    """What is logged of q_B over all anchors of a step.

    Args:
      contrasts: the step's comparisons.
      temperature: of the loss.
      mesh: of the arrays.

    Returns:
      ``multiplier_mean``; ``multiplier_low``, the share of anchors with q_B < 0.1; ``multiplier_histogram [20]``, the
      share of anchors in each of 20 bins of equal width in [0, 1].
    """

    def values(rows: Rows, temperature: Array) -> Array:
        n, m = rows.positives.shape[0], rows.candidates.shape[0]
        if rows.drawn is None and choose_evaluation(n, m) == "streamed":
            arrays = (rows.anchors, rows.candidates, rows.positives)
            q = streamed_values(coupling, *arrays, temperature=temperature, exclude=rows.exclude)
        else:
            similarities, where = rows.similarities()
            q = coupling(similarities, rows.positives, temperature=temperature, where=where)
        return jax.lax.stop_gradient(q)

    each = [_summary(on_each_device(values, contrast, mesh, temperature)) for contrast in contrasts]
    return jax.tree.map(lambda *values: jnp.mean(jnp.stack(values), axis=0), *each)


def _summary(q: Array) -> dict[str, Array]:
    # The sum over devices of what lies above each edge; differences of that are the bins.
    edges = jnp.arange(BINS) / BINS
    above = jnp.mean(q[:, None] >= edges[None, :], axis=0)
    return {
        "multiplier_mean": jnp.mean(q),
        "multiplier_low": jnp.mean(q < LOW),
        "multiplier_histogram": above - jnp.append(above[1:], 0.0),
    }
