"""Uniformity: how evenly embeddings cover the sphere, over all pairs without a matrix of all pairs.

The pairs are streamed by square tiles of the upper triangle, since the distance is symmetric; the
exponentials are summed under a running maximum, so any ``t`` is safe in float32. Knows embeddings
and labels, no model and no loss.
"""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxcl.metrics.sphere import check_embeddings, check_labels

Statistic = Literal["U", "V"]

# Of each group: the running maximum of the exponents, the sum of exponentials relative to it, and
# what rounding lost.
_Totals = tuple[jax.Array, jax.Array, jax.Array]

# A running maximum starts here and not at -inf: exp(-inf - (-inf)) is NaN.
_LOWEST = -1e30


def uniformity(
    x: Any,
    *,
    t: float = 2,
    statistic: Statistic = "U",
    normalize: bool | None = None,
    chunk: int = 512,
) -> jax.Array:
    """``log mean exp(-t |x_i - x_j|^2)`` over pairs of embeddings. Negative; lower is more uniform.

    On the sphere it lies in ``[-4t, 0]`` and is 0 only when all embeddings coincide. The uniform
    law on the sphere of ``R^128`` has -3.93753 at ``t=2``. Papers that plot "uniformity" upwards
    show minus this number.

    Args:
        x: ``[n, d]`` embeddings.
        t: inverse width of the Gaussian kernel, > 0.
        statistic: "U": mean over the n(n-1)/2 pairs of different samples (the usual estimate). "V":
            over all n^2 ordered pairs, self-pairs included; ``exp(V) = 1/n + (1 - 1/n) exp(U)``.
        normalize: None: rows must have norm 1 already; True: normalise them; False: take them as
            they are.
        chunk: side of a tile; memory beyond the input is O(chunk^2), also for the gradient.

    Returns:
        Scalar, float32 (float64 for float64 embeddings).

    Raises:
        ValueError: ``t <= 0``, one sample only with "U", an unknown statistic, rows off the sphere.

    Example:
        >>> x = jnp.array([[1.0, 0.0], [-1.0, 0.0]])
        >>> print(uniformity(x), uniformity(x, statistic="V").round(4))
        -8.0 -0.6928

    References:
        Wang and Isola, "Understanding Contrastive Representation Learning through Alignment and
        Uniformity on the Hypersphere", ICML 2020, L_uniform. Wang and Liu, "Understanding the
        Behaviour of Contrastive Loss", CVPR 2021, Eq. 10.
    """
    _check_options(t, statistic, chunk)
    x = check_embeddings(x, "x", normalize=normalize)
    n = x.shape[0]
    if n == 1 and statistic == "U":
        raise ValueError('uniformity with statistic="U" needs two embeddings, got one')
    if n == 1:
        return jnp.zeros((), x.dtype)
    groups = jnp.zeros(n, jnp.int32)
    width = jnp.asarray(t, x.dtype)
    log_sum = _log_kernel_sums(x, groups, width, num_groups=1, chunk=min(chunk, n))[0]
    u = log_sum - float(np.log(n) + np.log(n - 1) - np.log(2))
    if statistic == "U":
        return u
    return jnp.logaddexp(-float(np.log(n)), float(np.log1p(-1 / n)) + u)


def uniformity_per_class(
    x: Any,
    labels: Any,
    *,
    num_classes: int,
    t: float = 2,
    statistic: Statistic = "U",
    normalize: bool | None = None,
    chunk: int = 512,
) -> jax.Array:
    """Uniformity of each class by itself. Rows are sorted by class, and tiles that share no class
    are skipped.

    Args:
        x: ``[n, d]`` embeddings.
        labels: ``[n]`` integers in ``[0, num_classes)``.
        num_classes: number of classes, a Python integer.
        t: inverse width of the Gaussian kernel, > 0.
        statistic: "U" or "V", as in :func:`uniformity`.
        normalize: None: rows must have norm 1 already; True: normalise them; False: take them as
            they are.
        chunk: side of a tile.

    Returns:
        ``[c]``; NaN for a class without a pair: fewer than two samples with "U", none with "V".

    Raises:
        ValueError: as :func:`uniformity`; labels out of range or of another length.

    Example:
        >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [-1.0, 0.0]])
        >>> uniformity_per_class(x, jnp.array([0, 0, 1, 1]), num_classes=2).tolist()
        [-4.0, 0.0]
    """
    _check_options(t, statistic, chunk)
    x = check_embeddings(x, "x", normalize=normalize)
    n = x.shape[0]
    labels = check_labels(labels, n, "labels", num_classes=num_classes)
    order = jnp.argsort(labels)
    width = jnp.asarray(t, x.dtype)
    log_sums = _log_kernel_sums(
        x[order], labels[order], width, num_groups=num_classes, chunk=min(chunk, n)
    )
    counts = jax.ops.segment_sum(jnp.ones_like(x[:, 0]), labels, num_segments=num_classes)
    pairs = counts * (counts - 1.0) / 2.0
    u = jnp.where(pairs > 0, log_sums - jnp.log(jnp.maximum(pairs, 1.0)), -jnp.inf)
    if statistic == "U":
        return jnp.where(pairs > 0, u, jnp.nan)
    some = jnp.maximum(counts, 1.0)
    v = jnp.logaddexp(-jnp.log(some), jnp.log1p(-1.0 / some) + u)
    return jnp.where(counts > 0, jnp.where(counts > 1, v, 0.0), jnp.nan)


