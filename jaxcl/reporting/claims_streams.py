"""What the EECS 442 report says of its four losses, judged on studies of two streams.

References:
  Yixuan Wang, Haomeng Zhang, Qingyi Chen, Shuangrui Ding: Effect of Contrastive Loss on
  Unsupervised Representation Learning. EECS 442 project report, University of Michigan, 2020.
"""

from __future__ import annotations

from collections.abc import Callable

from jaxcl.reporting import paper
from jaxcl.reporting.names import seed_words
from jaxcl.reporting.quantities import ALIGNMENT, MINUS_UNIFORMITY, Quantity
from jaxcl.reporting.statistics import bootstrap_interval, mean
from jaxcl.reporting.streams import PRINTED, cell_of, stream_studies
from jaxcl.reporting.study import Measured, Study
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


def best(printed: str, quantity: Quantity | None, direction: int) -> Callable[[Study], Evidence]:
    """A claim that one loss is the best of the four.

    Args:
      printed: the loss, as the report names it.
      quantity: what is compared; None for the accuracy.
      direction: +1 where more is better, -1 where less is.
    """

    def evaluate(study: Study) -> Evidence:
        measured = study.accuracy if quantity is None else quantity
        if measured is None:
            return Evidence(NOT_ENOUGH, "no accuracies")
        values = {name: _by_seed(study, name, measured) for name in PRINTED}
        number = _number(values, measured)
        missing = [name for name, by_seed in values.items() if not by_seed]
        if missing:
            return Evidence(NOT_ENOUGH, "; ".join(filter(None, [number, f"no {missing[0]}"])))
        seeds = sorted(set.intersection(*(set(by_seed) for by_seed in values.values())))
        if len(seeds) < LEAST_SEEDS:
            return too_few(seeds=len(seeds), number=number)
        margins = {
            name: [direction * (values[printed][s] - by_seed[s]) * measured.scale for s in seeds]
            for name, by_seed in values.items()
            if name != printed
        }
        rival = min(margins, key=lambda name: mean(margins[name]))
        ahead = all(bootstrap_interval(margin)[0] > 0 for margin in margins.values())
        lead = with_interval(margins[rival], measured.digits)
        return judged(
            ahead,
            f"{number}; {printed} is better than {rival} by {lead}; {seed_words([len(seeds)])}",
        )

    return evaluate


def _by_seed(study: Study, printed: str, measured: Measured) -> dict[int, float]:
    found = cell_of(study, printed)
    return found[1].by_seed(measured) if found is not None else {}


def _number(values: dict[str, dict[int, float]], measured: Measured) -> str:
    parts = [
        f"{name} " + minus(f"{mean(list(by_seed.values())) * measured.scale:.{measured.digits}f}")
        for name, by_seed in values.items()
        if by_seed
    ]
    return ", ".join(parts)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "softmax_accuracy",
        "The softmax loss gives the best linear accuracy [%]",
        "better than each of the other three (intervals above 0)",
        best("softmax", None, +1),
    ),
    Claim(
        "triplet_alignment",
        "The triplet loss gives the best alignment (the lowest)",
        "lower than each of the other three (intervals above 0)",
        best("triplet", ALIGNMENT, -1),
    ),
    Claim(
        "nce_uniformity",
        "The NCE loss gives the best uniformity (the largest −uniformity)",
        "larger than that of each of the other three (intervals above 0)",
        best("InfoNCE (NCE)", MINUS_UNIFORMITY, +1),
    ),
)

STREAM_CLAIMS = ClaimSet(
    citation=paper.EECS,
    claims=CLAIMS,
    subjects=stream_studies,
    note="Intervals: 95 % bootstrap over seeds of the difference to the runner-up, paired by seed; "
    f"with two seeds both must agree. A verdict needs all four losses and {LEAST_SEEDS} seeds. "
    "Uniformity is the mean over the two streams.",
)
