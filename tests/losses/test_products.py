"""Products of embeddings round less than one long sum does: what low temperatures ask for."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcl.losses import contrastive, normalize, ring_mean, similarity_matrix, symmetric_mean
from jaxcl.losses.pairwise import streamed_mean
from jaxcl.losses.products import dots, inner_products
from jaxcl.losses.sharded import sharded_mean
from jaxcl.programs.counting import count_work
from jaxcl.sharding import make_mesh
from jaxcl.training.contrast import Rows

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def peers():
    """NT-Xent in float64 and on well-aligned embeddings, as `benchmarks/numerics.py` has it."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import numerics_losses
    finally:
        sys.path.remove(str(BENCHMARKS))
    return numerics_losses


def test_every_form_is_exact_on_well_aligned_embeddings(peers):
    """The hardest case: positives at cosine 0.995, and a temperature of 0.01."""
    forms = {
        "dense": peers.differentiate(peers.ours),
        "streamed": peers.differentiate(peers.ours_streamed),
        "symmetric": peers.differentiate(lambda x, t: symmetric_mean(normalize(x), temperature=t)),
    }
    for seed in range(10):
        x = np.asarray(peers.embeddings("well-aligned", seed), np.float32)
        loss, gradient = peers.exact(x, 0.01)
        for name, form in forms.items():
            value, found = form(x, 0.01)
            assert abs(value - loss) <= 1e-5 * loss, (name, seed)
            error = np.linalg.norm(found - gradient) / np.linalg.norm(gradient)
            assert error <= 1e-5, (name, seed, error)


@pytest.mark.parametrize("d", [3, 64, 100, 128, 200])
def test_sums_in_parts_are_whole(d):
    a, b = (jax.random.normal(jax.random.key(k), (5, d)) for k in range(2))
    exact = np.asarray(a, np.float64) @ np.asarray(b, np.float64).T
    np.testing.assert_allclose(inner_products(a, b), exact, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(dots(a, b), np.diagonal(exact), rtol=1e-5, atol=1e-5)
    assert inner_products(a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)).dtype == jnp.float32


def test_the_positive_has_its_own_gradient():
    """Computed apart or not, a similarity depends on both of its embeddings."""
    x = jax.random.normal(jax.random.key(0), (6, 80))
    positives = jnp.arange(6) ^ 1

    def total(x, positives):
        s = similarity_matrix(x, x, normalize=True, positives=positives)
        return jnp.sum(jnp.sin(s))

    apart, together = jax.grad(total)(x, positives), jax.grad(total)(x, None)
    np.testing.assert_allclose(apart, together, rtol=1e-5, atol=1e-6)


def test_a_positive_elsewhere_changes_nothing():
    a, b = (jax.random.normal(jax.random.key(k), (4, 8)) for k in range(2))
    found = inner_products(a, b, positives=jnp.array([-1, 4, 7, -3]))
    np.testing.assert_array_equal(found, inner_products(a, b))


TWO = {"temperature": 0.1, "mesh": make_mesh(jax.devices()[:2]), "axis": "data"}
ROWS = jnp.arange(64)
FORMS = {
    "dense": lambda z: contrastive(
        similarity_matrix(z, z, normalize=True),
        ROWS ^ 1,
        temperature=0.1,
        where=~np.eye(64, dtype=bool),
    ).mean(),
    "streamed": lambda z: streamed_mean(
        contrastive, z, z, ROWS ^ 1, temperature=0.1, exclude=ROWS, chunk=16
    ),
    "symmetric": lambda z: symmetric_mean(z, temperature=0.1),
    "sharded": lambda z: sharded_mean(contrastive, z, z, ROWS ^ 1, **TWO),
    "ring": lambda z: ring_mean(z, z, ROWS ^ 1, **TWO),
    "drawn": lambda z: (
        Rows(z, z, 0 * ROWS, None, ROWS[:, None] ^ ROWS[None, :4]).similarities()[0].sum()
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_accelerator_is_told_not_to_round_the_embeddings(form):
    """A TPU would take bfloat16 and a GPU TF32 for products of float32, forward and backward."""
    z = normalize(jax.random.normal(jax.random.key(0), (64, 80)))
    step = jax.value_and_grad(FORMS[form])

    def passes(setting):
        with jax.default_matmul_precision(setting), jax.set_mesh(TWO["mesh"]):
            work = count_work(jax.make_jaxpr(step)(z))
        return work.passes / work.flops

    assert passes(None) == 6
    assert passes("bfloat16") == 1  # whoever configures jax so, is obeyed
