"""The mesh: the only file that names it. Everything else says "per device", "global" or "everywhere" in its words.

The mesh has Explicit axes (the default of `jax.make_mesh`): forgetting to gather the candidates is then an error when
the step is traced, not a silently smaller set of negatives. A second axis, ``grid``, runs several cells of a grid at
once, each on a group of devices of its own; what is written for one cell is then applied by `on_each_cell`.
"""

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

DATA = "data"  # the axis over which the global batch is split
GRID = "grid"  # the axis of cells, which exchange nothing
SPLIT = PartitionSpec(DATA)
EVERYWHERE = PartitionSpec()


def make_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh with one axis, ``data``, over the given devices (all of them if None)."""
    devices = jax.devices() if devices is None else devices
    return jax.make_mesh((len(devices),), (DATA,), devices=tuple(devices))


def make_grid(cells: int, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh ``grid`` x ``data`` over the given devices (all of them if None).

    Each process gives every cell the same number of its devices, so that it reads the same rows of a batch, and takes
    part in the same checkpoints, as when a cell has all devices.

    Args:
      cells: how many; it must divide the devices of each process.
      devices: of all processes.
    """
    own: dict[int, list[Any]] = {}
    for device in jax.devices() if devices is None else devices:
        own.setdefault(device.process_index, []).append(device)
    columns = [np.array(row, dtype=object).reshape(cells, -1) for _, row in sorted(own.items())]
    types = (AxisType.Explicit, AxisType.Explicit)
    return Mesh(np.concatenate(columns, axis=1), (GRID, DATA), axis_types=types)


def mesh_of_cells(cells: int, devices: Sequence[Any]) -> Mesh:
    """`make_grid`, or `make_mesh` where there is one cell.

    Raises:
      ValueError: the cells do not divide the devices of each process.
    """
    own = min(Counter(device.process_index for device in devices).values())
    if own % cells:
        raise ValueError(
            f"--together={cells} does not divide the {own} devices of each host; "
            f"{', '.join(str(n) for n in range(1, own + 1) if own % n == 0)} do"
        )
    return make_grid(cells, devices) if cells > 1 else make_mesh(devices)


def cell_meshes(mesh: Mesh) -> list[Mesh]:
    """The mesh of each cell alone, with one axis, ``data``."""
    return [Mesh(row, (DATA,), axis_types=(AxisType.Explicit,)) for row in mesh.devices]


def parts_of_batch(mesh: Mesh) -> int:
    """The number of devices over which the global batch (of a cell) is split."""
    return mesh.shape[DATA]


def split(mesh: Mesh) -> NamedSharding:
    """The sharding of an array whose first axis is the global batch; with cells, whose first two are ``[g, b]``."""
    return NamedSharding(mesh, PartitionSpec(GRID, DATA) if GRID in mesh.shape else SPLIT)


def everywhere(mesh: Mesh) -> NamedSharding:
    """The sharding of an array that every device holds whole."""
    return NamedSharding(mesh, EVERYWHERE)


def place(tree: Any, mesh: Mesh) -> Any:
    """Put a tree of host arrays on every device."""
    return jax.device_put(tree, everywhere(mesh))


def join(trees: Sequence[Any], mesh: Mesh) -> Any:
    """Trees of arrays ``[...]``, each on its own mesh of `cell_meshes`, as one of arrays ``[g@grid, ...]``."""
    raised = []
    for tree, own in zip(trees, cell_meshes(mesh), strict=True):
        with jax.set_mesh(own):
            raised.append(_raise(tree))

    def together(*leaves: jax.Array) -> jax.Array:
        shards = [shard.data for leaf in leaves for shard in leaf.addressable_shards]
        sharding = NamedSharding(mesh, PartitionSpec(GRID, *_spec(leaves[0])[1:]))
        shape = (len(leaves), *leaves[0].shape[1:])
        return jax.make_array_from_single_device_arrays(shape, sharding, shards)

    return jax.tree.map(together, *raised)


