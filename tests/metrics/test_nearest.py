"""Exact nearest candidates, local separation, and the nearest-neighbour vote."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcl.metrics import knn_accuracy, knn_predictions, local_separation, nearest
from jaxcl.metrics.nearest import top_k
from tests.metrics import oracles

N, M, D = 21, 83, 4
ANCHORS = oracles.sphere(N, D, 0)
POSITIVES = oracles.sphere(N, D, 1)
CANDIDATES = oracles.sphere(M, D, 2)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([1, 3, 10]), st.booleans())
def test_two_stage_top_k_is_a_full_sort(seed, k, ties):
    draw = np.random.default_rng(seed)
    values = draw.normal(size=(3, 331)).astype(np.float32)
    if ties:
        values = np.round(values)
    values[draw.random(values.shape) < 0.2] = -np.inf
    found, columns = top_k(jnp.asarray(values), k)
    np.testing.assert_array_equal(found, oracles.top(values, k))
    np.testing.assert_array_equal(np.take_along_axis(values, np.asarray(columns), 1), found)
    assert all(len(set(row)) == k for row in np.asarray(columns).tolist())


@pytest.mark.parametrize("m, k", [(1, 1), (2, 2), (5, 3), (16, 1), (17, 1), (16, 16)])
def test_top_k_of_short_rows(m, k):
    values = np.random.default_rng(0).normal(size=(2, m)).astype(np.float32)
    np.testing.assert_array_equal(top_k(jnp.asarray(values), k)[0], oracles.top(values, k))


def test_local_separation_is_the_sorted_matrix():
    found = local_separation(ANCHORS, POSITIVES, CANDIDATES, k=4, chunk=8)
    np.testing.assert_allclose(
        found.positive_similarities, np.sum(ANCHORS * POSITIVES, axis=1), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        found.negative_similarities, oracles.top(ANCHORS @ CANDIDATES.T, 4), rtol=1e-5, atol=1e-6
    )


def test_excluded_columns_and_own_labels_are_no_negatives():
    exclude = np.stack([np.arange(N), np.arange(N) + 5, np.full(N, -1)], axis=1)
    anchor_labels, candidate_labels = np.arange(N) % 3, np.arange(M) % 3
    similarities = ANCHORS @ CANDIDATES.T
    similarities[anchor_labels[:, None] == candidate_labels[None]] = -np.inf
    np.put_along_axis(similarities, exclude[:, :2], -np.inf, axis=1)
    found = local_separation(
        ANCHORS,
        POSITIVES,
        CANDIDATES,
        k=4,
        exclude=exclude,
        anchor_labels=anchor_labels,
        candidate_labels=candidate_labels,
        chunk=8,
    )
    np.testing.assert_allclose(
        found.negative_similarities, oracles.top(similarities, 4), rtol=1e-5, atol=1e-6
    )


def test_anchors_find_themselves_unless_excluded():
    everyone = np.arange(M)
    itself, _ = nearest(jnp.asarray(CANDIDATES), jnp.asarray(CANDIDATES), k=1, chunk=32)
    np.testing.assert_allclose(itself, 1, rtol=1e-6)
    _, columns = nearest(
        jnp.asarray(CANDIDATES),
        jnp.asarray(CANDIDATES),
        k=1,
        exclude=jnp.asarray(everyone[:, None]),
        chunk=32,
    )
    assert np.all(np.asarray(columns)[:, 0] != everyone)


def test_a_negative_column_excludes_nothing_not_even_the_last():
    found = local_separation(CANDIDATES, CANDIDATES, CANDIDATES, k=1, exclude=np.full(M, -1))
    np.testing.assert_allclose(found.negative_similarities, 1, rtol=1e-6)


def test_where_too_few_negatives_count_the_rest_is_minus_infinity():
    found = local_separation(
        ANCHORS,
        POSITIVES,
        CANDIDATES,
        k=3,
        anchor_labels=np.zeros(N, int),
        candidate_labels=np.where(np.arange(M) < 2, 1, 0),
    )
    assert np.isinf(found.negative_similarities).tolist() == [[False, False, True]] * N


def test_nearest_never_holds_the_whole_matrix():
    n, m = 4096, 8192
    shapes = [jax.ShapeDtypeStruct((size, 8), jnp.float32) for size in (n, m)]
    lowered = jax.jit(lambda a, c: nearest(a, c, k=10, chunk=64)).lower(*shapes)
    # Two or three chunks of 64 rows; the matrix would be 128 MiB.
    assert lowered.compile().memory_analysis().temp_size_in_bytes < 4 * 64 * m * 4


def vote(train_x, train_y, test_x, k, temperature, classes):
    predictions = []
    for row in test_x @ train_x.T:
        best = np.argsort(-row, kind="stable")[:k]
        weights = np.exp(row[best] / temperature)
        predictions.append(np.bincount(train_y[best], weights, classes).argmax())
    return np.array(predictions)


@pytest.mark.parametrize("k", [7, 1000])
def test_the_vote_is_weighted_by_the_exponential_of_the_cosine(k):
    labels = np.random.default_rng(4).integers(0, 3, M)
    with jax.enable_x64(True):
        found = knn_predictions(CANDIDATES, labels, ANCHORS, num_classes=3, k=k, chunk=8)
    expected = vote(CANDIDATES, labels, ANCHORS, min(k, M), 0.07, 3)
    np.testing.assert_array_equal(found, expected)
    truth = np.arange(N) % 3
    accuracy = knn_accuracy(CANDIDATES, labels, ANCHORS, truth, num_classes=3, k=k, chunk=8)
    np.testing.assert_allclose(accuracy, np.mean(expected == truth), rtol=1e-6)


def test_the_vote_is_by_cosine_whatever_the_norms_and_finite_at_low_temperature():
    labels = np.arange(M) % 3
    scale = np.random.default_rng(5).uniform(0.1, 10, (M, 1))
    expected = knn_predictions(CANDIDATES, labels, ANCHORS, num_classes=3, k=7)
    found = knn_predictions(scale * CANDIDATES, labels, 3 * ANCHORS, num_classes=3, k=7)
    np.testing.assert_array_equal(found, expected)
    # exp(1 / 0.005) is no float32: then every vote would be infinite or NaN and class 0 would win.
    cold = knn_predictions(CANDIDATES, labels, CANDIDATES, num_classes=3, k=7, temperature=0.005)
    np.testing.assert_array_equal(cold, labels)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="number of negatives of an anchor, 83; got 84"):
        local_separation(ANCHORS, POSITIVES, CANDIDATES, k=84)
    with pytest.raises(ValueError, match="negatives of an anchor, 82; got 83"):
        local_separation(ANCHORS, POSITIVES, CANDIDATES, k=83, exclude=np.arange(N))
    with pytest.raises(ValueError, match="must agree"):
        local_separation(ANCHORS, POSITIVES[1:], CANDIDATES)
    with pytest.raises(ValueError, match="exclude names column 83 of 83"):
        local_separation(ANCHORS, POSITIVES, CANDIDATES, exclude=np.full(N, M))
    with pytest.raises(ValueError, match="exclude must be integers"):
        local_separation(ANCHORS, POSITIVES, CANDIDATES, exclude=np.zeros(N + 1, int))
    with pytest.raises(ValueError, match="together or not at all"):
        local_separation(ANCHORS, POSITIVES, CANDIDATES, anchor_labels=np.zeros(N, int))
    with pytest.raises(ValueError, match="candidate_labels must have shape"):
        local_separation(
            ANCHORS,
            POSITIVES,
            CANDIDATES,
            anchor_labels=np.zeros(N, int),
            candidate_labels=np.zeros(N, int),
        )
    labels = np.zeros(M, int)
    with pytest.raises(ValueError, match="k must be an integer of at least 1, got 0"):
        knn_predictions(CANDIDATES, labels, ANCHORS, num_classes=1, k=0)
    with pytest.raises(ValueError, match="temperature must be positive"):
        knn_predictions(CANDIDATES, labels, ANCHORS, num_classes=1, temperature=0.0)
    with pytest.raises(ValueError, match="of one dimension"):
        knn_predictions(CANDIDATES, labels, ANCHORS[:, :3], num_classes=1)