def _check_options(t: float, statistic: str, chunk: int) -> None:
    if not isinstance(t, Tracer) and not t > 0:
        raise ValueError(f"t must be positive, got {t}")
    if statistic not in ("U", "V"):
        raise ValueError(f'statistic must be "U" or "V", got {statistic!r}')
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")


@functools.partial(jax.jit, static_argnames=("num_groups", "chunk"))
def _log_kernel_sums(
    x: jax.Array, groups: jax.Array, t: jax.Array, *, num_groups: int, chunk: int
) -> jax.Array:
    """``log sum_{i<j} exp(-t |x_i - x_j|^2)`` over the pairs within each group; ``groups`` is
    ascending."""
    n = x.shape[0]
    tiles = -(-n // chunk)
    squares = jnp.sum(x * x, axis=1)

    def rows(tile: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        # The last tile is moved back to end with the rows; those it shares with its neighbour get
        # an index below zero.
        start = jnp.minimum(tile * chunk, n - chunk)
        index = start + jnp.arange(chunk)
        index = jnp.where(index >= tile * chunk, index, -1)
        take = functools.partial(jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=chunk)
        return take(x), take(squares), take(groups), index

    def add_tile(carry: _Totals, pair: tuple[jax.Array, jax.Array]):
        left, left_squares, left_groups, left_index = rows(pair[0])
        right, right_squares, right_groups, right_index = rows(pair[1])

        def add(carry: _Totals) -> _Totals:
            products = jnp.matmul(left, right.T, precision=jax.lax.Precision.HIGHEST)
            distances = left_squares[:, None] + right_squares[None, :] - 2.0 * products
            # Rounding can leave a distance slightly below zero.
            exponents = -t * jnp.maximum(distances, 0.0)
            counts = (
                (left_index[:, None] >= 0)
                & (left_index[:, None] < right_index[None, :])
                & (left_groups[:, None] == right_groups[None, :])
            )
            exponents = jnp.where(counts, exponents, -jnp.inf)
            highest = jax.lax.stop_gradient(jnp.maximum(jnp.max(exponents, axis=1), _LOWEST))
            row_sums = jnp.sum(jnp.exp(exponents - highest[:, None]), axis=1)
            return _add_rows(carry, highest, row_sums, left_groups)

        shared = left_groups[-1] >= right_groups[0]
        return jax.lax.cond(shared, add, lambda carry: carry, carry), None

    # Recomputing a tile in the backward pass keeps the gradient's memory at O(chunk^2), too.
    upper, lower = np.triu_indices(tiles)
    zeros = jnp.zeros(num_groups, x.dtype)
    (highest, sums, lost), _ = jax.lax.scan(
        jax.checkpoint(add_tile),
        (jnp.full_like(zeros, _LOWEST), zeros, zeros),
        (jnp.asarray(upper), jnp.asarray(lower)),
    )
    sums = sums + lost
    return highest + jnp.log(jnp.where(sums > 0, sums, 1.0))


def _add_rows(carry: _Totals, highest: jax.Array, sums: jax.Array, groups: jax.Array) -> _Totals:
    """Add rows, each worth ``sums * exp(highest)``, to the running totals of their groups."""
    old_highest, total, lost = carry
    new_highest = jax.lax.stop_gradient(old_highest.at[groups].max(highest))
    added = jnp.zeros_like(total).at[groups].add(sums * jnp.exp(highest - new_highest[groups]))
    scale = jnp.exp(old_highest - new_highest)
    total, lost = total * scale, lost * scale
    # Millions of small terms join a large total: what a rounding drops is kept beside it (two-sum).
    new_total = total + added
    lost = lost + (added - (new_total - total))
    return new_highest, new_total, lost
