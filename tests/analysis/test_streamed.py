"""Penalties in summary against those of the whole matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcl.analysis import penalty_entropy, penalty_statistics, relative_penalties
from jaxcl.analysis.gradients import similarity_gradients
from jaxcl.losses import LOSSES

N, D, K = 14, 4, 3
GRID = [0.1, 0.5]
X = np.random.default_rng(0).normal(size=(N, D))
POSITIVES = np.arange(N) ^ 1
LABELS = np.arange(N) // 2 % 3


def dense(name, where, **constants):
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    arguments = (LOSSES[name], unit @ unit.T, POSITIVES)
    keywords = {"temperatures": GRID, "where": where, **constants}
    gradients = np.abs(similarity_gradients(*arguments, **keywords))
    penalties = np.asarray(relative_penalties(*arguments, **keywords))
    is_positive = np.arange(N)[None] == POSITIVES[:, None]
    return (
        gradients[:, is_positive],
        np.sum(np.where(is_positive, 0, gradients), axis=-1),
        np.asarray(penalty_entropy(penalties)),
        -np.sort(-penalties, axis=-1)[..., :K],
    )


@pytest.mark.parametrize("name, labelled", [("contrastive", True), ("hard", False), ("dcl", False)])
def test_statistics_are_those_of_the_whole_matrix(name, labelled):
    constants = {"num_negatives": 4} if name == "hard" else {}
    where = ~np.eye(N, dtype=bool)
    labels = {}
    if labelled:
        where &= LABELS[:, None] != LABELS[None]
        labels = {"anchor_labels": LABELS, "candidate_labels": LABELS}
    with jax.enable_x64(True):
        expected = dense(name, where, **constants)
        found = penalty_statistics(
            LOSSES[name],
            X,
            X,
            POSITIVES,
            temperatures=GRID,
            normalize=True,
            exclude=np.arange(N),
            k=K,
            # Once with a remainder: 14 anchors in chunks of 4.
            chunk=4 if labelled else 7,
            **labels,
            **constants,
        )
    for name_, wanted in zip(found._fields, expected, strict=True):
        np.testing.assert_allclose(
            getattr(found, name_), wanted, rtol=1e-9, atol=1e-12, err_msg=name_
        )


def test_coupled_rows_are_refused_unless_uncoupled():
    arguments = (X, X, POSITIVES)
    keywords = {"temperatures": GRID, "normalize": True, "exclude": np.arange(N), "k": K}
    with pytest.raises(ValueError, match="rows of dclw are coupled.*pass weights="):
        penalty_statistics(LOSSES["dclw"], *arguments, **keywords)
    with pytest.raises(ValueError, match="rows of clip are coupled"):
        penalty_statistics(LOSSES["clip"], *arguments, **keywords)
    weights = np.linspace(0.5, 1.5, N).astype(np.float32)
    found = penalty_statistics(
        LOSSES["dclw"], *arguments, per_anchor={"weights": weights}, chunk=7, **keywords
    )
    expected = weights[None] / np.array(GRID)[:, None]
    np.testing.assert_allclose(found.positive_gradient, expected, rtol=1e-5)


def test_statistics_never_hold_the_whole_matrix():
    n, m = 1024, 8192
    shapes = [jax.ShapeDtypeStruct((size, 8), jnp.float32) for size in (n, m)]

    def measure(anchors, candidates):
        return penalty_statistics(
            LOSSES["contrastive"],
            anchors,
            candidates,
            jnp.zeros(n, jnp.int32),
            temperatures=jnp.asarray([0.1] * 8),
            normalize=False,
            chunk=16,
        )

    compiled = jax.jit(measure).lower(*shapes).compile()
    # A dozen arrays of 16 rows; one gradient of all rows is 32 MiB, of all temperatures 256.
    assert compiled.memory_analysis().temp_size_in_bytes < 16 * 16 * m * 4


def test_zero_vectors_and_duplicates_are_finite():
    x = np.zeros((6, 3), np.float32)
    x[2:] = [1.0, 0.0, 0.0]
    found = penalty_statistics(
        LOSSES["contrastive"],
        x,
        x,
        np.arange(6) ^ 1,
        temperatures=[0.005],
        normalize=True,
        exclude=np.arange(6),
        k=2,
    )
    assert all(np.all(np.isfinite(leaf)) for leaf in found)


def test_mistakes_are_named():
    keywords = {"temperatures": GRID, "normalize": True}
    loss = LOSSES["contrastive"]
    with pytest.raises(ValueError, match=r"k must lie in \[1, m - 1 = 13\], got 14"):
        penalty_statistics(loss, X, X, POSITIVES, k=14, **keywords)
    with pytest.raises(ValueError, match="must agree in d"):
        penalty_statistics(loss, X, X[:, :2], POSITIVES, **keywords)
    with pytest.raises(ValueError, match=r"positives must be integers \[14\]"):
        penalty_statistics(loss, X, X, POSITIVES[1:], **keywords)
    with pytest.raises(ValueError, match="together or not at all"):
        penalty_statistics(loss, X, X, POSITIVES, anchor_labels=LABELS, **keywords)
    with pytest.raises(ValueError, match="weights must have 14 rows"):
        penalty_statistics(loss, X, X, POSITIVES, per_anchor={"weights": LABELS[1:]}, **keywords)
    with pytest.raises(ValueError, match="positive and finite"):
        penalty_statistics(loss, X, X, POSITIVES, temperatures=[0.0], normalize=True)
