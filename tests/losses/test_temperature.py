"""Temperatures that change: the cosine schedule, the learned scale, the fixed entropy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcl.losses import (
    clamp_log_scale,
    constant_temperature,
    contrastive,
    cosine_temperature,
    entropy_temperature,
    fixed_entropy,
    log_scale_of_temperature,
    temperature_of_log_scale,
)
from tests.losses.cases import negatives_of, rows


def test_p25_the_cosine_schedule_begins_at_the_maximum_and_has_the_period_of_its_paper():
    schedule = cosine_temperature(minimum=0.1, maximum=1.0, half_period=200)
    epochs = np.arange(1000)
    values = np.asarray(schedule(epochs))
    expected = 0.1 + 0.45 * (1 + np.cos(np.pi * epochs / 200))
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    assert values[0] == pytest.approx(1.0) and values[200] == pytest.approx(0.1)
    np.testing.assert_allclose(values[400:], values[:600], rtol=1e-4)
    assert values.min() >= 0.1 - 1e-6 and values.max() <= 1 + 1e-6


def test_a_schedule_is_traced_with_the_step():
    schedule = cosine_temperature(minimum=0.1, maximum=0.5, half_period=10)
    s = jnp.array([[0.9, 0.1], [0.2, 0.8]])

    @jax.jit
    def loss(step):
        return contrastive(s, jnp.array([0, 1]), temperature=schedule(step))

    for step in (0, 5, 10):
        expected = contrastive(s, jnp.array([0, 1]), temperature=schedule(step))
        np.testing.assert_allclose(loss(step), expected, rtol=1e-6)
    assert constant_temperature(0.2)(jnp.int32(7)) == jnp.float32(0.2)


def test_p24_a_learned_temperature_that_is_frozen_is_a_constant_one():
    s = jnp.array([[0.9, 0.1], [0.2, 0.8]])

    def loss(log_scale):
        temperature = temperature_of_log_scale(log_scale)
        return contrastive(s, jnp.array([0, 1]), temperature=temperature).sum()

    log_scale = log_scale_of_temperature(0.07)
    value, slope = jax.value_and_grad(loss)(log_scale)
    constant = contrastive(s, jnp.array([0, 1]), temperature=0.07).sum()
    np.testing.assert_allclose(value, constant, rtol=1e-5)
    by_temperature = jax.grad(lambda tau: contrastive(s, jnp.array([0, 1]), temperature=tau).sum())(
        0.07
    )
    np.testing.assert_allclose(slope, -0.07 * by_temperature, rtol=1e-4)


def test_the_clamp_bounds_the_parameter_and_not_the_gradient_of_the_loss():
    assert temperature_of_log_scale(clamp_log_scale(jnp.float32(50.0))) == pytest.approx(0.01)
    assert clamp_log_scale(jnp.float32(1.0)) == 1.0
    slope = jax.grad(temperature_of_log_scale)(clamp_log_scale(jnp.float32(50.0)))
    assert slope == pytest.approx(-0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cosine_temperature(minimum=0.0), "minimum 0.0 must be positive and finite"),
        (lambda: cosine_temperature(half_period=0), "half_period 0 must be positive"),
        (lambda: cosine_temperature(minimum=0.5, maximum=0.1), "at least the minimum, 0.5"),
        (lambda: constant_temperature(-1.0), "temperature -1.0 must be positive and finite"),
        (lambda: log_scale_of_temperature(0.0), "temperature 0.0 must be positive and finite"),
        (lambda: clamp_log_scale(jnp.float32(1), 0.5), "maximum_scale 0.5 must be"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("entropy", [0.3, 0.8, None])
def test_penalties_at_the_found_temperature_have_the_entropy_asked_for(entropy):
    s, positives, where = rows(90)
    s = s.astype(np.float32)
    negatives = negatives_of(positives, where)
    tau = np.asarray(entropy_temperature(s, positives, entropy=entropy, where=where))
    mass = np.where(negatives, np.exp((s - s.max()) / tau[:, None].astype(float)), 0)
    r = mass / mass.sum(1, keepdims=True)
    got = -np.sum(r * np.log(np.where(r > 0, r, 1)), axis=1)
    target = np.log(negatives.sum(1)) / 2 if entropy is None else entropy
    reachable = target < np.log(negatives.sum(1)) - 1e-3
    assert reachable.sum() >= 4
    np.testing.assert_allclose(got[reachable], (target * np.ones(8))[reachable], atol=1e-4)
    np.testing.assert_allclose(tau[~reachable], 10, rtol=1e-4)


def test_entropy_out_of_reach_ends_at_the_bounds():
    def at(row, entropy):
        return entropy_temperature(jnp.array([row]), jnp.array([0]), entropy=entropy)[0]

    assert at([0.5, 0.1, -0.3], 5.0) == pytest.approx(10, rel=1e-4)
    assert at([0.5, 0.2, 0.2], 0.1) == pytest.approx(0.001, rel=1e-4)
    assert at([0.5, 0.2, 0.1], 0.0) == pytest.approx(0.001, rel=1e-4)


def test_the_loss_of_fixed_entropy_is_contrastive_at_that_temperature_which_is_held():
    s, positives, where = rows(91)
    s = s.astype(np.float32)
    tau = entropy_temperature(s, positives, entropy=0.7, where=where)

    def of_entropy(s):
        return fixed_entropy(s, positives, entropy=0.7, where=where).sum()

    def at_constant(s):
        return contrastive(s, positives, temperature=tau, where=where).sum()

    for a, b in zip(
        jax.value_and_grad(of_entropy)(s), jax.value_and_grad(at_constant)(s), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
