"""Readouts trained step by step are what NumPy makes of the same recipe."""

import jax
import numpy as np
import pytest

from jaxcl.training.readout import fit_by_steps

N, D, C, BATCH, EPOCHS = 22, 3, 4, 5, 10


def data(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N, D)).astype(np.float32), rng.integers(0, C, N).astype(np.int32)


def oracle(train, solver: str, rate: float, decay: float) -> np.ndarray:
    """Weights ``[d + 1, c]``, the bias last, of float64 loops over the same batches."""
    key = jax.random.key(7)
    weights = np.zeros((D + 1, C))
    weights[:D] = np.asarray(jax.random.normal(key, (D, C))) * np.sqrt(2 / C)
    first, second, count = np.zeros_like(weights), np.zeros_like(weights), 0
    for epoch in range(EPOCHS):
        x, y = train(epoch)
        x = np.concatenate([x, np.ones((N, 1))], axis=1)
        order = np.asarray(jax.random.permutation(jax.random.fold_in(key, epoch + 1), N))
        for rows in order[: N // BATCH * BATCH].reshape(-1, BATCH):
            logits = x[rows] @ weights
            p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
            gradient = x[rows].T @ (p - np.eye(C)[y[rows]]) / BATCH + decay * weights
            count += 1
            if solver == "sgd":  # x0.2 after 4, 6 and 8 of 10 epochs
                first = 0.9 * first + gradient
                weights = weights - rate * 0.2 ** sum(epoch >= m for m in (4, 6, 8)) * first
            else:  # Kingma and Ba, 2015, Algorithm 1
                first = 0.9 * first + 0.1 * gradient
                second = 0.999 * second + 0.001 * gradient**2
                unbiased = first / (1 - 0.9**count), second / (1 - 0.999**count)
                weights = weights - rate * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
    return weights


@pytest.mark.parametrize(("solver", "rate"), [("sgd", 0.5), ("adam", 0.05)])
def test_the_solvers_follow_their_papers_on_features_of_each_epoch(solver, rate):
    settings = {"num_classes": C, "epochs": EPOCHS, "batch_size": BATCH, "seed": 7}
    found = fit_by_steps(
        data, data(99), solver=solver, learning_rate=rate, weight_decay=0.01, **settings
    )
    expected = oracle(data, solver, rate, 0.01)
    weights, bias = found.layers[0]
    np.testing.assert_allclose(np.vstack([weights, bias]), expected, rtol=1e-3, atol=1e-4)
    x, y = data(99)
    predicted = np.argmax(x @ expected[:D] + expected[D], axis=1)
    assert found.test_accuracy == pytest.approx((predicted == y).mean())
    assert found.best_test_accuracy >= found.test_accuracy


def test_a_hidden_layer_reads_what_no_linear_readout_can():
    x = np.random.default_rng(0).uniform(-1, 1, (256, 2)).astype(np.float32)
    exclusive_or = (x, (x[:, 0] * x[:, 1] > 0).astype(np.int32))
    settings = {"num_classes": 2, "solver": "adam", "learning_rate": 0.02, "batch_size": 64}
    linear, mlp = (
        fit_by_steps(lambda _: exclusive_or, exclusive_or, hidden=hidden, **settings)
        for hidden in (None, 16)
    )
    assert linear.test_accuracy < 0.75 and mlp.test_accuracy > 0.95
    assert [w.shape for w, _ in mlp.layers] == [(2, 16), (16, 2)]


def test_an_unknown_solver_is_named():
    with pytest.raises(ValueError, match="unknown solver 'lion'; there are: sgd, adam"):
        fit_by_steps(data, data(0), num_classes=C, solver="lion")
