"""The metrics written naively in float64 NumPy, pair by pair, and embeddings to try them on."""

import numpy as np


def sphere(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Random points ``[n, d]`` on the unit sphere, float64."""
    x = np.random.default_rng(seed).normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def kernel(x: np.ndarray, t: float) -> np.ndarray:
    """``exp(-t |x_i - x_j|^2)``, all pairs ``[n, n]``."""
    return np.exp(-t * np.sum((x[:, None] - x[None]) ** 2, axis=-1))


def uniformity(x: np.ndarray, t: float, statistic: str = "U") -> float:
    pairs = kernel(x, t)
    if statistic == "V":
        return float(np.log(pairs.mean()))
    return float(np.log(pairs[np.triu_indices(len(x), 1)].mean()))


def same_class_cosines(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cosines of all ordered pairs of different samples of one class."""
    same = (labels[:, None] == labels[None]) & ~np.eye(len(x), dtype=bool)
    return (x @ x.T)[same]


def top(similarities: np.ndarray, k: int) -> np.ndarray:
    return -np.sort(-similarities, axis=1)[:, :k]
