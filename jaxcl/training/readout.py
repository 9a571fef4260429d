"""The linear readout trained by SGD, as Wang & Liu trained theirs (CVPR 2021, section 5)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

# Of the epochs; the paper's 40, 60 and 80 of 100.
MILESTONES = (0.4, 0.6, 0.8)


class SGDReadout(NamedTuple):
    """What SGD found.

    Attributes:
      weights: ``[d, c]``.
      bias: ``[c]``.
      train_accuracy: after the last epoch, a fraction.
      test_accuracy: after the last epoch, a fraction.
      best_test_accuracy: of all epochs. The paper does not say which of the two its tables hold.
    """

    weights: np.ndarray
    bias: np.ndarray
    train_accuracy: float
    test_accuracy: float
    best_test_accuracy: float


def fit_sgd(
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    *,
    num_classes: int,
    epochs: int = 100,
    learning_rate: float = 30.0,
    batch_size: int = 256,
    momentum: float = 0.9,
    factor: float = 0.2,
    seed: int = 0,
) -> SGDReadout:
    """Train a linear classifier on frozen features by SGD.

    Args:
      train: features ``[n, d]`` float32 and labels ``[n]``.
      test: the same of the test split.
      num_classes: c.
      epochs: over the training features; the rate is multiplied by ``factor`` after each of `MILESTONES`.
      learning_rate: absolute. The paper's 30 is for pooled features that are not standardised.
      batch_size: features in a step; the rest of an epoch is dropped.
      momentum: of SGD; there is no weight decay.
      factor: see ``epochs``.
      seed: of weights and order.

    Returns:
      The readout with its accuracies.
    """
    features, labels = (jnp.asarray(array) for array in train)
    n, d = features.shape
    batch_size = min(batch_size, n)
    per_epoch = n // batch_size
    boundaries = {round(share * epochs) * per_epoch: factor for share in MILESTONES}
    optimizer = optax.sgd(
        optax.piecewise_constant_schedule(learning_rate, boundaries), momentum=momentum
    )
    key = jax.random.key(seed)
    # The authors' code: standard deviation sqrt(2 / outputs).
    weights = jax.random.normal(key, (d, num_classes)) * (2.0 / num_classes) ** 0.5
    params = (weights, jnp.zeros(num_classes))

    def objective(params, x, y):
        logits = x @ params[0] + params[1][None, :]
        return optax.losses.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def update(carry, rows):
        params, state = carry
        grads = jax.grad(objective)(params, features[rows], labels[rows])
        updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    def accuracy(params, x, y):
        return (jnp.argmax(x @ params[0] + params[1][None, :], axis=1) == y).mean()

    test_x, test_y = (jnp.asarray(array) for array in test)

    @jax.jit
    def epoch(carry, key):
        order = jax.random.permutation(key, n)[: per_epoch * batch_size]
        carry, _ = jax.lax.scan(update, carry, order.reshape(per_epoch, batch_size))
        return carry, accuracy(carry[0], test_x, test_y)

    carry, history = (params, optimizer.init(params)), []
    for number in range(epochs):
        carry, reached = epoch(carry, jax.random.fold_in(key, number + 1))
        history.append(float(reached))
    (weights, bias), _ = carry
    return SGDReadout(
        weights=np.asarray(weights),
        bias=np.asarray(bias),
        train_accuracy=float(accuracy((weights, bias), features, labels)),
        test_accuracy=history[-1],
        best_test_accuracy=max(history),
    )
