"""RankMe and the effective rank against the singular values of NumPy."""

import jax
import numpy as np
import pytest

from jaxcl.metrics import effective_rank, rank_me

X = np.random.default_rng(0).normal(size=(40, 9)) * 0.5 ** np.arange(9)


def entropy_rank(x, eps=0.0):
    values = np.linalg.svd(x, compute_uv=False)
    shares = values / values.sum() + eps
    shares = shares[shares > 0]
    return np.exp(-np.sum(shares * np.log(shares)))


@pytest.mark.parametrize("x", [X, X.T], ids=["tall", "wide"])
def test_ranks_are_exponentials_of_the_entropy_of_singular_values(x):
    with jax.enable_x64(True):
        np.testing.assert_allclose(effective_rank(x), entropy_rank(x), rtol=1e-10)
        np.testing.assert_allclose(rank_me(x), entropy_rank(x, 1e-7), rtol=1e-10)


def test_known_ranks():
    np.testing.assert_allclose(effective_rank(np.eye(9)), 9, rtol=1e-5)
    np.testing.assert_allclose(effective_rank(1e-6 * np.eye(9)), 9, rtol=1e-5)
    np.testing.assert_allclose(effective_rank(np.ones((40, 9))), 1, rtol=1e-5)
    assert effective_rank(np.zeros((4, 3))) == 0 and rank_me(np.zeros((4, 3))) == 0
    assert effective_rank(np.ones((4, 3)), center=True) == 0


def test_a_common_offset_counts_unless_centred():
    offset = X + 100.0
    assert effective_rank(offset) < 1.5
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            effective_rank(offset, center=True), entropy_rank(X - X.mean(0)), rtol=1e-8
        )


def test_a_collapsed_representation_keeps_its_small_rank_in_float32():
    """Dead dimensions: eigenvalues of x^T x in float32 would count their rounding as rank."""
    x = np.random.default_rng(1).normal(size=(400, 2)) @ np.eye(2, 96)
    basis = np.linalg.qr(np.random.default_rng(2).normal(size=(96, 96)))[0]
    collapsed = (x @ basis).astype(np.float32)
    np.testing.assert_allclose(effective_rank(collapsed), entropy_rank(x), rtol=1e-3)
    np.testing.assert_allclose(rank_me(collapsed), entropy_rank(x, 1e-7), rtol=1e-3)


def test_ranks_run_inside_jit():
    np.testing.assert_allclose(jax.jit(rank_me)(X), rank_me(X), rtol=1e-6)
