"""The arguments of an evaluation from embeddings, checked and sorted.

What is static, what a gradient may be asked for, what is known of each anchor and what of each
candidate: the evaluations (`pairwise`, `sharded`) work on these. Nothing here computes a loss.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcl.losses.alignment_uniformity import alignment_uniformity
from jaxcl.losses.decoupled import dclw
from jaxcl.losses.inputs import concrete_value, invert_temperature
from jaxcl.losses.nce import nce
from jaxcl.losses.two_way import clip

# What makes the rows of a coupled loss independent, if it is passed by keyword.
COUPLED: Mapping[Callable[..., jax.Array], str | None] = {
    dclw: "weights",
    nce: "log_normalizer",
    alignment_uniformity: "log_potential",
    clip: None,
}


class Plan(NamedTuple):
    """What is fixed when a program is compiled."""

    loss: Callable[..., jax.Array]
    chunk: int
    precision: Any
    constants: tuple[tuple[str, Any], ...]


class Differentiable(NamedTuple):
    """The arrays that a gradient may be asked for; or their gradients, whether it is asked for, or
    how they are laid out.
    """

    anchors: Any  # [n, d]
    candidates: Any  # [m, d]
    weights: Any  # [n]
    shared: Any  # of names: the temperature and other arrays that all rows share
    by_row: Any  # of names: [n, ...]


class Rows(NamedTuple):
    """What else is known of each anchor; or how it is laid out."""

    positives: Any  # int [n], or None
    exclude: Any  # int [n], or None
    labels: Any  # int [n], or None
    constants: Any  # of names: [n, ...], not floating


class Columns(NamedTuple):
    """What else is known of each candidate, and of all rows; or how it is laid out."""

    labels: Any  # int [m], or None
    where: Any  # bool [m], or None
    constants: Any  # of names, not floating


class Problem(NamedTuple):
    """The arrays of an evaluation."""

    x: Differentiable
    rows: Any  # Rows; None in a gradient
    columns: Any  # Columns; None in a gradient


def pose(
    loss: Callable[..., jax.Array],
    anchors: jax.Array,
    candidates: jax.Array,
    positives: jax.Array | None,
    *,
    temperature: jax.typing.ArrayLike,
    exclude: jax.Array | None = None,
    anchor_labels: jax.Array | None = None,
    candidate_labels: jax.Array | None = None,
    candidate_where: jax.Array | None = None,
    anchor_weights: jax.Array | None = None,
    per_anchor: Mapping[str, jax.Array] | None = None,
    chunk: int = 256,
    precision: jax.lax.PrecisionLike = None,
    **constants: Any,
) -> tuple[Plan, Problem]:
    """Returns the arguments of `jaxcl.losses.streamed_mean`, which documents them, sorted."""
    if chunk < 1:
        raise ValueError(f"chunk {chunk} must be at least 1")
    check_independent(loss, {**constants, **(per_anchor or {})})
    anchors, candidates = read_embeddings(anchors, candidates)
    n, m = anchors.shape[0], candidates.shape[0]
    dtype = similarity_dtype(anchors, candidates)
    if (anchor_labels is None) != (candidate_labels is None):
        raise ValueError("anchor_labels and candidate_labels go together; only one was given")
    if positives is None and anchor_labels is None:
        raise ValueError("positives=None takes the positives from the labels, which are missing")
    weights = jnp.ones(n, dtype) if anchor_weights is None else jnp.asarray(anchor_weights, dtype)
    by_row = {name: jnp.asarray(value) for name, value in (per_anchor or {}).items()}
    shared = {k: jnp.asarray(v) for k, v in constants.items() if hasattr(v, "shape")}
    static = tuple(sorted((k, v) for k, v in constants.items() if k not in shared))
    temperature = jnp.asarray(temperature, dtype)
    invert_temperature(temperature, jnp.zeros((n, 0), dtype))  # only for its check
    (by_row if temperature.ndim else shared)["temperature"] = temperature
    for name, value in {"anchor_weights": weights, **by_row}.items():
        check_rows(name, value, n)
    shared, discrete = split_floating(shared)
    by_row, discrete_by_row = split_floating(by_row)
    rows = Rows(
        read_integers("positives", positives, n, range(m)),
        read_integers("exclude", exclude, n, range(-1, m)),
        read_integers("anchor_labels", anchor_labels, n),
        discrete_by_row,
    )
    labels = read_integers("candidate_labels", candidate_labels, m)
    columns = Columns(labels, read_usable(candidate_where, m), discrete)
    x = Differentiable(anchors, candidates, weights, shared, by_row)
    return Plan(loss, chunk, precision, static), Problem(x, rows, columns)


def check_independent(loss: Callable[..., jax.Array], constants: Mapping[str, Any]) -> None:
    """Raises for a loss of this library that would couple the rows of each chunk, and be wrong."""
    if isinstance(loss, functools.partial):
        loss, constants = loss.func, {**loss.keywords, **constants}
    if loss not in COUPLED:
        return
    keyword = COUPLED[loss]
    if keyword is None:
        raise ValueError(
            f"{loss.__name__} couples anchors by their columns and cannot be streamed by rows; take"
            " the mean of contrastive both ways, anchors and candidates exchanged"
        )
    if constants.get(keyword) is None:
        raise ValueError(
            f"{loss.__name__} couples its anchors; compute {keyword} from all of them beforehand "
            "and pass it (by per_anchor if it is one value an anchor)"
        )


def read_embeddings(anchors: Any, candidates: Any) -> tuple[jax.Array, jax.Array]:
    """Returns both as floating matrices [n, d] and [m, d]."""
    anchors, candidates = jnp.asarray(anchors), jnp.asarray(candidates)
    for name, x in (("anchors", anchors), ("candidates", candidates)):
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise TypeError(f"{name} have dtype {x.dtype}; embeddings must be floating")
    if anchors.ndim != 2 or candidates.ndim != 2 or anchors.shape[1] != candidates.shape[1]:
        raise ValueError(
            f"anchors {anchors.shape} and candidates {candidates.shape} must be [n, d] and [m, d]"
        )
    return anchors, candidates


def similarity_dtype(anchors: jax.Array, candidates: jax.Array) -> Any:
    """float32, or float64 where the embeddings are: never the model's low precision."""
    return jnp.promote_types(jnp.promote_types(anchors.dtype, candidates.dtype), jnp.float32)


