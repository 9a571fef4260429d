"""How each claim is judged: from a study to a verdict with its number.

Trends are judged twice: across temperatures (Spearman's rank correlation of the mean over seeds,
one-sided permutation test) and across seeds (bootstrap interval of the statistic computed for each
seed). Effects are judged by the bootstrap over seeds alone. With two seeds the bootstrap interval
is the range, so that both seeds must agree. The thresholds are ours, since the paper states its
claims in words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from jaxcl.reporting.names import seed_words, temperature_words
from jaxcl.reporting.quantities import EFFECTIVE, MINUS_UNIFORMITY
from jaxcl.reporting.statistics import bootstrap_interval, mean, permutation_p, spearman
from jaxcl.reporting.study import CellKey, Measured, Study
from jaxcl.reporting.verdicts import (
    LEAST_SEEDS,
    NOT_ENOUGH,
    Evidence,
    judged,
    minus,
    too_few,
    with_interval,
)

LEAST_TEMPERATURES = 4  # with four, a perfect order has p = 1/24
SIGNIFICANCE = 0.05
LARGE_TEMPERATURE = (
    0.3  # the paper's Table 1 goes 0.07, 0.3, 0.7, 1.0: from here on temperatures count as large
)
SMALL_TEMPERATURE = (
    0.1  # a grid must reach at least down to here to say anything of small temperatures
)
NOT_FALLING = 1.0  # percentage points
FAR_WORSE = 5.0  # percentage points; the smallest published gap is 8.4
FEW_NEIGHBOURS = 2.0


def reversed_u(study: Study) -> Evidence:
    """(1) The best temperature, chosen on the other seeds, beats both ends on the seed left out."""
    quantity = study.accuracy
    if quantity is None:
        return Evidence(NOT_ENOUGH, "no accuracies")
    taus, curves = _complete(study, "contrastive", quantity)
    if len(taus) < LEAST_TEMPERATURES or len(curves) < LEAST_SEEDS:
        return too_few(len(taus), len(curves))
    drops_low, drops_high, chosen = [], [], []
    for left_out, curve in enumerate(curves):
        others = [c for i, c in enumerate(curves) if i != left_out]
        best = max(range(len(taus)), key=lambda i: sum(c[i] for c in others))
        chosen.append(taus[best])
        drops_low.append(100 * (curve[best] - curve[0]))
        drops_high.append(100 * (curve[best] - curve[-1]))
    low, high = bootstrap_interval(drops_low), bootstrap_interval(drops_high)
    interior = all(taus[0] < tau < taus[-1] for tau in chosen)
    best_words = "/".join(temperature_words(tau) for tau in sorted(set(chosen)))
    return judged(
        interior and low[0] > 0 and high[0] > 0,
        f"best τ = {best_words}; above τ = {temperature_words(taus[0])} by {with_interval(drops_low)}, "
        f"above τ = {temperature_words(taus[-1])} by {with_interval(drops_high)} percentage points; "
        f"{len(taus)} temperatures, {seed_words([len(curves)])}",
    )


def hard_keeps_uniformity(study: Study) -> Evidence:
    """(4) At large temperatures -uniformity of hard changes by under half of contrastive's fall."""
    pairs = _falls(study, MINUS_UNIFORMITY, ("hard", "contrastive"))
    if pairs is None:
        return Evidence(
            NOT_ENOUGH, "needs contrastive and hard at two or more τ ≥ 0.3, apart by a factor 2"
        )
    low, high, falls = pairs
    if len(falls) < LEAST_SEEDS:
        return too_few(2, len(falls))
    margins = [ordinary / 2 - abs(hard) for hard, ordinary in falls]
    return judged(
        bootstrap_interval(margins)[0] > 0,
        f"fall from τ = {temperature_words(low)} to {temperature_words(high)}: hard "
        f"{with_interval([h for h, _ in falls], 3)}, contrastive {with_interval([c for _, c in falls], 3)}; "
        f"{seed_words([len(falls)])}",
    )


