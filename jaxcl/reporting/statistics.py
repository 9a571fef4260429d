"""The statistics of tables and claims: summaries over seeds, rank trends, bootstrap over seeds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

# Above these sizes the exact enumeration gives way to a draw with a fixed seed, so that results
# repeat.
_EXACT_PERMUTATIONS_UP_TO = 7
_EXACT_RESAMPLES_UP_TO = 5
_DRAWS = 20_000


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation (n - 1) over n seeds; std is nan for one seed."""

    mean: float
    std: float
    n: int


def summarize(values: Iterable[float]) -> Summary | None:
    """Returns the summary of the finite values, None if there are none.

    >>> summarize([1.0, 3.0])
    Summary(mean=2.0, std=1.4142135623730951, n=2)
    """
    finite = [float(value) for value in values if math.isfinite(value)]
    if not finite:
        return None
    std = float(np.std(finite, ddof=1)) if len(finite) > 1 else math.nan
    return Summary(mean=float(np.mean(finite)), std=std, n=len(finite))


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Rank correlation of two sequences, ties at their average rank; nan if one is constant.

    >>> spearman([1, 2, 3, 4], [10, 20, 30, 5])
    -0.2
    """
    ranks = [_average_ranks(np.asarray(values, dtype=float)) for values in (x, y)]
    centred = [r - r.mean() for r in ranks]
    scale = math.sqrt(float((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return round(float((centred[0] * centred[1]).sum()) / scale, 12) if scale > 0 else math.nan


def permutation_p(x: Sequence[float], y: Sequence[float]) -> float:
    """One-sided p-value of `spearman(x, y)`.

    The share of orderings of y whose correlation is at least as large. Exact up to 7 points, 20,000
    draws with a fixed seed above.
    """
    observed = spearman(x, y)
    if math.isnan(observed):
        return math.nan
    ranks = [_average_ranks(np.asarray(values, dtype=float)) for values in (x, y)]
    a, b = (r - r.mean() for r in ranks)
    scale = math.sqrt(float((a**2).sum() * (b**2).sum()))
    if len(a) <= _EXACT_PERMUTATIONS_UP_TO:
        orders = np.array(list(itertools.permutations(range(len(a)))))
        return float(np.mean(b[orders] @ a / scale >= observed - 1e-9))
    generator = np.random.default_rng(0)
    drawn = np.array([generator.permutation(b) @ a / scale for _ in range(_DRAWS)])
    return float((1 + np.sum(drawn >= observed - 1e-9)) / (1 + _DRAWS))


def bootstrap_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of the mean of values, one a seed, resampled with replacement.

    All n^n resamples up to 5 values, 20,000 draws with a fixed seed above. With two values the
    interval reaches from the one to the other: it excludes zero only if both have the same sign.
    """
    array = np.asarray(values, dtype=float)
    n = len(array)
    if n <= _EXACT_RESAMPLES_UP_TO:
        indices = np.array(list(itertools.product(range(n), repeat=n)))
    else:
        indices = np.random.default_rng(0).integers(0, n, size=(_DRAWS, n))
    means = array[indices].mean(axis=1)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)


def _average_ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]
