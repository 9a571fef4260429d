"""Two streams and their banks, and losses whose rows are coupled, on one device and on eight."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcl import sharding
from jaxcl.losses import LOSSES, coupling, normalize
from jaxcl.training import multiplier
from jaxcl.training.candidates import build_candidates
from jaxcl.training.contrast import Contrast
from jaxcl.training.coupled import build_share
from jaxcl.training.multiplier import BINS, multiplier_scalars
from jaxcl.training.step import mean_loss

BATCH, SIZE, DIMENSION, DRAWS = 16, 24, 6, 5
TEMPERATURE = 0.3


@pytest.fixture(scope="module")
def projections() -> np.ndarray:
    x = np.random.default_rng(0).normal(size=(2 * BATCH, DIMENSION)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def build(kind: str):
    return build_candidates(
        kind, batch_size=BATCH, size=SIZE, dimension=DIMENSION, momentum=0.5, draws=DRAWS
    )


def on_mesh(devices: int, function, projections, index, state=(), key: int = 7):
    """``function(mesh, rows, key, state)``, jitted on so many devices."""
    mesh = sharding.make_mesh(jax.devices()[:devices])
    with jax.set_mesh(mesh):
        rows = sharding.global_batch({"x": projections, "index": index}, mesh)
        state = sharding.place(state, mesh)
        keys = sharding.place(jax.random.key(key), mesh)
        return jax.device_get(jax.jit(partial(function, mesh))(rows, keys, state))


COUPLED = {
    "dclw": {"sigma": 0.4},
    "nce": {"num_data": 1000, "epsilon": 1e-7},
    "alignment_uniformity": {},
}


@pytest.mark.parametrize("name", ["softmax", "spring", "triplet", "nce", "dclw"])
@pytest.mark.parametrize("devices", [1, 8])
def test_streams_are_each_compared_with_the_other_stream_only(projections, name, devices):
    constants = COUPLED.get(name, {})
    loss = partial(LOSSES[name], **constants)
    source, share = build("streams"), build_share(name, constants)

    def step(mesh, rows, key, state):
        def objective(x):
            contrasts = source.contrast(key, x, rows["index"], state)
            values = [
                mean_loss(loss, c, jnp.float32(TEMPERATURE), mesh, kept)
                for c in contrasts
                for kept in [share(c, jnp.float32(TEMPERATURE), mesh) if share else {}]
            ]
            return sum(values) / len(values)

        return jax.value_and_grad(objective)(rows["x"])

    index = np.arange(BATCH, dtype=np.int32)
    value, gradient = on_mesh(devices, step, projections, index)
    expected, by_row = jax.value_and_grad(
        lambda x: (
            sum(
                loss(u @ v.T, jnp.arange(BATCH), temperature=TEMPERATURE).mean()
                for u, v in ((x[::2], x[1::2]), (x[1::2], x[::2]))
            )
            / 2
        )
    )(jnp.asarray(projections))
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, by_row, atol=2e-6)


@pytest.mark.parametrize("name", sorted(COUPLED))
def test_a_coupled_loss_is_that_of_all_rows_on_any_number_of_devices(projections, name):
    loss, share = partial(LOSSES[name], **COUPLED[name]), build_share(name, COUPLED[name])
    source = build("batch")

    def step(mesh, rows, key, state):
        def objective(x):
            (contrast,) = source.contrast(key, x, rows["index"], state)
            tau = jnp.float32(TEMPERATURE)
            return mean_loss(loss, contrast, tau, mesh, share(contrast, tau, mesh))

        return jax.value_and_grad(objective)(rows["x"])

    def dense(x):
        rows = jnp.arange(2 * BATCH)
        where = rows[:, None] != rows[None, :]
        return loss(x @ x.T, rows ^ 1, temperature=TEMPERATURE, where=where).mean()

    expected, by_row = jax.value_and_grad(dense)(jnp.asarray(projections))
    index = np.arange(2 * BATCH, dtype=np.int32)
    for devices in (1, 8):
        value, gradient = on_mesh(devices, step, projections, index)
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        np.testing.assert_allclose(gradient, by_row, atol=2e-6)


@pytest.mark.parametrize("name", sorted(COUPLED))
def test_a_coupled_loss_that_is_streamed_has_the_numbers_of_the_dense_one(
    projections, name, monkeypatch
):
    loss, share = partial(LOSSES[name], **COUPLED[name]), build_share(name, COUPLED[name])
    source = build("batch")

    def step(mesh, rows, key, state):
        def objective(x):
            (contrast,) = source.contrast(key, x, rows["index"], state)
            tau = jnp.float32(TEMPERATURE)
            return mean_loss(loss, contrast, tau, mesh, share(contrast, tau, mesh))

        return jax.value_and_grad(objective)(rows["x"])

    index = np.arange(2 * BATCH, dtype=np.int32)
    dense = on_mesh(2, step, projections, index)
    for module in ("coupled", "step"):
        monkeypatch.setattr(f"jaxcl.training.{module}.choose_evaluation", lambda n, m: "streamed")
    monkeypatch.setattr("jaxcl.training.coupled.CHUNK", 6)  # 16 rows of a device: four parts of 4
    streamed = on_mesh(2, step, projections, index)
    for a, b in zip(streamed, dense, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6)


def test_a_loss_that_couples_columns_is_refused():
    with pytest.raises(ValueError, match="'clip' couples anchors by their columns"):
        build_share("clip", {})


def drawn_columns(devices, projections, index, key=7):
    source = build("stream_banks")
    banks = source.init(jax.random.key(3))

    def step(mesh, rows, key, banks):
        contrasts = source.contrast(key, rows["x"], rows["index"], banks)
        loss = [mean_loss(LOSSES["softmax"], c, jnp.float32(TEMPERATURE), mesh) for c in contrasts]
        return [(c.drawn, c.positives) for c in contrasts], loss

    drawn, losses = on_mesh(devices, step, projections, index, banks, key)
    return drawn, losses, jax.device_get(banks)


def test_anchors_meet_their_own_slot_first_and_then_slots_of_the_other_bank(projections):
    index = np.random.default_rng(1).permutation(SIZE)[:BATCH].astype(np.int32)
    drawn, losses, banks = drawn_columns(1, projections, index)
    for stream, ((columns, positives), loss) in enumerate(zip(drawn, losses, strict=True)):
        assert columns.shape == (BATCH, 1 + DRAWS)
        np.testing.assert_array_equal(columns[:, 0], index)
        np.testing.assert_array_equal(positives, 0)
        assert columns.min() >= 0 and columns.max() < SIZE
        anchors, slots = projections[stream::2], np.asarray(banks[1 - stream])[columns]
        logits = np.einsum("nd,nkd->nk", anchors, slots).astype(np.float64) / TEMPERATURE
        expected = np.log(np.exp(logits).sum(1)) - logits[:, 0]
        np.testing.assert_allclose(loss, expected.mean(), rtol=1e-5)
    assert not np.array_equal(drawn[0][0][:, 1:], drawn[1][0][:, 1:])


def test_draws_depend_on_key_and_image_and_not_on_devices_or_the_batch(projections):
    index = np.arange(BATCH, dtype=np.int32)
    one, losses, _ = drawn_columns(1, projections, index)
    eight, also, _ = drawn_columns(8, projections, index)
    np.testing.assert_allclose(also, losses, rtol=1e-5)
    turned, _, _ = drawn_columns(1, projections, index[::-1].copy())
    other, _, _ = drawn_columns(1, projections, index, key=8)
    for stream in (0, 1):
        np.testing.assert_array_equal(one[stream][0], eight[stream][0])
        np.testing.assert_array_equal(one[stream][0], turned[stream][0][::-1])
        assert not np.array_equal(one[stream][0][:, 1:], other[stream][0][:, 1:])


def test_draws_are_uniform_over_all_slots():
    source = build_candidates(
        "stream_banks", batch_size=64, size=10, dimension=2, momentum=0.5, draws=400
    )
    banks = source.init(jax.random.key(0))
    contrasts = source.contrast(
        jax.random.key(1), jnp.ones((128, 2)), jnp.zeros(64, jnp.int32), banks
    )
    drawn = np.asarray(contrasts[0].drawn[0, 1:])
    counts = np.bincount(drawn, minlength=10)
    # 400 draws of 10 slots: 40 each, standard deviation 6.
    assert counts.min() > 40 - 4 * 6 and counts.max() < 40 + 4 * 6


def test_each_bank_moves_towards_its_own_stream(projections):
    source = build("stream_banks")
    banks = source.init(jax.random.key(3))
    index = np.arange(BATCH, dtype=np.int32)[::-1].copy()

    def update(mesh, rows, key, banks):
        return source.update(rows["x"], rows["index"], banks)

    after = on_mesh(8, update, projections, index, banks)
    for stream in (0, 1):
        before, now = np.asarray(banks[stream]), np.asarray(after[stream])
        slots = 0.5 * before[index] + 0.5 * projections[stream::2]
        slots /= np.linalg.norm(slots, axis=1, keepdims=True)
        np.testing.assert_allclose(now[index], slots, rtol=1e-5, atol=1e-6)
        rest = np.setdiff1d(np.arange(SIZE), index)
        np.testing.assert_array_equal(now[rest], before[rest])


def test_banks_can_be_filled_with_the_projections_of_the_training_set():
    x = np.random.default_rng(2).normal(size=(2 * SIZE, DIMENSION)).astype(np.float32)
    first, second = build("stream_banks").fill(jnp.asarray(x))
    np.testing.assert_allclose(first, normalize(jnp.asarray(x[::2])), rtol=1e-6)
    np.testing.assert_allclose(second, normalize(jnp.asarray(x[1::2])), rtol=1e-6)


@pytest.mark.parametrize("evaluation", ["dense", "streamed"])
def test_the_logged_multiplier_is_that_of_all_anchors(evaluation, projections, monkeypatch):
    monkeypatch.setattr(multiplier, "choose_evaluation", lambda n, m: evaluation)
    source = build("batch")

    def step(mesh, rows, key, state):
        contrasts = source.contrast(key, rows["x"], rows["index"], state)
        return multiplier_scalars(contrasts, jnp.float32(TEMPERATURE), mesh)

    rows = np.arange(2 * BATCH)
    q = coupling(
        jnp.asarray(projections @ projections.T),
        jnp.asarray(rows ^ 1),
        temperature=TEMPERATURE,
        where=jnp.asarray(rows[:, None] != rows[None, :]),
    )
    histogram = np.histogram(np.asarray(q), bins=BINS, range=(0, 1))[0] / len(q)
    for devices in (1, 8):
        found = on_mesh(devices, step, projections, np.arange(2 * BATCH, dtype=np.int32))
        np.testing.assert_allclose(found["multiplier_mean"], np.mean(q), rtol=1e-5)
        np.testing.assert_allclose(found["multiplier_low"], np.mean(np.asarray(q) < 0.1), rtol=1e-6)
        np.testing.assert_allclose(found["multiplier_histogram"], histogram, atol=1e-6)


def test_a_contrast_needs_no_more_than_anchors_candidates_and_positives():
    contrast = Contrast(jnp.ones((2, 3)), jnp.ones((2, 3)), jnp.arange(2))
    assert contrast.exclude is None and contrast.drawn is None and not contrast.everywhere


def test_unknown_kinds_and_no_draws_are_refused():
    with pytest.raises(ValueError, match="unknown candidates.kind 'bank'; there are: batch"):
        build("bank")
    with pytest.raises(ValueError, match="candidates.draws must be at least 1, got 0"):
        build_candidates("stream_banks", batch_size=2, size=4, dimension=2, draws=0)
