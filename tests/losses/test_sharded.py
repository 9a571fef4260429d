"""Spread over devices, a loss has the same numbers, and only the promised traffic."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxcl.losses import LOSSES, contrastive, sharded_mean
from tests.losses.cases import UNOPTIMIZED
from tests.losses.embedded import (
    CONSTANTS,
    NOT_SELF,
    POSITIVES,
    ROWS,
    SIZE,
    STREAMABLE,
    WITH_SLOW,
    check_against_reference,
    dense,
    differentiated,
    embeddings,
    relative_error,
)

LABELS = ROWS // 6


@functools.cache
def make_mesh(devices, kind=AxisType.Explicit):
    chosen = jax.devices()[:devices]
    return jax.make_mesh((devices,), ("data",), axis_types=(kind,), devices=chosen)


def split(mesh, *arrays):
    placed = tuple(jax.device_put(x, NamedSharding(mesh, PartitionSpec("data"))) for x in arrays)
    return placed[0] if len(arrays) == 1 else placed


def sharded(name, mesh, **options):
    """A loss as a function of (anchors, candidates, temperature, what couples its rows)."""

    def mean(anchors, candidates, temperature, shared):
        if name == "dclw":
            shared = {"per_anchor": shared}
        options_of_loss = {**shared, **CONSTANTS.get(name, {}), **options}
        return sharded_mean(
            LOSSES[name],
            anchors,
            candidates,
            POSITIVES,
            mesh=mesh,
            axis="data",
            temperature=temperature,
            exclude=ROWS,
            chunk=5,
            **options_of_loss,
        )

    evaluate = differentiated(mean)
    return lambda a, b, *more: evaluate(*split(mesh, a, b), *more)


@pytest.mark.parametrize("name", WITH_SLOW)
def test_eight_devices_are_exact_in_float64(name):
    with jax.enable_x64(True):
        check_against_reference(name, "float64", sharded(name, make_mesh(8)))


@pytest.mark.parametrize("kind", [AxisType.Explicit, AxisType.Auto])
@pytest.mark.parametrize("devices", [1, 2, 4])
def test_any_number_of_devices_and_either_kind_of_mesh_is_exact(devices, kind):
    evaluate = sharded("contrastive", make_mesh(devices, kind))
    check_against_reference("contrastive", "float32", evaluate)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("devices", [1, 2, 4, 8])
@pytest.mark.parametrize("name", STREAMABLE)
def test_every_loss_is_exact_on_any_number_of_devices(name, devices, dtype):
    with jax.enable_x64(dtype == "float64"):
        check_against_reference(name, dtype, sharded(name, make_mesh(devices)))


def agree(ours, theirs, *arguments):
    """Asserts the same value and gradients by all arguments."""
    everything = tuple(range(len(arguments)))

    def both(*arguments):
        return tuple(
            jax.value_and_grad(function, argnums=everything)(*arguments)
            for function in (ours, theirs)
        )

    results = jax.jit(both, compiler_options=UNOPTIMIZED)(*arguments)
    for actual, exact in zip(*map(jax.tree.leaves, results), strict=True):
        assert relative_error(actual, np.asarray(exact)) <= 1e-5


@pytest.mark.parametrize("kind", [AxisType.Explicit, AxisType.Auto])
def test_labels_weights_and_padding_arrive_at_the_right_rows(kind):
    usable = ROWS % 5 != 3

    def ours(z, temperatures, weights):
        return sharded_mean(
            contrastive,
            z,
            z,
            POSITIVES,
            mesh=make_mesh(8, kind),
            axis="data",
            temperature=temperatures,
            exclude=ROWS,
            anchor_labels=LABELS,
            candidate_labels=LABELS,
            candidate_where=usable,
            anchor_weights=weights,
            chunk=5,
        )

    def theirs(z, temperatures, weights):
        where = NOT_SELF & usable[None, :] & (LABELS[:, None] != LABELS[None, :])
        losses = dense(contrastive, z, z, POSITIVES, temperature=temperatures, where=where)
        return jnp.sum(weights * losses) / jnp.sum(weights)

    temperatures = np.linspace(0.1, 1, SIZE, dtype=np.float32)
    agree(ours, theirs, embeddings(), temperatures, np.asarray(ROWS % 3, np.float32))


def test_candidates_that_are_everywhere_are_not_gathered():
    mesh, bank = make_mesh(8), embeddings(size=50)

    def ours(anchors, bank, temperature):
        return sharded_mean(
            contrastive,
            anchors,
            bank,
            POSITIVES,
            mesh=mesh,
            axis="data",
            temperature=temperature,
            candidates_everywhere=True,
        )

    def theirs(anchors, bank, temperature):
        options = {"temperature": temperature, "where": None}
        return dense(contrastive, anchors, bank, POSITIVES, **options).mean()

    agree(ours, theirs, embeddings(), bank, np.float32(0.1))
    anchors = split(mesh, embeddings())
    traffic = collectives(jax.jit(jax.value_and_grad(ours)), anchors, bank, np.float32(0.1))
    assert sum(size for _, size in traffic) <= 1024


def test_other_axes_of_the_mesh_hold_the_whole():
    mesh = jax.make_mesh((2, 4), ("model", "data"), axis_types=(AxisType.Auto,) * 2)

    def ours(z):
        return sharded_mean(
            contrastive, z, z, POSITIVES, mesh=mesh, axis="data", temperature=0.1, exclude=ROWS
        )

    def theirs(z):
        return dense(contrastive, z, z, POSITIVES, temperature=0.1).mean()

    agree(ours, theirs, embeddings())


def test_a_grid_of_temperatures_is_one_vmap():
    z = split(make_mesh(4), embeddings())

    def mean(temperature):
        return sharded_mean(
            contrastive, z, z, POSITIVES, mesh=make_mesh(4), axis="data", temperature=temperature
        )

    one = jax.jit(jax.value_and_grad(mean), compiler_options=UNOPTIMIZED)
    many = jax.jit(jax.vmap(jax.value_and_grad(mean)), compiler_options=UNOPTIMIZED)
    grid = jnp.asarray([0.1, 0.5])
    expected = np.transpose([one(temperature) for temperature in grid])
    np.testing.assert_allclose(many(grid), expected, rtol=1e-5)


def collectives(jitted, *arguments):
    """The collectives of a compiled program: (operation, bytes of its result)."""
    text = jitted.lower(*arguments).compile().as_text()
    operations = "all-gather|all-reduce|reduce-scatter|collective-permute|all-to-all"
    return [
        (operation, sum(size_of(*array) for array in re.findall(r"([a-z]+)(\d*)\[(.*?)\]", result)))
        for result, operation in re.findall(rf"= (.*?) ({operations})(?:-start)?\(", text)
    ]


def size_of(kind, bits, shape):
    """Bytes of an array as the compiler writes it, f32[8,4]; pred has no number."""
    return int(bits or 8) // 8 * int(np.prod([int(x) for x in shape.split(",") if x]))


@pytest.mark.parametrize("devices", [2, 8])
def test_one_gather_of_candidates_and_one_scatter_of_their_gradient(devices):
    """Bytes are those of the results: B * D * s to gather, (B / P) * D * s to scatter."""
    mesh = make_mesh(devices)
    b, d = 1024, 64
    x = jax.ShapeDtypeStruct(
        (b, d), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec("data"))
    )
    rows = np.arange(b, dtype=np.int32)

    def mean(anchors, candidates, temperature):
        return sharded_mean(
            contrastive,
            anchors,
            candidates,
            rows,
            mesh=mesh,
            axis="data",
            temperature=temperature,
        )

    differentiate = jax.jit(jax.value_and_grad(mean, argnums=(0, 1, 2)))
    traffic = collectives(differentiate, x, x, np.float32(0.1))
    large = [(operation, size) for operation, size in traffic if size > 64]
    assert large == [("all-gather", 4 * b * d), ("reduce-scatter", 4 * b * d // devices)]
    assert sum(size for _, size in traffic) <= 4 * b * d + 4 * b * d // devices + 1024


def test_bfloat16_embeddings_travel_as_they_are():
    """What is asked of XLA; its CPU compiler widens bfloat16 before it sends it, a TPU's does not."""
    mesh = make_mesh(8)
    spec = NamedSharding(mesh, PartitionSpec("data"))
    x = jax.ShapeDtypeStruct((64, 16), jnp.bfloat16, sharding=spec)
    rows = np.arange(64, dtype=np.int32)

    def mean(anchors, candidates):
        options = {"mesh": mesh, "axis": "data", "temperature": 0.1}
        return sharded_mean(contrastive, anchors, candidates, rows, **options)

    text = jax.jit(jax.grad(mean, argnums=(0, 1))).lower(x, x).as_text()
    gathered = re.findall(r"all_gather.*?-> tensor<(.*?)>", text)
    scattered = re.findall(
        r"reduce_scatter.*?}\) : \(tensor<.*?>\) -> tensor<(.*?)>", text, re.DOTALL
    )
    assert (gathered, scattered) == (["64x16xbf16"], ["16x8xbf16"])


