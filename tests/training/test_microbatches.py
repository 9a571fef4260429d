"""The encoder in parts: the loss and gradient of the whole batch, on any number of devices, in less memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcl import sharding
from jaxcl.losses import LOSSES, normalize
from jaxcl.models import build_model
from jaxcl.training import microbatches
from jaxcl.training.microbatches import encode
from tests.training.conftest import run_tiny

EXACT = 1e-6  # after a step, float32; the same products in parts


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


@pytest.mark.parametrize("kind", ["batch", pytest.param("memory_bank", marks=pytest.mark.slow)])
def test_without_batch_norm_parts_give_the_step_of_the_whole_batch(kind):
    """Every number after a step. A second gradient is taken at parameters that already differ by a
    rounding, and its momentum shows that several times over: there the parameters are compared."""
    for steps in (1, 2):
        whole, parts = (
            run_tiny(1, kind=kind, batch_norm=False, steps=steps, microbatches=k) for k in (1, 4)
        )
        np.testing.assert_allclose(parts.losses, whole.losses, rtol=EXACT)
        of_state = (
            [whole.state, parts.state] if steps == 1 else [whole.state.params, parts.state.params]
        )
        for a, b in zip(*map(leaves, of_state), strict=True):
            np.testing.assert_allclose(b, a, rtol=EXACT, atol=EXACT)


@pytest.mark.slow
def test_with_batch_norm_the_same_images_meet_on_any_number_of_devices():
    one, four = (run_tiny(devices, steps=2, microbatches=2) for devices in (1, 4))
    np.testing.assert_allclose(four.losses, one.losses, rtol=2e-5)
    for a, b in zip(leaves(one.state), leaves(four.state), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=2e-5)


@pytest.fixture(scope="module")
def network():
    model = build_model("small_conv", channels=(8,), batch_norm=True, pool="mean", dimension=4)
    variables = model.init(jax.random.key(0), (8, 8, 1))
    images = np.random.default_rng(0).normal(size=(32, 8, 8, 1)).astype(np.float32)
    return model, variables, images


def as_they_are(views):
    return views


def test_each_part_has_its_own_batch_norm_statistics_and_their_mean_is_kept(network):
    """Parts of two views: images 0, 2, 4, ... make the first part, 1, 3, 5, ... the second."""
    model, variables, images = network
    of_image = np.arange(32) // 2
    expected, kept = np.empty((32, 4), np.float32), []
    for part in (0, 1):
        rows = np.flatnonzero(of_image % 2 == part)
        outputs, statistics = model.apply(variables, images[rows], train=True)
        expected[rows] = outputs.projection
        kept.append(statistics)
    mesh = sharding.make_mesh()
    with jax.set_mesh(mesh):
        split = jax.device_put(images.reshape(16, 2, 8, 8, 1), sharding.split(mesh))
        found, statistics = jax.jit(
            lambda v, x: encode(model.apply, v, as_they_are, (x,), mesh, microbatches=2)
        )(sharding.place(variables, mesh), split)
    np.testing.assert_allclose(found, expected, atol=EXACT)
    for now, a, b in zip(*map(leaves, (statistics, *kept)), strict=True):
        np.testing.assert_allclose(now, (a + b) / 2, atol=EXACT)
    whole, _ = model.apply(variables, images, train=True)
    assert np.abs(whole.projection - expected).max() > 1e-3  # it does make a difference


def test_gradients_accumulated_over_parts_would_be_those_of_a_smaller_batch(network):
    """Why the encoder alone goes in parts: the mean of the parts' losses is another loss."""
    images = network[2]
    model = build_model("small_conv", channels=(8,), pool="mean", dimension=4)
    variables = model.init(jax.random.key(0), (8, 8, 1))

    def loss(variables, images):
        z = normalize(model.apply(variables, images, train=True)[0].projection)
        rows = jnp.arange(len(z))
        where = rows[:, None] != rows[None, :]
        return LOSSES["contrastive"](z @ z.T, rows ^ 1, temperature=0.1, where=where).mean()

    whole = leaves(jax.grad(loss)(variables, images))
    naive = leaves(jax.grad(lambda v: (loss(v, images[:16]) + loss(v, images[16:])) / 2)(variables))
    gap = sum(np.square(a - b).sum() for a, b in zip(whole, naive, strict=True))
    assert gap > 0.02**2 * sum(np.square(a).sum() for a in whole)


def test_dealing_and_collecting_give_back_the_rows_in_order():
    mesh = sharding.make_mesh()
    with jax.set_mesh(mesh):
        rows = jax.device_put(np.arange(32, dtype=np.int32), sharding.split(mesh))
        dealt = jax.jit(lambda x: sharding.deal(x, 2, mesh))(rows)
        np.testing.assert_array_equal(np.asarray(dealt)[1, :4], [1, 3, 5, 7])

        def double(part):  # two rows of each, as of two views
            return jnp.stack([2 * part, 2 * part + 1], axis=-1).reshape(2, -1)

        back = jax.jit(lambda x: sharding.collect(double(sharding.deal(x, 2, mesh)), 2, mesh))(rows)
    np.testing.assert_array_equal(back, np.arange(64))


@pytest.mark.parametrize("loop", [False, True])
def test_parts_need_less_memory(loop, monkeypatch):
    """In a loop, as on a TPU or GPU, less than the views of the batch alone: only those of a part are ever there."""
    monkeypatch.setattr(microbatches, "_written_out", lambda mesh: not loop)
    sizes = {}
    model = build_model("small_conv", channels=(8, 8), pool="mean", dimension=8)
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), (32, 32, 3)))
    mesh = sharding.make_mesh(jax.devices()[:1])
    variables = sharding.lay_out(variables, sharding.everywhere(mesh))
    images = jax.ShapeDtypeStruct((256, 32, 32, 3), jnp.uint8, sharding=sharding.split(mesh))

    def views(images):
        first = images.astype(jnp.float32) / 255
        return jnp.stack([first, first[:, :, ::-1]], axis=1)

    with jax.set_mesh(mesh):
        for k in (1, 8):

            def objective(v, x, k=k):
                return (encode(model.apply, v, views, (x,), mesh, microbatches=k)[0] ** 2).mean()

            compiled = jax.jit(jax.grad(objective)).lower(variables, images).compile()
            sizes[k] = compiled.memory_analysis().temp_size_in_bytes
    assert sizes[8] < 0.5 * sizes[1]
    if loop:
        assert sizes[8] < 2 * 4 * images.size
