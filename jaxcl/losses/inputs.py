"""What every loss does first: check its arguments, widen their dtype, mark the positives.

A ``Rows`` is the common ground of the family: a similarity matrix whose positives and negatives are
known. Nothing here knows an embedding, a device, or which loss is asking.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


class Rows(NamedTuple):
    """Anchors (rows) against candidates (columns), ready for a loss."""

    similarities: jax.Array  # [n, m] float32 or float64
    is_positive: jax.Array  # [n, m] bool, one True a row
    negatives: jax.Array  # [n, m] bool, the candidates that count and are not the positive
    positive: jax.Array  # [n] similarity of the positive
    inverse_temperature: jax.Array  # [] or [n]

    @property
    def num_negatives(self) -> jax.Array:
        """Negatives of each anchor, [n], in the dtype of the similarities."""
        return jnp.sum(self.negatives, axis=1, dtype=self.similarities.dtype)


def read_rows(
    similarities: jax.typing.ArrayLike,
    positives: jax.typing.ArrayLike,
    temperature: jax.typing.ArrayLike = 1.0,
    where: jax.typing.ArrayLike | None = None,
) -> Rows:
    """Checks the arguments of a loss with one positive a row and marks positives and negatives.

    Args:
        similarities: [n, m], cosine in [-1, 1].
        positives: int [n], the column of each anchor's positive.
        temperature: positive scalar, or [n].
        where: bool [n, m], the candidates that count; the positive always does.

    Returns:
        The rows, with float16 and bfloat16 widened to float32.
    """
    similarities = read_similarities(similarities)
    positives = check_positives(positives, similarities)
    is_positive = one_hot_mask(positives, similarities)
    negatives = ~is_positive
    if where is not None:
        negatives = negatives & check_where(where, similarities)
    # A traced column out of range reads NaN, which is what it deserves.
    positive = jnp.take_along_axis(similarities, positives[:, None], axis=1, mode="fill")[:, 0]
    inverse = invert_temperature(temperature, similarities)
    return Rows(similarities, is_positive, negatives, positive, inverse)


def read_similarities(similarities: jax.typing.ArrayLike) -> jax.Array:
    """Returns similarities [n, m] as float32, or as float64 where they are float64."""
    similarities = jnp.asarray(similarities)
    if not jnp.issubdtype(similarities.dtype, jnp.floating):
        raise TypeError(
            f"similarities have dtype {similarities.dtype}; a loss is differentiated by them, so "
            "they must be floating: convert them with .astype(jnp.float32)"
        )
    if similarities.ndim != 2:
        raise ValueError(
            f"similarities have shape {similarities.shape}; "
            "they must be [n, m], anchors by candidates"
        )
    # Logits of size 1 / temperature do not survive 8 or 11 bits of mantissa.
    return similarities.astype(jnp.promote_types(similarities.dtype, jnp.float32))


def read_mask_of_positives(positives: jax.typing.ArrayLike, similarities: jax.Array) -> jax.Array:
    """Returns bool [n, m] from such a mask, or from the one column [n] of each anchor."""
    positives = jnp.asarray(positives)
    if positives.dtype != jnp.bool_:
        return one_hot_mask(check_positives(positives, similarities), similarities)
    if positives.shape != similarities.shape:
        raise ValueError(
            f"positives are a mask of shape {positives.shape}; it must have the shape of the "
            f"similarities, {similarities.shape}"
        )
    return positives


def check_positives(positives: jax.typing.ArrayLike, similarities: jax.Array) -> jax.Array:
    """Returns the column of each anchor's positive, int [n]."""
    positives = jnp.asarray(positives)
    n, m = similarities.shape
    if positives.dtype == jnp.bool_:
        raise ValueError(
            f"positives are a mask of shape {positives.shape}; this loss takes one positive an "
            "anchor, its column as int [n] (supcon and sigmoid take masks)"
        )
    if not jnp.issubdtype(positives.dtype, jnp.integer):
        raise TypeError(f"positives have dtype {positives.dtype}; they must be integer columns [n]")
    if positives.shape != (n,):
        raise ValueError(
            f"positives have shape {positives.shape}; they must be ({n},), a column for each row "
            f"of similarities {similarities.shape}"
        )
    concrete = concrete_value(positives)
    if concrete is not None and concrete.size and (concrete.min() < 0 or concrete.max() >= m):
        raise ValueError(
            f"positives lie in [{concrete.min()}, {concrete.max()}]; they must be columns of "
            f"similarities {similarities.shape}, in [0, {m - 1}]"
        )
    return positives


def one_hot_mask(columns: jax.Array, similarities: jax.Array) -> jax.Array:
    """Returns bool [n, m], True at each row's column [n]."""
    return jax.lax.broadcasted_iota(columns.dtype, similarities.shape, 1) == columns[:, None]


def check_where(where: jax.typing.ArrayLike, similarities: jax.Array) -> jax.Array:
    """Returns the mask of candidates that count, bool [n, m]."""
    where = jnp.asarray(where)
    if where.dtype != jnp.bool_:
        raise TypeError(
            f"where has dtype {where.dtype}; it must be bool, True for candidates that count"
        )
    if where.shape != similarities.shape:
        raise ValueError(
            f"where has shape {where.shape}; it must have the shape of the similarities, "
            f"{similarities.shape}"
        )
    return where


def invert_temperature(temperature: jax.typing.ArrayLike, similarities: jax.Array) -> jax.Array:
    """Returns 1 / temperature, [] or [n], in the dtype of the similarities.

    A concrete temperature that is not positive and finite raises. A traced one cannot; it gives
    NaN, which stops a run, and not a plausible number.
    """
    temperature = jnp.asarray(temperature, similarities.dtype)
    if temperature.ndim and temperature.shape != similarities.shape[:1]:
        raise ValueError(
            f"temperature has shape {temperature.shape}; it must be a scalar or one for each of "
            f"the {similarities.shape[0]} anchors"
        )
    concrete = concrete_value(temperature)
    if concrete is not None and not np.all((concrete > 0) & np.isfinite(concrete)):
        raise ValueError(f"temperature {concrete} must be positive and finite")
    legal = (temperature > 0) & (temperature < math.inf)
    return 1 / jnp.where(legal, temperature, math.nan)


def check_constant(name: str, value: object, rule: str, legal: bool) -> None:
    """Raises ValueError that names the constant, its value and the rule, unless it is legal."""
    if not legal:
        raise ValueError(f"{name} {value} must be {rule}")


def check_shared(name: str, values: jax.typing.ArrayLike, like: jax.Array) -> jax.Array:
    """Returns what was computed beforehand for all anchors, with the shape and dtype of `like`."""
    shared = jnp.asarray(values, like.dtype)
    if shared.shape != like.shape:
        raise ValueError(
            f"{name} have shape {shared.shape}; they must be {like.shape}, one for each anchor"
        )
    return shared


def by_row(values: jax.Array) -> jax.Array:
    """Returns a scalar as it is and [n] as [n, 1], ready to meet [n, m]."""
    return values[:, None] if values.ndim else values


def concrete_value(x: jax.Array) -> np.ndarray | None:
    """Returns the value of an array that is neither traced nor spread over hosts, else None."""
    if isinstance(x, Tracer) or not x.is_fully_addressable:
        return None
    return np.asarray(x)
