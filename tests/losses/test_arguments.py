"""Bad input is refused before anything is computed, with the value, the rule and the remedy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcl.losses import (
    LOSSES,
    TAKES_MASK,
    interleaved_positives,
    normalize,
    not_self,
    same_label,
    shorten,
    similarity_matrix,
)

SIMILARITIES = jnp.zeros((4, 4))
POSITIVES = jnp.arange(4) ^ 1
every_loss = pytest.mark.parametrize("name", LOSSES)


def call(name, similarities=SIMILARITIES, positives=POSITIVES, temperature=0.1, **keywords):
    return LOSSES[name](similarities, positives, temperature=temperature, **keywords)


@every_loss
@pytest.mark.parametrize("temperature", [0.0, -0.1, np.nan, np.inf, jnp.float32(-1)])
def test_a_temperature_that_is_not_positive_and_finite(name, temperature):
    with pytest.raises(ValueError, match=r"temperature .* must be positive and finite"):
        call(name, temperature=temperature)


@every_loss
def test_temperatures_of_another_length(name):
    with pytest.raises(ValueError, match=r"temperature has shape \(3,\)"):
        call(name, temperature=jnp.ones(3))


@every_loss
def test_integer_similarities(name):
    with pytest.raises(TypeError, match="similarities have dtype int32; .*astype"):
        call(name, similarities=jnp.zeros((4, 4), jnp.int32))


@every_loss
def test_similarities_that_are_no_matrix(name):
    with pytest.raises(ValueError, match=r"similarities have shape \(4,\); they must be \[n, m\]"):
        call(name, similarities=jnp.zeros(4))


@every_loss
def test_positives_of_another_length(name):
    with pytest.raises(ValueError, match=r"positives have shape \(3,\); they must be \(4,\)"):
        call(name, positives=jnp.arange(3))


@every_loss
@pytest.mark.parametrize("positives", [[0, 1, 2, 4], [-1, 0, 1, 2]])
def test_positives_that_are_no_columns(name, positives):
    with pytest.raises(ValueError, match=r"must be columns of similarities \(4, 4\), in \[0, 3\]"):
        call(name, positives=jnp.array(positives))


@every_loss
def test_positives_that_are_not_integers(name):
    with pytest.raises(TypeError, match="positives have dtype float32"):
        call(name, positives=jnp.zeros(4))


@every_loss
def test_a_mask_of_positives_only_where_several_are_possible(name):
    mask = jnp.eye(4, dtype=bool)
    if name in TAKES_MASK:
        assert call(name, positives=mask).shape == (4,)
        with pytest.raises(ValueError, match=r"a mask of shape \(4, 3\); it must have the shape"):
            call(name, positives=mask[:, :3])
    else:
        with pytest.raises(ValueError, match=r"one positive an anchor.*supcon and sigmoid"):
            call(name, positives=mask)


@every_loss
def test_a_mask_of_another_shape_or_dtype(name):
    with pytest.raises(ValueError, match=r"where has shape \(4, 1\); it must have the shape of"):
        call(name, where=jnp.ones((4, 1), bool))
    with pytest.raises(TypeError, match="where has dtype float32; it must be bool"):
        call(name, where=jnp.ones((4, 4)))


@pytest.mark.parametrize("name", sorted(set(LOSSES) - TAKES_MASK - {"clip"}))
def test_a_traced_positive_that_is_no_column_gives_nan(name):
    loss = jax.jit(LOSSES[name])
    value = loss(SIMILARITIES, jnp.array([0, 1, 2, 4]), temperature=0.1)
    assert np.isnan(value[3])


def test_interleaved_positives_need_two_views():
    for n in (0, 3):
        with pytest.raises(ValueError, match=f"n {n} must be even and at least 2"):
            interleaved_positives(n)
    positives, where = interleaved_positives(6), not_self(6)
    np.testing.assert_array_equal(positives[positives], np.arange(6))
    assert not where.diagonal().any() and where.sum() == 30


def test_labels_must_be_one_dimensional_integers():
    with pytest.raises(ValueError, match=r"anchor_labels have shape \(2, 1\)"):
        same_label(jnp.zeros((2, 1), int), jnp.zeros(3, int))
    with pytest.raises(TypeError, match="candidate_labels have dtype float32"):
        same_label(jnp.zeros(2, int), jnp.zeros(3))


def test_dropping_false_negatives_by_label_is_a_mask():
    labels = jnp.array([0, 0, 1, 1])
    s = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (4, 4)), jnp.float32)
    loss = call("contrastive", s, where=~same_label(labels, labels))
    others = np.asarray(s)[0, 2:]
    gap = (others - float(s[0, 1])) / 0.1
    assert float(loss[0]) == pytest.approx(np.log1p(np.exp(gap).sum()), rel=1e-5)


def test_embeddings_must_be_floating_and_match():
    with pytest.raises(TypeError, match="embeddings have dtype int32"):
        normalize(jnp.ones((2, 3), int))
    with pytest.raises(ValueError, match=r"anchors have shape \(2, 3\) and candidates \(2, 4\)"):
        similarity_matrix(jnp.ones((2, 3)), jnp.ones((2, 4)), normalize=True)
    with pytest.raises(TypeError, match="normalize"):
        similarity_matrix(jnp.ones((2, 3)), jnp.ones((2, 3)))  # pyright: ignore
    with pytest.raises(ValueError, match="mu 0 must be positive"):
        shorten(jnp.ones((2, 3)), mu=0)


def test_normalize_keeps_zero_with_a_finite_gradient_in_float32():
    x = jnp.array([[0.0, 0.0], [3.0, 4.0], [1e-30, 0.0]], jnp.bfloat16)
    value, gradient = jax.value_and_grad(lambda x: normalize(x)[:, 0].sum())(x)
    assert normalize(x).dtype == jnp.float32
    assert np.isfinite(value) and np.isfinite(np.asarray(gradient, np.float32)).all()
    np.testing.assert_allclose(normalize(x)[:2], [[0, 0], [0.6, 0.8]], rtol=1e-6)


def test_similarities_of_low_precision_embeddings_are_accumulated_in_float32():
    x = jax.random.normal(jax.random.key(0), (5, 256))
    low = normalize(x).astype(jnp.bfloat16)
    got = similarity_matrix(low, low, normalize=False)
    exact = np.asarray(low, np.float64) @ np.asarray(low, np.float64).T
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, exact, atol=1e-6)


def test_shorten_bounds_the_length_and_leaves_the_short():
    x = jnp.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    value = shorten(x, mu=4.0)
    np.testing.assert_allclose(jnp.linalg.norm(value, axis=1), [2, 0.5, 0], rtol=1e-6)
    gradient = jax.grad(lambda x: shorten(x, mu=4.0).sum())(x)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[1:], 1)
