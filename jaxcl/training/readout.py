"""Readouts trained step by step on frozen features: by SGD as Wang & Liu (CVPR 2021, section 5) did, or by Adam."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

# Of the epochs; the paper's 40, 60 and 80 of 100. SGD alone has them.
MILESTONES = (0.4, 0.6, 0.8)
SOLVERS = ("sgd", "adam")
READOUTS = ("linear", "mlp")

Features = tuple[np.ndarray, np.ndarray]
Layers = tuple[tuple[Array, Array], ...]


class Readout(NamedTuple):
    """What was found.

    Attributes:
      layers: weights ``[d, c]`` and bias ``[c]`` of each layer.
      train_accuracy: of the features of the last epoch, a fraction.
      test_accuracy: after the last epoch, a fraction.
      best_test_accuracy: of all epochs. The paper does not say which of the two its tables hold.
    """

    layers: Layers
    train_accuracy: float
    test_accuracy: float
    best_test_accuracy: float


def fit_by_steps(
    train: Callable[[int], Features],
    test: Features,
    *,
    num_classes: int,
    solver: str = "sgd",
    hidden: int | None = None,
    epochs: int = 100,
    learning_rate: float = 30.0,
    batch_size: int = 256,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    factor: float = 0.2,
    seed: int = 0,
) -> Readout:
    """Train a classifier on frozen features.

    Args:
      train: from an epoch, counted from 0, to its features ``[n, d]`` float32 and labels ``[n]``: the same ones in each
        epoch, or those of images that were augmented anew.
      test: features and labels of the test split.
      num_classes: c.
      solver: one of `SOLVERS`.
      hidden: units of a hidden layer with ReLU; None for a linear readout.
      epochs: over the training features.
      learning_rate: absolute. With sgd it is multiplied by ``factor`` after each of `MILESTONES`; with adam constant.
        The paper's 30 is for SGD and pooled features that are not standardised.
      batch_size: features in a step; the rest of an epoch is dropped.
      momentum: of sgd.
      weight_decay: added to the gradient.
      factor: see ``learning_rate``.
      seed: of weights and order.

    Returns:
      The readout with its accuracies.

    Raises:
      ValueError: unknown solver.
    """
    if solver not in SOLVERS:
        raise ValueError(f"unknown solver {solver!r}; there are: {', '.join(SOLVERS)}")
    features, labels = (jnp.asarray(array) for array in train(0))
    test_features, test_labels = (jnp.asarray(array) for array in test)
    n = features.shape[0]
    batch_size = min(batch_size, n)
    per_epoch = n // batch_size
    schedule: Any = learning_rate
    if solver == "sgd":
        boundaries = {round(share * epochs) * per_epoch: factor for share in MILESTONES}
        schedule = optax.piecewise_constant_schedule(learning_rate, boundaries)
    rule = optax.sgd(schedule, momentum=momentum) if solver == "sgd" else optax.adam(schedule)
    optimizer = optax.chain(optax.add_decayed_weights(weight_decay), rule)
    key = jax.random.key(seed)
    layers = _initial_layers(key, features.shape[1], hidden, num_classes)

    def objective(layers: Layers, x: Array, y: Array) -> Array:
        losses = optax.losses.softmax_cross_entropy_with_integer_labels(_logits(layers, x), y)
        return losses.mean()

    @jax.jit
    def epoch(carry: Any, key: Array, features: Array, labels: Array):
        def update(carry: Any, rows: Array):
            layers, state = carry
            grads = jax.grad(objective)(layers, features[rows], labels[rows])
            updates, state = optimizer.update(grads, state, layers)
            return (optax.apply_updates(layers, updates), state), None

        order = jax.random.permutation(key, n)[: per_epoch * batch_size]
        carry, _ = jax.lax.scan(update, carry, order.reshape(per_epoch, batch_size))
        return carry, _accuracy(carry[0], test_features, test_labels)

    carry, history = (layers, optimizer.init(layers)), []
    for number in range(epochs):
        if number:
            features, labels = (jnp.asarray(array) for array in train(number))
        carry, reached = epoch(carry, jax.random.fold_in(key, number + 1), features, labels)
        history.append(float(reached))
    return Readout(
        layers=carry[0],
        train_accuracy=float(_accuracy(carry[0], features, labels)),
        test_accuracy=history[-1],
        best_test_accuracy=max(history),
    )


def _initial_layers(key: Array, inputs: int, hidden: int | None, num_classes: int) -> Layers:
    # The authors' code: standard deviation sqrt(2 / outputs), biases zero. Of a hidden layer: sqrt(2 / inputs).
    width = hidden or inputs
    weights = jax.random.normal(key, (width, num_classes)) * (2.0 / num_classes) ** 0.5
    last = (weights, jnp.zeros(num_classes))
    if hidden is None:
        return (last,)
    first = jax.random.normal(jax.random.fold_in(key, 0), (inputs, hidden)) * (2.0 / inputs) ** 0.5
    return (first, jnp.zeros(hidden)), last


def _logits(layers: Layers, x: Array) -> Array:
    for number, (weights, bias) in enumerate(layers):
        x = jax.nn.relu(x) if number else x
        x = jnp.matmul(x, weights, precision=jax.lax.Precision.HIGHEST) + bias[None, :]
    return x


def _accuracy(layers: Layers, x: Array, y: Array) -> Array:
    return (jnp.argmax(_logits(layers, x), axis=1) == y).mean()
