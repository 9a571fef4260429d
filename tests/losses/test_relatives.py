"""The rest of the family: noise-contrastive, margins, debiased, supervised, two-way, and others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcl.losses import (
    LOSSES,
    alignment_uniformity,
    clip,
    nce,
    nce_log_normalizer,
    supcon,
    uniformity_log_potential,
)
from tests.losses.cases import evaluate64, negatives_of, rows

TEMPERATURE = 0.3


def evaluate(name, s, positives, where, temperature=TEMPERATURE, **constants):
    return evaluate64(name, s, positives, where, temperature, **constants)


@pytest.mark.parametrize("m", [7, 127])
def test_p22_nce_of_equal_similarities(m):
    # P = 1 / N, so that both decisions are at even odds of M to one.
    value = nce(jnp.full((2, m + 1), 0.3), jnp.array([0, 1]), temperature=0.1, num_data=100_000)
    expected = np.log(1 + m) + m * np.log(1 + 1 / m)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_the_fixed_normalizer_of_cmc_is_that_of_its_first_batch():
    s, positives, where = rows(51)
    s = s.astype(np.float32)
    shared = {"temperature": TEMPERATURE, "where": where, "num_data": 100}
    log_z = nce_log_normalizer(s, positives, **shared)
    np.testing.assert_allclose(
        nce(s, positives, **shared, log_normalizer=log_z), nce(s, positives, **shared), rtol=1e-6
    )
    counted = negatives_of(positives, where)
    counted[np.arange(8), positives] = True
    assert float(log_z) == pytest.approx(
        np.log(100 * np.exp(s[counted] / TEMPERATURE).mean()), rel=1e-6
    )


@pytest.mark.parametrize("tau", [0.01, 0.3])
def test_p23_hcl_without_beta_is_debiased_and_without_share_contrastive(tau):
    s, positives, where = rows(52)
    for tau_plus in (0.0, 0.1):
        of_hcl = evaluate("hcl", s, positives, where, tau, beta=0.0, tau_plus=tau_plus)
        of_debiased = evaluate("debiased", s, positives, where, tau, tau_plus=tau_plus)
        for a, b in zip(of_hcl, of_debiased, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
    ordinary = evaluate("contrastive", s, positives, where, tau)
    plain = evaluate("debiased", s, positives, where, tau, tau_plus=0.0)
    for a, b in zip(plain, ordinary, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_the_floor_of_the_debiased_mass_holds_the_loss_of_an_easy_anchor():
    # All negatives at -1 and the positive at 1: the mass of the share exceeds the negatives'.
    s = np.full((8, 8), -1.0)
    positives = np.arange(8, dtype=np.int32)
    s[positives, positives] = 1.0
    value, gradient, _ = evaluate("debiased", s, positives, np.ones((8, 8), bool))
    expected = np.log1p(7 * np.exp(-2 / TEMPERATURE))
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    assert (gradient[~np.eye(8, dtype=bool)] == 0).all()


def test_p24_supcon_with_one_positive_is_contrastive_also_where_it_is_nearly_certain():
    s, positives, where = rows(53)
    s[np.arange(8), positives] = 1.0
    s = np.where(negatives_of(positives, where), 0.5 * s, s)
    mask = np.eye(8, dtype=bool)[positives]
    ordinary = evaluate("contrastive", s, positives, where, 0.01)
    for given in (positives, mask):
        one = evaluate("supcon", s, given, where, 0.01)
        for a, b in zip(one, ordinary, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10)
    scaled, _, _ = evaluate("supcon", s, positives, where, 0.01, base_temperature=0.07)
    np.testing.assert_allclose(scaled, ordinary[0] * 0.01 / 0.07, rtol=1e-10)


def test_supcon_does_not_know_the_order_of_its_positives_and_ignores_rows_without():
    s, _, where = rows(54)
    s = s.astype(np.float32)
    positives = np.zeros((8, 8), bool)
    positives[:4, :3] = True
    value = supcon(s, positives, temperature=TEMPERATURE, where=where)
    swapped = s.copy()
    swapped[:, [0, 1]] = s[:, [1, 0]]
    np.testing.assert_allclose(
        supcon(swapped, positives, temperature=TEMPERATURE, where=where | positives)[:4],
        supcon(s, positives, temperature=TEMPERATURE, where=where | positives)[:4],
        rtol=1e-6,
    )
    assert (value[:4] > 0).all() and (value[4:] == 0).all()


def test_p24_dual_temperature_with_ratio_one_is_contrastive():
    s, positives, where = rows(55)
    one = evaluate("dual_temperature", s, positives, where, ratio=1.0)
    ordinary = evaluate("contrastive", s, positives, where)
    for a, b in zip(one, ordinary, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


def test_dual_temperature_puts_q_at_the_second_temperature_before_the_gradient():
    s, positives, where = rows(56)
    _, gradient, _ = evaluate("dual_temperature", s, positives, where, 0.1)
    _, of_dcl, _ = evaluate("dcl", s, positives, where, 0.1)
    of_contrastive, _, _ = evaluate("contrastive", s, positives, where, 1.0)
    q = -np.expm1(-of_contrastive)
    np.testing.assert_allclose(gradient, q[:, None] * of_dcl, rtol=1e-10)


def test_p26_swapping_the_views_leaves_the_two_way_loss_unchanged():
    s, positives, where = rows(57)
    forth, gradient, by_temperature = evaluate("clip", s, positives, where)
    back, turned, same = evaluate("clip", s.T, np.argsort(positives), where.T)
    np.testing.assert_allclose(forth, back[positives], rtol=1e-12)
    np.testing.assert_allclose(gradient, turned.T, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(by_temperature, same, rtol=1e-12)


def test_the_two_way_loss_is_the_mean_of_both_directions():
    s, positives, where = rows(58)
    both, _, _ = evaluate("clip", s, positives, where)
    forth, _, _ = evaluate("contrastive", s, positives, where)
    back, _, _ = evaluate("contrastive", s.T, np.argsort(positives), where.T)
    np.testing.assert_allclose(both.mean(), 0.5 * (forth.mean() + back.mean()), rtol=1e-12)


@pytest.mark.parametrize(
    ("shape", "positives", "temperature", "message"),
    [
        ((2, 3), [0, 1], 0.1, "must be square"),
        ((2, 2), [1, 1], 0.1, "must be a permutation"),
        ((2, 2), [0, 1], jnp.ones(2), "must be a scalar"),
    ],
)
def test_what_the_two_way_loss_refuses(shape, positives, temperature, message):
    with pytest.raises(ValueError, match=message):
        clip(jnp.zeros(shape), jnp.array(positives), temperature=temperature)


def test_margins_release_what_is_beyond_them():
    s, positives, where = rows(59)
    negatives = negatives_of(positives, where)
    distance = np.sqrt(2 - 2 * s)
    _, gradient, _ = evaluate("spring", s, positives, where, margin=1.0)
    np.testing.assert_array_equal(gradient != 0, negatives & (distance < 1) | one_hot(positives))
    _, gradient, _ = evaluate("triplet", s, positives, where, margin=0.2)
    beyond = distance[np.arange(8), positives][:, None] + 0.2 < distance
    np.testing.assert_array_equal(gradient[negatives] != 0, (~beyond)[negatives])


def one_hot(positives):
    return np.eye(8, dtype=bool)[positives]


def test_the_forms_of_the_report_and_of_its_code():
    s, positives, where = rows(60)
    printed, _, _ = evaluate("spring", s, positives, where, form="printed")
    coded, _, _ = evaluate("spring", s, positives, where)
    np.testing.assert_allclose(coded, 2 * printed, rtol=1e-12)
    printed, gradient, _ = evaluate("triplet", s, positives, where, form="printed")
    coded, same, _ = evaluate("triplet", s, positives, where)
    np.testing.assert_allclose(coded, printed + 1, rtol=1e-12)
    np.testing.assert_array_equal(gradient, same)


def test_a_known_log_potential_gives_the_same_mean_and_gradient_row_by_row():
    s = np.random.default_rng(61).uniform(-1, 1, (8, 8)).astype(np.float32)
    positives = np.arange(8, dtype=np.int32) ^ 1
    where = ~np.eye(8, dtype=bool)
    known = uniformity_log_potential(s, positives, where=where)

    def mean(x, **constants):
        return alignment_uniformity(x, positives, where=where, **constants).mean()

    whole, gradient = jax.value_and_grad(mean)(s)
    by_rows, same = jax.value_and_grad(mean)(s, log_potential=known)
    np.testing.assert_allclose(by_rows, whole, rtol=1e-5)
    np.testing.assert_allclose(same, gradient, rtol=1e-4, atol=1e-7)


def test_p27_the_mass_of_negatives_may_be_summed_in_parts():
    s, positives, where = rows(62)
    negatives = negatives_of(positives, where)
    left = where & (np.arange(8) < 4)
    whole, _, _ = evaluate("dcl", s, positives, where, 0.05)
    parts = []
    for mask in (left, where & ~left):
        value, _, _ = evaluate("dcl", s, positives, mask, 0.05)
        parts.append(np.where((mask & negatives).any(1), value, -np.inf))
    np.testing.assert_allclose(np.logaddexp(*parts), whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "constants", "message"),
    [
        ("spring", {"margin": 0}, "margin 0 must be a distance"),
        ("triplet", {"margin": 3}, "margin 3 must be a distance"),
        ("triplet", {"form": "writen"}, "form writen must be 'coded' or 'printed'"),
        ("nce", {"num_data": 0}, "num_data 0 must be at least 1"),
        ("debiased", {"tau_plus": 1.0}, r"tau_plus 1.0 must be in \[0, 1\)"),
        ("hcl", {"beta": -1.0}, "beta -1.0 must be at least 0"),
        ("supcon", {"base_temperature": 0.0}, "base_temperature 0.0 must be positive"),
        ("alignment_uniformity", {"alpha": 0.0}, "alpha 0.0 must be positive"),
        ("alignment_uniformity", {"t": 0.0}, "t 0.0 must be positive"),
        ("spectral", {"mu": 0.0}, "mu 0.0 must be positive"),
        ("dual_temperature", {"ratio": 0.0}, "ratio 0.0 must be positive"),
        ("fixed_entropy", {"entropy": -1.0}, "entropy -1.0 must be at least 0 nats"),
    ],
)
def test_constants_out_of_range_are_refused(name, constants, message):
    with pytest.raises(ValueError, match=message):
        LOSSES[name](jnp.zeros((2, 2)), jnp.array([0, 1]), temperature=0.1, **constants)
