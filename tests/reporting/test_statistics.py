"""Small statistics against formulas and against brute force."""

import itertools
import math

import numpy as np
import pytest

from jaxcl.reporting.statistics import bootstrap_interval, permutation_p, spearman, summarize


def test_summary_is_mean_and_sample_deviation_of_the_finite_values() -> None:
    summary = summarize([1.0, math.nan, 4.0])
    assert summary is not None
    assert (summary.mean, summary.n) == (2.5, 2)
    assert summary.std == pytest.approx(3 / math.sqrt(2))


def test_one_seed_has_no_deviation_and_none_has_no_summary() -> None:
    summary = summarize([1.0])
    assert summary is not None
    assert math.isnan(summary.std)
    assert summarize([math.nan]) is None


def test_spearman_without_ties_is_the_textbook_formula() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=9), random.normal(size=9)
    d = np.argsort(np.argsort(x)) - np.argsort(np.argsort(y))
    assert spearman(x, y) == pytest.approx(1 - 6 * (d**2).sum() / (9 * (81 - 1)))


def test_spearman_gives_ties_their_average_rank() -> None:
    x, y = [1, 2, 3, 4], [5, 5, 6, 7]
    ranks = np.corrcoef([1, 2, 3, 4], [1.5, 1.5, 3, 4])[0, 1]
    assert spearman(x, y) == pytest.approx(ranks)


def test_spearman_of_a_constant_is_nan() -> None:
    assert math.isnan(spearman([1, 2, 3], [1, 1, 1]))


@pytest.mark.parametrize("points", [4, 5, 6])
def test_a_perfect_order_has_the_p_value_of_one_ordering(points: int) -> None:
    x = list(range(points))
    assert permutation_p(x, x) == pytest.approx(1 / math.factorial(points))


def test_the_p_value_is_the_share_of_orderings_at_least_as_correlated() -> None:
    x, y = [0.1, 0.2, 0.5, 1.0, 2.0], [3.0, 1.0, 4.0, 2.0, 5.0]
    observed = spearman(x, y)
    shares = [spearman(x, order) >= observed - 1e-9 for order in itertools.permutations(y)]
    assert permutation_p(x, y) == pytest.approx(np.mean(shares))


def test_the_drawn_p_value_is_near_the_exact_one() -> None:
    x = list(range(8))
    y = [0, 2, 1, 3, 5, 4, 7, 6]
    exact = np.mean(
        [
            np.dot(np.subtract(x, 3.5), order) >= np.dot(np.subtract(x, 3.5), y) - 1e-9
            for order in itertools.permutations(range(8))
        ]
    )
    assert permutation_p(x, y) == pytest.approx(exact, abs=5e-4)


def test_the_interval_of_two_seeds_reaches_from_one_to_the_other() -> None:
    assert bootstrap_interval([3.0, 1.0]) == (1.0, 3.0)


def test_the_interval_of_equal_values_is_a_point() -> None:
    assert bootstrap_interval([2.0] * 4) == (2.0, 2.0)


def test_the_interval_of_many_seeds_is_near_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(size=400)
    low, high = bootstrap_interval(list(values))
    half = 1.96 * values.std() / math.sqrt(400)
    assert low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.15 * half)
