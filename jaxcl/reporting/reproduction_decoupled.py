"""Decoupled contrastive learning beside published numbers, by batch size.

The paper's own tables on small images could not be read; what a third party published stands here,
and everywhere else 'not published here'.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxcl.reporting import paper
from jaxcl.reporting.batches import ORDINARY, BatchStudy, batch_studies
from jaxcl.reporting.names import dataset_title, loss_title
from jaxcl.reporting.quantities import Readout
from jaxcl.reporting.side_by_side import our_lines, published_line, three_lines
from jaxcl.reporting.statistics import Summary, summarize
from jaxcl.reporting.study import Study
from jaxcl.reporting.tables import Table

LOSSES = ("contrastive", "dcl", "dclw")
_TITLES = {"contrastive": "NT-Xent"}


def decoupled_tables(studies: Sequence[Study]) -> list[Table]:
    """NT-Xent, DCL and DCLW by batch size, a table for each data set, and on ImageNet."""
    found = batch_studies(studies)
    ours = [study for study in found if study.temperature in (None, paper.DECOUPLED_TEMPERATURE)]
    names = dict.fromkeys([*paper.DECOUPLED_CIFAR, *(study.dataset for study in ours)])
    small = [name for name in names if name != "imagenet2012"]
    tables = [_by_batch_size(name, [s for s in ours if s.dataset == name]) for name in small]
    return [*tables, _imagenet([s for s in ours if s.dataset == "imagenet2012"])]


def _by_batch_size(dataset: str, ours: Sequence[BatchStudy]) -> Table:
    published = paper.DECOUPLED_CIFAR.get(dataset, {})
    theirs = paper.DECOUPLED_BATCH_SIZES if published else ()
    sizes = sorted({*theirs, *(size for study in ours for size in study.sizes)})
    rows: list[tuple[str, ...]] = []
    groups = []
    for loss in LOSSES:
        values: dict[int, float] = dict(zip(theirs, published.get(loss, ()), strict=True))
        groups.append(len(rows))
        rows.append(published_line(_title(loss), [values.get(size) for size in sizes]))
        for label, study, readout in _readouts(ours):
            columns = [
                (_summary(study, loss, size, readout), values.get(size), 2) for size in sizes
            ]
            lines = our_lines(label, columns, 100.0)
            # The published values are linear accuracies: nothing to subtract from kNN.
            rows += lines[:1] if readout is not None and readout.is_knn else lines
    note = (
        "Published: linear accuracy, third party and not by the authors of the paper, whose own "
        "tables for this data set are not quoted here. "
        if published
        else ""
    )
    scales = "; ".join(study.scale() for study in ours)
    return Table(
        title=f"{dataset_title(dataset)}: NT-Xent, DCL and DCLW, accuracy [%] by batch size",
        columns=("loss", "", *(f"{size} images" for size in sizes)),
        rows=tuple(rows),
        note=note + "Ours: in-batch negatives at τ = 0.1" + (f"; {scales}." if scales else "."),
        groups=tuple(groups[1:]),
        text_columns=2,
    )


def _readouts(ours: Sequence[BatchStudy]) -> list[tuple[str, BatchStudy | None, Readout | None]]:
    """The lines of ours: each study's linear and kNN readout; one empty line without a study."""
    found: list[tuple[str, BatchStudy | None, Readout | None]] = []
    for number, study in enumerate(ours, start=1):
        which = f" {number}" if len(ours) > 1 else ""
        linear = [readout for readout in study.readouts if not readout.is_knn][:1]
        nearest = [readout for readout in study.readouts if readout.is_knn][:1]
        for readout in linear + nearest:
            kind = ", kNN" if readout.is_knn else ""
            found.append((f"{which}{kind}", study, readout))
    return found or [("", None, None)]


def _imagenet(ours: Sequence[BatchStudy]) -> Table:
    rows: list[tuple[str, ...]] = []
    groups = []
    for loss in LOSSES:
        columns = [
            (_of_epochs(ours, loss, column), column.values.get(loss), 1)
            for column in paper.DECOUPLED_IMAGENET
        ]
        groups.append(len(rows))
        rows += three_lines("SimCLR" if loss == "contrastive" else _title(loss), columns, 100.0)
    return Table(
        title="ImageNet-1K, ResNet-50: SimCLR, DCL and DCLW, accuracy [%]",
        columns=("loss", "", *(column.title for column in paper.DECOUPLED_IMAGENET)),
        rows=tuple(rows),
        groups=tuple(groups[1:]),
        text_columns=2,
    )


def _of_epochs(
    ours: Sequence[BatchStudy], loss: str, column: paper.ImageNetColumn
) -> Summary | None:
    for study in ours:
        if column.batch_size in study.sizes:
            if study.first.settings.get("train.epochs") == column.epochs:
                wanted = [r for r in study.readouts if r.is_knn == column.nearest]
                return _summary(study, loss, column.batch_size, wanted[0] if wanted else None)
    return None


def _summary(
    study: BatchStudy | None, loss: str, size: int, readout: Readout | None
) -> Summary | None:
    if study is None or readout is None or size not in study.sizes:
        return None
    name = study.ordinary if loss in ORDINARY else loss
    return summarize(study.by_seed(name, size, readout).values())


def _title(loss: str) -> str:
    return _TITLES.get(loss, loss_title(loss))
