"""The study of four losses on two colour streams: which studies are one, and what they should show.

The report's encoder ends in a ReLU, so that features are not negative and the streams at most
orthogonal. Its spring-like loss reads as a collapse onto two orthogonal constants; whether ours do
the same, and whether the margin explains it, is checked here on the runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from jaxcl.reporting.names import loss_title
from jaxcl.reporting.quantities import ALIGNMENT, FINAL_LOSS, NEAREST, STREAMS
from jaxcl.reporting.runs import flatten
from jaxcl.reporting.study import Cell, CellKey, Study
from jaxcl.reporting.tables import NOT_RUN, Table, format_summary

# Loss as the report prints it -> its names here; the first that was run counts.
PRINTED = {
    "spring-like": ("spring",),
    "triplet": ("triplet",),
    "softmax": ("softmax", "contrastive"),
    "InfoNCE (NCE)": ("nce",),
}
CONSTANT = 0.05  # a stream is one point where −uniformity is less: squared distances of about 0.01
ORTHOGONAL = 0.05  # how far from 2 the alignment of orthogonal streams may be
TOUCHING = 0.05  # and from 0 that of streams at the same point


def stream_studies(studies: Sequence[Study]) -> list[Study]:
    """The studies of two streams that hold a loss of the report which nothing else here uses."""
    own = {"spring", "triplet", "nce"}
    return [
        study
        for study in studies
        if study.settings.get("model.streams") == 2
        and own & {loss.partition(" (")[0] for loss in study.losses}
    ]


def cell_of(study: Study, printed: str) -> tuple[CellKey, Cell] | None:
    """The cell of a loss of the report; of several constants the defaults, else the first."""
    for name in PRINTED[printed]:
        found = [
            (key, cell)
            for key, cell in study.ordered_cells()
            if key.loss.partition(" (")[0] == name
        ]
        plain = [pair for pair in found if pair[0].loss in (name, f"{name} (defaults)")]
        if found:
            return (plain or found)[0]
    return None


def collapsed_loss(loss: str, settings: dict, margin: float) -> float | None:
    """The loss of each direction once every stream is one point, by closed form.

    >>> banks = {"candidates.kind": "stream_banks", "candidates.draws": 127}
    >>> [round(collapsed_loss(loss, banks, 1.0), 4) for loss in ("spring", "softmax", "nce")]
    [1.4142, 4.852, 5.8481]
    """
    banks = settings.get("candidates.kind") == "stream_banks"
    count = settings.get("candidates.draws" if banks else "train.batch_size")
    if not isinstance(count, int):
        return None
    m = count if banks else count - 1
    if loss == "spring":  # orthogonal: the farthest that constants without negative entries can be
        pushes = m * max(0.0, margin - math.sqrt(2))
        return math.sqrt(2) + pushes
    if loss == "triplet":
        return (m + 1) * margin
    if loss in ("softmax", "contrastive"):
        return math.log(1 + m)
    if loss == "nce":
        return math.log1p(m) + m * math.log1p(1 / m)
    return None


def consistency_table(study: Study) -> Table:
    """Whether encoders collapsed, onto what, and whether their margin lets them rest there."""
    rows = []
    for key, cell in study.ordered_cells():
        name = key.loss.partition(" (")[0]
        margin = _margin(cell) if name in ("spring", "triplet") else math.nan
        expected = collapsed_loss(name, study.settings, margin)
        rows.append(
            (
                loss_title(key.loss),
                _state(cell),
                _margin_words(name, cell, margin),
                format_summary(cell.summary(ALIGNMENT), 3),
                *(format_summary(cell.summary(stream), 3) for stream in STREAMS),
                _distance(cell),
                format_summary(cell.summary(FINAL_LOSS), 3),
                "—" if expected is None else f"{expected:.3f}",
            )
        )
    return Table(
        title=f"Consistency: {study.title}",
        columns=(
            "loss",
            "streams",
            "beyond the margin",
            "alignment",
            *(stream.title for stream in STREAMS),
            "distance of nearest negative",
            "final training loss",
            "loss if collapsed",
        ),
        rows=tuple(rows),
        text_columns=3,
        note="A stream is a constant where its −uniformity is below "
        f"{CONSTANT:g} (t = 2); streams are orthogonal where the alignment is within "
        f"{ORTHOGONAL:g} of 2. The spring-like loss pushes negatives only within its margin: "
        "orthogonal constants are √2 apart, so that with a smaller margin nothing pushes any more. "
        "Loss if collapsed, for each direction and m negatives: spring-like √2 + m [margin − √2]₊ "
        "(orthogonal), triplet (m + 1) margin, softmax log(1 + m), NCE log(1 + m) + m log(1 + "
        f"1/m). {_bounds(study)}",
    )


def _margin(cell: Cell) -> float:
    values = [flatten(run.config).get("loss.margin") for run in cell.runs]
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    return numbers[0] if numbers else math.nan


def _distance(cell: Cell) -> str:
    nearest = cell.summary(NEAREST)
    return "—" if nearest is None else f"{_apart(nearest.mean):.3f}"


def _apart(similarity: float) -> float:
    return math.sqrt(max(0.0, 2 - 2 * similarity))


def _state(cell: Cell) -> str:
    """What the streams became, over all seeds: 'orthogonal constants', 'spread'."""
    states = []
    for seed in sorted(cell.by_seed(ALIGNMENT)):
        alignment = cell.by_seed(ALIGNMENT)[seed]
        spreads = [cell.by_seed(stream).get(seed) for stream in STREAMS]
        if any(spread is None for spread in spreads):
            continue
        constant = [spread < CONSTANT for spread in spreads if spread is not None]
        if not any(constant):
            states.append("spread")
        elif not all(constant):
            states.append("one stream is a constant")
        elif abs(alignment - 2) < ORTHOGONAL:
            states.append("orthogonal constants")
        else:
            states.append("one constant" if alignment < TOUCHING else "two constants")
    if not states:
        return NOT_RUN
    names = sorted(set(states))
    if len(names) == 1:
        return names[0] + (f" ({len(states)} of {len(states)} seeds)" if len(states) > 1 else "")
    return ", ".join(f"{name} ({states.count(name)} of {len(states)})" for name in names)


def _margin_words(loss: str, cell: Cell, margin: float) -> str:
    nearest = cell.summary(NEAREST)
    if loss != "spring" or nearest is None or math.isnan(margin):
        return "—"
    beyond = _apart(nearest.mean) > margin
    return f"{'all' if beyond else 'not all'} negatives (margin {margin:g})"


def _bounds(study: Study) -> str:
    """Features that are not negative: alignment in [0, 2] and uniformity in [-4, 0]."""
    if study.settings.get("model.head") != "none":
        return ""
    alignments = [v for cell in study.cells.values() for v in cell.by_seed(ALIGNMENT).values()]
    if not alignments:
        return ""
    inside = sum(-1e-5 <= value <= 2 + 1e-5 for value in alignments)
    return (
        "The encoder ends in a ReLU, so that the alignment must lie in [0, 2]: "
        f"{inside} of {len(alignments)} runs."
    )
