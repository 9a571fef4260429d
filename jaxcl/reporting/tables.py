"""Tables as plain values, and their three faces: markdown, CSV and (in `page`) HTML.

The same rows always give the same bytes: every order is fixed and nothing depends on the clock.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from jaxcl.reporting.names import loss_title, temperature_words
from jaxcl.reporting.quantities import (
    ALIGNMENT,
    ANALYSIS,
    EFFECTIVE,
    ENTROPY,
    GAP,
    MINUS_UNIFORMITY,
    NEAREST,
    PAIRS,
    POSITIVE,
    STREAMS,
    TOLERANCE,
    TOP,
    TRAINING,
    Readout,
)
from jaxcl.reporting.statistics import Summary, summarize
from jaxcl.reporting.study import Cell, Measured, Study

NOT_RUN = "not yet run"
NOT_PUBLISHED = "not published here"


@dataclass(frozen=True)
class Table:
    """A table of text.

    `groups` are the rows above which a line stands, `best` the cells in bold; a `compact` table has
    many columns.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    groups: tuple[int, ...] = ()
    best: frozenset[tuple[int, int]] = frozenset()
    text_columns: int = 1
    compact: bool = False


def format_summary(summary: Summary | None, digits: int, scale: float = 1.0) -> str:
    """'83.27 ± 0.21', one seed without the spread, a dash where nothing was measured.

    >>> format_summary(Summary(0.83271, 0.0021, 3), 2, 100.0)
    '83.27 ± 0.21'
    """
    if summary is None:
        return "—"
    mean = _signed(summary.mean * scale, digits)
    return mean if summary.n == 1 else f"{mean} ± {summary.std * scale:.{digits}f}"


def cell_table(study: Study) -> Table:
    """Accuracy, uniformity, tolerance and alignment of all cells, over seeds."""
    quantities = measured([study], (*study.readouts, MINUS_UNIFORMITY, TOLERANCE, ALIGNMENT))
    return _cells(
        study,
        quantities,
        title=f"All cells: {study.title}",
        note=f"{study.scale()}. Mean ± standard deviation over n seeds (sample, n − 1). Bold: the "
        "best accuracy of each column.",
    )


def penalty_table(study: Study) -> Table | None:
    """Local separation and relative penalties of all cells; None if they were not measured."""
    quantities = measured([study], (POSITIVE, NEAREST, GAP, ENTROPY, EFFECTIVE, TOP))
    if not quantities:
        return None
    return _cells(
        study,
        quantities,
        title=f"Local separation and penalties: {study.title}",
        note="Cosine similarities, mean over anchors of the test split; relative penalties of "
        "each anchor's negatives, their entropy H, exp(H) and the largest of them, mean over "
        "anchors. Mean ± standard deviation over n seeds.",
    )


def _cells(study: Study, quantities: Sequence[Measured], title: str, note: str) -> Table:
    entries = [
        ((loss_title(key.loss), tau_text(key.temperature)), cell)
        for key, cell in study.ordered_cells()
    ]
    return table_of_cells(entries, ("loss", "τ"), quantities, title, note)


def table_of_cells(
    entries: Sequence[tuple[tuple[str, ...], Cell]],
    heads: tuple[str, ...],
    quantities: Sequence[Measured],
    title: str,
    note: str,
) -> Table:
    """One line a cell: its heads, how many seeds, and each quantity; grouped by the first head."""
    rows: list[tuple[str, ...]] = []
    groups: list[int] = []
    last = None
    for head, cell in entries:
        summaries = [cell.summary(quantity) for quantity in quantities]
        if last not in (None, head[0]):
            groups.append(len(rows))
        last = head[0]
        pairs = zip(quantities, summaries, strict=True)
        values = (format_summary(s, q.digits, q.scale) for q, s in pairs)
        rows.append((*head, _count(summaries), *values))
    first = len(heads) + 1
    accuracies = [first + i for i, q in enumerate(quantities) if isinstance(q, Readout)]
    return Table(
        title=title,
        columns=(*heads, "n", *(quantity.title for quantity in quantities)),
        rows=tuple(rows),
        note=note,
        groups=tuple(groups),
        best=_best(rows, accuracies),
    )