def apart(tree: Any, mesh: Mesh) -> list[Any]:
    """The inverse of `join`; no device waits for another."""
    found = []
    for own in cell_meshes(mesh):
        devices = set(own.devices.flat)

        def of_cell(leaf: jax.Array, own: Mesh = own, devices: set = devices) -> jax.Array:
            shards = [shard.data for shard in leaf.addressable_shards if shard.device in devices]
            sharding = NamedSharding(own, PartitionSpec(None, *_spec(leaf)[1:]))
            return jax.make_array_from_single_device_arrays((1, *leaf.shape[1:]), sharding, shards)

        with jax.set_mesh(own):
            found.append(_lower(jax.tree.map(of_cell, tree)))
    return found


def _spec(array: jax.Array | jax.ShapeDtypeStruct) -> PartitionSpec:
    assert isinstance(array.sharding, NamedSharding)
    return array.sharding.spec


@jax.jit
def _raise(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[None], tree)


@jax.jit
def _lower(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.numpy.squeeze(leaf, 0), tree)


def on_each_cell(function: Callable, mesh: Mesh) -> Callable:
    """Let the devices of every cell apply a function of global arrays of one cell.

    Args:
      function: written for a mesh with the axis ``data`` alone.
      mesh: of `make_grid`.

    Returns:
      The function of arrays ``[g@grid, ...]``, to the same.
    """

    @functools.wraps(function)
    def of_cell(*arguments: Any) -> Any:
        own = jax.tree.map(lambda leaf: jax.numpy.squeeze(leaf, 0), arguments)
        return jax.tree.map(lambda leaf: leaf[None], function(*own))

    # Manual over the cells alone, where `vmap` would make grouped convolutions of one convolution for each cell. What
    # varies is not checked: no value crosses the axis, and a loop's constant initial carry would be refused.
    cell = PartitionSpec(GRID)
    return jax.shard_map(
        of_cell, mesh=mesh, axis_names={GRID}, in_specs=cell, out_specs=cell, check_vma=False
    )


def of_context(mesh: Mesh) -> Mesh | AbstractMesh:
    """The mesh to name to jax while tracing: that of the context inside of `on_each_cell`, else the one given."""
    context = jax.sharding.get_abstract_mesh()
    return context if GRID in context.manual_axes else mesh


def _map(function: Callable, in_specs: Any, out_specs: Any, mesh: Mesh | None = None) -> Callable:
    """`jax.shard_map` over the devices, or over those of a cell inside of `on_each_cell`."""
    if GRID in jax.sharding.get_abstract_mesh().manual_axes:
        return jax.shard_map(
            function, in_specs=in_specs, out_specs=out_specs, axis_names={DATA}, check_vma=False
        )
    return jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs)


def for_all_cells(tree: Any, mesh: Mesh) -> Any:
    """Shapes ``[...]``, laid out over the mesh of one cell, as those of all cells ``[g@grid, ...]``."""

    def raised(leaf: Any) -> jax.ShapeDtypeStruct:
        sharding = NamedSharding(mesh, PartitionSpec(GRID, *_spec(leaf)))
        return jax.ShapeDtypeStruct((mesh.shape[GRID], *leaf.shape), leaf.dtype, sharding=sharding)

    return jax.tree.map(raised, tree)


def place_rows(rows: np.ndarray, mesh: Mesh) -> jax.Array:
    """Put a large array, the same on every process, on every device; nothing is sent between processes.

    Devices that share the host's memory (simulated ones) read ``rows`` where it lies, so it must not change any more.
    """
    sharding = everywhere(mesh)
    local = [device for device in mesh.devices.flat if device.process_index == jax.process_index()]
    placed = [jax.device_put(rows, device, may_alias=True) for device in local]
    return jax.make_array_from_single_device_arrays(rows.shape, sharding, placed)


