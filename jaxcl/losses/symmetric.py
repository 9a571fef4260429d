"""The contrastive and the decoupled loss of one interleaved two-view batch, by symmetric tiles.

Where anchors and candidates are the same embeddings, S is its own transpose: a tile of S serves the
rows of its anchors and, read by columns, the rows of its candidates. Half the similarities are
computed, in a tile that stays in the cache, and the gradient is taken in the forward pass. This is
the fastest form on one device; `pairwise` is the general one.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcl.losses.inputs import invert_temperature
from jaxcl.losses.problem import similarity_dtype
from jaxcl.losses.products import dots, product, similarities_between

# A running maximum starts here, and what does not count has a similarity below it: finite, since
# -inf - (-inf) is NaN, and so is the derivative of exp(-inf / tau) by tau.
LOWEST = -1e30
NOTHING = 2 * LOWEST


def decoupled_of_odds(odds: jax.Array) -> jax.Array:
    """Returns the decoupled loss: the log-odds against the positive; 0 without negatives."""
    return jnp.where(odds > -jnp.inf, odds, 0)


# The losses of `LOSSES` that are a function of the log-odds against the positive,
# log(sum_k exp((s_k - s_pos) / tau)) over the negatives k.
LOSS_OF_ODDS: Mapping[str, Callable[[jax.Array], jax.Array]] = {
    "contrastive": jax.nn.softplus,
    "nt_xent": jax.nn.softplus,
    "softmax": jax.nn.softplus,
    "dcl": decoupled_of_odds,
}


class Plan(NamedTuple):
    """What is fixed when a program is compiled."""

    loss_of_odds: Callable[[jax.Array], jax.Array]
    tile: int
    precision: Any


class Sums(NamedTuple):
    """Over the negatives of each anchor, in tiles [tiles, tile]."""

    nearest: jax.Array  # the largest similarity
    mass: jax.Array  # sum_k exp((s_k - nearest) / tau)
    lead: jax.Array | None  # sum_k exp((s_k - nearest) / tau) (s_k - s_pos), for the temperature


class Tiles(NamedTuple):
    """Embeddings cut into tiles; in both orders, so that every product reads memory in order."""

    rows: jax.Array  # [tiles, tile, d]
    columns: jax.Array  # [tiles, d, tile]
    positive: jax.Array  # [tiles, tile], the similarity of each row with its partner
    n: int
    precision: Any


def symmetric_mean(
    embeddings: jax.Array,
    *,
    temperature: jax.typing.ArrayLike,
    loss_of_odds: Callable[[jax.Array], jax.Array] = jax.nn.softplus,
    tile: int = 1024,
    precision: jax.lax.PrecisionLike = None,
) -> jax.Array:
    """NT-Xent, the mean over both views of a batch, and its gradient, in memory O(n d + tile^2).

    Every row is an anchor; row i XOR 1 is its positive, the n - 2 others are its negatives. The
    same numbers as `contrastive` on the whole matrix without its diagonal, to rounding. Reverse
    mode only (`jax.grad`, twice too); `jax.vmap` over temperatures works.

    Args:
        embeddings: floating [n, d], n even, views interleaved: rows 2i and 2i + 1 are two views of
            one image. Similarities are inner products of these as they come: normalise before.
        temperature: positive scalar.
        loss_of_odds: from the log-odds against the positives [n] to the losses [n]: softplus makes
            the contrastive loss; `LOSS_OF_ODDS` names others.
        tile: the largest side of a tile; so many rows are done in one piece.
        precision: of the matrix products, as in `jax.lax.dot`; None for the highest, unless
            jax_default_matmul_precision is set.

    Returns:
        Scalar, float32 (float64 for float64 embeddings).

    Raises:
        TypeError: embeddings that are not floating.
        ValueError: an odd number of rows, a tile below 2, a temperature that is not a positive and
            finite scalar.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxcl.losses import normalize, symmetric_mean
        >>> z = normalize(jax.random.normal(jax.random.key(0), (8192, 32)))
        >>> value, gradient = jax.value_and_grad(symmetric_mean)(z, temperature=0.5)
        >>> value.shape, gradient.shape
        ((), (8192, 32))

    References:
        T. Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, ICML
        2020, equation 1 and algorithm 1.
    """
    embeddings = jnp.asarray(embeddings)
    if not jnp.issubdtype(embeddings.dtype, jnp.floating):
        raise TypeError(f"embeddings have dtype {embeddings.dtype}; they must be floating")
    if embeddings.ndim != 2 or embeddings.shape[0] % 2 or not embeddings.shape[0]:
        raise ValueError(
            f"embeddings have shape {embeddings.shape}; they must be [n, d], n even: two views of "
            "each image, interleaved"
        )
    if tile < 2:
        raise ValueError(f"tile {tile} must be at least 2")
    dtype = similarity_dtype(embeddings, embeddings)
    temperature = jnp.asarray(temperature, dtype)
    if temperature.ndim:
        raise ValueError(
            f"temperature has shape {temperature.shape}; rows and columns share it, so it must be "
            "a scalar"
        )
    invert(temperature)  # Raises where it can be seen that it is not legal.
    return _mean(Plan(loss_of_odds, tile, precision), embeddings, temperature)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _mean_of(plan: Plan, z: jax.Array, temperature: jax.Array) -> jax.Array:
    tiles, inverse = cut(z, plan), invert(temperature)
    odds = log_odds(tiles, sum_over_negatives(tiles, inverse), inverse)
    return jnp.mean(plan.loss_of_odds(odds))


def _mean_and_gradients(plan: Plan, z: Any, temperature: Any) -> tuple[jax.Array, Any]:
    wanted, inverse = (z.perturbed, temperature.perturbed), invert(temperature.value)
    tiles = cut(z.value, plan)
    sums = sum_over_negatives(tiles, inverse, with_lead=wanted[1])
    losses, pull_back = jax.vjp(plan.loss_of_odds, log_odds(tiles, sums, inverse))
    (slopes,) = pull_back(jnp.full_like(losses, 1 / tiles.n))
    by_row = pull_on_all(z.value, tiles, sums, slopes, inverse) if wanted[0] else None
    by_temperature = None
    if sums.lead is not None:
        lead = (sums.lead / safe(sums.mass)).reshape(-1)[: tiles.n]
        by_temperature = -jnp.square(inverse) * jnp.sum(slopes * lead)
    return jnp.mean(losses), (by_row, by_temperature, jnp.zeros((), z.value.dtype))


def _scale(plan: Plan, residuals: Any, cotangent: jax.Array) -> tuple[Any, Any]:
    del plan
    by_row, by_temperature, like = residuals
    if by_row is not None:
        by_row = (by_row * cotangent).astype(like.dtype)
    return by_row, None if by_temperature is None else by_temperature * cotangent


_mean_of.defvjp(_mean_and_gradients, _scale, symbolic_zeros=True)
_mean = jax.jit(_mean_of, static_argnums=0)


def invert(temperature: jax.Array) -> jax.Array:
    """Returns 1 / temperature; NaN for a traced one that is not positive and finite."""
    return invert_temperature(temperature, jnp.zeros((1, 0), temperature.dtype))


def cut(z: jax.Array, plan: Plan) -> Tiles:
    """Cuts [n, d] into tiles of an even number of rows, so that no pair is cut apart."""
    n, d = z.shape
    # Tiles on the diagonal save nothing: eight tiles a side keep them few, if they stay large
    # enough for the matrix product.
    side = min(max(n // 8, 512), plan.tile)
    count = 1 if n <= plan.tile else math.ceil(n / side)
    size = 2 * math.ceil(n / (2 * count))
    rows = jnp.pad(z, ((0, count * size - n), (0, 0))).reshape(count, size, d)
    pairs = rows.reshape(count, size // 2, 2, d)
    positive = dots(pairs[:, :, 0], pairs[:, :, 1])
    positive = jnp.repeat(positive, 2, axis=1)
    return Tiles(rows, jnp.swapaxes(rows, 1, 2), positive, n, plan.precision)


def upper_triangle(tiles: Tiles) -> tuple[jax.Array, jax.Array]:
    """Returns the numbers of the rows and of the columns of tiles, each pair once."""
    rows, columns = np.triu_indices(tiles.rows.shape[0])
    return jnp.asarray(rows, jnp.int32), jnp.asarray(columns, jnp.int32)


def similarities_of(tiles: Tiles, i: Any, j: Any) -> jax.Array:
    """Returns one tile of S, [tile, tile], with NOTHING where there is no negative."""
    s = similarities_between(at(tiles.rows, i), at(tiles.columns, j), (1, 0), tiles.precision)
    count, size, _ = tiles.rows.shape
    pair = jnp.arange(size) // 2
    same = (pair[:, None] == pair[None, :]) & (i == j)
    if count * size > tiles.n:
        row, column = jnp.arange(size) + i * size, jnp.arange(size) + j * size
        same = same | (row >= tiles.n)[:, None] | (column >= tiles.n)[None, :]
    return jnp.where(same, NOTHING, s)


def sum_over_negatives(tiles: Tiles, inverse: jax.Array, with_lead: bool = False) -> Sums:
    """Returns the sums over the negatives of each anchor, under a running maximum."""
    shape, dtype = tiles.positive.shape, tiles.positive.dtype
    zeros = jnp.zeros(shape, dtype)
    start = Sums(jnp.full(shape, LOWEST, dtype), zeros, zeros if with_lead else None)

    def add(sums: Sums, k: Any, s: jax.Array, axis: int, share: Any) -> Sums:
        before = jax.tree.map(lambda x: at(x, k), sums)
        nearest = jnp.maximum(before.nearest, jnp.max(s, axis=axis))
        terms = jnp.exp((s - jnp.expand_dims(nearest, axis)) * inverse)
        rescale = jnp.exp((before.nearest - nearest) * inverse)
        mass = before.mass * rescale + share * jnp.sum(terms, axis=axis)
        lead = None
        if before.lead is not None:
            leads = s - jnp.expand_dims(at(tiles.positive, k), axis)
            lead = before.lead * rescale + share * jnp.sum(terms * leads, axis=axis)
        return jax.tree.map(lambda x, new: put(x, new, k), sums, Sums(nearest, mass, lead))

    if shape[0] == 1:
        return add(start, 0, similarities_of(tiles, 0, 0), 1, 1)

    def step(sums: Sums, ij: tuple[jax.Array, jax.Array]) -> tuple[Sums, None]:
        i, j = ij
        s = similarities_of(tiles, i, j)
        # A tile on the diagonal is read by rows and by columns, which are the same.
        share = jnp.where(i == j, 0.5, 1).astype(dtype)
        return add(add(sums, i, s, 1, share), j, s, 0, share), None

    return lax.scan(step, start, upper_triangle(tiles))[0]


def log_odds(tiles: Tiles, sums: Sums, inverse: jax.Array) -> jax.Array:
    """Returns log(sum_k exp((s_k - s_pos) / tau)) [n]; -inf for a row without negatives."""
    odds = (sums.nearest - tiles.positive) * inverse + jnp.log(safe(sums.mass))
    return jnp.where(sums.mass == 0, -jnp.inf, odds).reshape(-1)[: tiles.n]


def safe(mass: jax.Array) -> jax.Array:
    """Returns 1 for the mass of a row without negatives, whose value is replaced later."""
    return jnp.where(mass == 0, 1, mass)


def pull_on_all(
    z: jax.Array, tiles: Tiles, sums: Sums, slopes: jax.Array, inverse: jax.Array
) -> jax.Array:
    """Returns the gradient [n, d] of losses whose derivatives by the log-odds are the slopes."""
    n = z.shape[0]
    padded = jnp.pad(slopes, (0, sums.mass.size - n)).reshape(sums.mass.shape)
    by_row = pull_on_negatives(tiles, sums, padded / safe(sums.mass), inverse)[:n]
    partner = jnp.arange(n) ^ 1
    pull = (slopes + slopes[partner])[:, None]
    return (by_row - pull * z[partner].astype(by_row.dtype)) * inverse


def pull_on_negatives(
    tiles: Tiles, sums: Sums, weights: jax.Array, inverse: jax.Array
) -> jax.Array:
    """Returns sum_k (g_ik + g_ki) z_k over the negatives k of each anchor i, [tiles * tile, d].

    g_ik is ``weights_i exp((s_ik - nearest_i) / tau)``.
    """
    wide = tiles.rows.astype(weights.dtype), tiles.columns.astype(weights.dtype)

    def pull(i: Any, j: Any) -> jax.Array:
        s = similarities_of(tiles, i, j)
        by_row = jnp.exp((s - at(sums.nearest, i)[:, None]) * inverse)
        by_column = jnp.exp((s - at(sums.nearest, j)[None, :]) * inverse)
        return by_row * at(weights, i)[:, None] + by_column * at(weights, j)[None, :]

    if tiles.rows.shape[0] == 1:
        return product(pull(0, 0), wide[0][0], (1, 0), tiles.precision)

    def step(carry: Any, ij: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
        (by_row, by_column), (i, j) = carry, ij
        g = pull(i, j)
        # The share is taken of the products: a scalar inside the loop over the tile slows it down.
        share = jnp.where(i == j, 0.5, 1).astype(g.dtype)
        more = share * product(g, at(wide[0], j), (1, 0), tiles.precision)
        by_row = put(by_row, at(by_row, i) + more, i)
        more = share * product(at(wide[1], i), g, (1, 0), tiles.precision)
        return (by_row, put(by_column, at(by_column, j) + more, j)), None

    start = (jnp.zeros_like(wide[0]), jnp.zeros_like(wide[1]))
    (by_row, by_column), _ = lax.scan(step, start, upper_triangle(tiles))
    return (by_row + jnp.swapaxes(by_column, 1, 2)).reshape(-1, by_row.shape[-1])


def at(x: jax.Array, i: Any) -> jax.Array:
    """Returns x[i], a tile."""
    return lax.dynamic_index_in_dim(x, i, keepdims=False)


def put(x: jax.Array, value: jax.Array, i: jax.Array) -> jax.Array:
    """Returns x with its tile i replaced."""
    return lax.dynamic_update_index_in_dim(x, value, i, 0)
