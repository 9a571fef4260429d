"""`verify` finds a step that is wrong on many devices, and passes one that is right."""

import jax
import numpy as np
import pytest

from jaxcl import sharding
from jaxcl.config import override
from jaxcl.programs import verify
from jaxcl.training import contrast


def test_the_step_on_eight_devices_is_that_of_one(tiny, console):
    assert verify.run(tiny, console=console)
    assert "loss: relative difference" in console.text and "gradient: relative" in console.text
    assert "all-gather: 1, " in console.text
    assert "WRONG" not in console.text


def test_a_gather_that_forgets_the_other_devices_is_found(tiny, monkeypatch, console):
    """Every device sees eight copies of the first device's candidates: no error, smaller loss, wrong gradient."""

    def broken(array):
        whole = sharding.gather(array)
        if whole.ndim != 2 or len(jax.sharding.get_abstract_mesh().shape) == 0:
            return whole
        count = jax.sharding.get_abstract_mesh().shape["data"]
        return jax.numpy.tile(whole[: len(whole) // count], (count, 1))

    monkeypatch.setattr(contrast, "gather", broken)
    assert not verify.run(tiny, console=console)
    assert "WRONG  loss" in console.text and "do not train with this" in console.text


def test_a_large_batch_is_made_small_enough_for_one_device(tiny):
    big = override(tiny, {"train.batch_size": 65_536})
    assert verify.smaller(big, 8).train.batch_size == verify.ENOUGH
    assert verify.smaller(big, 1024).train.batch_size == 2048
    assert verify.smaller(tiny, 8) is tiny
    hard = override(big, {"loss.name": "hard", "loss.num_negatives": 4095})
    assert verify.smaller(hard, 8).train.batch_size == 65_536


def test_the_distance_of_two_trees_is_relative():
    tree = {"a": np.full(4, 2.0, np.float32)}
    assert verify.distance({"a": tree["a"] * np.float32(1.5)}, tree) == pytest.approx(0.5)
    assert verify.distance(tree, tree) == 0
