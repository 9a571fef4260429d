"""Losses of the log-odds against the positive, when no device can hold all candidates.

Blocks of candidates travel around a ring of devices, twice: once to sum over the negatives of each
anchor, once to take the gradient, which travels with its block and comes home with it. No device
ever holds more than its own share and the block that visits. Costs three times the traffic of
`sharded`; take that one wherever the candidates fit.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from jaxcl.losses.chunks import cut
from jaxcl.losses.pairwise import divisor, keep, read_wanted, scale, weighted_sum
from jaxcl.losses.problem import Differentiable, Problem, pose, similarity_dtype
from jaxcl.losses.products import inner_products, product
from jaxcl.losses.sharded import Spread, check_divisible, layout, on_each_device, place
from jaxcl.losses.symmetric import LOWEST, invert, safe


class Block(NamedTuple):
    """The candidates of one device, on their way."""

    candidates: jax.Array  # [k, d]
    labels: jax.Array | None  # int [k]
    where: jax.Array | None  # bool [k]
    first: jax.Array  # int [], the column of the first


class Anchors(NamedTuple):
    """Rows [n, ...] of one device, or a chunk of them."""

    embeddings: jax.Array
    positives: jax.Array
    exclude: jax.Array | None
    labels: jax.Array | None


class Sums(NamedTuple):
    """Over the candidates that an anchor has met, [n]."""

    nearest: jax.Array  # the largest similarity of a negative
    mass: jax.Array  # sum_k exp((s_k - nearest) / tau)
    positive: jax.Array  # the similarity of the positive


def ring_mean(
    anchors: jax.Array,
    candidates: jax.Array,
    positives: jax.Array,
    *,
    mesh: Mesh,
    axis: str,
    temperature: jax.typing.ArrayLike,
    loss_of_odds: Callable[[jax.Array], jax.Array] = jax.nn.softplus,
    exclude: jax.Array | None = None,
    anchor_labels: jax.Array | None = None,
    candidate_labels: jax.Array | None = None,
    candidate_where: jax.Array | None = None,
    anchor_weights: jax.Array | None = None,
    chunk: int = 256,
    precision: jax.lax.PrecisionLike = None,
) -> jax.Array:
    """The mean of a loss over all anchors, and its gradient, without gathering the candidates.

    The same numbers as `sharded_mean`. Differentiate it outside of `jax.shard_map`. Reverse mode
    only.

    Args:
        anchors: floating [n, d], split over the axis; as are all other arrays of n or m rows.
        candidates: floating [m, d].
        positives: int [n], columns of the global candidates.
        mesh: the devices; its axis may be Explicit or Auto.
        axis: the name of the mesh's axis that makes the ring.
        temperature: positive scalar.
        loss_of_odds: from the log-odds against the positives [n] to the losses [n]: softplus makes
            the contrastive loss; `jaxcl.losses.LOSS_OF_ODDS` names others.
        exclude: int [n], one column an anchor that does not count, such as itself; -1 for none.
        anchor_labels: int [n], with `candidate_labels`: a candidate with the anchor's label is not
            a negative.
        candidate_labels: int [m].
        candidate_where: bool [m], the candidates that count; the others are padding.
        anchor_weights: [n], weights of the mean, 0 for padding; not differentiated.
        chunk: anchors at a time.
        precision: of the matrix products, as in `jax.lax.dot`; None for the highest, unless
            jax_default_matmul_precision is set.

    Returns:
        Scalar, the same on all devices.

    Raises:
        TypeError, ValueError: as `sharded_mean`; a temperature that is not a scalar.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxcl.losses import normalize, ring_mean
        >>> mesh = jax.make_mesh((len(jax.devices()),), ("data",))
        >>> z = normalize(jax.random.normal(jax.random.key(0), (64, 32)))
        >>> rows = jnp.arange(64)
        >>> loss = lambda z: ring_mean(
        ...     z, z, rows ^ 1, mesh=mesh, axis="data", temperature=0.5, exclude=rows
        ... )
        >>> jax.jit(jax.grad(loss))(z).shape
        (64, 32)
    """
    if jnp.ndim(temperature):
        raise ValueError(f"temperature has shape {jnp.shape(temperature)}; it must be a scalar")
    plan, problem = pose(
        loss_of_odds,
        anchors,
        candidates,
        positives,
        temperature=temperature,
        exclude=exclude,
        anchor_labels=anchor_labels,
        candidate_labels=candidate_labels,
        candidate_where=candidate_where,
        anchor_weights=None if anchor_weights is None else lax.stop_gradient(anchor_weights),
        chunk=chunk,
        precision=precision,
    )
    check_divisible(mesh, axis, problem, everywhere=False)
    spread = Spread(plan, mesh, axis, PartitionSpec(axis), PartitionSpec(axis))
    return _mean(spread, place(spread, problem))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _mean_of(spread: Spread, problem: Problem) -> jax.Array:
    def on_device(problem: Problem) -> jax.Array:
        anchors, home, weights = start(spread, problem)
        inverse = invert(problem.x.shared["temperature"])
        odds = log_odds(sum_over_negatives(spread, anchors, home, inverse), inverse)
        sums = [weighted_sum(weights, spread.plan.loss(odds)), jnp.sum(weights)]
        total, total_weight = lax.psum(jnp.stack(sums), spread.axis)
        return total / divisor(total_weight)

    return on_each_device(spread, on_device, problem, PartitionSpec())


def _mean_and_gradients(spread: Spread, arguments: Any) -> tuple[jax.Array, Any]:
    problem, (wanted, _, _) = read_wanted(arguments)

    def on_device(problem: Problem) -> tuple[jax.Array, Differentiable]:
        anchors, home, weights = start(spread, problem)
        inverse = invert(problem.x.shared["temperature"])
        total = divisor(lax.psum(jnp.sum(weights), spread.axis))
        sums = sum_over_negatives(spread, anchors, home, inverse)
        losses, pull_back = jax.vjp(spread.plan.loss, log_odds(sums, inverse))
        (slopes,) = pull_back(weights / total)
        by_anchor, by_temperature, by_candidate = pull(spread, anchors, home, sums, slopes, inverse)
        mean = weighted_sum(weights, losses) / total
        mean, by_temperature = lax.psum((mean, by_temperature), spread.axis)
        by_anchor = by_anchor.reshape(-1, by_anchor.shape[-1])[: problem.x.anchors.shape[0]]
        shared = {"temperature": by_temperature}
        return mean, Differentiable(by_anchor, by_candidate.T, problem.x.weights, shared, {})

    mean, gradients = on_each_device(
        spread, on_device, problem, (PartitionSpec(), layout(spread).x)
    )
    return mean, keep(gradients, wanted, problem.x)


_mean_of.defvjp(_mean_and_gradients, scale, symbolic_zeros=True)
_mean = jax.jit(_mean_of, static_argnums=0)


def start(spread: Spread, problem: Problem) -> tuple[Anchors, Block, jax.Array]:
    """Returns a device's anchors in chunks, its block of candidates, and its weights in chunks."""
    x, rows, columns = problem
    n, chunk, k = x.anchors.shape[0], spread.plan.chunk, x.candidates.shape[0]
    anchors = Anchors(x.anchors, rows.positives, rows.exclude, rows.labels)
    first = lax.axis_index(spread.axis) * k
    home = Block(x.candidates, columns.labels, columns.where, first)
    return cut(anchors, n, chunk)[0], home, cut(x.weights, n, chunk, fill=0)[0]


