"""What happened during training: loss and kNN accuracy against epochs."""

from __future__ import annotations

import math

import numpy as np

from jaxcl.reporting.figures.picture import Picture
from jaxcl.reporting.names import dataset_title, loss_title, seed_words, temperature_words
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
    return _over_training(
        study,
        "loss",
        "training loss",
        "training loss (nats for losses with a logarithm; similarity for the simple ones) against "
        "epochs over images",
        " Losses at different temperatures have different scales: compare shapes and whether they "
        "have settled.",
    )


def learning_curve_figure(study: Study) -> Picture | None:
    """kNN accuracy against epochs, where the training was monitored."""
    return _over_training(
        study,
        "knn_accuracy",
        "kNN accuracy [%]",
        "kNN accuracy on test images, of the encoder as it was then, against epochs over images",
        "",
    )


def _over_training(study: Study, field: str, label: str, words: str, remark: str) -> Picture | None:
    scale = 100.0 if field == "knn_accuracy" else 1.0
    curves = {loss: _curves(study, loss, field) for loss in study.losses}
    losses = [loss for loss in study.losses if any(curves[loss].values())]
    if not losses:
        return None
    taus = study.temperatures
    colours = temperature_colours(taus) if taus else {}
    with paper_style():
        columns = min(len(losses), 4)
        lines = math.ceil(len(losses) / columns)
        figure = new_figure(WIDE, 2.2 * lines + 0.2)
        panels = figure.subplots(lines, columns, sharey=field != "loss", squeeze=False)
        for axes, loss in zip(panels.flat, losses, strict=False):
            for tau, found in curves[loss].items():
                colour = INK if tau is None else colours[tau]
                for epochs, values in found:
                    axes.plot(epochs, scale * values, color=colour, linewidth=0.9, alpha=0.85)
            axes.set_title(loss_title(loss), loc="left")
            axes.set_xlabel("epoch")
            axes.set_xlim(left=0)
        for axes in list(panels.flat)[len(losses) :]:
            axes.set_visible(False)
        for line in range(lines):
            panels[line, 0].set_ylabel(label)
        if taus:
            handles = [panels[0, 0].plot([], [], color=colours[tau])[0] for tau in taus]
            figure.legend(
                handles,
                [f"τ = {temperature_words(tau)}" for tau in taus],
                loc="outside right center",
            )
    counts = [len(found) for loss in losses for found in curves[loss].values() if found]
    return Picture(
        name=f"{'loss' if field == 'loss' else 'learning'}-{study.slug}",
        title="Training loss" if field == "loss" else "Learning curves",
        caption=f"{dataset_title(study.dataset)}: {words}. One line a run, {seed_words(counts)} a "
        f"temperature.{remark}",
        figure=figure,
    )


def _curves(
    study: Study, loss: str, field: str
) -> dict[float | None, list[tuple[np.ndarray, np.ndarray]]]:
    """Epochs and values of each run of a loss, by temperature."""
    return {
        key.temperature: [c for run in cell.runs if (c := curve(run, field, _POINTS)) is not None]
        for key, cell in study.ordered_cells()
        if key.loss == loss
    }


def curve(run: Run, field: str, points: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Epochs and values of a field of the training log, averaged over blocks to so many points."""
    pairs = [
        (line["epoch"], line[field])
        for line in run.metrics
        if isinstance(line.get("epoch"), int | float) and isinstance(line.get(field), int | float)
    ]
    if len(pairs) < 2:
        return None
    blocks = np.array_split(np.array(pairs, dtype=float), min(points, len(pairs)))
    means = np.array([block.mean(axis=0) for block in blocks])
    return means[:, 0], means[:, 1]
