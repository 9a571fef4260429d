"""The claims of Wang & Liu (2021) as executable statements: what is said, and when it holds.

References:
  Feng Wang, Huaping Liu: Understanding the Behaviour of Contrastive Loss. CVPR 2021, Sections 3-5.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxcl.reporting import paper
from jaxcl.reporting.evidence import (
    FAR_WORSE,
    FEW_NEIGHBOURS,
    LEAST_TEMPERATURES,
    NOT_FALLING,
    few_neighbours,
    hard_keeps_accuracy,
    hard_keeps_uniformity,
    reversed_u,
    simple_needs_hardness,
    trend,
)
from jaxcl.reporting.quantities import ENTROPY, GAP, MINUS_UNIFORMITY, POSITIVE, TOLERANCE
from jaxcl.reporting.study import Study
from jaxcl.reporting.verdicts import LEAST_SEEDS, Claim, ClaimSet

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "reversed_u",
        "Accuracy of the contrastive loss over τ is a reversed U with an interior best",
        "the best τ, chosen on the other seeds, is interior and beats both ends of the grid "
        "(intervals above 0)",
        reversed_u,
    ),
    Claim(
        "uniformity_falls",
        "−uniformity decreases with τ",
        "ρ < 0 on all resamples of seeds, p < 0.05",
        trend(MINUS_UNIFORMITY, -1),
    ),
    Claim(
        "tolerance_rises",
        "Tolerance increases with τ",
        "ρ > 0 on all resamples of seeds, p < 0.05",
        trend(TOLERANCE, +1),
    ),
    Claim(
        "hard_keeps_uniformity",
        "The hard loss keeps its uniformity at large τ",
        "it changes by less than half of the contrastive loss's fall between the smallest τ ≥ 0.3 "
        "and the largest",
        hard_keeps_uniformity,
    ),
    Claim(
        "hard_keeps_accuracy",
        "The hard loss's accuracy does not fall at large τ",
        f"it falls by less than {NOT_FALLING:g} percentage point between the smallest τ ≥ 0.3 and "
        "the largest",
        hard_keeps_accuracy,
    ),
    Claim(
        "simple_needs_hardness",
        "Simple is far worse than contrastive; hard simple is close to hard",
        f"simple is more than {FAR_WORSE:g} percentage points below the best contrastive, and "
        "hard simple is behind the best hard by less than a quarter of that",
        simple_needs_hardness,
    ),
    Claim(
        "gap_shrinks",
        "The gap between positive and nearest negative shrinks as τ grows",
        "ρ < 0 on all resamples of seeds, p < 0.05",
        trend(GAP, -1),
    ),
    Claim(
        "positives_align",
        "Positives are more aligned as τ grows",
        "ρ > 0 on all resamples of seeds, p < 0.05",
        trend(POSITIVE, +1),
    ),
    Claim(
        "entropy_rises",
        "The entropy of the penalties rises with τ",
        "ρ > 0 on all resamples of seeds, p < 0.05",
        trend(ENTROPY, +1),
    ),
    Claim(
        "few_neighbours",
        "The smallest τ concentrates the penalty on one or two neighbours",
        f"the effective number of negatives exp(H) is at most {FEW_NEIGHBOURS:g} on average over "
        "anchors",
        few_neighbours,
    ),
)


def judged(studies: Sequence[Study]) -> list[Study]:
    """The studies that have a grid of temperatures, to which the claims apply."""
    return [
        study
        for study in studies
        if max(len(study.temperatures_of(loss)) for loss in ("contrastive", "hard")) > 1
    ]


WANG_LIU = ClaimSet(
    citation=paper.WANG_LIU,
    claims=CLAIMS,
    subjects=judged,
    note="ρ: Spearman's rank correlation with τ of the mean over seeds, in brackets the mean over "
    "single seeds; intervals: 95 % bootstrap over seeds; p: one-sided permutation test over "
    f"temperatures. A verdict needs {LEAST_SEEDS} seeds and, for trends, {LEAST_TEMPERATURES} "
    "temperatures.",
)
