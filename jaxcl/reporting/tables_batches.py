"""Tables of studies side by side: every loss at every batch size."""

from __future__ import annotations

from collections.abc import Sequence

from jaxcl.reporting.batches import BatchStudy
from jaxcl.reporting.names import loss_title
from jaxcl.reporting.quantities import (
    ALIGNMENT,
    EFFECTIVE,
    GAP,
    MINUS_UNIFORMITY,
    MULTIPLIER,
    MULTIPLIER_LOW,
    NEAREST,
    PAIRS,
    POSITIVE,
    TOLERANCE,
    Readout,
)
from jaxcl.reporting.study import Cell, Measured
from jaxcl.reporting.tables import Table, baseline_rows, measured, table_of_cells


def batch_tables(study: BatchStudy) -> list[Table]:
    """Accuracies and the multiplier, geometry, baselines."""
    members = list(study.members.values())
    accuracies = measured(members, (*study.readouts, MULTIPLIER, MULTIPLIER_LOW))
    geometry = measured(
        members, (MINUS_UNIFORMITY, TOLERANCE, ALIGNMENT, POSITIVE, NEAREST, GAP, EFFECTIVE)
    )
    tables = [
        _table(
            study,
            accuracies,
            "Accuracy and multiplier by batch size",
            f"{study.scale()}. q_B: the multiplier by which the batch damps an anchor's gradient "
            "under NT-Xent, mean over the training; for DCL and DCLW, whose gradients do not have "
            "it, what it would be. Mean ± standard deviation over n seeds (sample, n − 1). Bold: "
            "the best accuracy of each column.",
        )
    ]
    if geometry:
        note = "Cosine similarities of test images; exp(H): effective number of negatives."
        tables.append(_table(study, geometry, "Geometry by batch size", note))
    if pairs := measured(members, PAIRS):
        note = (
            "Pairs of two views of test images, in batches as in training (at most as many as were "
            "measured); the hardest and the easiest quarter by the similarity of the two views. "
            "Gradient: norm of the decoupled loss's gradient by the anchor as a vector that may "
            "move freely, at the temperature of the run; × q_B: that of NT-Xent."
        )
        tables.append(_table(study, pairs, "Hard and easy pairs by batch size", note))
    return [*tables, *_baselines(study)]


def _table(study: BatchStudy, quantities: Sequence[Measured], what: str, note: str) -> Table:
    entries: list[tuple[tuple[str, ...], Cell]] = [
        ((loss_title(loss), str(size)), cell)
        for loss in study.losses
        for size in study.sizes
        if (cell := study.cell(loss, size)) is not None
    ]
    title = f"{what}: {study.title}"
    return table_of_cells(entries, ("loss", "batch"), quantities, title, note)


def _baselines(study: BatchStudy) -> list[Table]:
    """Of all members together, for they do not depend on the batch size."""
    found: dict[tuple[str, Readout], dict[int, float]] = {}
    for member in study.members.values():
        for key, values in member.baselines.items():
            found.setdefault(key, {}).update(values)
    if not found:
        return []
    return [
        Table(
            title=f"Baselines: {study.title}",
            columns=("features", "readout", "accuracy [%]", "n"),
            rows=tuple(baseline_rows(found)),
            note="Mean ± standard deviation over n seeds.",
            text_columns=2,
        )
    ]
