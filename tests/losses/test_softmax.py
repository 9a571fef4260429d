"""What is known of the softmax family: penalties, invariances, entropy, limits, curvature."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcl.losses import LOSSES, contrastive, coupling, dcl, simple
from tests.losses.cases import SOFTMAX, UNCLAMPED, evaluate64, negatives_of, rows

TEMPERATURE = 0.3
# Losses whose penalties on the negatives that they count are softmax(s / tau).
BOLTZMANN = (*SOFTMAX, "hard", "dcl", "supcon", "dual_temperature", "debiased")
# Losses that a common shift of an anchor's similarities leaves alone.
SHIFT_INVARIANT = {
    *BOLTZMANN,
    "simple",
    "hard_simple",
    "zero_temperature",
    "fixed_entropy",
    "clip",
    "hcl",
    "nce",
}
# Losses that scaling similarities and temperature alike leaves alone.
SCALE_INVARIANT = {*BOLTZMANN, "fixed_entropy", "clip", "hcl", "nce", "sigmoid"}
NON_NEGATIVE = {
    *SOFTMAX,
    "hard",
    "supcon",
    "dual_temperature",
    "debiased",
    "hcl",
    "fixed_entropy",
    "zero_temperature",
    "clip",
    "nce",
    "sigmoid",
    "spring",
    "triplet",
}
# With one candidate in the denominator for each that counts.
NORMALIZED = (*SOFTMAX, "hard", "supcon", "fixed_entropy", "dual_temperature")


def evaluate(name, s, positives, where, temperature=TEMPERATURE):
    return evaluate64(name, s, positives, where, temperature, **UNCLAMPED.get(name, {}))


def softmax_of(logits, where):
    mass = np.where(where, np.exp(logits - logits.max()), 0)
    return mass / mass.sum(1, keepdims=True)


@pytest.mark.parametrize("name", sorted(SHIFT_INVARIANT - {"clip", "nce"}))
def test_p1_attraction_balances_repulsion_in_every_row(name):
    s, positives, where = rows(10)
    _, gradient, _ = evaluate(name, s, positives, where)
    negatives = negatives_of(positives, where)
    attraction = gradient[np.arange(len(s)), positives]
    np.testing.assert_allclose((gradient * negatives).sum(1), -attraction, atol=1e-12)
    assert (attraction <= 0).all()
    # HCL pulls its easiest negatives: it also divides by the mean weight, which they lower.
    assert (gradient[negatives] >= 0).all() == (name != "hcl")


@pytest.mark.parametrize("name", SOFTMAX)
def test_p1_attraction_is_the_probability_of_a_miss_over_tau(name):
    s, positives, where = rows(11)
    _, gradient, _ = evaluate(name, s, positives, where)
    everyone = negatives_of(positives, where)
    everyone[np.arange(len(s)), positives] = True
    hit = softmax_of(s / TEMPERATURE, everyone)[np.arange(len(s)), positives]
    attraction = gradient[np.arange(len(s)), positives]
    np.testing.assert_allclose(attraction, -(1 - hit) / TEMPERATURE, rtol=1e-12)
    assert (gradient[negatives_of(positives, where)] > 0).all()


@pytest.mark.parametrize("name", BOLTZMANN)
def test_p2_relative_penalties_are_a_boltzmann_distribution_over_the_negatives(name):
    s, positives, where = rows(12)
    negatives = negatives_of(positives, where)
    expected = softmax_of(s / TEMPERATURE, negatives)
    for shift in (0.0, -0.3):  # They do not depend on the positive.
        moved = s.copy()
        moved[np.arange(len(s)), positives] += shift
        _, gradient, _ = evaluate(name, moved, positives, where)
        attraction = gradient[np.arange(len(s)), positives]
        relative = np.where(negatives, -gradient / attraction[:, None], 0)
        np.testing.assert_allclose(relative, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", LOSSES)
def test_p3_exactly_the_shift_invariant_losses_ignore_a_common_shift(name):
    s, positives, where = rows(13)
    value, _, _ = evaluate(name, 0.5 * s, positives, where)
    shifted, _, _ = evaluate(name, 0.5 * s + 0.2, positives, where)
    assert np.allclose(value, shifted, rtol=0, atol=1e-12) == (name in SHIFT_INVARIANT)


@pytest.mark.parametrize("name", LOSSES)
def test_p3_exactly_the_scale_invariant_losses_ignore_a_common_scale(name):
    s, positives, where = rows(13)
    value, _, _ = evaluate(name, s, positives, where)
    scaled, _, _ = evaluate(name, 0.5 * s, positives, where, 0.5 * TEMPERATURE)
    # The bisection of fixed entropy is exact to 1e-5 of its temperature.
    tolerance = 1e-4 if name == "fixed_entropy" else 1e-12
    assert np.allclose(value, scaled, rtol=0, atol=tolerance) == (name in SCALE_INVARIANT)


@pytest.mark.parametrize("name", sorted(NON_NEGATIVE))
def test_p3_losses_of_a_probability_or_of_a_hinge_are_not_negative(name):
    for seed in range(3):
        s, positives, where = rows(seed)
        value, _, _ = evaluate(name, s, positives, where)
        assert (value >= 0).all()


@pytest.mark.parametrize("name", [*NORMALIZED, "clip"])
def test_p3_equal_similarities_give_the_logarithm_of_the_number_of_candidates(name):
    _, positives, where = rows(14)
    if name == "clip":
        where = np.ones_like(where)
    candidates = negatives_of(positives, where).sum(1) + 1
    value, _, _ = evaluate(name, np.full(where.shape, 0.4), positives, where)
    np.testing.assert_allclose(value, np.log(candidates), rtol=1e-12)


@pytest.mark.parametrize("name", BOLTZMANN)
def test_p4_the_entropy_of_the_penalties_grows_with_the_temperature(name):
    s, positives, where = rows(15)
    negatives = negatives_of(positives, where)

    def penalties(temperature):
        _, gradient, _ = evaluate(name, s, positives, where, temperature)
        attraction = gradient[np.arange(len(s)), positives]
        return np.where(negatives, -gradient / attraction[:, None], 0)

    def entropy(temperature):
        r = penalties(temperature)
        return -np.sum(np.where(r > 0, r * np.log(np.where(r > 0, r, 1)), 0), axis=1)

    grid = [0.05, 0.1, 0.3, 1.0]
    assert (np.diff([entropy(tau) for tau in grid], axis=0) > 0).all()
    step, tau = 1e-5, 0.3
    slope = (entropy(tau + step) - entropy(tau - step)) / (2 * step)
    r = penalties(tau)
    variance = (r * s**2).sum(1) - (r * s).sum(1) ** 2
    np.testing.assert_allclose(slope, variance / tau**3, rtol=1e-5)
    np.testing.assert_allclose(entropy(1e4), np.log(negatives.sum(1)), rtol=1e-6)


@hypothesis.settings(max_examples=25, deadline=None, derandomize=True)
@hypothesis.given(seed=st.integers(0, 10**6), exponent=st.floats(-2.3, 2.0))
def test_p5_and_p6_bounds_hold_at_every_temperature(seed, exponent):
    s, positives, where = rows(seed)
    tau = 10.0**exponent
    everyone = negatives_of(positives, where)
    everyone[np.arange(len(s)), positives] = True
    size = everyone.sum(1)
    loss, _, _ = evaluate("contrastive", s, positives, where, tau)
    limit, _, _ = evaluate("zero_temperature", s, positives, where)
    rounding = 1e-9 * (1 + tau)
    assert (tau * loss - limit >= -rounding).all()
    assert (tau * loss - limit <= tau * np.log(size) + rounding).all()
    mean = np.mean(s, axis=1, where=everyone)
    linear = np.log(size) - (s[np.arange(len(s)), positives] - mean) / tau
    spread = np.max(s, 1, where=everyone, initial=-2) - np.min(s, 1, where=everyone, initial=2)
    assert (loss - linear >= -1e-9).all()
    assert (loss - linear <= spread**2 / (8 * tau**2) + 1e-9).all()


@pytest.mark.parametrize("name", [*SOFTMAX, "hard", "supcon"])
def test_p5_tau_times_the_loss_becomes_the_zero_temperature_loss(name):
    s, positives, where = rows(16)
    limit, limit_gradient, _ = evaluate("zero_temperature", s, positives, where)
    value, gradient, _ = evaluate(name, s, positives, where, 1e-4)
    np.testing.assert_allclose(1e-4 * value, limit, atol=1e-4 * np.log(8))
    np.testing.assert_allclose(1e-4 * gradient, limit_gradient, atol=1e-9)


def test_p5_penalties_become_uniform_on_the_negatives_that_tie_for_the_nearest():
    s = np.array([[0.1, 0.7, 0.7, 0.2], [0.5, 0.1, 0.3, 0.3]])
    expected = [[-1, 0.5, 0.5, 0], [0, 0, 0, 0]]
    for name, tau in (("contrastive", 1e-3), ("zero_temperature", 1.0)):
        gradient = jax.grad(
            lambda x, name=name, tau=tau: LOSSES[name](x, jnp.array([0, 0]), temperature=tau).sum()
        )(jnp.asarray(s))
        np.testing.assert_allclose(tau * gradient, expected, atol=1e-6)


@pytest.mark.parametrize("name", [*SOFTMAX, "supcon", "hard"])
def test_p6_the_limit_of_high_temperature_is_the_simple_loss(name):
    s, positives, where = rows(17)
    candidates = negatives_of(positives, where).sum(1) + 1
    value, gradient, _ = evaluate(name, s, positives, where, 1e5)
    simple_value, simple_gradient, _ = evaluate("simple", s, positives, where)
    balance = (candidates - 1) / candidates
    np.testing.assert_allclose(
        1e5 * (value - np.log(candidates)), balance * simple_value, atol=1e-4
    )
    np.testing.assert_allclose(1e5 * gradient, balance[:, None] * simple_gradient, atol=1e-4)
    counting, _, _ = evaluate64("simple", s, positives, where, 1.0, count_positive=True)
    np.testing.assert_allclose(counting, balance * simple_value, atol=1e-12)


@pytest.mark.parametrize("name", [*SOFTMAX, "supcon", "hard"])
def test_p7_the_derivative_of_tau_times_the_loss_is_the_entropy_of_the_softmax(name):
    s, positives, where = rows(18)
    everyone = negatives_of(positives, where)
    everyone[np.arange(len(s)), positives] = True
    value, _, by_temperature = evaluate(name, s, positives, where)
    p = softmax_of(s / TEMPERATURE, everyone)
    entropy = -np.sum(np.where(everyone, p * np.log(np.where(everyone, p, 1)), 0), axis=1)
    derivative = value.sum() + TEMPERATURE * by_temperature
    np.testing.assert_allclose(derivative, entropy.sum(), rtol=1e-12)
    assert (0 <= entropy).all() and (entropy <= np.log(everyone.sum(1))).all()
    expected = s[np.arange(len(s)), positives] - (p * s).sum(1)
    np.testing.assert_allclose(by_temperature, expected.sum() / TEMPERATURE**2, rtol=1e-12)


@pytest.mark.parametrize("name", ["contrastive", "dcl"])
def test_p8_the_hessian_is_a_covariance_over_tau_squared(name):
    s = np.random.default_rng(19).uniform(-1, 1, (1, 5))
    with jax.enable_x64(True):
        second = jax.hessian(
            lambda row: LOSSES[name](row[None], jnp.array([2]), temperature=TEMPERATURE)[0]
        )
        hessian = np.asarray(jax.jit(second)(s[0]))
    counted = np.ones((1, 5), bool)
    counted[0, 2] = name == "contrastive"
    p = softmax_of(s / TEMPERATURE, counted)[0]
    np.testing.assert_allclose(hessian, (np.diag(p) - np.outer(p, p)) / TEMPERATURE**2, atol=1e-12)
    np.testing.assert_allclose(hessian.sum(1), 0, atol=1e-12)
    assert np.linalg.eigvalsh(hessian).min() > -1e-12


def test_p21_the_loss_approaches_alignment_and_uniformity_with_many_negatives():
    # Negatives uniform on a few values, repeated: the expectation is known.
    support, positive, tau = np.array([-0.5, 0.0, 0.6]), 0.8, 0.5
    limit = -positive / tau + np.log(np.exp(support / tau).mean())
    errors = []
    for m in (3, 30, 300):
        s = np.append(positive, np.tile(support, m // 3))[None]
        with jax.enable_x64(True):
            loss = np.asarray(contrastive(s, jnp.array([0]), temperature=tau))
        errors.append(loss[0] - np.log(m) - limit)
    # What is left is log(1 + e^{s_pos / tau} / (M E e^{s / tau})), of order 1 / M.
    expected = [np.log1p(np.exp(-limit) / m) for m in (3, 30, 300)]
    np.testing.assert_allclose(errors, expected, rtol=1e-9)


def test_coupling_is_what_parts_the_two_gradients():
    s, positives, where = rows(20)
    q = coupling(s.astype(np.float32), positives, temperature=TEMPERATURE, where=where)
    _, of_contrastive, _ = evaluate("contrastive", s, positives, where)
    _, of_dcl, _ = evaluate("dcl", s, positives, where)
    np.testing.assert_allclose(of_contrastive, np.asarray(q)[:, None] * of_dcl, rtol=1e-5)
    assert coupling(s, positives, temperature=TEMPERATURE, where=np.zeros_like(where)).max() == 0


def test_epsilon_caps_the_loss_of_the_published_code_and_damps_its_gradient():
    s = jnp.array([[-1.0, 1.0]])

    def loss(x, epsilon):
        return contrastive(x, jnp.array([0]), temperature=0.05, epsilon=epsilon)[0]

    assert float(loss(s, 0.0)) == pytest.approx(40)
    assert float(loss(s, 1e-7)) == pytest.approx(-np.log(1e-7 + np.exp(-40)))
    damped, free = (jax.grad(loss)(s, epsilon)[0, 1] for epsilon in (1e-7, 0.0))
    expected = np.exp(-40) / (np.exp(-40) + 1e-7)
    assert float(damped / free) == pytest.approx(expected, rel=1e-4)


def test_the_two_names_are_one_function():
    assert LOSSES["nt_xent"] is contrastive
    assert LOSSES["softmax"] is contrastive
    assert LOSSES["simple"] is simple
    assert LOSSES["dcl"] is dcl
