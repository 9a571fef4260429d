"""The mesh: the only file that names it. Everything else says "per device", "global" or "everywhere" in its words.

The mesh has Explicit axes (the default of `jax.make_mesh`): forgetting to gather the candidates is then an error when
the step is traced, not a silently smaller set of negatives.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

DATA = "data"  # the axis over which the global batch is split
SPLIT = PartitionSpec(DATA)
EVERYWHERE = PartitionSpec()


def make_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh with one axis, ``data``, over the given devices (all of them if None)."""
    devices = jax.devices() if devices is None else devices
    return jax.make_mesh((len(devices),), (DATA,), devices=tuple(devices))


def split(mesh: Mesh) -> NamedSharding:
    """The sharding of an array whose first axis is the global batch."""
    return NamedSharding(mesh, SPLIT)


def everywhere(mesh: Mesh) -> NamedSharding:
    """The sharding of an array that every device holds whole."""
    return NamedSharding(mesh, EVERYWHERE)


def place(tree: Any, mesh: Mesh) -> Any:
    """Put a tree of host arrays on every device."""
    return jax.device_put(tree, everywhere(mesh))


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
    """Make one global array ``[b@data, ...]`` of every process's part ``[b/P, ...]``."""
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
    specs = tuple(SPLIT if is_split else EVERYWHERE for is_split in split_arguments)
    return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=SPLIT)


def deal(array: jax.Array, hands: int, together: int, mesh: Mesh) -> jax.Array:
    """Inside a jitted step: rows ``[n@data, ...]`` dealt into microbatches ``[hands, n/hands@data, ...]``.

    Of the groups of ``together`` consecutive rows, number i goes to microbatch i modulo ``hands``: on any number of
    devices the same rows meet, and none leaves its device.
    """
    if hands == 1:
        return array[None]

    def of_device(rows: jax.Array) -> jax.Array:
        dealt = rows.reshape(-1, hands, together, *rows.shape[1:]).swapaxes(0, 1)
        return dealt.reshape(hands, -1, *rows.shape[1:])

    return jax.shard_map(of_device, mesh=mesh, in_specs=SPLIT, out_specs=PartitionSpec(None, DATA))(
        array
    )


def collect(dealt: jax.Array, together: int, mesh: Mesh) -> jax.Array:
    """The inverse of `deal`: ``[hands, n/hands@data, ...]`` to ``[n@data, ...]`` in the rows' own order."""
    hands = dealt.shape[0]
    if hands == 1:
        return dealt[0]

    def of_device(rows: jax.Array) -> jax.Array:
        groups = rows.reshape(hands, -1, together, *rows.shape[2:]).swapaxes(0, 1)
        return groups.reshape(-1, *rows.shape[2:])

    return jax.shard_map(of_device, mesh=mesh, in_specs=PartitionSpec(None, DATA), out_specs=SPLIT)(
        dealt
    )


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

    specs = (SPLIT, EVERYWHERE, EVERYWHERE)
    mapped = jax.shard_map(of_device, in_specs=specs, out_specs=SPLIT)
    return mapped(array, index, values)


def first_row(count: int) -> jax.Array:
    """Inside `per_device`: the global number of this device's first row, when each device has ``count``."""
    return jax.lax.axis_index(DATA) * count


def split_rows(count: int) -> jax.Array:
    """Inside a jitted step: the row numbers ``[count@data]``, each device holding those of its own rows."""
    return jax.reshard(jax.numpy.arange(count, dtype=jax.numpy.int32), SPLIT)
