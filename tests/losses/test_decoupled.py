"""DCL and DCLW: the multiplier that they remove, their limits and their weights."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcl.losses import contrastive, coupling, dcl, dclw, dclw_weights, normalize
from tests.losses.cases import evaluate64, negatives_of, rows

TEMPERATURE = 0.3


def evaluate(name, s, positives, where, temperature=TEMPERATURE, **constants):
    return evaluate64(name, s, positives, where, temperature, **constants)


@hypothesis.settings(max_examples=25, deadline=None, derandomize=True)
@hypothesis.given(seed=st.integers(0, 10**6), exponent=st.floats(-1.5, 2.0))
def test_p12_the_two_losses_are_functions_of_each_other(seed, exponent):
    s, positives, where = rows(seed)
    tau = 10.0**exponent
    of_contrastive, _, _ = evaluate("contrastive", s, positives, where, tau)
    of_dcl, _, _ = evaluate("dcl", s, positives, where, tau)
    np.testing.assert_allclose(of_contrastive, np.logaddexp(0, of_dcl), rtol=1e-12)
    q = -np.expm1(-of_contrastive)
    np.testing.assert_allclose(q, 1 / (1 + np.exp(-of_dcl)), rtol=1e-9)
    np.testing.assert_allclose(of_dcl, of_contrastive + np.log(q), rtol=1e-9, atol=1e-9)


def test_p13_the_gradient_by_every_embedding_is_q_times_that_of_dcl():
    key = jax.random.key(0)
    views = jax.random.normal(key, (6, 4))
    positives = jnp.arange(6) ^ 1
    where = ~jnp.eye(6, dtype=bool)

    def of(loss, i):
        def value(x):
            z = normalize(x)
            return loss(z @ z.T, positives, temperature=TEMPERATURE, where=where)[i]

        return value

    for i in (0, 3):
        q = of(coupling, i)(views)
        np.testing.assert_allclose(
            jax.jit(jax.grad(of(contrastive, i)))(views),
            q * jax.jit(jax.grad(of(dcl, i)))(views),
            rtol=1e-4,
            atol=1e-7,
        )


@pytest.mark.parametrize("tau", [0.05, 0.3, 2.0])
def test_p14_attraction_is_one_over_tau_and_repulsion_sums_to_it(tau):
    s, positives, where = rows(41)
    _, gradient, _ = evaluate("dcl", s, positives, where, tau)
    np.testing.assert_allclose(gradient[np.arange(8), positives], -1 / tau, rtol=1e-12)
    negatives = negatives_of(positives, where)
    np.testing.assert_allclose((gradient * negatives).sum(1), 1 / tau, rtol=1e-12)


def test_p14_the_bounds_of_the_loss_and_its_value_in_a_collapsed_batch():
    s, positives, where = rows(42)
    where = np.ones_like(where)
    value, _, _ = evaluate("dcl", s, positives, where)
    assert (value >= np.log(7) - 2 / TEMPERATURE).all()
    best = np.full((8, 8), -1.0)
    best[np.arange(8), positives] = 1
    lowest, _, _ = evaluate("dcl", best, positives, where)
    np.testing.assert_allclose(lowest, np.log(7) - 2 / TEMPERATURE, rtol=1e-12)
    collapsed, _, _ = evaluate("dcl", np.ones((8, 8)), positives, where)
    np.testing.assert_allclose(collapsed, np.log(7), rtol=1e-12)
    ordinary, _, _ = evaluate("contrastive", np.ones((8, 8)), positives, where)
    np.testing.assert_allclose(ordinary, np.log(8), rtol=1e-12)


def test_p15_the_limits_of_the_decoupled_loss():
    s, positives, where = rows(43)
    negatives = negatives_of(positives, where)
    count = negatives.sum(1)
    positive = s[np.arange(8), positives]
    cold, _, _ = evaluate("dcl", s, positives, where, 1e-4)
    nearest = np.max(s, axis=1, where=negatives, initial=-1)
    assert (nearest < positive).any()  # No clamp at zero.
    np.testing.assert_allclose(1e-4 * cold, nearest - positive, atol=1e-4 * np.log(8))
    hot, _, _ = evaluate("dcl", s, positives, where, 1e5)
    mean = np.mean(s, axis=1, where=negatives)
    np.testing.assert_allclose(1e5 * (hot - np.log(count)), mean - positive, atol=1e-4)


def test_p16_q_grows_with_negatives_and_falls_with_the_positive():
    s, positives, where = rows(44)
    s = s.astype(np.float32)

    def q(x, mask):
        return coupling(x, positives, temperature=TEMPERATURE, where=mask)

    slope = jax.grad(lambda x: q(x, where).sum())(s)
    assert (np.asarray(slope)[negatives_of(positives, where)] > 0).all()
    assert (np.asarray(slope)[np.arange(8), positives] < 0).all()
    fewer = where & (np.arange(8) < 6)
    lost = (where & ~fewer & negatives_of(positives, where)).any(1)
    assert lost.any()
    assert (q(s, where) > q(s, fewer))[lost].all()


def test_p17_weights_have_mean_one_lie_in_their_bounds_and_favour_hard_positives():
    for sigma in (0.1, 0.5, 3.0):
        positive = np.random.default_rng(45).uniform(-1, 1, 40).astype(np.float32)
        weights = np.asarray(dclw_weights(positive, sigma=sigma))
        assert weights.mean() == pytest.approx(1, abs=1e-5)
        assert weights.max() <= 2
        assert weights.min() >= 2 - np.exp(2 / sigma)
        order = np.argsort(positive)
        assert (np.diff(weights[order]) <= 0).all()


def test_p17_one_easy_positive_among_hard_ones_is_pushed_away():
    positive = np.full(1000, -1, np.float32)
    positive[0] = 1
    weights = dclw_weights(positive)
    expected = 2 - 1000 * np.exp(4) / (np.exp(4) + 999)  # exp(2 / 0.5) against exp(0).
    assert float(weights[0]) == pytest.approx(expected, rel=1e-5)
    assert expected < -49


@pytest.mark.parametrize("case", ["equal positives", "wide sigma"])
def test_p17_dclw_is_dcl_when_the_weights_are_one(case):
    s, positives, where = rows(46)
    s = s.astype(np.float32)
    sigma = 0.5
    if case == "equal positives":
        s[np.arange(8), positives] = 0.4
    else:
        sigma = 1e6
    np.testing.assert_allclose(
        dclw(s, positives, temperature=TEMPERATURE, where=where, sigma=sigma),
        dcl(s, positives, temperature=TEMPERATURE, where=where),
        rtol=1e-5,
        atol=1e-5,
    )


def test_weights_must_be_one_for_each_anchor():
    with pytest.raises(ValueError, match=r"weights have shape \(3,\); they must be \(2,\)"):
        dclw(jnp.zeros((2, 4)), jnp.array([0, 1]), temperature=0.1, weights=jnp.ones(3))


def test_sigma_must_be_positive():
    with pytest.raises(ValueError, match="sigma 0 must be positive"):
        dclw(jnp.zeros((2, 4)), jnp.array([0, 1]), temperature=0.1, sigma=0)
