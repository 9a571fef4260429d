"""Hard sampling: exactly K entries, and what that does to the losses."""

import hypothesis
import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcl.losses import LOSSES, keep_hardest
from tests.losses.cases import UNOPTIMIZED, evaluate64, negatives_of, rows

TEMPERATURE = 0.3


def evaluate(name, s, positives, where, temperature=TEMPERATURE, **constants):
    return evaluate64(name, s, positives, where, temperature, **constants)


def kept_by_sorting(values, where, count):
    """The same choice by a stable sort: larger first, lower column first among equals."""
    kept = np.zeros_like(where)
    for i, k in enumerate(count):
        order = [j for j in np.argsort(-values[i], kind="stable") if where[i, j]]
        kept[i, order[:k]] = True
    return kept


select = jax.jit(keep_hardest, compiler_options=UNOPTIMIZED)


@hypothesis.settings(max_examples=80, deadline=None, derandomize=True)
@hypothesis.given(
    values=arrays.arrays(
        np.float32,
        (3, 9),
        # Few values make many ties; the others are the hard cases of the bit pattern.
        elements=st.sampled_from([-1.0, -0.5, -1e-38, -0.0, 0.0, 1e-38, 0.5, 1.0, 3e38, -3e38])
        | st.floats(-1, 1, width=32),
    ),
    where=arrays.arrays(bool, (3, 9)),
    count=arrays.arrays(np.int32, 3, elements=st.integers(0, 12)),
)
def test_keep_hardest_keeps_what_a_stable_sort_keeps(values, where, count):
    expected = kept_by_sorting(values, where, count)
    np.testing.assert_array_equal(select(values, where, count), expected)
    with jax.enable_x64(True):
        wide = values.astype(np.float64) / 3
        np.testing.assert_array_equal(
            select(wide, where, count), kept_by_sorting(wide, where, count)
        )


def test_keep_hardest_counts_nan_as_the_largest_so_that_it_shows():
    values = np.array([[0.1, np.nan, 0.5, -np.nan, 1.0, np.inf]], np.float32)
    kept = select(values, np.ones((1, 6), bool), np.array([2], np.int32))
    np.testing.assert_array_equal(kept, [[False, True, False, True, False, False]])


def test_keep_hardest_finds_neighbours_in_the_last_bit():
    values = np.nextafter(np.float32(0.3), np.float32(1)) * np.ones((2, 9), np.float32)
    values[:, ::2] = 0.3
    values[:, 8] = -1.0
    kept = select(values, np.ones((2, 9), bool), np.array([4, 5], np.int32))
    expected = np.zeros((2, 9), bool)
    expected[:, 1::2] = True
    expected[1, 0] = True
    np.testing.assert_array_equal(kept, expected)


def test_keep_hardest_takes_both_zeros_for_a_tie():
    values = np.array([[-0.0, 0.0, -1.0], [0.0, -0.0, -1.0]], np.float32)
    kept = select(values, np.ones((2, 3), bool), np.array([1, 1], np.int32))
    np.testing.assert_array_equal(kept, [[True, False, False]] * 2)


@pytest.mark.parametrize("count_positive", [False, True])
@pytest.mark.parametrize("name", ["hard", "hard_simple"])
def test_p9_exactly_k_negatives_have_a_gradient_even_when_all_tie(name, count_positive):
    s = np.zeros((8, 8))
    positives = np.arange(8, dtype=np.int32)
    _, gradient, _ = evaluate(
        name,
        s,
        positives,
        np.ones((8, 8), bool),
        num_negatives=3,
        count_positive=count_positive,
    )
    off = ~np.eye(8, dtype=bool)
    counts = ((gradient != 0) & off).sum(1)
    # The positive's slot may be one of the four that the published code keeps.
    expected = np.where(np.arange(8) < 4, 3, 4) if count_positive else np.full(8, 3)
    np.testing.assert_array_equal(counts, expected)


def test_p9_the_loss_grows_with_k_up_to_the_contrastive_loss():
    s, positives, where = rows(30)
    where = np.ones_like(where)
    values = [evaluate("hard", s, positives, where, num_negatives=k)[0] for k in (1, 3, 7)]
    assert (np.diff(values, axis=0) > 0).all()
    whole, _, _ = evaluate("contrastive", s, positives, where)
    np.testing.assert_allclose(values[-1], whole, rtol=1e-13)
    by_share, _, _ = evaluate("hard", s, positives, where, alpha=1.0)
    np.testing.assert_allclose(by_share, whole, rtol=1e-13)


def test_p9_one_negative_gives_the_softplus_of_the_gap_to_the_nearest():
    s, positives, where = rows(31)
    nearest = np.max(s, axis=1, where=negatives_of(positives, where), initial=-1)
    gap = (nearest - s[np.arange(8), positives]) / TEMPERATURE
    value, _, _ = evaluate("hard", s, positives, where, num_negatives=1)
    np.testing.assert_allclose(value, np.log1p(np.exp(gap)), rtol=1e-12)


