"""The tables of Wang & Liu with three lines per quantity: published, ours, difference.

A cell without a run says 'not yet run'.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxcl.reporting import paper
from jaxcl.reporting.names import dataset_title, loss_title, temperature_words
from jaxcl.reporting.quantities import MINUS_UNIFORMITY, TOLERANCE, Quantity
from jaxcl.reporting.side_by_side import (
    difference_text,
    ours_text,
    published_text,
    scale_note,
    study_label,
)
from jaxcl.reporting.statistics import Summary
from jaxcl.reporting.study import CellKey, Measured, Study
from jaxcl.reporting.tables import NOT_RUN, Table

# What the paper's tables compare; other studies of the same data sets have tables of their own.
_LOSSES = {"contrastive", "hard", "simple", "hard_simple"}


def wang_liu_tables(dataset: str, studies: Sequence[Study]) -> list[Table]:
    """Main Table 1 and supplementary Tables 1 and 2 for one data set, beside every study of it."""
    ours = [study for study in studies if study.dataset == dataset and _is_comparable(study)]
    tables = [_table_1(dataset, ours)]
    for number, loss in enumerate(("contrastive", "hard"), start=1):
        settings = [(loss, tau) for tau in paper.TEMPERATURES]
        lines = _lines("accuracy [%]", paper.ACCURACY[loss][dataset], settings, ours, "accuracy", 2)
        tables.append(
            Table(
                title=f"{dataset_title(dataset)}: {loss_title(loss)}, linear accuracy [%] by "
                f"temperature (supplementary Table {number})",
                columns=("", *(f"τ = {temperature_words(tau)}" for tau in paper.TEMPERATURES)),
                rows=tuple(row[1:] for row in lines),
                note=scale_note(ours),
                compact=True,
            )
        )
    return tables


def _table_1(dataset: str, ours: Sequence[Study]) -> Table:
    values = paper.TABLE_1[dataset]
    quantities: tuple[tuple[str, str, Quantity | str, int], ...] = (
        ("accuracy [%]", "accuracy", "accuracy", 2),
        ("−uniformity", "minus_uniformity", MINUS_UNIFORMITY, 3),
        ("tolerance", "tolerance", TOLERANCE, 3),
    )
    rows: list[tuple[str, ...]] = []
    groups = []
    for title, name, quantity, digits in quantities:
        groups.append(len(rows))
        rows += _lines(title, values[name], paper.TABLE_1_SETTINGS, ours, quantity, digits)
    heads = [
        loss_title(loss) + (f" τ = {temperature_words(tau)}" if tau is not None else "")
        for loss, tau in paper.TABLE_1_SETTINGS
    ]
    return Table(
        title=f"{dataset_title(dataset)}: accuracy, −uniformity, tolerance (main Table 1)",
        columns=("quantity", "", *heads),
        rows=tuple(rows),
        note=" ".join(filter(None, [scale_note(ours), paper.TABLE_1_NOTES.get(dataset, "")])),
        groups=tuple(groups[1:]),
        text_columns=2,
        compact=True,
    )


def _lines(
    title: str,
    values: Sequence[float],
    settings: Sequence[paper.Setting],
    ours: Sequence[Study],
    quantity: Quantity | str,
    digits: int,
) -> list[tuple[str, ...]]:
    """The lines of one quantity: 'published', then 'ours' and 'difference' for each study."""
    lines = [(title, "published", *(published_text(value, 2) for value in values))]
    if not ours:
        blank = tuple(NOT_RUN for _ in values)
        return [*lines, ("", "ours", *blank), ("", "difference", *blank)]
    for study in ours:
        measured: Measured | None = study.accuracy if isinstance(quantity, str) else quantity
        summaries = [_find(study, setting, measured) for setting in settings]
        scale = measured.scale if measured is not None else 1.0
        label = f" ({study_label(study, ours)})" if len(ours) > 1 else ""
        lines.append(("", f"ours{label}", *(ours_text(s, digits, scale) for s in summaries)))
        lines.append(
            (
                "",
                f"difference{label}",
                *(
                    difference_text(s, value, digits, scale)
                    for s, value in zip(summaries, values, strict=True)
                ),
            )
        )
    return lines


def _is_comparable(study: Study) -> bool:
    return study.settings.get("model.streams", 1) == 1 and bool(
        _LOSSES & {loss.partition(" (")[0] for loss in study.losses}
    )


def _find(study: Study, setting: paper.Setting, quantity: Measured | None) -> Summary | None:
    loss, temperature = setting
    cell = study.cells.get(CellKey(loss, temperature))
    return cell.summary(quantity) if cell is not None and quantity is not None else None
