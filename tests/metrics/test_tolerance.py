"""Tolerance in closed form against all pairs."""

import jax
import numpy as np
import pytest

from jaxcl.metrics import tolerance, tolerance_per_class
from tests.metrics import oracles

N, D, C = 37, 6, 5
X = oracles.sphere(N, D)
LABELS = np.random.default_rng(1).integers(0, C, N)


def test_conditional_tolerance_is_the_mean_cosine_of_same_class_pairs():
    with jax.enable_x64(True):
        found = tolerance(X, LABELS, num_classes=C)
    np.testing.assert_allclose(found, oracles.same_class_cosines(X, LABELS).mean(), rtol=1e-12)


def test_literal_tolerance_is_the_conditional_one_times_the_chance_of_one_class():
    counts = np.bincount(LABELS, minlength=C)
    chance = np.sum(counts * (counts - 1)) / (N * (N - 1))
    with jax.enable_x64(True):
        literal = float(tolerance(X, LABELS, num_classes=C, conditional=False))
        conditional = float(tolerance(X, LABELS, num_classes=C))
    np.testing.assert_allclose(literal, chance * conditional, rtol=1e-12)
    np.testing.assert_allclose(
        literal, oracles.same_class_cosines(X, LABELS).sum() / (N * (N - 1)), rtol=1e-12
    )


def test_tolerance_per_class_is_that_of_each_class_alone():
    found = tolerance_per_class(X, LABELS, num_classes=C)
    for c in range(C):
        mine = LABELS == c
        expected = oracles.same_class_cosines(X[mine], LABELS[mine]).mean()
        np.testing.assert_allclose(found[c], expected, rtol=1e-5, atol=1e-6)


def test_tolerance_of_collapsed_classes_is_one():
    centres = oracles.sphere(C, D, 3)
    np.testing.assert_allclose(tolerance(centres[LABELS], LABELS, num_classes=C), 1, rtol=1e-5)


def test_classes_of_one_or_no_sample_count_for_nothing():
    labels = np.array([0, 0, 0, 1])
    expected = oracles.same_class_cosines(X[:3], labels[:3]).mean()
    np.testing.assert_allclose(tolerance(X[:4], labels, num_classes=3), expected, rtol=1e-5)
    per_class = tolerance_per_class(X[:4], labels, num_classes=3)
    assert np.isnan(per_class).tolist() == [False, True, True]


def test_labels_that_are_all_different_are_refused():
    with pytest.raises(ValueError, match="two samples of one class"):
        tolerance(X, np.arange(N), num_classes=N)
    assert np.isnan(jax.jit(lambda y: tolerance(X, y, num_classes=N))(np.arange(N)))


def test_tolerance_runs_inside_jit():
    found = jax.jit(lambda x, y: tolerance(x, y, num_classes=C))(X, LABELS)
    np.testing.assert_allclose(found, tolerance(X, LABELS, num_classes=C), rtol=1e-6)
