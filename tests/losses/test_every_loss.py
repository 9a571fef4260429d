"""What holds for every loss in LOSSES: a new loss is tested here by being listed there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxcl.losses import (
    DECOUPLED_BY,
    LOSSES,
    ROW_COUPLED,
    TAKES_MASK,
    TEMPERATURE_FREE,
    dclw_weights,
    nce_log_normalizer,
    similarity_matrix,
    uniformity_log_potential,
)
from tests.losses.cases import (
    SIZE,
    UNOPTIMIZED,
    evaluate64,
    negatives_of,
    rows,
    value_and_gradients,
)

TEMPERATURE = 0.3
every_loss = pytest.mark.parametrize("name", LOSSES)
# Rows that break careless code, as (similarity of positives, of negatives).
EXTREMES = {
    "all the same": (1.0, 1.0),
    "zero vectors": (0.0, 0.0),
    "opposite": (-1.0, -1.0),
    "certain": (1.0, -1.0),
    "hopeless": (-1.0, 1.0),
    "beyond one by rounding": (1.0000001, 1.0000001),
}
MASKS = {
    "no negatives at all": np.zeros((SIZE, SIZE), bool),
    "one row without negatives": np.arange(SIZE)[:, None] > np.zeros(SIZE, int),
    "all": np.ones((SIZE, SIZE), bool),
}


def evaluate(name, *arguments, **constants):
    """Value and gradients in float32."""
    s, positives, where, temperature = arguments
    return value_and_gradients(name, **constants)(
        np.asarray(s, np.float32), positives, where, temperature
    )


@every_loss
def test_one_float32_value_for_each_anchor_and_float64_where_given(name):
    loss = LOSSES[name]
    positives = jax.ShapeDtypeStruct((SIZE,), jnp.int32)

    def shape(dtype):
        similarities = jax.ShapeDtypeStruct((SIZE, SIZE), dtype)
        return jax.eval_shape(lambda s, p: loss(s, p, temperature=0.1), similarities, positives)

    for dtype in (jnp.float32, jnp.bfloat16, jnp.float16):
        assert (shape(dtype).shape, shape(dtype).dtype) == ((SIZE,), jnp.float32)
    with jax.enable_x64(True):
        assert shape(jnp.float64).dtype == jnp.float64


@every_loss
@pytest.mark.parametrize("mask", MASKS)
def test_value_and_gradients_are_finite_at_the_extremes(name, mask):
    positives = np.roll(np.arange(SIZE, dtype=np.int32), 1)
    for positive, negative in EXTREMES.values():
        s = np.full((SIZE, SIZE), negative)
        s[np.arange(SIZE), positives] = positive
        for temperature in (0.005, 0.5):
            value, gradient, slope = evaluate(name, s, positives, MASKS[mask], temperature)
            assert np.isfinite(value).all()
            assert np.isfinite(gradient).all()
            assert np.isfinite(slope)


@every_loss
def test_the_gradient_by_a_zero_vector_and_by_duplicates_is_finite(name):
    x = np.random.default_rng(0).normal(size=(SIZE, 4)).astype(np.float32)
    x[2], x[3] = 0, x[1]
    positives, where = np.arange(SIZE, dtype=np.int32) ^ 1, ~np.eye(SIZE, dtype=bool)
    s, pull_back = jax.vjp(lambda x: similarity_matrix(x, x, normalize=True), x)
    for temperature in (0.005, 0.5):
        _, gradient, _ = evaluate(name, s, positives, where, temperature)
        by_vector = np.asarray(pull_back(gradient)[0])
        assert np.isfinite(by_vector).all()
        assert np.abs(by_vector).max() > 0


@every_loss
def test_a_masked_candidate_has_no_influence_and_no_gradient(name):
    s, positives, where = rows(70)
    counted = negatives_of(positives, where)
    counted[np.arange(SIZE), positives] = True
    value, gradient, slope = evaluate(name, s, positives, where, TEMPERATURE)
    moved = np.where(counted, s, np.random.default_rng(71).uniform(-1, 1, s.shape))
    same_value, same_gradient, same_slope = evaluate(name, moved, positives, where, TEMPERATURE)
    np.testing.assert_array_equal(same_value, value)
    np.testing.assert_array_equal(same_gradient, gradient)
    np.testing.assert_array_equal(same_slope, slope)
    assert (gradient[~counted] == 0).all()


@every_loss
def test_the_mask_cannot_exclude_the_positive(name):
    s, positives, where = rows(72)
    without, with_positive = where.copy(), where.copy()
    without[np.arange(SIZE), positives] = False
    with_positive[np.arange(SIZE), positives] = True
    for a, b in zip(
        evaluate(name, s, positives, without, TEMPERATURE),
        evaluate(name, s, positives, with_positive, TEMPERATURE),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


@every_loss
def test_the_order_of_anchors_and_of_candidates_does_not_matter(name):
    s, positives, where = rows(73)
    generator = np.random.default_rng(74)
    anchors, candidates = generator.permutation(SIZE), generator.permutation(SIZE)
    value, gradient, _ = evaluate(name, s, positives, where, TEMPERATURE)
    moved, moved_gradient, _ = evaluate(
        name,
        s[anchors][:, candidates],
        np.argsort(candidates)[positives[anchors]].astype(np.int32),
        where[anchors][:, candidates],
        TEMPERATURE,
    )
    np.testing.assert_allclose(moved, value[anchors], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        moved_gradient, gradient[anchors][:, candidates], rtol=1e-4, atol=1e-5
    )


@every_loss
def test_a_grid_of_temperatures_is_one_vmap(name):
    s, positives, where = (jnp.asarray(x) for x in rows(75))
    grid = np.array([0.05, 0.3, 1.0], np.float32)

    def total(temperature):
        loss = LOSSES[name](s, positives, temperature=temperature, where=where)
        return loss.sum()

    many = jax.jit(jax.vmap(jax.value_and_grad(total)), compiler_options=UNOPTIMIZED)
    values, slopes = many(grid)
    for value, slope, temperature in zip(values, slopes, grid, strict=True):
        one, _, one_slope = evaluate(name, s, positives, where, temperature)
        np.testing.assert_allclose(value, one.sum(), rtol=1e-5)
        np.testing.assert_allclose(slope, one_slope, rtol=1e-4, atol=1e-5)
    assert (np.asarray(slopes) == 0).all() == (name in TEMPERATURE_FREE)


@every_loss
def test_float32_agrees_with_float64_at_every_temperature(name):
    s, positives, where = rows(76)
    nearly = np.where(np.eye(SIZE, dtype=bool)[positives], 0.98, 0.3 * s)
    for similarities in (s, nearly):
        similarities = similarities.astype(np.float32)
        for temperature in np.array([0.5, 0.07, 0.01, 0.005], np.float32):
            got = value_and_gradients(name)(similarities, positives, where, temperature)
            wide = similarities.astype(np.float64)
            exact = evaluate64(name, wide, positives, where, float(temperature))
            for a, b in zip(got, exact, strict=True):
                # Smaller than the smallest float32 is 0.
                assert np.linalg.norm(a - b) <= 1e-5 * np.linalg.norm(b) + 1e-37


# The rows and columns of the two-way loss share one temperature, and so do those of a normalizer.
@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"clip", "nce"}))
def test_a_temperature_for_each_anchor(name):
    s, positives, where = (jnp.asarray(x) for x in rows(77))
    loss = LOSSES[name]
    grid = jnp.where(jnp.arange(SIZE) % 2 == 0, 0.1, 0.7)
    mixed = loss(s, positives, temperature=grid, where=where)
    low, high = (evaluate(name, s, positives, where, tau)[0] for tau in (0.1, 0.7))
    np.testing.assert_allclose(
        mixed, np.where(np.arange(SIZE) % 2 == 0, low, high), rtol=1e-4, atol=1e-5
    )


@every_loss
def test_p27_exactly_the_coupled_losses_look_at_other_anchors_rows(name):
    (s, positives, where), (others, _, _) = rows(78), rows(178)
    first = np.arange(SIZE) < 4
    value, _, _ = evaluate(name, s, positives, where, TEMPERATURE)
    mixed = np.where(first[:, None], s, others)
    same, _, _ = evaluate(name, mixed, positives, where, TEMPERATURE)
    assert np.array_equal(value[first], same[first]) == (name not in ROW_COUPLED)


@pytest.mark.parametrize("name", DECOUPLED_BY)
def test_p27_given_what_they_share_coupled_losses_may_be_evaluated_in_chunks(name):
    s, positives, where = (jnp.asarray(x) for x in rows(79))
    if name == "alignment_uniformity":  # It wants as many negatives for every anchor.
        where = jnp.ones_like(where)
    shared = {
        "dclw": lambda: dclw_weights(jnp.take_along_axis(s, positives[:, None], 1)[:, 0]),
        "nce": lambda: nce_log_normalizer(s, positives, temperature=TEMPERATURE, where=where),
        "alignment_uniformity": lambda: uniformity_log_potential(s, positives, where=where),
    }[name]()
    whole = LOSSES[name](s, positives, temperature=TEMPERATURE, where=where)
    parts = []
    for chunk in (slice(0, 4), slice(4, 8)):
        given = {DECOUPLED_BY[name]: shared[chunk] if shared.ndim else shared}
        parts.append(
            LOSSES[name](
                s[chunk], positives[chunk], temperature=TEMPERATURE, where=where[chunk], **given
            )
        )
    if name == "alignment_uniformity":  # Only the mean is that of the whole.
        parts, whole = [np.mean(parts)], whole.mean()
    np.testing.assert_allclose(np.hstack(parts), whole, rtol=1e-5)


# The columns of the two-way loss are spread over the devices: its similarities must be gathered.
@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"clip"}))
def test_a_sharded_batch_gives_the_same_under_an_explicit_mesh(name):
    s, positives, where = rows(79)
    mesh = jax.make_mesh((8,), ("data",))
    by_rows = NamedSharding(mesh, PartitionSpec("data"))

    def total(s, temperature, positives, where):
        return LOSSES[name](s, positives, temperature=temperature, where=where).sum()

    with jax.set_mesh(mesh):
        placed = [jax.device_put(jnp.asarray(x), by_rows) for x in (s, positives, where)]
        value, gradients = jax.jit(
            jax.value_and_grad(total, argnums=(0, 1)), compiler_options=UNOPTIMIZED
        )(placed[0], 0.3, *placed[1:])
    assert gradients[0].sharding.is_equivalent_to(by_rows, 2)
    expected = evaluate(name, s, positives, where, 0.3)
    np.testing.assert_allclose(value, expected[0].sum(), rtol=1e-5)
    np.testing.assert_allclose(gradients[0], expected[1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradients[1], expected[2], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", sorted(set(LOSSES) - ROW_COUPLED))
def test_rows_may_be_evaluated_inside_shard_map(name):
    s, positives, where = (jnp.asarray(x) for x in rows(80))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    by_rows = PartitionSpec("data")

    def local(s, positives, where, temperature):
        return LOSSES[name](s, positives, temperature=temperature, where=where)

    def total(s, temperature):
        values = jax.shard_map(
            local,
            mesh=mesh,
            in_specs=(by_rows, by_rows, by_rows, PartitionSpec()),
            out_specs=by_rows,
        )(s, positives, where, temperature)
        return values.sum(), values

    (_, value), gradients = jax.jit(
        jax.value_and_grad(total, argnums=(0, 1), has_aux=True), compiler_options=UNOPTIMIZED
    )(s, 0.3)
    for a, b in zip((value, *gradients), evaluate(name, s, positives, where, 0.3), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", sorted(set(LOSSES) - TEMPERATURE_FREE))
def test_a_traced_temperature_that_is_not_positive_gives_nan(name):
    s, positives, where = rows(81)
    for temperature in (0.0, -0.1, np.inf, np.nan):
        value, _, _ = evaluate(name, s, positives, where, temperature)
        assert np.isnan(value).all()


@every_loss
def test_nan_in_a_similarity_that_counts_reaches_the_loss(name):
    s, positives, where = rows(82)
    s[3, positives[3]] = np.nan
    assert np.isnan(evaluate(name, s, positives, where, TEMPERATURE)[0][3])
    s, positives, where = rows(82)
    s[negatives_of(positives, where)] = np.nan
    assert np.isnan(evaluate(name, s, positives, where, TEMPERATURE)[0]).all()


def test_the_lists_name_losses():
    for names in (ROW_COUPLED, TEMPERATURE_FREE, TAKES_MASK, DECOUPLED_BY):
        assert set(names) <= set(LOSSES)
    assert set(DECOUPLED_BY) <= ROW_COUPLED