def lay_out(tree: Any, sharding: NamedSharding) -> Any:
    """The shapes and types of a tree of arrays, with a sharding: what a step can be compiled for."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
    )


def global_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Make one global array ``[b@data, ...]`` of every process's part ``[b/P, ...]``.

    With cells the parts are ``[g, b/P, ...]`` and the array ``[g@grid, b@data, ...]``.
    """
    return {
        name: jax.make_array_from_process_local_data(split(mesh), value)
        for name, value in batch.items()
    }


def gather(array: jax.Array) -> jax.Array:
    """Inside a jitted step: the global array ``[n@data, ...]`` whole on every device ``[n, ...]``."""
    return jax.reshard(array, PartitionSpec(*(None,) * array.ndim))


def per_device(function: Callable, mesh: Mesh, split_arguments: Sequence[bool]) -> Callable:
    """Let every device apply ``function`` to its own rows.

    Args:
      function: takes the device's rows of the split arguments and the whole of the others; returns rows.
      mesh: of the arrays.
      split_arguments: for each argument, whether its first axis is split over the devices.

    Returns:
      The function of global arrays. Differentiate it outside, never inside ``function``.
    """

    def apply(*arguments: Any) -> Any:
        inside = GRID in jax.sharding.get_abstract_mesh().manual_axes
        rows = SPLIT if inside else split(mesh).spec
        specs = tuple(rows if is_split else EVERYWHERE for is_split in split_arguments)
        return _map(function, specs, rows, mesh)(*arguments)

    return apply


def deal(array: jax.Array, hands: int, mesh: Mesh) -> jax.Array:
    """Inside a jitted step: rows ``[n@data, ...]`` dealt into microbatches ``[hands, n/hands@data, ...]``.

    Row i goes to microbatch i modulo ``hands``: on any number of devices the same rows meet; none leaves its device.
    """
    if hands == 1:
        return array[None]

    def of_device(rows: jax.Array) -> jax.Array:
        return rows.reshape(-1, hands, *rows.shape[1:]).swapaxes(0, 1)

    return _map(of_device, SPLIT, PartitionSpec(None, DATA), mesh)(array)


def collect(dealt: jax.Array, together: int, mesh: Mesh) -> jax.Array:
    """The inverse of `deal`: ``[hands, k*n/hands@data, ...]`` to ``[k*n@data, ...]`` in the rows' own order.

    ``together`` is k, the consecutive rows that were made of each row dealt.
    """
    hands = dealt.shape[0]
    if hands == 1:
        return dealt[0]

    def of_device(rows: jax.Array) -> jax.Array:
        groups = rows.reshape(hands, -1, together, *rows.shape[2:]).swapaxes(0, 1)
        return groups.reshape(-1, *rows.shape[2:])

    return _map(of_device, PartitionSpec(None, DATA), SPLIT, mesh)(dealt)


def change_rows(
    array: jax.Array,
    index: jax.Array,
    function: Callable[[jax.Array, jax.Array], jax.Array],
    values: jax.Array,
) -> jax.Array:
    """Inside a jitted step: row ``index[k]`` of ``[m@data, ...]`` becomes ``function(row, values[k])``.

    Index and values are whole on every device, and each changes the rows that it holds.
    """

    def of_device(rows: jax.Array, index: jax.Array, values: jax.Array) -> jax.Array:
        own = index - first_row(rows.shape[0])
        elsewhere = (own < 0) | (own >= rows.shape[0])
        own = jax.numpy.where(elsewhere, rows.shape[0], own)  # out of range, which is dropped
        new = function(rows.at[own].get(mode="clip"), values)
        return rows.at[own].set(new, mode="drop")

    return _map(of_device, (SPLIT, EVERYWHERE, EVERYWHERE), SPLIT)(array, index, values)


def first_row(count: int) -> jax.Array:
    """Inside `per_device`: the global number of this device's first row, when each device has ``count``."""
    return jax.lax.axis_index(DATA) * count


def split_rows(count: int) -> jax.Array:
    """Inside a jitted step: the row numbers ``[count@data]``, each device holding those of its own rows."""
    return jax.reshard(jax.numpy.arange(count, dtype=jax.numpy.int32), SPLIT)
