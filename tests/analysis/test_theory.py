"""The curves that need no model."""

import numpy as np
import pytest

from jaxcl.analysis import closed_form, coupling_distribution, theory_arrays
from jaxcl.analysis.theory import gap_curves
from jaxcl.losses import LOSSES

GRID = (0.07, 0.3, 1.0)
LINES = {name: LOSSES[name] for name in ("contrastive", "hard", "dcl", "triplet", "debiased")}


@pytest.fixture(scope="module")
def arrays():
    return theory_arrays(GRID, losses=LINES)


def test_all_arrays_are_finite_and_of_the_promised_shapes(arrays):
    k, t = len(arrays["similarity"]), len(GRID)
    lines, g = len(arrays["losses"]), len(arrays["gap"])
    shapes = {
        "relative_penalty": (t, k),
        "temperatures": (t,),
        "entropy": arrays["entropy_temperatures"].shape,
        "loss_values": (lines, g),
        "loss_gradients": (lines, g),
        "coupling_quantiles": (3, 8, 5),
        "coupling_mean": (3, 8),
    }
    for name, shape in shapes.items():
        assert arrays[name].shape == shape, name
        assert np.all(np.isfinite(arrays[name])), name
    assert arrays["losses"].tolist() == list(LINES)


def test_gradient_ratios_are_equation_5(arrays):
    similarities = np.concatenate([[0.0], arrays["similarity"]])[None]
    for temperature, curve in zip(GRID, arrays["relative_penalty"], strict=True):
        expected = closed_form.relative_penalties(
            similarities, np.array([0]), temperature=temperature
        )
        np.testing.assert_allclose(curve, expected[0, 1:], rtol=1e-4, atol=1e-12)


def test_entropy_rises_to_the_logarithm_of_the_number_of_negatives(arrays):
    assert np.all(np.diff(arrays["entropy"]) > 0)
    limit = np.log(len(arrays["similarity"]))
    assert 0 <= arrays["entropy"][0] and 0.99 * limit < arrays["entropy"][-1] <= limit


def test_gradients_are_the_slopes_of_the_values(arrays):
    step = arrays["gap"][1] - arrays["gap"][0]
    values, slopes = arrays["loss_values"], arrays["loss_gradients"]
    trapezoid = (slopes[:, 1:] + slopes[:, :-1]) / 2 * step
    error = np.abs(np.diff(values, axis=1) - trapezoid) / (1 + np.abs(values[:, 1:]))
    # But for the few intervals in which a hinge or a clamp bends.
    assert np.max(np.quantile(error, 0.9, axis=1)) < 1e-3


def test_a_hard_loss_sees_only_its_nearest_negatives():
    losses = {name: LOSSES[name] for name in ("contrastive", "hard")}
    keywords = {"points": 5, "num_negatives": 16}
    curves = gap_curves(losses, constants={"hard": {"num_negatives": 2}}, **keywords)
    assert np.all(curves["loss_values"][1] < curves["loss_values"][0])
    every = gap_curves(losses, constants={"hard": {"num_negatives": 16}}, **keywords)
    np.testing.assert_allclose(every["loss_values"][1], every["loss_values"][0], rtol=1e-5)


def test_coupling_grows_with_the_batch_and_with_the_spread():
    result = coupling_distribution((8, 64, 256), (0.05, 0.2), anchors=64)
    assert np.all(np.diff(result["coupling_mean"], axis=1) > 0)
    assert np.all(result["coupling_mean"][1] > result["coupling_mean"][0])
    assert np.all(np.diff(result["coupling_quantiles"], axis=2) >= 0)
    # Against the formula, from the same draws: an image of a batch of 64 has 126 negatives.
    draws = np.random.default_rng(0).standard_normal((64, 510))[:, :126]
    mass = np.exp(np.clip(0.2 * draws, -1, 1) / 0.1).sum(axis=1)
    expected = np.mean(mass / (mass + np.exp(0.8 / 0.1)))
    np.testing.assert_allclose(result["coupling_mean"][1, 1], expected, rtol=1e-5)
    assert 0 < result["coupling_quantiles"].min() and result["coupling_quantiles"].max() < 1