def hard_keeps_accuracy(study: Study) -> Evidence:
    """(5) Over the large temperatures, accuracy of the hard loss falls by less than one point."""
    quantity = study.accuracy
    found = _falls(study, quantity, ("hard",)) if quantity is not None else None
    if found is None:
        return Evidence(NOT_ENOUGH, "needs hard at two or more τ ≥ 0.3, apart by a factor 2")
    low, high, falls = found
    if len(falls) < LEAST_SEEDS:
        return too_few(2, len(falls))
    points = [100 * fall for (fall,) in falls]
    both = _falls(study, quantity, ("contrastive",)) if quantity is not None else None
    beside = ""
    if both is not None and both[:2] == (low, high):
        beside = f" (contrastive: {mean([100 * fall for (fall,) in both[2]]):.2f})"
    return judged(
        bootstrap_interval(points)[1] < NOT_FALLING,
        f"fall from τ = {temperature_words(low)} to {temperature_words(high)}: {with_interval(points)} "
        f"percentage points{beside}; {seed_words([len(points)])}",
    )


def simple_needs_hardness(study: Study) -> Evidence:
    """(6) Simple is far below contrastive; hard_simple is within a quarter of that gap of hard."""
    quantity = study.accuracy
    if quantity is None:
        return Evidence(NOT_ENOUGH, "no accuracies")
    far = _behind_best(study, "contrastive", "simple", quantity)
    close = _behind_best(study, "hard", "hard_simple", quantity)
    if far is None or close is None:
        return Evidence(NOT_ENOUGH, "needs contrastive, simple, hard and hard_simple")
    seeds = sorted(set(far) & set(close))
    if len(seeds) < LEAST_SEEDS:
        return too_few(seeds=len(seeds))
    gaps = [far[seed] for seed in seeds]
    margins = [far[seed] / 4 - close[seed] for seed in seeds]
    return judged(
        bootstrap_interval(gaps)[0] > FAR_WORSE and bootstrap_interval(margins)[0] > 0,
        f"simple is {with_interval(gaps)} points below the best contrastive, hard_simple "
        f"{with_interval([close[seed] for seed in seeds])} below the best hard; "
        f"{seed_words([len(seeds)])}",
    )


def few_neighbours(study: Study) -> Evidence:
    """(10) At the smallest temperature the penalty falls on few negatives: mean exp(H) <= 2."""
    taus = [tau for tau, _ in study.series("contrastive", EFFECTIVE)]
    if not taus or taus[0] > SMALL_TEMPERATURE:
        return Evidence(NOT_ENOUGH, f"needs contrastive at τ ≤ {SMALL_TEMPERATURE:g}")
    values = list(study.cells[CellKey("contrastive", taus[0])].by_seed(EFFECTIVE).values())
    if len(values) < LEAST_SEEDS:
        return too_few(
            seeds=len(values), number=f"τ = {temperature_words(taus[0])}: exp(H) = {values[0]:.2f}"
        )
    return judged(
        bootstrap_interval(values)[1] <= FEW_NEIGHBOURS,
        f"τ = {temperature_words(taus[0])}: exp(H) = {with_interval(values, 3)} negatives; "
        f"{seed_words([len(values)])}",
    )


def trend(quantity: Measured, direction: int, loss: str = "contrastive") -> Callable:
    """A claim that a quantity rises (+1) or falls (-1) with the temperature."""

    def evaluate(study: Study) -> Evidence:
        series = study.series(loss, quantity)
        taus = [tau for tau, _ in series]
        means = [summary.mean for _, summary in series]
        if len(taus) < LEAST_TEMPERATURES:
            return too_few(len(taus))
        rho, p = _trend_of(taus, means, direction)
        by_seed = _rho_by_seed(study, loss, quantity)
        number = f"ρ = {minus(f'{rho:.2f}')}"
        if len(by_seed) >= LEAST_SEEDS:
            low, high = bootstrap_interval(by_seed)
            average = minus(f"{mean(by_seed):.2f}")
            number += f" (by seed {average} [{minus(f'{low:.2f}')}, {minus(f'{high:.2f}')}])"
        number += f" over {len(taus)} temperatures, {_p_words(p)}"
        number += f"; {study.seed_range([quantity], [loss])}"
        number += _without_small(taus, means)
        if len(by_seed) < LEAST_SEEDS:
            return Evidence(NOT_ENOUGH, number)
        same_way = min(direction * bound for bound in bootstrap_interval(by_seed)) > 0
        return judged(same_way and p < SIGNIFICANCE, number)

    return evaluate


