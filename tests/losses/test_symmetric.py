"""Symmetric tiles give NT-Xent and DCL of a two-view batch, to rounding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcl.losses import LOSS_OF_ODDS, LOSSES, symmetric_mean
from tests.losses.cases import UNOPTIMIZED
from tests.losses.embedded import BOUNDS, TEMPERATURES, embeddings, relative_error

NAMES = ["contrastive", "dcl"]


def test_the_losses_of_odds_are_losses():
    assert set(LOSS_OF_ODDS) <= set(LOSSES)
    odds = jnp.asarray([-jnp.inf, -200.0, 0.0, 200.0])
    np.testing.assert_allclose(LOSS_OF_ODDS["contrastive"](odds), [0, 0, np.log(2), 200])
    np.testing.assert_allclose(LOSS_OF_ODDS["dcl"](odds), [0, -200, 0, 200])


@functools.cache
def compiled(name, tile):
    def mean(z, temperature):
        loss = LOSS_OF_ODDS[name]
        return symmetric_mean(z, temperature=temperature, loss_of_odds=loss, tile=tile)

    return jax.jit(jax.value_and_grad(mean, argnums=(0, 1)), compiler_options=UNOPTIMIZED)


@functools.cache
def compiled_densely(name):
    def mean(z, temperature):
        rows = jnp.arange(z.shape[0])
        where = rows[:, None] != rows[None, :]
        return LOSSES[name](z @ z.T, rows ^ 1, temperature=temperature, where=where).mean()

    return jax.jit(jax.value_and_grad(mean, argnums=(0, 1)), compiler_options=UNOPTIMIZED)


def check(name, z, tile, bound):
    """Asserts value and both gradients against the dense form in float64."""
    dtype = jnp.promote_types(z.dtype, jnp.float32)
    for temperature in TEMPERATURES:
        value, gradients = compiled(name, tile)(jnp.asarray(z), jnp.asarray(temperature, dtype))
        assert (value.dtype, gradients[0].dtype) == (dtype, z.dtype)
        with jax.enable_x64(True):
            exact = compiled_densely(name)(z.astype(np.float64), float(temperature))
        for actual, expected in zip((value, *gradients), (exact[0], *exact[1]), strict=True):
            assert relative_error(actual, np.asarray(expected)) <= bound, temperature


# One piece; tiles of less by request, with and without padding; tiles of the least side, 256.
@pytest.mark.parametrize(
    ("name", "size", "tile"),
    [
        ("contrastive", 4, 1024),
        ("contrastive", 46, 46),
        ("dcl", 46, 46),
        ("contrastive", 46, 20),
        ("contrastive", 60, 20),
        ("dcl", 46, 7),
        ("contrastive", 1030, 1024),
    ],
)
def test_it_is_exact_in_float64_at_any_size(name, size, tile):
    with jax.enable_x64(True):
        check(name, embeddings("float64", size), tile, BOUNDS["float64"])


@pytest.mark.parametrize("tile", [20, 46])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", NAMES)
def test_it_is_exact_in_float32_also_of_bfloat16_embeddings(name, dtype, tile):
    check(name, embeddings(dtype, 46), tile, BOUNDS[dtype])


@pytest.mark.parametrize("tile", [4, 64])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_overflows_at_a_very_low_temperature(name, tile):
    opposite = np.asarray([[1.0, 0], [-1, 0], [1, 0], [1, 0], [0, 0], [0, 0]], np.float32)
    for z in (opposite, -opposite, opposite[[0, 2, 3, 0, 2, 3]], opposite[[1, 0, 1, 0, 1, 0]]):
        value, gradients = compiled(name, tile)(z, jnp.float32(0.005))
        assert np.isfinite(value)
        assert all(np.isfinite(x).all() for x in gradients)


@pytest.mark.parametrize("tile", [4, 64])
def test_nan_and_a_traced_temperature_that_is_not_positive_reach_the_loss(tile):
    z = embeddings("float32", 8)
    assert np.isnan(compiled("contrastive", tile)(z, jnp.float32(-0.1))[0])
    z[3] = np.nan
    assert np.isnan(compiled("contrastive", tile)(z, jnp.float32(0.1))[0])


@pytest.mark.parametrize("name", NAMES)
def test_one_pair_has_no_negatives_and_no_loss(name):
    value, gradients = compiled(name, 1024)(embeddings("float32", 2), jnp.float32(0.1))
    assert value == 0
    assert all(not np.any(x) for x in gradients)


def test_the_temperature_alone_can_be_differentiated_and_vmapped():
    z = embeddings("float32", 46)

    def mean(temperature):
        return symmetric_mean(z, temperature=temperature, tile=20)

    grid = jnp.asarray(TEMPERATURES)
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(mean)))(grid)
    for i, temperature in enumerate(grid):
        value, gradients = compiled("contrastive", 20)(z, temperature)
        np.testing.assert_allclose((values[i], slopes[i]), (value, gradients[1]), rtol=1e-5)


@pytest.mark.parametrize("tile", [6, 64])
def test_second_derivatives_are_those_of_the_dense_form(tile):
    def second(mean):
        def slope(z, temperature):
            by_z, by_temperature = jax.grad(mean, argnums=(0, 1))(z, temperature)
            return jnp.sum(by_z**2) + by_temperature

        return jax.jit(jax.grad(slope, argnums=(0, 1)), compiler_options=UNOPTIMIZED)

    def ours(z, temperature):
        return symmetric_mean(z, temperature=temperature, tile=tile)

    def theirs(z, temperature):
        where = ~np.eye(16, dtype=bool)
        positives = np.arange(16) ^ 1
        loss = LOSSES["contrastive"](z @ z.T, positives, temperature=temperature, where=where)
        return loss.mean()

    with jax.enable_x64(True):
        z = embeddings("float64", 16)
        results = second(ours)(z, 0.2), second(theirs)(z, 0.2)
        for actual, exact in zip(*results, strict=True):
            assert relative_error(actual, np.asarray(exact)) <= 1e-11


def test_half_of_the_similarities_are_computed_and_nothing_that_is_not_needed():
    """Products in the program: one to sum; with the gradient, three more of the same size."""
    z = embeddings("float32", 46)

    def count(function, *arguments):
        return str(jax.make_jaxpr(function)(*arguments)).count("dot_general")

    def mean(z, temperature):
        return symmetric_mean(z, temperature=temperature, tile=20)

    assert count(mean, z, 0.1) == 1
    assert count(jax.grad(mean), z, 0.1) == 4
    assert count(jax.grad(mean, argnums=1), z, 0.1) == 1


def test_65536_pairs_take_little_more_than_their_gradient():
    z = jax.ShapeDtypeStruct((131_072, 128), jnp.float32)
    compiled = jax.jit(jax.value_and_grad(symmetric_mean)).lower(z, temperature=0.1).compile()
    assert compiled.memory_analysis().temp_size_in_bytes <= 320 * 2**20


@pytest.mark.parametrize(
    ("z", "options", "error", "message"),
    [
        (np.eye(3, dtype=np.float32), {}, ValueError, "n even"),
        (np.eye(4, dtype=np.int32), {}, TypeError, "embeddings have dtype int32"),
        (np.eye(4, dtype=np.float32), {"tile": 1}, ValueError, "tile 1 must be"),
        (np.eye(4, dtype=np.float32), {"temperature": np.ones(4)}, ValueError, "must be a scalar"),
        (np.eye(4, dtype=np.float32), {"temperature": -1.0}, ValueError, "must be positive"),
    ],
)
def test_a_mistake_is_named(z, options, error, message):
    with pytest.raises(error, match=message):
        symmetric_mean(z, **{"temperature": 0.1, **options})
