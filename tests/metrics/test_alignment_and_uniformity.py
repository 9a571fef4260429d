"""Alignment and uniformity against their definitions, bounds, symmetries and known laws."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcl.metrics import alignment, uniformity, uniformity_per_class
from tests.metrics import oracles

N, D, CHUNK = 37, 6, 16
X = oracles.sphere(N, D, 0)
Y = oracles.sphere(N, D, 1)
LABELS = np.random.default_rng(2).integers(0, 5, N)


def rotation(d: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(3).normal(size=(d, d)))[0]


@pytest.mark.parametrize("alpha", [0.5, 1, 2, 3])
def test_alignment_is_the_mean_power_of_the_distance(alpha):
    expected = np.mean(np.linalg.norm(X - Y, axis=1) ** alpha)
    np.testing.assert_allclose(alignment(X, Y, alpha=alpha), expected, rtol=1e-6)
    assert 0 <= expected <= 2**alpha


def test_alignment_of_squares_is_two_minus_twice_the_mean_cosine():
    np.testing.assert_allclose(alignment(X, Y), 2 - 2 * np.mean(np.sum(X * Y, axis=1)), rtol=1e-6)
    np.testing.assert_allclose(alignment(X, -X), 4, rtol=1e-6)
    np.testing.assert_allclose(alignment(X, -X, alpha=1), 2, rtol=1e-6)
    assert alignment(X, X) == 0


@pytest.mark.parametrize("alpha", [0.5, 1, 2])
def test_alignment_has_a_finite_gradient_where_a_pair_coincides(alpha):
    y = jnp.asarray(Y, jnp.float32).at[0].set(jnp.asarray(X[0], jnp.float32))
    gradient = jax.grad(alignment)(jnp.asarray(X, jnp.float32), y, alpha=alpha)
    assert jnp.all(jnp.isfinite(gradient))
    assert jnp.all(gradient[0] == 0) and jnp.all(jnp.any(gradient[1:] != 0, axis=1))


@pytest.mark.parametrize("statistic", ["U", "V"])
@pytest.mark.parametrize("t", [0.5, 2, 7])
def test_uniformity_is_the_log_mean_over_all_pairs(t, statistic):
    found = uniformity(X, t=t, statistic=statistic, chunk=CHUNK)
    np.testing.assert_allclose(found, oracles.uniformity(X, t, statistic), rtol=1e-5)


def test_uniformity_does_not_depend_on_the_tiles():
    with jax.enable_x64(True):
        values = [uniformity(X, chunk=chunk) for chunk in (5, 64)]
    np.testing.assert_allclose(values, oracles.uniformity(X, 2), rtol=1e-12)


def test_the_v_statistic_adds_the_self_pairs_to_the_u_statistic():
    with jax.enable_x64(True):
        u, v = (uniformity(X, statistic=s, chunk=CHUNK) for s in ("U", "V"))
    np.testing.assert_allclose(np.exp(v), 1 / N + (1 - 1 / N) * np.exp(u), rtol=1e-12)


def test_metrics_are_invariant_to_a_common_rotation():
    q = rotation(D)
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            uniformity(X @ q, chunk=CHUNK), uniformity(X, chunk=CHUNK), rtol=1e-12
        )
        np.testing.assert_allclose(
            alignment(X @ q, Y @ q, alpha=1), alignment(X, Y, alpha=1), rtol=1e-12
        )


def test_uniformity_is_zero_when_collapsed_and_minus_4t_for_two_antipodes():
    collapsed = np.tile(X[:1], (N, 1))
    np.testing.assert_allclose(uniformity(collapsed, chunk=CHUNK), 0, atol=1e-5)
    np.testing.assert_allclose(uniformity(np.stack([X[0], -X[0]]), t=3), -12, rtol=1e-6)


def test_uniformity_of_the_regular_simplex():
    d = 5
    simplex = np.eye(d + 1) - 1 / (d + 1)
    simplex = simplex / np.linalg.norm(simplex, axis=1, keepdims=True)
    # d + 1 points that span d dimensions, pairwise at squared distance 2 (1 + 1/d).
    np.testing.assert_allclose(uniformity(simplex, t=2), -2 * 2 * (1 + 1 / d), rtol=1e-6)


@pytest.mark.parametrize("d", [2, 3, 128])
def test_uniformity_of_the_uniform_law(d):
    """-2t + log 0F1(; d/2; t^2), by its series; the estimate's error is that of the sample."""
    t = 2.0
    series = sum(
        math.exp(
            2 * k * math.log(t) + math.lgamma(d / 2) - math.lgamma(k + 1) - math.lgamma(d / 2 + k)
        )
        for k in range(60)
    )
    law = -2 * t + math.log(series)
    np.testing.assert_allclose(uniformity(oracles.sphere(3000, d, 4), t=t), law, atol=0.02)