def read_integers(name: str, x: Any, size: int, legal: range | None = None) -> jax.Array | None:
    """Returns integers [size], in the legal range where that can be seen; None stays None."""
    if x is None:
        return None
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.integer):
        raise TypeError(f"{name} have dtype {x.dtype}; they must be integers")
    check_rows(name, x, size, exact=True)
    seen = None if legal is None else concrete_value(x)
    if legal is not None and seen is not None and seen.size:
        low, high = int(seen.min()), int(seen.max())
        if low < legal.start or high >= legal.stop:
            raise ValueError(
                f"{name} lie in [{low}, {high}]; "
                f"they must be columns, in [{legal.start}, {legal.stop - 1}]"
            )
    return x


def read_usable(where: Any, m: int) -> jax.Array | None:
    """Returns the mask of candidates [m] that count for anybody; None stays None."""
    if where is None:
        return None
    where = jnp.asarray(where)
    if where.dtype != jnp.bool_:
        raise TypeError(
            f"candidate_where has dtype {where.dtype}; it must be bool, False for padding"
        )
    check_rows("candidate_where", where, m, exact=True)
    return where


def check_rows(name: str, x: jax.Array, size: int, exact: bool = False) -> None:
    """Raises unless x is [size, ...], or exactly [size]."""
    if x.shape[:1] != (size,) or (exact and x.ndim != 1):
        wanted = f"({size},)" if exact else f"({size}, ...)"
        raise ValueError(f"{name} has shape {x.shape}; it must be {wanted}")


def split_floating(arrays: Mapping[str, jax.Array]) -> tuple[dict, dict]:
    """Returns the arrays that can be differentiated, and the others."""
    floating = {k: v for k, v in arrays.items() if jnp.issubdtype(v.dtype, jnp.floating)}
    return floating, {k: v for k, v in arrays.items() if k not in floating}
