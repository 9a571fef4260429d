"""The claims of decoupled contrastive learning, judged over batch sizes.

Differences are paired by seed and judged by the bootstrap over seeds; with two seeds both must
agree. The rules are ours, since the paper states its claims in words.

References:
  Chun-Hsiao Yeh et al.: Decoupled Contrastive Learning. ECCV 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from jaxcl.reporting import paper
from jaxcl.reporting.batches import BatchStudy, batch_studies
from jaxcl.reporting.names import loss_title, seed_words
from jaxcl.reporting.quantities import MULTIPLIER, Readout
from jaxcl.reporting.statistics import bootstrap_interval, mean
from jaxcl.reporting.verdicts import (
    LEAST_SEEDS,
    NOT_ENOUGH,
    Claim,
    ClaimSet,
    Evidence,
    judged,
    minus,
    too_few,
    with_interval,
)

LEAST_SIZES = 3  # of batches, for a trend
SMALL_BATCH = 64  # images: up to here a batch counts as small


def multiplier_grows(study: BatchStudy) -> Evidence:
    """q_B of the coupled loss is larger at each larger batch size, on all resamples of seeds."""
    values = {size: study.by_seed(study.ordinary, size, MULTIPLIER) for size in study.sizes}
    sizes = [size for size in study.sizes if values[size]]
    seeds = sorted(set.intersection(*(set(values[size]) for size in sizes))) if sizes else []
    means = ", ".join(f"{size}: {mean(list(values[size].values())):.3f}" for size in sizes)
    number = f"mean q_B of {loss_title(study.ordinary)} at {means}" if sizes else "q_B not logged"
    if len(sizes) < LEAST_SIZES or len(seeds) < LEAST_SEEDS:
        return _too_few(len(sizes), len(seeds), number)
    steps = [[values[b][seed] - values[a][seed] for seed in seeds] for a, b in pairwise(sizes)]
    least = min(steps, key=lambda step: bootstrap_interval(step)[0])
    return judged(
        bootstrap_interval(least)[0] > 0,
        f"{number}; least step {with_interval(least, 3)}; {seed_words([len(seeds)])}",
    )


def ahead_at_small_batches(study: BatchStudy) -> Evidence:
    """DCL is not behind the coupled loss at any batch size up to 64."""
    readout = study.accuracy
    small = [size for size in study.sizes if size <= SMALL_BATCH]
    if readout is None or not small:
        return Evidence(NOT_ENOUGH, f"needs accuracies at a batch size up to {SMALL_BATCH}")
    leads = {size: _leads(study, "dcl", size, readout) for size in small}
    least = min(len(lead) for lead in leads.values())
    if least < LEAST_SEEDS:
        return _too_few(None, least, _lead_words(leads))
    return judged(
        all(bootstrap_interval(lead)[0] >= 0 for lead in leads.values()),
        f"DCL − {loss_title(study.ordinary)}, percentage points: {_lead_words(leads)}"
        + _nearest_words(study, small)
        + f"; {seed_words([least])}",
    )


def lead_shrinks(study: BatchStudy) -> Evidence:
    """DCL's lead at the smallest batch size is larger than at the largest."""
    readout = study.accuracy
    if readout is None or len(study.sizes) < 2:
        return Evidence(NOT_ENOUGH, "needs accuracies at two batch sizes")
    low, high = study.sizes[0], study.sizes[-1]
    ends = [_paired(study, "dcl", size, readout) for size in (low, high)]
    seeds = sorted(set(ends[0]) & set(ends[1]))
    leads = {size: _leads(study, "dcl", size, readout) for size in study.sizes}
    words = _lead_words({size: lead for size, lead in leads.items() if lead})
    if len(seeds) < LEAST_SEEDS:
        return _too_few(None, len(seeds), words)
    shrinkage = [ends[0][seed] - ends[1][seed] for seed in seeds]
    return judged(
        bootstrap_interval(shrinkage)[0] > 0,
        f"from {low} to {high} images the lead falls by {with_interval(shrinkage)} percentage "
        f"points ({words}); {seed_words([len(seeds)])}",
    )


def _paired(study: BatchStudy, loss: str, size: int, readout: Readout) -> dict[int, float]:
    """Percentage points of a loss above the coupled one, by seed."""
    ours = study.by_seed(loss, size, readout)
    theirs = study.by_seed(study.ordinary, size, readout)
    return {seed: 100 * (ours[seed] - theirs[seed]) for seed in sorted(set(ours) & set(theirs))}


def _leads(study: BatchStudy, loss: str, size: int, readout: Readout) -> list[float]:
    return list(_paired(study, loss, size, readout).values())


def _lead_words(leads: dict[int, list[float]]) -> str:
    return ", ".join(f"{size}: {with_interval(lead)}" for size, lead in leads.items() if lead)


def _nearest_words(study: BatchStudy, sizes: Sequence[int]) -> str:
    """The same by kNN, for the reader."""
    nearest = next((readout for readout in study.readouts if readout.is_knn), None)
    if nearest is None or nearest == study.accuracy:
        return ""
    leads = {size: _leads(study, "dcl", size, nearest) for size in sizes}
    words = _lead_words(leads)
    return f" (kNN {words})" if words else ""


def _too_few(sizes: int | None, seeds: int, number: str) -> Evidence:
    evidence = too_few(seeds=seeds, number=number)
    if sizes is None or sizes >= LEAST_SIZES:
        return evidence
    return Evidence(NOT_ENOUGH, minus(f"{evidence.number}, {sizes} batch size(s)"))


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "multiplier_grows",
        "The multiplier q_B of the coupled loss grows with the batch size",
        "its mean over the training is larger at each larger batch size (intervals of all steps "
        "above 0)",
        multiplier_grows,
    ),
    Claim(
        "ahead_at_small_batches",
        "DCL is at least as accurate as NT-Xent at small batch sizes",
        f"accuracy of DCL − NT-Xent at each batch size up to {SMALL_BATCH}: no interval reaches "
        "below 0",
        ahead_at_small_batches,
    ),
    Claim(
        "lead_shrinks",
        "DCL's lead over NT-Xent shrinks with the batch size",
        "lead at the smallest batch size − lead at the largest: interval above 0",
        lead_shrinks,
    ),
)

DECOUPLED_CLAIMS = ClaimSet(
    citation=paper.DECOUPLED,
    claims=CLAIMS,
    subjects=batch_studies,
    note="Intervals: 95 % bootstrap over seeds, differences paired by seed; with two seeds both "
    "must agree. Accuracy is that of the linear readout unless it says kNN. A verdict needs "
    f"{LEAST_SEEDS} seeds and, for q_B, {LEAST_SIZES} batch sizes.",
)
