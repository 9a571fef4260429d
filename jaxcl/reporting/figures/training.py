"""What happened during training: the loss against epochs."""

from __future__ import annotations

import math

import numpy as np

from jaxcl.reporting.figures.picture import Picture
from jaxcl.reporting.names import dataset_title, loss_title, temperature_words
from jaxcl.reporting.runs import Run
from jaxcl.reporting.study import Study
from jaxcl.reporting.style import (
    INK,
    WIDE,
    new_figure,
    paper_style,
    temperature_colours,
)

_POINTS = 200


def loss_curve_figure(study: Study) -> Picture | None:
    """Training loss against epochs: one panel a loss, one line a run, coloured by temperature."""
    losses = [loss for loss in study.losses if any(_curves(study, loss).values())]
    if not losses:
        return None
    taus = study.temperatures
    colours = temperature_colours(taus) if taus else {}
    with paper_style():
        columns = min(len(losses), 4)
        lines = math.ceil(len(losses) / columns)
        figure = new_figure(WIDE, 2.2 * lines + 0.2)
        panels = figure.subplots(lines, columns, squeeze=False)
        for axes, loss in zip(panels.flat, losses, strict=False):
            for tau, curves in _curves(study, loss).items():
                colour = INK if tau is None else colours[tau]
                for epochs, values in curves:
                    axes.plot(epochs, values, color=colour, linewidth=0.9, alpha=0.85)
            axes.set_title(loss_title(loss), loc="left")
            axes.set_xlabel("epoch")
            axes.set_xlim(left=0)
        for axes in list(panels.flat)[len(losses) :]:
            axes.set_visible(False)
        for line in range(lines):
            panels[line, 0].set_ylabel("training loss")
        if taus:
            handles = [panels[0, 0].plot([], [], color=colours[tau])[0] for tau in taus]
            figure.legend(
                handles,
                [f"τ = {temperature_words(tau)}" for tau in taus],
                loc="outside right center",
            )
    counts = sorted({len(c) for loss in losses for c in _curves(study, loss).values() if c})
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
    return Picture(
        name=f"loss-{study.slug}",
        title="Training loss",
        caption=f"{dataset_title(study.dataset)}: training loss (nats for losses with a "
        "logarithm; similarity for the simple ones) against epochs over images. One line a run, "
        f"{seeds} seed{'s' if counts[-1] > 1 else ''} a temperature. Losses at different "
        "temperatures have different scales: compare shapes and whether they have settled.",
        figure=figure,
    )


def _curves(study: Study, loss: str) -> dict[float | None, list[tuple[np.ndarray, np.ndarray]]]:
    found: dict[float | None, list[tuple[np.ndarray, np.ndarray]]] = {}
    for key, cell in study.ordered_cells():
        if key.loss == loss:
            curves = [curve for run in cell.runs if (curve := _curve(run)) is not None]
            found[key.temperature] = curves
    return found


def _curve(run: Run) -> tuple[np.ndarray, np.ndarray] | None:
    """Epochs and losses, averaged over blocks to at most 200 points."""
    pairs = [
        (line["epoch"], line["loss"])
        for line in run.metrics
        if isinstance(line.get("epoch"), int | float) and isinstance(line.get("loss"), int | float)
    ]
    if len(pairs) < 2:
        return None
    blocks = np.array_split(np.array(pairs, dtype=float), min(_POINTS, len(pairs)))
    means = np.array([block.mean(axis=0) for block in blocks])
    return means[:, 0], means[:, 1]