def _trend_of(taus: Sequence[float], means: Sequence[float], direction: int) -> tuple[float, float]:
    return spearman(taus, means), permutation_p(taus, [direction * mean for mean in means])


def _rho_by_seed(study: Study, loss: str, quantity: Measured) -> list[float]:
    """One correlation for each seed that has enough temperatures."""
    points: dict[int, list[tuple[float, float]]] = {}
    for tau in study.temperatures_of(loss):
        for seed, value in study.cells[CellKey(loss, tau)].by_seed(quantity).items():
            points.setdefault(seed, []).append((tau, value))
    found = [
        spearman(*zip(*points[seed], strict=True))
        for seed in sorted(points)
        if len(points[seed]) >= LEAST_TEMPERATURES
    ]
    return [rho for rho in found if not math.isnan(rho)]


def _without_small(taus: Sequence[float], means: Sequence[float]) -> str:
    kept = [(t, m) for t, m in zip(taus, means, strict=True) if t >= SMALL_TEMPERATURE]
    if len(kept) == len(taus) or len(kept) < LEAST_TEMPERATURES:
        return ""
    return f"; over τ ≥ {SMALL_TEMPERATURE:g} alone ρ = " + minus(
        f"{spearman(*zip(*kept, strict=True)):.2f}"
    )


def _complete(study: Study, loss: str, quantity: Measured) -> tuple[list[float], list[list[float]]]:
    """The temperatures and the curves of the seeds that have a value at each of them.

    Where seeds have different temperatures, those temperatures count that at least two seeds have.
    """
    values = {
        tau: study.cells[CellKey(loss, tau)].by_seed(quantity)
        for tau in study.temperatures_of(loss)
    }
    taus = [tau for tau, by_seed in values.items() if len(by_seed) >= LEAST_SEEDS]
    seeds = sorted(set.intersection(*(set(values[tau]) for tau in taus))) if taus else []
    return taus, [[values[tau][seed] for tau in taus] for seed in seeds]


def _falls(
    study: Study, quantity: Measured, losses: tuple[str, ...]
) -> tuple[float, float, list[tuple[float, ...]]] | None:
    """Value at the smallest large temperature minus value at the largest, per seed and loss."""
    taus = set.intersection(*(set(study.temperatures_of(loss)) for loss in losses))
    large = sorted(
        tau
        for tau in taus
        if tau >= LARGE_TEMPERATURE
        and all(study.cells[CellKey(loss, tau)].by_seed(quantity) for loss in losses)
    )
    if not large or large[-1] < 2 * large[0]:
        return None
    low, high = large[0], large[-1]
    ends = [
        [study.cells[CellKey(loss, tau)].by_seed(quantity) for tau in (low, high)]
        for loss in losses
    ]
    seeds = sorted(set.intersection(*(set(end) for pair in ends for end in pair)))
    return low, high, [tuple(a[seed] - b[seed] for a, b in ends) for seed in seeds]


def _behind_best(
    study: Study, reference: str, other: str, quantity: Measured
) -> dict[int, float] | None:
    """Percentage points of a loss without temperature below the best cell of another, by seed."""
    series = study.series(reference, quantity)
    cell = study.cells.get(CellKey(other, None))
    if not series or cell is None or cell.summary(quantity) is None:
        return None
    most = max(summary.n for _, summary in series)
    best = max((s.mean, tau) for tau, s in series if s.n >= min(most, LEAST_SEEDS))[1]
    ours, theirs = cell.by_seed(quantity), study.cells[CellKey(reference, best)].by_seed(quantity)
    return {seed: 100 * (theirs[seed] - ours[seed]) for seed in sorted(set(ours) & set(theirs))}


def _p_words(p: float) -> str:
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.4f}" if p < 0.01 else f"p = {p:.2f}"
