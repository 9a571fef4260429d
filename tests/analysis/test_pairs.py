"""The gradient of each pair in its batch, against jax.grad of the losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcl.analysis import embedding_gradients, pair_gradients
from jaxcl.losses import contrastive, dcl, interleaved_positives, normalize, not_self

BATCH = 6


@pytest.fixture(scope="module")
def views() -> jax.Array:
    images = jax.random.normal(jax.random.key(0), (2 * BATCH + 3, 1, 5))
    noise = 0.4 * jax.random.normal(jax.random.key(1), (2 * BATCH + 3, 2, 5))
    return normalize(images + noise)


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_norms_are_those_of_the_losses_gradients(views, temperature):
    pairs = pair_gradients(views, temperature=temperature, batch_size=BATCH)
    assert pairs.multipliers.shape == (4 * BATCH,)  # the last three images fill no batch
    for start in (0, 1):
        z = views[start * BATCH : (start + 1) * BATCH].reshape(2 * BATCH, -1)
        rows = slice(2 * BATCH * start, 2 * BATCH * (start + 1))
        options = {"temperatures": [temperature], "normalize": False, "where": not_self(len(z))}
        for loss, factor in ((dcl, 1.0), (contrastive, pairs.multipliers[rows])):
            gradients = embedding_gradients(loss, z, z, interleaved_positives(len(z)), **options)
            np.testing.assert_allclose(
                factor * pairs.decoupled_norms[rows],
                jnp.linalg.norm(gradients.anchors[0], axis=1),
                rtol=2e-5,
            )


def test_similarities_are_those_of_the_pair_and_the_nearest_other_image(views):
    pairs = pair_gradients(views, temperature=0.1, batch_size=BATCH)
    z = np.asarray(views[:BATCH].reshape(2 * BATCH, -1))
    s = z @ z.T
    np.testing.assert_allclose(pairs.positive_similarities[0], s[0, 1], rtol=1e-6)
    np.testing.assert_allclose(pairs.nearest_negative_similarities[0], s[0, 2:].max(), rtol=1e-6)


@pytest.mark.parametrize("size", [1, 16])
def test_a_batch_must_fit(views, size):
    with pytest.raises(ValueError, match=f"batch_size {size} must lie in 2 to the 15 images"):
        pair_gradients(views, temperature=0.1, batch_size=size)


def test_two_views_are_needed(views):
    with pytest.raises(ValueError, match="two views of each image"):
        pair_gradients(views[:, :1], temperature=0.1, batch_size=2)
