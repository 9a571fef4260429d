"""Gradients of handed-in losses against central differences and the definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcl.analysis import (
    coupling,
    embedding_gradients,
    penalty_entropy,
    relative_penalties,
    similarity_gradients,
    temperature_gradients,
)
from jaxcl.losses import LOSSES, contrastive
from tests.analysis.cases import (
    IS_POSITIVE,
    POSITIVES,
    SIMILARITIES,
    TEMPERATURES,
    WHERE,
    N,
    differences,
)
from tests.analysis.cases import contrastive as oracle


def test_similarity_gradients_are_central_differences():
    with jax.enable_x64(True):
        found = similarity_gradients(
            contrastive, SIMILARITIES, POSITIVES, temperatures=TEMPERATURES, where=WHERE
        )
    for temperature, gradient in zip(TEMPERATURES, found, strict=True):
        expected = differences(lambda s, t=temperature: oracle(s, t, WHERE), SIMILARITIES)
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-9)


def test_temperature_gradients_are_central_differences():
    with jax.enable_x64(True):
        found = temperature_gradients(
            contrastive, SIMILARITIES, POSITIVES, temperatures=TEMPERATURES, where=WHERE
        )
    step = 1e-7
    expected = [
        (oracle(SIMILARITIES, t + step, WHERE) - oracle(SIMILARITIES, t - step, WHERE)) / (2 * step)
        for t in TEMPERATURES
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_grid_of_temperatures_is_one_compilation():
    traces = []

    def counted(similarities, positives, *, temperature, where=None):
        traces.append(temperature)
        return contrastive(similarities, positives, temperature=temperature, where=where)

    for grid in ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]):
        similarity_gradients(counted, SIMILARITIES, POSITIVES, temperatures=grid)
    assert len(traces) == 1


def test_constants_may_be_numbers_or_arrays():
    weights = np.linspace(0.5, 1.5, N)
    with jax.enable_x64(True):
        found = similarity_gradients(
            LOSSES["dclw"],
            SIMILARITIES,
            POSITIVES,
            temperatures=TEMPERATURES,
            weights=jnp.asarray(weights),
        )
        kept = similarity_gradients(
            LOSSES["hard"], SIMILARITIES, POSITIVES, temperatures=TEMPERATURES, num_negatives=3
        )
    expected = np.broadcast_to(-weights / TEMPERATURES[:, None], (3, N))
    np.testing.assert_allclose(np.asarray(found)[:, IS_POSITIVE], expected, rtol=1e-12)
    assert np.all(np.sum(np.asarray(kept) > 0, axis=-1) == 3)


def test_relative_penalties_and_their_entropy_follow_the_definition():
    with jax.enable_x64(True):
        gradients = np.asarray(
            similarity_gradients(contrastive, SIMILARITIES, POSITIVES, temperatures=TEMPERATURES)
        )
        found = np.asarray(
            relative_penalties(contrastive, SIMILARITIES, POSITIVES, temperatures=TEMPERATURES)
        )
        entropy = np.asarray(penalty_entropy(found))
    pull = np.abs(gradients[:, IS_POSITIVE])[..., None]
    np.testing.assert_allclose(found, np.where(IS_POSITIVE, 0, gradients / pull), rtol=1e-12)
    shares = np.where(IS_POSITIVE, 1, found)
    np.testing.assert_allclose(entropy, -np.sum(found * np.log(shares), axis=-1), rtol=1e-10)


def test_entropy_of_unnormalised_penalties_is_that_of_their_shares():
    penalties = np.array([[3.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    found = penalty_entropy(penalties)
    np.testing.assert_allclose(found[0], -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)), rtol=1e-6)
    assert np.isnan(found[1])
    slope = jax.jit(jax.grad(lambda p: penalty_entropy(p)[0]))(penalties)
    assert np.all(np.isfinite(slope[0]))


def test_an_anchor_that_is_not_pulled_has_zero_penalties():
    similarities = np.array([[1.0, -1.0, -0.5]], np.float32)
    found = relative_penalties(
        LOSSES["zero_temperature"], similarities, np.array([0]), temperatures=[1.0]
    )
    np.testing.assert_array_equal(found, np.zeros((1, 1, 3)))


def test_several_positives_add_their_pulls():
    positives = IS_POSITIVE | (np.arange(9)[None] == (POSITIVES[:, None] + 1) % 9)
    with jax.enable_x64(True):
        found = relative_penalties(
            LOSSES["supcon"], SIMILARITIES, positives, temperatures=TEMPERATURES
        )
    found = np.asarray(found)
    assert np.all(found[:, positives] == 0) and np.all(found[:, ~positives] > 0)


def test_the_coupling_of_the_contrastive_loss_is_q_and_of_the_decoupled_one_is_1():
    with jax.enable_x64(True):
        q, one = (
            np.asarray(
                coupling(
                    LOSSES[name], SIMILARITIES, POSITIVES, temperatures=TEMPERATURES, where=WHERE
                )
            )
            for name in ("contrastive", "dcl")
        )
    masses = np.where(WHERE, np.exp(SIMILARITIES / TEMPERATURES[:, None, None]), 0)
    expected = 1 - masses[:, IS_POSITIVE] / masses.sum(axis=-1)
    np.testing.assert_allclose(q, expected, rtol=1e-9)
    np.testing.assert_allclose(one, 1, rtol=1e-12)


@pytest.mark.parametrize("normalize", [False, True])
def test_embedding_gradients_are_central_differences(normalize):
    draw = np.random.default_rng(2)
    anchors, candidates = draw.normal(size=(N, 3)), draw.normal(size=(9, 3))

    def total(anchors, candidates):
        if normalize:
            anchors = anchors / np.linalg.norm(anchors, axis=1, keepdims=True)
            candidates = candidates / np.linalg.norm(candidates, axis=1, keepdims=True)
        return oracle(anchors @ candidates.T, 0.5, WHERE).sum()

    with jax.enable_x64(True):
        found = embedding_gradients(
            contrastive,
            anchors,
            candidates,
            POSITIVES,
            temperatures=[0.5],
            normalize=normalize,
            where=WHERE,
        )
    step = 1e-6
    for which, gradient in enumerate(found):
        point = (anchors, candidates)
        for i, j in np.ndindex(point[which].shape):
            nudge = np.zeros_like(point[which])
            nudge[i, j] = step
            up, down = ([*point], [*point])
            up[which], down[which] = point[which] + nudge, point[which] - nudge
            slope = (total(*up) - total(*down)) / (2 * step)
            np.testing.assert_allclose(gradient[0, i, j], slope, rtol=1e-5, atol=1e-8)
    if normalize:
        radial = np.einsum("nd,nd->n", np.asarray(found.anchors[0]), anchors)
        np.testing.assert_allclose(radial, 0, atol=1e-12)


def test_gradients_run_inside_jit_and_vmap():
    grid = jnp.asarray(TEMPERATURES, jnp.float32)
    similarities = jnp.asarray(SIMILARITIES, jnp.float32)

    def entropy(similarities):
        penalties = relative_penalties(contrastive, similarities, POSITIVES, temperatures=grid)
        return penalty_entropy(penalties)

    batch = jnp.stack([similarities, similarities[:, ::-1]])
    found = jax.jit(jax.vmap(entropy))(batch)
    np.testing.assert_allclose(found[0], entropy(similarities), rtol=1e-5)


def test_mistakes_are_named():
    for bad in ([0.1, 0.0], [-1.0], [np.inf], [np.nan]):
        with pytest.raises(ValueError, match="temperatures must be positive and finite"):
            similarity_gradients(contrastive, SIMILARITIES, POSITIVES, temperatures=bad)
    with pytest.raises(ValueError, match=r"temperatures must be a list \[t\], got shape \(\)"):
        temperature_gradients(contrastive, SIMILARITIES, POSITIVES, temperatures=0.1)
    with pytest.raises(AssertionError, match="rank"):
        similarity_gradients(contrastive, SIMILARITIES[0], POSITIVES, temperatures=[0.1])
