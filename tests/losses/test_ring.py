"""A ring gives the same numbers, and no device sees more than one foreign block at a time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxcl.losses import LOSS_OF_ODDS, contrastive, ring_mean
from tests.losses.cases import UNOPTIMIZED
from tests.losses.embedded import (
    NOT_SELF,
    POSITIVES,
    ROWS,
    SIZE,
    check_against_reference,
    dense,
    differentiated,
    embeddings,
)
from tests.losses.test_sharded import LABELS, agree, collectives, make_mesh, split


def ring(name, mesh):
    """A loss as a function of (anchors, candidates, temperature, what couples its rows: nothing)."""

    def mean(anchors, candidates, temperature, shared):
        return ring_mean(
            anchors,
            candidates,
            POSITIVES,
            mesh=mesh,
            axis="data",
            temperature=temperature,
            loss_of_odds=LOSS_OF_ODDS[name],
            exclude=ROWS,
            chunk=5,
            **shared,
        )

    evaluate = differentiated(mean)
    return lambda a, b, *more: evaluate(*split(mesh, a, b), *more)


@pytest.mark.parametrize("name", ["softmax", "dcl"])
def test_eight_devices_are_exact_in_float64(name):
    with jax.enable_x64(True):
        check_against_reference(name, "float64", ring(name, make_mesh(8)))


@pytest.mark.parametrize(
    ("devices", "dtype", "kind"),
    [
        (1, "float32", AxisType.Explicit),
        (2, "float32", AxisType.Auto),
        (4, "bfloat16", AxisType.Explicit),
    ],
)
def test_any_number_of_devices_and_either_kind_of_mesh_is_exact(devices, dtype, kind):
    check_against_reference("softmax", dtype, ring("softmax", make_mesh(devices, kind)))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("devices", [1, 2, 4, 8])
@pytest.mark.parametrize("name", ["softmax", "dcl"])
def test_both_losses_are_exact_on_any_number_of_devices(name, devices, dtype):
    with jax.enable_x64(dtype == "float64"):
        check_against_reference(name, dtype, ring(name, make_mesh(devices)))


def test_labels_weights_and_padding_travel_with_their_candidates():
    usable = ROWS % 5 != 3
    weights = np.asarray(ROWS % 3, np.float32)

    def ours(anchors, candidates, temperature):
        return ring_mean(
            anchors,
            candidates,
            POSITIVES,
            mesh=make_mesh(8),
            axis="data",
            temperature=temperature,
            exclude=ROWS,
            anchor_labels=LABELS,
            candidate_labels=LABELS,
            candidate_where=usable,
            anchor_weights=weights,
            chunk=5,
        )

    def theirs(anchors, candidates, temperature):
        where = NOT_SELF & usable[None, :] & (LABELS[:, None] != LABELS[None, :])
        options = {"temperature": temperature, "where": where}
        losses = dense(contrastive, anchors, candidates, POSITIVES, **options)
        return jnp.sum(weights * losses) / jnp.sum(weights)

    agree(ours, theirs, embeddings(), embeddings(), np.float32(0.1))


def test_nothing_overflows_at_a_very_low_temperature_nor_without_negatives():
    z = np.zeros((16, 4), np.float32)
    z[:8, 0], z[8:12, 0] = 1, -1
    rows = np.arange(16, dtype=np.int32)

    def mean(z, temperature):
        return ring_mean(
            z,
            z,
            rows ^ 1,
            mesh=make_mesh(8),
            axis="data",
            temperature=temperature,
            exclude=rows,
            # Rows 0 and 1 have no negatives.
            anchor_labels=np.where(rows < 2, 0, 1),
            candidate_labels=0 * rows,
        )

    value, gradients = jax.jit(jax.value_and_grad(mean, argnums=(0, 1)))(z, np.float32(0.005))
    assert np.isfinite(value)
    assert all(np.isfinite(x).all() for x in gradients)


def test_nan_and_a_traced_temperature_that_is_not_positive_reach_the_loss():
    @functools.partial(jax.jit, compiler_options=UNOPTIMIZED)
    def mean(z, temperature):
        return ring_mean(z, z, POSITIVES, mesh=make_mesh(4), axis="data", temperature=temperature)

    z = embeddings()
    assert np.isnan(mean(z, np.float32(-0.1)))
    z[3] = np.nan
    assert np.isnan(mean(z, np.float32(0.1)))


def test_only_blocks_and_scalars_travel():
    mesh, b, d = make_mesh(8), 1024, 64
    x = jax.ShapeDtypeStruct(
        (b, d), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec("data"))
    )
    rows = np.arange(b, dtype=np.int32)

    def mean(anchors, candidates, temperature):
        return ring_mean(anchors, candidates, rows, mesh=mesh, axis="data", temperature=temperature)

    differentiate = jax.jit(jax.value_and_grad(mean, argnums=(0, 1, 2)))
    traffic = collectives(differentiate, x, x, np.float32(0.1))
    # The block twice and its gradient once, in loops of eight turns.
    block = ("collective-permute", 4 * b // 8 * d)
    assert [message for message in traffic if message[1] > 64] == [block] * 3


def test_a_temperature_for_each_anchor_is_refused():
    z = embeddings()
    with pytest.raises(ValueError, match="temperature has shape .*; it must be a scalar"):
        ring_mean(z, z, POSITIVES, mesh=make_mesh(8), axis="data", temperature=np.ones(SIZE))
