"""The papers' tables with three lines per quantity: published, ours, difference.

A cell without a run says 'not yet run'.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxcl.reporting import paper
from jaxcl.reporting.names import (
    candidates_title,
    dataset_title,
    loss_title,
    temperature_words,
)
from jaxcl.reporting.quantities import ALIGNMENT, MINUS_UNIFORMITY, TOLERANCE, Quantity
from jaxcl.reporting.statistics import Summary
from jaxcl.reporting.study import CellKey, Measured, Study
from jaxcl.reporting.tables import NOT_RUN, Table, format_summary

# Losses of the EECS report by the names that they may have here, the first that was run counts.
_EECS_LOSSES = {
    "spring-like": ("spring",),
    "triplet": ("triplet",),
    "softmax": ("contrastive", "softmax"),
    "InfoNCE (NCE)": ("nce",),
}


def wang_liu_tables(dataset: str, studies: Sequence[Study]) -> list[Table]:
    """Main Table 1 and supplementary Tables 1 and 2 for one data set, beside every study of it."""
    ours = [study for study in studies if study.dataset == dataset]
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
                note=_note(ours),
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
        note=" ".join(filter(None, [_note(ours), paper.TABLE_1_NOTES.get(dataset, "")])),
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
    lines = [(title, "published", *(_published(value, 2) for value in values))]
    if not ours:
        blank = tuple(NOT_RUN for _ in values)
        return [*lines, ("", "ours", *blank), ("", "difference", *blank)]
    for study in ours:
        measured: Measured | None = study.accuracy if isinstance(quantity, str) else quantity
        summaries = [_find(study, setting, measured) for setting in settings]
        scale = measured.scale if measured is not None else 1.0
        label = f" ({_label(study, ours)})" if len(ours) > 1 else ""
        lines.append(("", f"ours{label}", *(_ours(s, digits, scale) for s in summaries)))
        lines.append(
            (
                "",
                f"difference{label}",
                *(
                    _difference(s, value, digits, scale)
                    for s, value in zip(summaries, values, strict=True)
                ),
            )
        )
    return lines


def decoupled_tables(studies: Sequence[Study]) -> list[Table]:
    """NT-Xent, DCL and DCLW by batch size (third party), and the paper's ImageNet numbers."""
    return [_decoupled_cifar(studies), _decoupled_imagenet(studies)]


def _decoupled_cifar(studies: Sequence[Study]) -> Table:
    columns = [
        (data, size) for data in paper.DECOUPLED_CIFAR for size in paper.DECOUPLED_BATCH_SIZES
    ]
    rows: list[tuple[str, ...]] = []
    groups = []
    for loss in ("contrastive", "dcl", "dclw"):
        values = [value for data in paper.DECOUPLED_CIFAR.values() for value in data[loss]]
        found = [
            _at_batch_size(studies, data, size, (loss, paper.DECOUPLED_TEMPERATURE))
            for data, size in columns
        ]
        title = {"contrastive": "NT-Xent"}.get(loss, loss_title(loss))
        groups.append(len(rows))
        rows += _three_lines(title, values, found, [2] * len(values), 100.0)
    return Table(
        title="Decoupled contrastive learning: linear accuracy [%] by batch size, third-party "
        "numbers",
        columns=("loss", "", *(f"{dataset_title(data)}, {size}" for data, size in columns)),
        rows=tuple(rows),
        note="Published: third party, not the authors of the paper, whose own tables for these "
        "data sets are not quoted here. Ours: in-batch negatives at τ = 0.1.",
        groups=tuple(groups[1:]),
        text_columns=2,
        compact=True,
    )


def _decoupled_imagenet(studies: Sequence[Study]) -> Table:
    rows: list[tuple[str, ...]] = []
    settings = list(paper.DECOUPLED_IMAGENET)
    for position, loss in enumerate(("contrastive", "dcl")):
        values = [paper.DECOUPLED_IMAGENET[setting][position] for setting in settings]
        found = [
            _at_batch_size(studies, "imagenet2012", size, (loss, None), epochs)
            for size, epochs, _ in settings
        ]
        title = {"contrastive": "SimCLR", "dcl": "DCL"}[loss]
        rows += _three_lines(title, values, found, [1] * len(values), 100.0)
    heads = [
        f"batch {size}, {epochs} epochs" + (f", {variant}" if variant else "")
        for size, epochs, variant in settings
    ]
    return Table(
        title="Decoupled contrastive learning: ImageNet-1K, ResNet-50, linear accuracy [%]",
        columns=("loss", "", *heads),
        rows=tuple(rows),
        groups=(3,),
        text_columns=2,
    )


