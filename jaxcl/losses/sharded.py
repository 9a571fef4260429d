"""The mean of a loss over anchors that are spread over devices, exact on any number of them.

Every device gathers the candidates once, streams its own anchors past them as `pairwise` does, and
sends back to each device the gradient by its candidates: one all-gather, one reduce-scatter, and
two scalars. The mesh and the name of its axis come in as values.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from jaxcl.losses.chunks import differentiate_in_chunks, values_in_chunks
from jaxcl.losses.pairwise import divisor, keep, read_wanted, scale, weighted_sum
from jaxcl.losses.problem import Columns, Differentiable, Plan, Problem, Rows, pose


class Spread(NamedTuple):
    """A plan, and over which devices it goes."""

    plan: Plan
    mesh: Mesh | AbstractMesh
    axis: str
    candidates: PartitionSpec
    columns: PartitionSpec  # of labels and masks of candidates


def sharded_mean(
    loss: Callable[..., jax.Array],
    anchors: jax.Array,
    candidates: jax.Array,
    positives: jax.Array | None,
    *,
    mesh: Mesh | AbstractMesh,
    axis: str,
    temperature: jax.typing.ArrayLike,
    candidates_everywhere: bool = False,
    **options: Any,
) -> jax.Array:
    """The mean of a loss over all anchors of all devices, and its gradient.

    The same numbers as `streamed_mean` on one device, in 1/P of its time and memory. Differentiate
    it like any function of global arrays, outside of `jax.shard_map`. Reverse mode only.

    Args:
        loss: as all arguments not named here, see `streamed_mean`.
        anchors: floating [n, d], split over the axis; as are all other arrays of n rows.
        candidates: floating [m, d], split over the axis.
        positives: int [n], columns of the global candidates; None with labels.
        mesh: the devices; its axis may be Explicit or Auto.
        axis: the name of the mesh's axis over which anchors and candidates are split; over other
            axes they are whole.
        temperature: positive scalar, or [n].
        candidates_everywhere: whether every device holds all candidates already, a memory bank for
            example. Then nothing is gathered, and their gradient, if asked for, is summed.
        **options: exclude, anchor_labels, candidate_labels, candidate_where, anchor_weights,
            per_anchor, chunk (of each device's anchors), precision, and the constants of the loss.
            Labels and masks of candidates are small and go everywhere.

    Returns:
        Scalar, the same on all devices.

    Raises:
        TypeError, ValueError: as `streamed_mean`; an axis that the mesh lacks, rows that do not
            divide over it.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxcl.losses import contrastive, normalize, sharded_mean
        >>> mesh = jax.make_mesh((len(jax.devices()),), ("data",))
        >>> z = normalize(jax.random.normal(jax.random.key(0), (64, 32)))
        >>> rows = jnp.arange(64)
        >>> loss = lambda z: sharded_mean(
        ...     contrastive, z, z, rows ^ 1, mesh=mesh, axis="data", temperature=0.5, exclude=rows
        ... )
        >>> jax.jit(jax.grad(loss))(z).shape
        (64, 32)
    """
    plan, problem = pose(loss, anchors, candidates, positives, temperature=temperature, **options)
    check_divisible(mesh, axis, problem, candidates_everywhere)
    spec = PartitionSpec() if candidates_everywhere else PartitionSpec(axis)
    spread = Spread(plan, mesh, axis, spec, PartitionSpec())
    return _mean(spread, place(spread, problem))


def check_divisible(
    mesh: Mesh | AbstractMesh, axis: str, problem: Problem, everywhere: bool
) -> None:
    """Raises unless the mesh has the axis and the rows divide over it."""
    if axis not in mesh.shape:
        raise ValueError(f"axis {axis!r} is not of the mesh; it has {list(mesh.shape)}")
    sizes = {"anchors": problem.x.anchors.shape[0]}
    if not everywhere:
        sizes["candidates"] = problem.x.candidates.shape[0]
    devices = mesh.shape[axis]
    for name, size in sizes.items():
        if size % devices:
            raise ValueError(
                f"{size} {name} do not divide over {devices} devices; pad them to "
                f"{-(-size // devices) * devices}, with anchor_weights of 0 or candidate_where of "
                "False"
            )


def place(spread: Spread, problem: Problem) -> Problem:
    """Returns the problem laid out over an Explicit axis; over an Auto one, XLA sees to that."""
    if spread.mesh.axis_types[spread.mesh.axis_names.index(spread.axis)] != AxisType.Explicit:
        return problem

    def put(spec: PartitionSpec, part: Any) -> Any:
        sharding = NamedSharding(spread.mesh, spec)
        return jax.tree.map(lambda x: jax.reshard(x, sharding), part)

    return jax.tree.map(put, layout(spread), problem, is_leaf=lambda x: x is None)


def layout(spread: Spread) -> Problem:
    """Returns how each part of a problem is split."""
    rows, whole = PartitionSpec(spread.axis), PartitionSpec()
    x = Differentiable(rows, spread.candidates, rows, whole, rows)
    columns = Columns(spread.columns, spread.columns, whole)
    return Problem(x, Rows(rows, rows, rows, rows), columns)


def on_each_device(spread: Spread, function: Callable, problem: Problem, out: Any) -> Any:
    """Applies a function to each device's part; what it returns is laid out as ``out`` says."""
    mapped = jax.shard_map(
        function,
        mesh=spread.mesh,
        in_specs=(layout(spread),),
        out_specs=out,
        # Inside of another `shard_map` only the axes that are left to it.
        axis_names=set(spread.mesh.axis_names) - set(spread.mesh.manual_axes),
        check_vma=False,  # Gradients are taken inside by hand and never through this boundary.
    )
    return mapped(problem)


def gather(spread: Spread, problem: Problem) -> Problem:
    """On a device: the problem of its anchors and all candidates."""
    if spread.candidates == PartitionSpec():
        return problem
    candidates = lax.all_gather(problem.x.candidates, spread.axis, tiled=True)
    return problem._replace(x=problem.x._replace(candidates=candidates))


def send_home(spread: Spread, by_candidate: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
    """On a device: the sum over devices of the gradient [d, m], for the candidates it holds.

    It travels in the candidates' dtype, but not as float16, whose range is too small for it.
    """
    if dtype == jnp.bfloat16:
        by_candidate = by_candidate.astype(dtype)
    if spread.candidates == PartitionSpec():
        return lax.psum(by_candidate, spread.axis)
    return lax.psum_scatter(by_candidate, spread.axis, scatter_dimension=1, tiled=True)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _mean_of(spread: Spread, problem: Problem) -> jax.Array:
    def on_device(problem: Problem) -> jax.Array:
        weights = problem.x.weights
        values = values_in_chunks(spread.plan, gather(spread, problem))
        sums = jnp.stack([weighted_sum(weights, values), jnp.sum(weights)])
        total, total_weight = lax.psum(sums, spread.axis)
        return total / divisor(total_weight)

    return on_each_device(spread, on_device, problem, PartitionSpec())


def _mean_and_gradients(spread: Spread, arguments: Any) -> tuple[jax.Array, Any]:
    problem, (wanted, _, _) = read_wanted(arguments)
    axis = spread.axis

    def on_device(problem: Problem) -> tuple[jax.Array, Differentiable]:
        weights = problem.x.weights
        total = divisor(lax.psum(jnp.sum(weights), axis))
        everything = gather(spread, problem)
        values, gradients = differentiate_in_chunks(spread.plan, everything, 1 / total, wanted)
        by_candidate = gradients.candidates
        if by_candidate is not None:
            by_candidate = send_home(spread, by_candidate, problem.x.candidates.dtype).T
        mean, by_shared = lax.psum((weighted_sum(weights, values) / total, gradients.shared), axis)
        return mean, gradients._replace(
            candidates=by_candidate, shared=by_shared, weights=(values - mean) / total
        )

    mean, gradients = on_each_device(
        spread, on_device, problem, (PartitionSpec(), layout(spread).x)
    )
    return mean, keep(gradients, wanted, problem.x)


_mean_of.defvjp(_mean_and_gradients, scale, symbolic_zeros=True)
_mean = jax.jit(_mean_of, static_argnums=0)