def go_round(spread: Spread, home: Block, stays: Any, travels: Any, visit: Callable) -> Any:
    """Lets the block of every device visit this one, and come home.

    Args:
        spread: the ring.
        home: this device's block.
        stays: what the visits change and stays here.
        travels: what the visits change and travels with the block.
        visit: (block, stays, travels) -> (stays, travels).

    Returns:
        What stays, and what came home, after the last visit.
    """
    devices = spread.mesh.shape[spread.axis]
    to_next = [(device, (device + 1) % devices) for device in range(devices)]

    def step(carry: Any, _: None) -> tuple[Any, None]:
        block, stays, travels = carry
        stays, travels = visit(block, stays, travels)
        block, travels = lax.ppermute((block, travels), spread.axis, to_next)
        return (block, stays, travels), None

    return lax.scan(step, (home, stays, travels), None, length=devices)[0][1:]


def meet(spread: Spread, anchors: Anchors, block: Block) -> tuple[jax.Array, ...]:
    """Returns the similarities [n, k] of anchors with a block, its negatives and its positives."""
    s = inner_products(
        anchors.embeddings,
        block.candidates,
        spread.plan.precision,
        anchors.positives - block.first,
    )
    column = lax.broadcasted_iota(jnp.int32, s.shape, 1) + block.first
    is_positive = column == anchors.positives[:, None]
    negatives = ~is_positive
    if anchors.exclude is not None:
        negatives &= column != anchors.exclude[:, None]
    if anchors.labels is not None and block.labels is not None:
        negatives &= anchors.labels[:, None] != block.labels[None, :]
    if block.where is not None:
        negatives &= block.where[None, :]
    return s, negatives, is_positive


