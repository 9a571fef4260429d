"""The decision about the unit sphere, and what every metric refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcl.metrics import (
    alignment,
    effective_rank,
    fit_readout,
    knn_accuracy,
    local_separation,
    tolerance,
    tolerance_per_class,
    uniformity,
    uniformity_per_class,
)
from tests.metrics import oracles

X = oracles.sphere(12, 4)
LABELS = np.arange(12) % 3

ON_SPHERE = {
    "alignment": lambda x, **k: alignment(x, x[::-1], **k),
    "uniformity": uniformity,
    "uniformity_per_class": lambda x, **k: uniformity_per_class(x, LABELS, num_classes=3, **k),
    "tolerance": lambda x, **k: tolerance(x, LABELS, num_classes=3, **k),
    "tolerance_per_class": lambda x, **k: tolerance_per_class(x, LABELS, num_classes=3, **k),
    "local_separation": lambda x, **k: local_separation(x, x[::-1], x, k=2, **k)[1],
}


@pytest.mark.parametrize("name", ON_SPHERE)
def test_embeddings_off_the_sphere_are_refused_unless_a_decision_is_made(name):
    metric = ON_SPHERE[name]
    long = X * np.where(np.arange(12) == 7, 3.0, 1.0)[:, None]
    with pytest.raises(ValueError, match="row 7 has norm 3; pass normalize=True"):
        metric(long)
    np.testing.assert_allclose(metric(long, normalize=True), metric(X), rtol=1e-5)
    assert not np.allclose(metric(long, normalize=False), metric(X), equal_nan=True)


@pytest.mark.parametrize("name", ON_SPHERE)
def test_zero_vectors_give_finite_values_and_gradients(name):
    x = jnp.asarray(X, jnp.float32).at[3].set(0.0).at[4].set(X[5].astype(np.float32))

    def total(x):
        return jnp.sum(ON_SPHERE[name](x, normalize=True))

    value, gradient = jax.value_and_grad(total)(x)
    assert jnp.isfinite(value) and jnp.all(jnp.isfinite(gradient))
    with pytest.raises(ValueError, match="row 3 has norm 0"):
        ON_SPHERE[name](x)


@pytest.mark.parametrize("name", ON_SPHERE)
def test_integers_vectors_and_nan_are_refused(name):
    metric = ON_SPHERE[name]
    with pytest.raises(TypeError, match="must be floating, got int"):
        metric(np.ones((12, 4), int))
    with pytest.raises(AssertionError, match="rank"):
        metric(X[:, :, None])
    with pytest.raises(ValueError, match="row 2 has norm nan"):
        metric(np.where(np.arange(12)[:, None] == 2, np.nan, X))


@pytest.mark.parametrize(
    "metric",
    [
        lambda y, c: tolerance(X, y, num_classes=c),
        lambda y, c: uniformity_per_class(X, y, num_classes=c),
        lambda y, c: knn_accuracy(X, y, X, y, num_classes=c),
        lambda y, c: fit_readout(X, y, num_classes=c),
    ],
)
def test_labels_that_do_not_fit_are_refused(metric):
    with pytest.raises(ValueError, match=r"num_classes=2\), but \w+\[2\] is 2"):
        metric(LABELS, 2)
    with pytest.raises(ValueError, match="one label for each of the 12 rows"):
        metric(LABELS[:-1], 3)
    with pytest.raises(TypeError, match="must be integers"):
        metric(LABELS.astype(float), 3)
    with pytest.raises(ValueError, match="num_classes must be at least 1"):
        metric(LABELS, 0)


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="x is empty"):
        effective_rank(np.zeros((0, 4)))