@pytest.mark.parametrize("size", [65_536, 131_072], ids=["one view", "both views"])
def test_65536_pairs_on_eight_devices_take_320_mib_on_each(size):
    mesh = make_mesh(8)
    x = jax.ShapeDtypeStruct(
        (size, 128), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec("data"))
    )
    rows = np.arange(size, dtype=np.int32)

    def mean(anchors, candidates, temperature):
        return sharded_mean(
            contrastive,
            anchors,
            candidates,
            rows,
            mesh=mesh,
            axis="data",
            temperature=temperature,
        )

    differentiate = jax.jit(jax.value_and_grad(mean, argnums=(0, 1, 2)))
    memory = differentiate.lower(x, x, np.float32(0.1)).compile().memory_analysis()
    assert memory.temp_size_in_bytes <= 320 * 2**20


@pytest.mark.parametrize(
    ("size", "axis", "message"),
    [
        (48, "model", r"axis 'model' is not of the mesh; it has \['data'\]"),
        (44, "data", "44 anchors do not divide over 8 devices; pad them to 48"),
    ],
)
def test_a_mistake_is_named(size, axis, message):
    z = embeddings(size=size)
    with pytest.raises(ValueError, match=message):
        sharded_mean(
            contrastive,
            z,
            z,
            np.arange(size),
            mesh=make_mesh(8),
            axis=axis,
            temperature=0.1,
        )
