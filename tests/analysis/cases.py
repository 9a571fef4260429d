"""Similarities to differentiate, and the contrastive loss written naively in float64 NumPy."""

import numpy as np

N, M = 5, 9
TEMPERATURES = np.array([0.07, 0.2, 1.0])


def make_similarities(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (N, M))


SIMILARITIES = make_similarities()
POSITIVES = np.array([2, 0, 8, 4, 1])
IS_POSITIVE = np.arange(M)[None] == POSITIVES[:, None]
# Candidates that count: some dropped, never the positive.
WHERE = (np.random.default_rng(1).random((N, M)) < 0.8) | IS_POSITIVE


def contrastive(similarities: np.ndarray, temperature: float, where: np.ndarray) -> np.ndarray:
    masses = np.where(where, np.exp(similarities / temperature), 0)
    return -np.log(masses[IS_POSITIVE] / masses.sum(axis=1))


def differences(function, point: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """Central differences of ``function(point) -> [n]`` by every entry of its own row."""
    slopes = np.zeros_like(point)
    for j in range(point.shape[1]):
        nudge = np.zeros_like(point)
        nudge[:, j] = step
        slopes[:, j] = (function(point + nudge) - function(point - nudge)) / (2 * step)
    return slopes