def sum_over_negatives(spread: Spread, anchors: Anchors, home: Block, inverse: jax.Array) -> Sums:
    """Returns the sums of each anchor over the candidates of all devices, in chunks."""

    def visit(block: Block, sums: Sums, travels: None) -> tuple[Sums, None]:
        def add(_: None, chunk: tuple[Anchors, Sums]) -> tuple[None, Sums]:
            anchors, sums = chunk
            s, negatives, is_positive = meet(spread, anchors, block)
            nearest = jnp.max(jnp.where(negatives, s, LOWEST), axis=1)
            nearest = jnp.maximum(nearest, sums.nearest)
            terms = jnp.where(negatives, jnp.exp((s - nearest[:, None]) * inverse), 0)
            rescale = jnp.exp((sums.nearest - nearest) * inverse)
            mass = sums.mass * rescale + jnp.sum(terms, axis=1)
            positive = sums.positive + jnp.sum(jnp.where(is_positive, s, 0), axis=1)
            return None, Sums(nearest, mass, positive)

        return lax.scan(add, None, (anchors, sums))[1], travels

    dtype = similarity_dtype(anchors.embeddings, home.candidates)
    zeros = jnp.zeros(anchors.positives.shape, dtype)
    return go_round(spread, home, Sums(zeros + LOWEST, zeros, zeros), None, visit)[0]


def log_odds(sums: Sums, inverse: jax.Array) -> jax.Array:
    """Returns log(sum_k exp((s_k - s_pos) / tau)); -inf for a row without negatives."""
    odds = (sums.nearest - sums.positive) * inverse + jnp.log(safe(sums.mass))
    return jnp.where(sums.mass == 0, -jnp.inf, odds)


def pull(
    spread: Spread,
    anchors: Anchors,
    home: Block,
    sums: Sums,
    slopes: jax.Array,
    inverse: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the gradients of losses whose derivatives by the log-odds are the slopes.

    By the anchors, in chunks; by the temperature, this device's part; by its block, [d, k].
    """
    dtype, precision = sums.mass.dtype, spread.plan.precision
    shares = slopes / safe(sums.mass)

    def visit(block: Block, stays: Any, by_block: jax.Array) -> tuple[Any, jax.Array]:
        by_anchor, by_temperature = stays
        wide = block.candidates.astype(dtype)

        def add(carry: Any, chunk: Any) -> tuple[Any, jax.Array]:
            by_block, by_temperature = carry
            anchors, sums, slopes, shares, by_anchor = chunk
            s, negatives, is_positive = meet(spread, anchors, block)
            terms = jnp.exp((s - sums.nearest[:, None]) * inverse)
            terms = jnp.where(negatives, terms * shares[:, None], 0)
            lead = jnp.sum(terms * (s - sums.positive[:, None]))
            by_s = jnp.where(is_positive, -slopes[:, None], terms) * inverse
            by_anchor += product(by_s, wide, (1, 0), precision)
            by_block += product(anchors.embeddings.astype(dtype), by_s, (0, 0), precision)
            return (by_block, by_temperature - jnp.square(inverse) * lead), by_anchor

        chunks = (anchors, sums, slopes, shares, by_anchor)
        (by_block, by_temperature), by_anchor = lax.scan(add, (by_block, by_temperature), chunks)
        return (by_anchor, by_temperature), by_block

    by_anchor = jnp.zeros(anchors.embeddings.shape, dtype)
    by_block = jnp.zeros(home.candidates.shape[::-1], dtype)
    stays = (by_anchor, jnp.zeros((), dtype))
    (by_anchor, by_temperature), by_block = go_round(spread, home, stays, by_block, visit)
    return by_anchor, by_temperature, by_block
