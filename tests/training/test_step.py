"""The sharded step: the same numbers on any number of devices, and the collectives of the design."""

import re

import jax
import numpy as np
import pytest

from jaxcl.losses.pairwise import choose_evaluation
from jaxcl.training.candidates import num_slots
from tests.training.conftest import BATCH, IMAGES, make_views, run_tiny

# float32, after five steps of SGD with momentum; sums over devices are taken in another order.
TOLERANCE = 2e-5


def collectives(tiny) -> dict[str, int]:
    """How many of each collective the compiled step holds."""
    state, batch, hyper = tiny.arguments
    with jax.set_mesh(state.step.sharding.mesh):
        text = tiny.step.lower(state, batch, hyper).compile().as_text()
    # jax 0.12 leaves a sum over a group of one device in the program; it moves nothing.
    text = "\n".join(line for line in text.splitlines() if "replica_groups={{0}}" not in line)
    kinds = ("all-gather", "all-reduce", "reduce-scatter", "collective-permute", "all-to-all")
    return {kind: len(re.findall(rf" {kind}(?:-start)?\(", text)) for kind in kinds}


@pytest.mark.parametrize("devices", [2, 8])
def test_losses_and_parameters_do_not_depend_on_the_number_of_devices(tiny_on, devices):
    one, many = tiny_on(1), tiny_on(devices)
    np.testing.assert_allclose(many.losses, one.losses, rtol=TOLERANCE)
    for a, b in zip(jax.tree.leaves(one.state), jax.tree.leaves(many.state), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=TOLERANCE)


def test_training_lowers_the_loss(tiny_on):
    losses = tiny_on(1).losses
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(("kind", "views"), [("batch", "cross"), ("memory_bank", "both")])
def test_other_sources_of_candidates_agree_over_devices_too(kind, views):
    one = run_tiny(1, kind=kind, views=views, steps=3)
    eight = run_tiny(8, kind=kind, views=views, steps=3)
    np.testing.assert_allclose(eight.losses, one.losses, rtol=TOLERANCE)
    for a, b in zip(
        jax.tree.leaves(one.state.candidates), jax.tree.leaves(eight.state.candidates), strict=True
    ):
        np.testing.assert_allclose(b, a, atol=TOLERANCE)


def test_a_step_on_one_device_has_no_collectives(tiny_on):
    assert set(collectives(tiny_on(1)).values()) == {0}


def test_the_bank_moves_only_in_the_slots_of_the_batch():
    before = run_tiny(1, kind="memory_bank", steps=1).state.candidates
    after = run_tiny(1, kind="memory_bank", steps=2).state.candidates
    moved = np.flatnonzero(np.abs(np.asarray(after) - np.asarray(before)).max(1) > 0)
    np.testing.assert_array_equal(moved, (np.arange(BATCH) + BATCH) % IMAGES)
    np.testing.assert_allclose(np.linalg.norm(after[moved], axis=1), 1.0, rtol=1e-5)


def test_a_bank_that_is_split_over_the_devices_moves_like_one_that_every_device_holds():
    whole = run_tiny(8, kind="memory_bank", steps=3)
    split = run_tiny(8, kind="memory_bank", steps=3, split_bank=True)
    np.testing.assert_array_equal(split.losses, whole.losses)
    np.testing.assert_array_equal(split.state.candidates[:IMAGES], whole.state.candidates)
    shards = split.state.candidates.addressable_shards
    assert {shard.data.shape for shard in shards} == {(IMAGES // 8, 8)}
    # Three more than nothing: the bank, the projections and the image numbers.
    assert collectives(split)["all-gather"] == 3


@pytest.mark.parametrize("size", [1, 48, 1437, 50_000, 126_689, 1_281_167])
def test_a_split_bank_is_filled_up_by_less_than_a_sixteenth(size):
    slots = num_slots(size)
    assert size <= slots and slots % 8 == 0
    assert slots - size < max(size / 16, 8)


def test_views_do_not_depend_on_the_batch_they_are_in():
    make, key = make_views(2), jax.random.key(3)
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    whole = make(key, images, np.arange(4))
    half = make(key, images[2:], np.arange(2, 4))
    np.testing.assert_array_equal(whole[2:], half)


@pytest.mark.parametrize(
    ("kind", "batch_norm", "gathers", "reduces"),
    [
        # Projections are gathered; the gradients of candidates and of parameters are summed.
        ("batch", False, 1, 2),
        # Two BatchNorm layers: each sums its statistics forward and their gradient backward.
        ("batch", True, 1, 6),
        # No gradient flows to the bank; projections and indices are gathered to update it.
        ("memory_bank", False, 2, 1),
    ],
)
def test_the_compiled_step_has_the_collectives_that_the_design_claims(
    kind, batch_norm, gathers, reduces
):
    tiny = run_tiny(8, kind=kind, batch_norm=batch_norm, steps=1)
    assert collectives(tiny) == {
        "all-gather": gathers,
        "all-reduce": reduces,
        "reduce-scatter": 0,
        "collective-permute": 0,
        "all-to-all": 0,
    }


@pytest.mark.parametrize(("kind", "views"), [("batch", "both"), ("memory_bank", "both")])
def test_streamed_evaluation_trains_to_the_same_numbers_as_the_dense_one(monkeypatch, kind, views):
    dense = run_tiny(8, kind=kind, views=views, steps=2)
    monkeypatch.setattr("jaxcl.training.step.choose_evaluation", lambda n, m: "streamed")
    streamed = run_tiny(8, kind=kind, views=views, steps=2)
    np.testing.assert_allclose(streamed.losses, dense.losses, rtol=TOLERANCE)
    for a, b in zip(jax.tree.leaves(dense.state), jax.tree.leaves(streamed.state), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=TOLERANCE)


def test_a_matrix_that_would_not_fit_is_streamed_by_default():
    assert choose_evaluation(512, 512) == "dense"
    assert choose_evaluation(8192, 65536) == "streamed"
