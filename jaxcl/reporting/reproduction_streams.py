"""Table 1 of the EECS 442 report beside every study of two streams."""

from __future__ import annotations

from collections.abc import Sequence

from jaxcl.reporting import paper
from jaxcl.reporting.names import dataset_title
from jaxcl.reporting.quantities import ALIGNMENT, MINUS_UNIFORMITY
from jaxcl.reporting.side_by_side import Column, our_lines, published_line, scale_note, study_label
from jaxcl.reporting.statistics import Summary
from jaxcl.reporting.streams import cell_of, stream_studies
from jaxcl.reporting.study import Study
from jaxcl.reporting.tables import Table

_DIGITS = (1, 3, 3)


def eecs_table(studies: Sequence[Study]) -> Table:
    """Four losses on views of lightness and colour: accuracy, uniformity, alignment."""
    ours: list[Study] = stream_studies(studies)
    rows: list[tuple[str, ...]] = []
    groups = []
    for printed, values in paper.EECS_TABLE_1.items():
        groups.append(len(rows))
        rows.append(published_line(printed, values))
        for study in ours or [None]:
            rows += our_lines(_label(study, ours), _columns(study, printed, values), 1.0)
    return Table(
        title="Contrastive multiview coding: four losses (EECS 442 report, Table 1, STL-10)",
        columns=("loss", "", "linear accuracy [%]", "uniformity (t = 2)", "alignment"),
        rows=tuple(rows),
        note=" ".join(["Uniformity and alignment: lower is better.", scale_note(ours)]).strip(),
        groups=tuple(groups[1:]),
        text_columns=2,
        compact=True,
    )


def _label(study: Study | None, ours: Sequence[Study]) -> str:
    if study is None or (len(ours) == 1 and study.dataset == "stl10"):
        return ""
    words = [dataset_title(study.dataset)]
    same = [sibling for sibling in ours if sibling.dataset == study.dataset]
    if len(same) > 1:
        words.append(study_label(study, same))
    return f" ({', '.join(words)})"


def _columns(study: Study | None, printed: str, values: Sequence[float]) -> list[Column]:
    found = _summaries(study, printed)
    return list(zip(found, values, _DIGITS, strict=True))


def _summaries(study: Study | None, printed: str) -> list[Summary | None]:
    pair = cell_of(study, printed) if study is not None else None
    if study is None or pair is None:
        return [None, None, None]
    cell = pair[1]
    accuracy = cell.summary(study.accuracy) if study.accuracy else None
    return [
        _scaled(accuracy, 100.0),
        _scaled(cell.summary(MINUS_UNIFORMITY), -1.0),
        cell.summary(ALIGNMENT),
    ]


def _scaled(summary: Summary | None, factor: float) -> Summary | None:
    if summary is None:
        return None
    return Summary(summary.mean * factor, summary.std * abs(factor), summary.n)
