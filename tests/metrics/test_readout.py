"""The linear readout against scikit-learn's minimum of the same convex objective."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from jaxcl.metrics import Readout, fit_readout, readout_accuracy, readout_logits
from jaxcl.metrics.lbfgs import minimize

N, D, C, L2 = 150, 6, 3, 0.01


def make_data(seed: int = 0):
    """Features of very different scales and offsets, and noisy linear labels."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(N, D)) @ draw.normal(size=(D, D))
    logits = x @ draw.normal(size=(D, C)) / 3 + draw.gumbel(size=(N, C))
    return x * 10.0 ** np.arange(-2, 4) + 3.0, logits.argmax(axis=1)


X, LABELS = make_data()


def objective(weights, bias, x, l2):
    logits = x @ weights + bias
    losses = logsumexp(logits, axis=1) - logits[np.arange(len(x)), LABELS]
    return losses.mean() + 0.5 * l2 * np.sum(weights**2)


def reference(x, l2=L2):
    """scikit-learn's solution, pushed to a gradient of 1e-10."""
    model = LogisticRegression(C=1 / (len(x) * l2), tol=1e-10, max_iter=10_000).fit(x, LABELS)
    return model.coef_.T, model.intercept_


def test_the_standardised_minimum_is_that_of_scikit_learn():
    standardised = StandardScaler().fit_transform(X)
    weights, bias = reference(standardised)
    with jax.enable_x64(True):
        # Blocks of 32 do not divide 150 rows.
        readout = fit_readout(X, LABELS, num_classes=C, l2=L2, tolerance=1e-10, block=32)
        found = np.asarray(readout_logits(readout, X))
    np.testing.assert_allclose(readout.objective, objective(weights, bias, standardised, L2))
    assert float(readout.gradient_norm) <= 1e-10
    # The readout applies to raw features; the free constant of the softmax is taken out.
    logits = standardised @ weights + bias
    np.testing.assert_allclose(
        found - found.mean(1, keepdims=True), logits - logits.mean(1, keepdims=True), atol=1e-6
    )


def test_the_raw_minimum_is_that_of_scikit_learn():
    x = StandardScaler().fit_transform(X) + 0.3
    weights, bias = reference(x)
    with jax.enable_x64(True):
        readout = fit_readout(
            x, LABELS, num_classes=C, l2=L2, standardize=False, tolerance=1e-10, block=N
        )
    np.testing.assert_allclose(readout.objective, objective(weights, bias, x, L2))
    np.testing.assert_allclose(readout.weights, weights, atol=1e-6)


def test_float32_reaches_the_minimum_to_the_stated_gradient():
    readout = fit_readout(X, LABELS, num_classes=C, l2=L2, block=N)
    assert readout.gradient_norm <= 1e-5
    best = objective(
        *reference(StandardScaler().fit_transform(X)), StandardScaler().fit_transform(X), L2
    )
    np.testing.assert_allclose(readout.objective, best, rtol=1e-5)
    predictions = np.asarray(readout_logits(readout, X)).argmax(axis=1)
    np.testing.assert_allclose(
        readout_accuracy(readout, X, LABELS), np.mean(predictions == LABELS), rtol=1e-6
    )


def test_the_default_penalty_is_that_of_scikit_learn():
    given = fit_readout(X, LABELS, num_classes=C, l2=1 / N, block=N)
    default = fit_readout(X, LABELS, num_classes=C, block=N)
    np.testing.assert_array_equal(given.weights, default.weights)


def test_a_grid_of_penalties_is_one_vmap():
    standardised = StandardScaler().fit_transform(X)
    with jax.enable_x64(True):
        fit = jax.vmap(lambda l2: fit_readout(X, LABELS, num_classes=C, l2=l2, tolerance=1e-8))
        grid = fit(jnp.array([L2, 0.1]))
    for l2, found in zip((L2, 0.1), grid.objective, strict=True):
        best = objective(*reference(standardised, l2), standardised, l2)
        np.testing.assert_allclose(found, best, rtol=1e-9)


def test_the_first_step_from_zero_reads_no_memory_that_nobody_wrote():
    """Constant zeros as weights met a fault of XLA's fusions on the CPU: the objective was NaN."""
    x = np.random.default_rng(2).normal(size=(4100, 512)).astype(np.float32)
    labels = np.arange(4100) % 10

    def fit(x, labels):
        return fit_readout(x, labels, num_classes=10, standardize=False, max_steps=1)

    readout = jax.jit(fit)(x, labels)
    assert readout.steps == 1 and readout.objective < np.log(10)


def test_constant_features_and_separable_classes_are_survived():
    x = np.zeros((N, D))
    x[:, 0] = np.linspace(-1, 1, N)
    x[:, 1] = 7.0
    labels = np.arange(N) * C // N
    readout = fit_readout(x, labels, num_classes=C, block=N)
    assert all(np.all(np.isfinite(leaf)) for leaf in readout)
    assert readout_accuracy(readout, x, labels) == 1
    # A constant feature has no slope; the penalty alone, l2 = 1/N, holds it to tolerance / l2.
    np.testing.assert_allclose(readout.weights[1:], 0, atol=1e-5 * N)


def test_a_steep_spectrum_costs_few_steps():
    """The preconditioner is the point: plain L-BFGS needs ten times as many steps here."""
    draw = np.random.default_rng(1)
    basis = np.linalg.qr(draw.normal(size=(64, 64)))[0]
    x = (draw.normal(size=(600, 64)) * 10.0 ** -np.linspace(0, 3, 64)) @ basis
    labels = (x @ basis.T[:, :C] * 3 + draw.gumbel(size=(600, C))).argmax(axis=1)
    with jax.enable_x64(True):
        readout = fit_readout(x, labels, num_classes=C, l2=1e-6, standardize=False, tolerance=1e-7)
    assert float(readout.gradient_norm) <= 1e-7
    assert readout.steps <= 40


def test_minimize_stops_at_its_limit_and_says_where():
    def bowl(x):
        return jnp.sum(jnp.arange(1.0, 5.0) * (x - 1) ** 2), 2 * jnp.arange(1.0, 5.0) * (x - 1)

    search = jax.jit(
        lambda start, tolerance, limit: minimize(bowl, start, tolerance=tolerance, max_steps=limit)
    )
    stopped = search(jnp.zeros(4), 1e-6, 2)
    assert stopped.steps == 2 and jnp.max(jnp.abs(stopped.gradient)) > 1e-6
    done = search(jnp.zeros(4), 1e-6, 50)
    np.testing.assert_allclose(done.point, 1, atol=1e-5)
    # No step descends from a minimum: the search ends instead of running to its limit.
    assert search(done.point, 0.0, 1000).steps < 100


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="class 1 of the 3 has none"):
        fit_readout(X, np.where(LABELS == 1, 0, LABELS), num_classes=3)
    with pytest.raises(ValueError, match="l2 must be at least 0, got -1"):
        fit_readout(X, LABELS, num_classes=C, l2=-1)
    with pytest.raises(ValueError, match="tolerance must be positive"):
        fit_readout(X, LABELS, num_classes=C, tolerance=0)
    with pytest.raises(ValueError, match="NaN or infinity"):
        fit_readout(np.where(X > 10, np.nan, X), LABELS, num_classes=C)
    one = jnp.ones(())
    readout = Readout(jnp.eye(2), jnp.zeros(2), one, one, one)
    with pytest.raises(ValueError, match=r"labels\[0\] is 2"):
        readout_accuracy(readout, np.ones((1, 2)), np.array([2]))
