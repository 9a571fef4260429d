"""What every metric demands of its embeddings: floating, two-dimensional, and an open decision
about the unit sphere.

The formulas of this folder hold on the unit sphere. Whether the rows already lie there is the
caller's decision, never a silent one: ``normalize=None`` checks and refuses, ``True`` normalises,
``False`` computes with the rows as they are. Nothing here knows a metric.
"""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxcl.losses import normalize as to_sphere

# A row normalised in bfloat16 is off by less than this; a row that was never normalised is off by
# more.
UNIT_TOLERANCE = 1e-2


def is_concrete(*arrays: Any) -> bool:
    """Whether values can be looked at, that is whether none of the arrays is being traced."""
    return not any(isinstance(array, Tracer) for array in arrays)


def check_embeddings(x: Any, name: str, *, normalize: bool | None = None) -> jax.Array:
    """Return embeddings ``[n, d]`` in float32 (float64 stays), on the unit sphere as ``normalize``
    decides.

    Args:
        x: ``[n, d]`` floating embeddings, one a row.
        name: what the caller calls them, for the error message.
        normalize: None: the rows must have norm 1 already, checked when the values are known (not
            under ``jit``). True: divide each row by its norm; a zero row stays zero. False: take
            the rows as they are.

    Raises:
        TypeError: the embeddings are not floating.
        ValueError: there is no row, or ``normalize`` is None and some row is off the sphere.
    """
    chex.assert_rank(x, 2)
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"{name} must be floating, got {x.dtype}; cast with .astype(jnp.float32)")
    if x.shape[0] == 0 or x.shape[1] == 0:
        raise ValueError(
            f"{name} is empty: its shape is {x.shape}, [n, d] with n, d >= 1 is needed"
        )
    # Metrics are computed in float32 whatever the model's dtype.
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    if normalize is None and is_concrete(x):
        _refuse_off_sphere(x, name)
    return to_sphere(x) if normalize else x


def _refuse_off_sphere(x: jax.Array, name: str) -> None:
    row, norm = _farthest_from_sphere(x)
    if not abs(float(norm) - 1.0) <= UNIT_TOLERANCE:
        raise ValueError(
            f"{name} must lie on the unit sphere, but row {int(row)} has norm {float(norm):.4g}; "
            "pass normalize=True to divide each row by its norm, or normalize=False to compute "
            "with the rows as they are"
        )


@jax.jit
def _farthest_from_sphere(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    norms = jnp.sqrt(jnp.sum(x * x, axis=1))
    row = jnp.argmax(jnp.where(jnp.isnan(norms), jnp.inf, jnp.abs(norms - 1.0)))
    return row, norms[row]


def check_labels(labels: Any, n: int, name: str, *, num_classes: int) -> jax.Array:
    """Return int32 labels ``[n]`` in ``[0, num_classes)``.

    Raises:
        TypeError: the labels are not integers.
        ValueError: a wrong length, ``num_classes < 1``, or (when the values are known) a label
            outside the range.
    """
    labels = jnp.asarray(labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"{name} must be integers in [0, {num_classes}), got {labels.dtype}")
    if labels.shape != (n,):
        raise ValueError(
            f"{name} must have one label for each of the {n} rows, got shape {labels.shape}"
        )
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    if is_concrete(labels):
        values = np.asarray(labels)
        bad = np.flatnonzero((values < 0) | (values >= num_classes))
        if bad.size:
            raise ValueError(
                f"{name} must lie in [0, num_classes={num_classes}), "
                f"but {name}[{bad[0]}] is {values[bad[0]]}"
            )
    return labels.astype(jnp.int32)