def test_uniformity_obeys_jensen():
    mean_square = np.mean(np.sum((X[:, None] - X[None]) ** 2, axis=-1)[np.triu_indices(N, 1)])
    assert uniformity(X, chunk=CHUNK) >= -2 * mean_square


@pytest.mark.parametrize("t", [50.0, 400.0])
def test_uniformity_survives_a_kernel_below_the_smallest_float(t):
    """exp(-t |x - y|^2) underflows for every pair here, and its logarithm would be -inf."""
    points = np.concatenate([np.eye(3), -np.eye(3)])
    np.testing.assert_allclose(uniformity(points, t=t), -2 * t + math.log(12 / 15), rtol=1e-6)


def test_uniformity_sums_many_pairs_without_drift():
    x = np.tile(oracles.sphere(64, 4, 5), (64, 1))
    with jax.enable_x64(True):
        exact = uniformity(x)
    np.testing.assert_allclose(uniformity(x.astype(np.float32)), exact, rtol=2e-6)


def test_the_gradient_of_uniformity_agrees_with_the_dense_form():
    def dense(x):
        squares = jnp.sum((x[:, None] - x[None]) ** 2, axis=-1)
        return jnp.log(jnp.mean(jnp.exp(-2 * squares[np.triu_indices(N, 1)])))

    with jax.enable_x64(True):
        x = jnp.asarray(X)
        expected = jax.jit(jax.grad(dense))(x)
        found = jax.jit(jax.grad(lambda x: uniformity(x, chunk=CHUNK)))(x)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-14)


def test_uniformity_and_its_gradient_never_hold_a_matrix_of_all_pairs():
    n = 16_384
    x = jax.ShapeDtypeStruct((n, 16), jnp.float32)
    for function, inputs in ((uniformity, 3), (jax.grad(uniformity), 6)):
        temporary = jax.jit(function).lower(x).compile().memory_analysis().temp_size_in_bytes
        # A few tiles of 512 x 512, and copies of the input's size; all pairs would be 1 GiB.
        assert temporary < 12 * 512**2 * 4 + inputs * n * 16 * 4


def test_uniformity_per_class_is_that_of_each_class_alone():
    for statistic in ("U", "V"):
        found = uniformity_per_class(X, LABELS, num_classes=5, statistic=statistic, chunk=8)
        expected = [oracles.uniformity(X[LABELS == c], 2, statistic) for c in range(5)]
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_class_without_a_pair_has_no_uniformity():
    labels = np.where(np.arange(N) == 0, 1, 0)
    u = uniformity_per_class(X, labels, num_classes=3, chunk=CHUNK)
    v = uniformity_per_class(X, labels, num_classes=3, statistic="V", chunk=CHUNK)
    assert np.isnan(u).tolist() == [False, True, True]
    assert np.isnan(v).tolist() == [False, False, True]
    assert v[1] == 0


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.floats(0.1, 20), st.sampled_from([0.0, 1.0, 50.0]))
def test_uniformity_lies_between_minus_4t_and_zero(seed, t, pull):
    x = oracles.sphere(N, D, seed) + pull * np.eye(D)[0]
    found = float(uniformity(x, t=t, normalize=True, chunk=CHUNK))
    assert -4 * t <= found <= 1e-5 * t


def test_metrics_run_inside_jit():
    np.testing.assert_allclose(
        jax.jit(lambda x, y: alignment(x, y) + uniformity(x, chunk=CHUNK))(X, Y),
        alignment(X, Y) + uniformity(X, chunk=CHUNK),
        rtol=1e-6,
    )


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_embeddings_are_measured_in_float32(dtype):
    x = jnp.asarray(X, dtype)
    found = uniformity(x, chunk=CHUNK)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, oracles.uniformity(np.asarray(x, np.float64), 2), rtol=1e-5)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="alpha must be positive, got 0"):
        alignment(X, Y, alpha=0)
    with pytest.raises(ValueError, match="pair row by row"):
        alignment(X, Y[:-1])
    with pytest.raises(ValueError, match="t must be positive, got -1"):
        uniformity(X, t=-1)
    with pytest.raises(ValueError, match="statistic must be"):
        uniformity(X, statistic="W")  # pyright: ignore
    with pytest.raises(ValueError, match="needs two embeddings"):
        uniformity(X[:1])
    with pytest.raises(ValueError, match="chunk must be at least 1"):
        uniformity(X, chunk=0)
    assert uniformity(X[:1], statistic="V") == 0
