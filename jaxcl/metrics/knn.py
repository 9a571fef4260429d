"""Accuracy of a weighted nearest-neighbour vote: a readout with nothing to train. Knows embeddings
and labels only."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxcl.metrics.nearest import map_chunks, top_k
from jaxcl.metrics.sphere import check_embeddings, check_labels, is_concrete


def knn_predictions(
    train_x: Any,
    train_y: Any,
    test_x: Any,
    *,
    num_classes: int,
    k: int = 200,
    temperature: float = 0.07,
    normalize: bool | None = True,
    chunk: int = 256,
) -> jax.Array:
    """The class with the most weight among the ``k`` nearest training samples, each voting
    ``exp(cosine / temperature)``.

    Args:
        train_x: ``[n, d]`` embeddings that vote.
        train_y: ``[n]`` their labels in ``[0, num_classes)``.
        test_x: ``[m, d]`` embeddings to classify.
        num_classes: number of classes, a Python integer.
        k: number of voters, at least 1; more than n is taken as n, so that the default serves small
            sets.
        temperature: of the vote, > 0; not of the loss.
        normalize: True (default, the vote is by cosine): normalise the rows; None: they must be
            unit already; False: as they are.
        chunk: test samples a step; memory is about ``2 * chunk * n`` floats.

    Returns:
        int32 ``[m]``. Equal votes go to the lower class.

    Raises:
        ValueError: ``k < 1``, ``temperature <= 0``, labels out of range, dimensions that differ.

    Example:
        >>> train_x = jnp.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
        >>> test_x = jnp.array([[0.1, 1.0], [1.0, 0.1]])
        >>> knn_predictions(train_x, jnp.array([0, 0, 1]), test_x, num_classes=2).tolist()
        [1, 0]

    References:
        Wu, Xiong, Yu and Lin, "Unsupervised Feature Learning via Non-Parametric Instance
        Discrimination", CVPR 2018, section 3.4 (k=200, temperature 0.07).
    """
    train_x = check_embeddings(train_x, "train_x", normalize=normalize)
    test_x = check_embeddings(test_x, "test_x", normalize=normalize)
    train_y = check_labels(train_y, train_x.shape[0], "train_y", num_classes=num_classes)
    if train_x.shape[1] != test_x.shape[1]:
        raise ValueError(
            "train_x and test_x must be of one dimension, got "
            f"{train_x.shape[1]} and {test_x.shape[1]}"
        )
    if int(k) != k or k < 1:
        raise ValueError(f"k must be an integer of at least 1, got {k}")
    if is_concrete(temperature) and not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    k = min(int(k), train_x.shape[0])
    return _predict(
        train_x, train_y, test_x, temperature, num_classes=num_classes, k=k, chunk=chunk
    )


def knn_accuracy(
    train_x: Any,
    train_y: Any,
    test_x: Any,
    test_y: Any,
    *,
    num_classes: int,
    k: int = 200,
    temperature: float = 0.07,
    normalize: bool | None = True,
    chunk: int = 256,
) -> jax.Array:
    """Fraction of test samples that the weighted vote of :func:`knn_predictions` classifies right.

    Args:
        train_x: ``[n, d]`` embeddings that vote.
        train_y: ``[n]`` their labels.
        test_x: ``[m, d]`` embeddings to classify.
        test_y: ``[m]`` their true labels.
        num_classes: number of classes, a Python integer.
        k: number of voters; more than n is taken as n.
        temperature: of the vote, > 0.
        normalize: True (default): normalise the rows; None: they must be unit already; False: as
            they are.
        chunk: test samples a step.

    Returns:
        Scalar in [0, 1].

    Raises:
        ValueError: as :func:`knn_predictions`.

    Example:
        >>> x, y = jnp.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), jnp.array([0, 0, 1])
        >>> print(knn_accuracy(x, y, x, y, num_classes=2, k=1))
        1.0
    """
    predictions = knn_predictions(
        train_x,
        train_y,
        test_x,
        num_classes=num_classes,
        k=k,
        temperature=temperature,
        normalize=normalize,
        chunk=chunk,
    )
    test_y = check_labels(test_y, predictions.shape[0], "test_y", num_classes=num_classes)
    return jnp.mean(predictions == test_y)


@functools.partial(jax.jit, static_argnames=("num_classes", "k", "chunk"))
def _predict(
    train_x: jax.Array,
    train_y: jax.Array,
    test_x: jax.Array,
    temperature: jax.Array | float,
    *,
    num_classes: int,
    k: int,
    chunk: int,
) -> jax.Array:
    def vote(rows: jax.Array) -> jax.Array:
        similarities = jnp.matmul(rows, train_x.T, precision=jax.lax.Precision.HIGHEST)
        similarities, columns = top_k(similarities, k)
        # Relative to the nearest: exp(1 / 0.005) is not a float32.
        weights = jnp.exp((similarities - similarities[:, :1]) / temperature)
        votes = jnp.zeros((rows.shape[0], num_classes), weights.dtype)
        row = jnp.arange(rows.shape[0])[:, None]
        votes = votes.at[row, train_y[columns]].add(weights)
        return jnp.argmax(votes, axis=1).astype(jnp.int32)

    return map_chunks(vote, test_x, chunk=chunk)