def test_p9_penalties_are_balanced_and_boltzmann_on_the_kept_set_and_zero_off_it():
    s, positives, where = rows(32)
    negatives = negatives_of(positives, where)
    kept = kept_by_sorting(s, negatives, np.full(8, 2))
    _, gradient, _ = evaluate("hard", s, positives, where, num_negatives=2)
    mass = np.where(kept, np.exp(s / TEMPERATURE), 0)
    attraction = gradient[np.arange(8), positives]
    np.testing.assert_allclose(
        np.where(negatives, gradient, 0),
        -attraction[:, None] * mass / mass.sum(1, keepdims=True),
        rtol=1e-12,
    )
    assert (gradient[negatives & ~kept] == 0).all()


def test_alpha_is_a_share_of_each_anchors_own_negatives():
    s, positives, where = rows(33)
    where[0] = False
    where[1] = True
    _, gradient, _ = evaluate("hard", s, positives, where, alpha=0.3)
    negatives = negatives_of(positives, where)
    expected = np.maximum(np.round(0.3 * negatives.sum(1)), 1)
    expected[0] = 0
    np.testing.assert_array_equal(((gradient != 0) & negatives).sum(1), expected)


@pytest.mark.parametrize("k", [1, 3])
def test_p10_the_limits_of_the_hard_loss(k):
    s, positives, where = rows(34)
    where = np.ones_like(where)
    cold, _, _ = evaluate("hard", s, positives, where, 1e-4, num_negatives=k)
    limit, _, _ = evaluate("zero_temperature", s, positives, where)
    np.testing.assert_allclose(1e-4 * cold, limit, atol=1e-4 * np.log(k + 1))
    hot, _, _ = evaluate("hard", s, positives, where, 1e5, num_negatives=k)
    linear, _, _ = evaluate("hard_simple", s, positives, where, num_negatives=k)
    np.testing.assert_allclose(1e5 * (hot - np.log(k + 1)), k / (k + 1) * linear, atol=1e-4)


@pytest.mark.parametrize("name", ["simple", "hard_simple"])
def test_p11_the_gradient_is_constant_and_balanced(name):
    s, positives, where = rows(35)
    negatives = negatives_of(positives, where)
    constants = {"num_negatives": 2} if name == "hard_simple" else {}
    kept = kept_by_sorting(s, negatives, np.full(8, 2)) if constants else negatives
    for factor in (1.0, 0.1):
        _, gradient, _ = evaluate(name, factor * s, positives, where, **constants)
        expected = kept / kept.sum(1, keepdims=True)
        expected[np.arange(8), positives] = -1
        np.testing.assert_allclose(gradient, expected, rtol=1e-12)


def test_p11_hard_simple_is_at_least_simple_and_equal_with_all_negatives():
    s, positives, where = rows(36)
    plain, _, _ = evaluate("simple", s, positives, where)
    every, _, _ = evaluate("hard_simple", s, positives, where)
    few, _, _ = evaluate("hard_simple", s, positives, where, num_negatives=2)
    np.testing.assert_allclose(every, plain, rtol=1e-12)
    assert (few >= plain).all() and (few > plain).any()


def test_counting_the_positive_agrees_with_the_paper_where_it_ranks_and_with_dcl_elsewhere():
    s, positives, where = rows(37)
    where = np.ones_like(where)
    s[np.arange(8), positives] -= 0.5
    positive = s[np.arange(8), positives]
    ranked = (s > positive[:, None]).sum(1) <= 3
    assert ranked.any() and not ranked.all()
    coded, _, _ = evaluate("hard", s, positives, where, num_negatives=3, count_positive=True)
    paper, _, _ = evaluate("hard", s, positives, where, num_negatives=3)
    four = kept_by_sorting(s, negatives_of(positives, where), np.full(8, 4))
    decoupled, _, _ = evaluate("dcl", s, positives, four)
    np.testing.assert_allclose(coded, np.where(ranked, paper, decoupled), rtol=1e-12)


@pytest.mark.parametrize("name", ["hard", "hard_simple", "fixed_entropy"])
@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"num_negatives": 0}, "num_negatives 0 must be at least 1 and at most 3"),
        ({"num_negatives": 4}, "num_negatives 4 must be at least 1 and at most 3"),
        ({"alpha": 0.0}, "alpha 0.0 must be a fraction"),
        ({"alpha": 1.5}, "alpha 1.5 must be a fraction"),
        ({"alpha": 0.5, "num_negatives": 2}, "two names of K"),
    ],
)
def test_k_out_of_range_is_refused(name, constants, message):
    with pytest.raises(ValueError, match=message):
        LOSSES[name](jnp.zeros((2, 4)), jnp.array([0, 1]), temperature=0.1, **constants)