def baseline_table(study: Study) -> Table | None:
    """Raw pixels and the untrained encoder beside the best trained cell, for each readout."""
    rows = baseline_rows(study.baselines)
    if not rows:
        return None
    groups = [len(rows)]
    for readout in study.readouts:
        best = _best_cell(study, readout)
        if best is not None:
            words, summary = best
            rows.append(
                (
                    f"best trained: {words}",
                    readout.title.removesuffix(" [%]"),
                    format_summary(summary, 2, 100.0),
                    str(summary.n),
                )
            )
    return Table(
        title=f"Baselines: {study.title}",
        columns=("features", "readout", "accuracy [%]", "n"),
        rows=tuple(rows),
        note="Mean ± standard deviation over n seeds. The best trained cell is chosen by its mean "
        "on the same test images, which flatters it slightly.",
        groups=tuple(groups),
        text_columns=2,
    )


def baseline_rows(
    baselines: Mapping[tuple[str, Readout], Mapping[int, float]],
) -> list[tuple[str, ...]]:
    """Features, readout, accuracy and n of each baseline, pixels first."""
    names = {"pixels": "raw pixels", "untrained": "untrained encoder"}
    return [
        (
            names.get(encoder, encoder),
            readout.title.removesuffix(" [%]"),
            format_summary(summarize(baselines[encoder, readout].values()), 2, 100.0),
            str(len(baselines[encoder, readout])),
        )
        for encoder, readout in sorted(baselines, key=lambda k: (k[0] != "pixels", k[0], k[1]))
    ]


def markdown(tables: Sequence[Table]) -> str:
    """All tables as one markdown document."""
    parts = []
    for table in tables:
        cells = [list(table.columns)] + [
            [f"**{c}**" if (i, j) in table.best else c for j, c in enumerate(row)]
            for i, row in enumerate(table.rows)
        ]
        align = ["---" if j < table.text_columns else "---:" for j in range(len(table.columns))]
        lines = ["| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in cells]
        lines.insert(1, "| " + " | ".join(align) + " |")
        parts.append("\n".join([f"## {table.title}", "", *lines]))
        if table.note:
            parts[-1] += f"\n\n{table.note}"
    return "\n\n".join(parts) + "\n"


def csv_text(studies: Sequence[Study]) -> str:
    """One line per cell: mean, std and n of every quantity, accuracies as fractions."""
    readouts = sorted({readout for study in studies for readout in study.readouts})
    extra = [q for q in (*STREAMS, *PAIRS, *TRAINING) if measured(studies, [q])]
    quantities: list[Measured] = [*readouts, *ANALYSIS, *extra]
    header = ["study", "dataset", "candidates", "model", "loss", "temperature"]
    header += [f"{q.name}_{part}" for q in quantities for part in ("mean", "std", "n")]
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(header)
    for study in studies:
        for key, cell in study.ordered_cells():
            temperature = "" if key.temperature is None else f"{key.temperature:g}"
            line = [study.slug, study.dataset, study.candidates, study.model, key.loss, temperature]
            for quantity in quantities:
                summary = cell.summary(quantity)
                line += (
                    [f"{summary.mean:.8g}", _number(summary.std), str(summary.n)]
                    if summary
                    else ["", "", "0"]
                )
            writer.writerow(line)
    return lines.getvalue()


def tau_text(temperature: float | None) -> str:
    return "—" if temperature is None else temperature_words(temperature)


def _count(summaries: Sequence[Summary | None]) -> str:
    counts = sorted({summary.n for summary in summaries if summary is not None})
    return "–".join(str(n) for n in (counts[:1] + counts[1:][-1:])) or "0"


def measured(studies: Iterable[Study], quantities: Sequence[Measured]) -> list[Measured]:
    """Those of the quantities that any cell has."""
    cells = [cell for study in studies for cell in study.cells.values()]
    return [q for q in quantities if any(cell.summary(q) is not None for cell in cells)]


def _best(rows: Sequence[Sequence[str]], columns: Sequence[int]) -> frozenset[tuple[int, int]]:
    marked = set()
    for column in columns:
        values = [(_leading(row[column]), i) for i, row in enumerate(rows)]
        top = max((value for value, _ in values if value is not None), default=None)
        marked |= {(i, column) for value, i in values if value is not None and value == top}
    return frozenset(marked)


def _leading(text: str) -> float | None:
    try:
        return float(text.split(" ")[0].replace("−", "-"))
    except ValueError:
        return None


def _best_cell(study: Study, readout: Readout) -> tuple[str, Summary] | None:
    found = [
        (summary, key)
        for key, cell in study.ordered_cells()
        if (summary := cell.summary(readout)) is not None
    ]
    if not found:
        return None
    summary, key = max(found, key=lambda pair: pair[0].mean)
    tau = "" if key.temperature is None else f", τ = {temperature_words(key.temperature)}"
    return f"{loss_title(key.loss)}{tau}", summary


def _signed(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", "−")


def _number(value: float) -> str:
    return "" if value != value else f"{value:.8g}"
