"""What the papers print, against ``jax.grad`` of the losses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcl.analysis import (
    closed_form,
    coupling,
    embedding_gradients,
    penalty_entropy,
    relative_penalties,
    similarity_gradients,
    temperature_gradients,
)
from jaxcl.losses import LOSSES
from tests.analysis.cases import IS_POSITIVE, POSITIVES, SIMILARITIES, TEMPERATURES, WHERE, N

K = 3
masks = pytest.mark.parametrize("where", [None, WHERE], ids=["all", "masked"])
masked = pytest.mark.parametrize("where", [WHERE], ids=["masked"])
RTOL = 1e-9


@pytest.fixture(autouse=True)
def in_float64():
    with jax.enable_x64(True):
        yield


def over_grid(formula, where, **constants):
    """A closed form at every temperature, stacked."""
    compiled = jax.jit(
        lambda temperature: formula(
            SIMILARITIES, POSITIVES, temperature=temperature, where=where, **constants
        )
    )
    return np.stack([compiled(t) for t in TEMPERATURES])


def by_grad(function, name, where, **constants):
    return np.asarray(
        function(
            LOSSES[name],
            SIMILARITIES,
            POSITIVES,
            temperatures=TEMPERATURES,
            where=where,
            **constants,
        )
    )


@masks
def test_equation_4_is_the_gradient_of_the_contrastive_loss(where):
    found = by_grad(similarity_gradients, "contrastive", where)
    np.testing.assert_allclose(found, over_grid(closed_form.contrastive_gradients, where), RTOL)


@masked
def test_equations_1_and_2_give_the_loss_as_minus_log_probability(where):
    p = over_grid(closed_form.probabilities, where)
    np.testing.assert_allclose(p.sum(axis=-1), 1, RTOL)
    losses = over_grid(LOSSES["contrastive"], where)
    np.testing.assert_allclose(losses, -np.log(p[:, IS_POSITIVE]), 1e-7)


@masks
def test_equation_5_is_the_relative_penalty(where):
    found = by_grad(relative_penalties, "contrastive", where)
    np.testing.assert_allclose(found, over_grid(closed_form.relative_penalties, where), RTOL)
    np.testing.assert_allclose(found.sum(axis=-1), 1, RTOL)


def test_equation_5_does_not_depend_on_the_positive_and_is_a_boltzmann_law():
    moved = np.where(IS_POSITIVE, 0.123, SIMILARITIES)
    r = closed_form.relative_penalties(SIMILARITIES, POSITIVES, temperature=0.2)
    np.testing.assert_allclose(
        closed_form.relative_penalties(moved, POSITIVES, temperature=0.2), r, RTOL
    )
    ratio = r[0, 0] / r[0, 1]
    np.testing.assert_allclose(ratio, np.exp((SIMILARITIES[0, 0] - SIMILARITIES[0, 1]) / 0.2), RTOL)


@masked
def test_the_temperature_gradient_is_that_of_the_contrastive_loss(where):
    found = by_grad(temperature_gradients, "contrastive", where)
    expected = over_grid(closed_form.contrastive_temperature_gradient, where)
    np.testing.assert_allclose(found, expected, RTOL)


@masked
def test_tau_times_the_loss_grows_by_the_entropy_of_the_full_softmax(where):
    """d(tau L)/dtau = L + tau dL/dtau = H(P), in [0, log N]."""
    p = over_grid(closed_form.probabilities, where)
    losses = over_grid(LOSSES["contrastive"], where)
    slopes = losses + TEMPERATURES[:, None] * by_grad(temperature_gradients, "contrastive", where)
    entropy = -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=-1)
    np.testing.assert_allclose(slopes, entropy, 1e-7)
    assert np.all(entropy >= 0) and np.all(entropy <= np.log(p.shape[-1]))


def test_the_hessian_is_that_of_the_contrastive_loss_and_positive_semidefinite():
    def row(similarities, positive):
        return LOSSES["contrastive"](similarities[None], positive[None], temperature=0.2)[0]

    hessian = jax.jit(jax.vmap(jax.hessian(row)))
    found = hessian(jnp.asarray(SIMILARITIES), jnp.asarray(POSITIVES))
    expected = closed_form.contrastive_hessian(SIMILARITIES, POSITIVES, temperature=0.2)
    np.testing.assert_allclose(found, expected, 1e-6, 1e-9)
    np.testing.assert_allclose(np.sum(expected, axis=-1), 0, atol=1e-12)
    assert np.min(np.linalg.eigvalsh(expected)) > -1e-12


@masked
def test_entropy_increases_with_temperature_by_the_variance(where):
    """dH/dtau = Var_r(s) / tau^3, differentiated through the gradient of the loss."""

    def entropy(temperature):
        penalties = relative_penalties(
            LOSSES["contrastive"],
            SIMILARITIES,
            POSITIVES,
            temperatures=temperature[None],
            where=where,
        )
        return penalty_entropy(penalties)[0]

    expected = over_grid(closed_form.entropy_temperature_gradient, where)
    found = jax.jit(jax.vmap(jax.jacfwd(entropy)))(jnp.asarray(TEMPERATURES))
    np.testing.assert_allclose(found, expected, 1e-7)
    assert np.all(expected > 0)


def test_entropy_is_constant_only_when_all_negatives_are_equal_and_has_its_limits():
    equal = np.where(IS_POSITIVE, 0.9, 0.2)
    slope = closed_form.entropy_temperature_gradient(equal, POSITIVES, temperature=0.2)
    np.testing.assert_allclose(slope, 0, atol=1e-12)
    # Two negatives share the maximum of the first row.
    tied = SIMILARITIES.copy()
    tied[0, [0, 1]] = 1.5
    tied[1, 3] = 1.5
    penalties = functools.partial(closed_form.relative_penalties, tied, POSITIVES)
    cold, hot = (penalty_entropy(penalties(temperature=t)) for t in (1e-3, 1e4))
    np.testing.assert_allclose(cold, np.where(np.arange(N) == 0, np.log(2), 0), atol=1e-6)
    np.testing.assert_allclose(hot, np.log(8), rtol=1e-6)


@pytest.mark.parametrize("temperature", [1e-3, 0.07, 1.0, 10.0])
def test_equation_6_is_approached_from_above_within_log_n(temperature):
    loss = LOSSES["contrastive"](SIMILARITIES, POSITIVES, temperature=temperature)
    limit = closed_form.small_temperature_limit(SIMILARITIES, POSITIVES, temperature=temperature)
    excess = np.asarray(loss - limit)
    assert np.all(excess >= -1e-9 * np.abs(limit)) and np.all(excess <= np.log(9) + 1e-9)


@masks
@pytest.mark.parametrize("temperature", [0.5, 5.0, 100.0])
def test_equation_7_is_approached_from_above_within_the_second_order(temperature, where):
    loss = LOSSES["contrastive"](SIMILARITIES, POSITIVES, temperature=temperature, where=where)
    limit = closed_form.large_temperature_limit(
        SIMILARITIES, POSITIVES, temperature=temperature, where=where
    )
    excess = np.asarray(loss - limit)
    assert np.all(excess >= -1e-12) and np.all(excess <= 1 / (2 * temperature**2))


def test_equation_7_is_the_simple_loss():
    """tau (L - log N) -> ((N - 1) / N) L_simple with lambda = 1 / (N - 1)."""
    temperature, n = 1e6, 9
    loss = closed_form.large_temperature_limit(SIMILARITIES, POSITIVES, temperature=temperature)
    simple = LOSSES["simple"](SIMILARITIES, POSITIVES)
    found = temperature * (loss - np.log(n))
    np.testing.assert_allclose(found, (n - 1) / n * simple, rtol=1e-6, atol=1e-8)


@masks
def test_equations_8_and_9_are_the_hard_contrastive_loss(where):
    found = by_grad(relative_penalties, "hard", where, num_negatives=K)
    expected = over_grid(closed_form.hard_relative_penalties, where, num_negatives=K)
    np.testing.assert_allclose(found, expected, RTOL)
    gradients = by_grad(similarity_gradients, "hard", where, num_negatives=K)
    expected = over_grid(closed_form.hard_gradients, where, num_negatives=K)
    np.testing.assert_allclose(gradients, expected, RTOL)
    assert np.all(np.sum(gradients > 0, axis=-1) == K)


@masked
@pytest.mark.parametrize("weight", [None, 0.3])
def test_equation_3_has_constant_gradients(where, weight):
    found = by_grad(similarity_gradients, "simple", where, negative_weight=weight)[0]
    expected = closed_form.simple_gradients(
        SIMILARITIES, POSITIVES, where=where, negative_weight=weight
    )
    np.testing.assert_allclose(found, expected, RTOL)
    hard = by_grad(
        similarity_gradients, "hard_simple", where, negative_weight=weight, num_negatives=K
    )[0]
    expected = closed_form.simple_gradients(
        SIMILARITIES, POSITIVES, where=where, negative_weight=weight, num_negatives=K
    )
    np.testing.assert_allclose(hard, expected, RTOL)


@masked
def test_the_coupling_multiplier_is_what_the_gradient_leaves_of_the_pull(where):
    q = over_grid(closed_form.coupling_multiplier, where)
    np.testing.assert_allclose(by_grad(coupling, "contrastive", where), q, RTOL)
    contrastive = by_grad(similarity_gradients, "contrastive", where)
    decoupled = by_grad(similarity_gradients, "dcl", where)
    np.testing.assert_allclose(contrastive, q[..., None] * decoupled, RTOL)
    np.testing.assert_allclose(decoupled, over_grid(closed_form.dcl_gradients, where), RTOL)


@masked
@pytest.mark.parametrize("name", ["contrastive", "dcl"])
def test_gradients_by_free_vectors_are_as_printed(where, name):
    draw = np.random.default_rng(3)
    anchors, candidates = draw.normal(size=(N, 4)), draw.normal(size=(9, 4))
    found = embedding_gradients(
        LOSSES[name],
        anchors,
        candidates,
        POSITIVES,
        temperatures=[0.5],
        normalize=False,
        where=where,
    )
    expected = closed_form.contrastive_embedding_gradients(
        anchors,
        candidates,
        POSITIVES,
        temperature=0.5,
        where=where,
        decoupled=name == "dcl",
    )
    for by_grad_, printed in zip(found, expected, strict=True):
        np.testing.assert_allclose(by_grad_[0], printed, 1e-7, 1e-12)


def test_the_weights_of_dclw_are_as_printed():
    positives = SIMILARITIES[IS_POSITIVE]
    weights = closed_form.dclw_weights(positives, sigma=0.5)
    mass = np.exp(positives / 0.5)
    np.testing.assert_allclose(weights, 2 - mass / mass.mean(), RTOL)
    np.testing.assert_allclose(np.mean(weights), 1, RTOL)
    found = by_grad(similarity_gradients, "dclw", None, detach_weights=True)
    np.testing.assert_allclose(found[:, IS_POSITIVE], -weights[None] / TEMPERATURES[:, None], RTOL)


def test_a_row_without_negatives_is_finite_in_every_formula():
    lonely = {"where": IS_POSITIVE}
    at = {"temperature": 0.005, **lonely}
    for formula in (
        closed_form.probabilities,
        closed_form.contrastive_gradients,
        closed_form.relative_penalties,
        closed_form.coupling_multiplier,
        closed_form.dcl_gradients,
        closed_form.entropy_temperature_gradient,
        closed_form.small_temperature_limit,
        closed_form.large_temperature_limit,
    ):
        assert np.all(np.isfinite(formula(SIMILARITIES, POSITIVES, **at))), formula.__name__
    simple = closed_form.simple_gradients(SIMILARITIES, POSITIVES, **lonely)
    assert np.all(np.isfinite(simple))