def eecs_table(studies: Sequence[Study]) -> Table:
    """Table 1 of the EECS 442 report: four losses on STL-10 views of lightness and colour."""
    quantities = ("linear accuracy [%]", "uniformity (t = 2)", "alignment")
    study = next((s for s in studies if s.dataset == "stl10" and _eecs_losses(s)), None)
    rows: list[tuple[str, ...]] = []
    groups = []
    for printed, values in paper.EECS_TABLE_1.items():
        groups.append(len(rows))
        found = _eecs_summaries(study, printed)
        rows += _three_lines(printed, values, found, (1, 3, 3), 1.0)
    return Table(
        title="Contrastive multiview coding on STL-10: four losses (EECS 442 report, Table 1)",
        columns=("loss", "", *quantities),
        rows=tuple(rows),
        note="Uniformity and alignment: lower is better."
        + (f" Ours: {study.scale()}." if study else ""),
        groups=tuple(groups[1:]),
        text_columns=2,
        compact=True,
    )


def _eecs_losses(study: Study) -> set[str]:
    # 'contrastive' alone is not the study of the report.
    return {"spring", "triplet", "nce", "softmax"} & set(study.losses)


def _eecs_summaries(study: Study | None, printed: str) -> list[Summary | None]:
    if study is None:
        return [None, None, None]
    for name in _EECS_LOSSES[printed]:
        for key, cell in study.ordered_cells():
            if key.loss == name:
                accuracy = cell.summary(study.accuracy) if study.accuracy else None
                uniformity = cell.summary(MINUS_UNIFORMITY)
                return [
                    _scaled(accuracy, 100.0),
                    _scaled(uniformity, -1.0),
                    cell.summary(ALIGNMENT),
                ]
    return [None, None, None]


def _scaled(summary: Summary | None, factor: float) -> Summary | None:
    if summary is None:
        return None
    return Summary(summary.mean * factor, summary.std * abs(factor), summary.n)


def _three_lines(
    title: str,
    values: Sequence[float],
    found: Sequence[Summary | None],
    digits: Sequence[int],
    scale: float,
) -> list[tuple[str, ...]]:
    columns = list(zip(found, values, digits, strict=True))
    return [
        (title, "published", *(_published(value, 0) for value in values)),
        ("", "ours", *(_ours(s, places, scale) for s, _, places in columns)),
        ("", "difference", *(_difference(s, v, places, scale) for s, v, places in columns)),
    ]


def _find(study: Study, setting: paper.Setting, quantity: Measured | None) -> Summary | None:
    loss, temperature = setting
    cell = study.cells.get(CellKey(loss, temperature))
    return cell.summary(quantity) if cell is not None and quantity is not None else None


def _at_batch_size(
    studies: Sequence[Study],
    dataset: str,
    size: int,
    setting: paper.Setting,
    epochs: int | None = None,
) -> Summary | None:
    """The accuracy in the first study of that data set and batch size; None: any temperature."""
    loss, temperature = setting
    for study in studies:
        s = study.settings
        if (study.dataset, study.candidates, s.get("train.batch_size")) != (dataset, "batch", size):
            continue
        if epochs is not None and s.get("train.epochs") != epochs:
            continue
        for key, cell in study.ordered_cells():
            if key.loss == loss and temperature in (None, key.temperature) and study.accuracy:
                return cell.summary(study.accuracy)
    return None


def _label(study: Study, siblings: Sequence[Study]) -> str:
    """What tells a study from its siblings: candidates, the model if it varies, settings."""
    words = [candidates_title(study.candidates)]
    if len({sibling.model for sibling in siblings}) > 1:
        words.append(study.model)
    return ", ".join(words + study.differences(" "))


def _note(ours: Sequence[Study]) -> str:
    if not ours:
        return ""
    scales = "; ".join(dict.fromkeys(study.scale() for study in ours))
    return f"Ours: {scales}. Mean ± standard deviation over seeds where there are several."


def _published(value: float, decimals: int) -> str:
    """As printed: at least so many decimals, more where the paper gives more."""
    printed = len(f"{value:g}".partition(".")[2])
    return f"{value:.{max(decimals, printed)}f}".replace("-", "−")


def _ours(summary: Summary | None, digits: int, scale: float) -> str:
    return NOT_RUN if summary is None else format_summary(summary, digits, scale)


def _difference(summary: Summary | None, value: float, digits: int, scale: float) -> str:
    if summary is None:
        return NOT_RUN
    return f"{summary.mean * scale - value:+.{digits}f}".replace("-", "−")
