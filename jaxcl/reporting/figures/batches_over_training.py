"""Decoupled contrastive learning over the training: the distribution of q_B, and learning curves."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm

from jaxcl.reporting import paper
from jaxcl.reporting.batches import BatchStudy
from jaxcl.reporting.figures.picture import Picture
from jaxcl.reporting.figures.training import curve
from jaxcl.reporting.names import dataset_title, loss_title, seed_words
from jaxcl.reporting.runs import Run
from jaxcl.reporting.style import POSITIVE_COLOUR, WIDE, loss_style, new_figure, paper_style

_MOMENTS = 40  # of the training, at most
_POINTS = 60  # of a loss curve, at most


def multiplier_history_figure(study: BatchStudy) -> Picture | None:
    """How q_B is distributed over anchors, against epochs: a row a loss, a column a batch size."""
    found = {
        (loss, size): history
        for loss in study.losses
        for size in study.sizes
        if (history := _history(_runs(study, loss, size))) is not None
    }
    if not found:
        return None
    losses = [loss for loss in study.losses if any(name == loss for name, _ in found)]
    sizes = [size for size in study.sizes if any(number == size for _, number in found)]
    most = max(float(shares.max()) for _, shares, _ in found.values())
    with paper_style():
        figure = new_figure(WIDE, 1.3 * len(losses) + 0.75)
        panels = figure.subplots(len(losses), len(sizes), sharex=True, sharey=True, squeeze=False)
        mesh = None
        for i, loss in enumerate(losses):
            for j, size in enumerate(sizes):
                axes = panels[i, j]
                axes.grid(visible=False)
                if (loss, size) in found:
                    mesh = _draw_history(axes, *found[loss, size], most)
                if i == 0:
                    axes.set_title(f"{size} images", loc="left")
                if i == len(losses) - 1:
                    axes.set_xlabel("epoch")
            panels[i, 0].set_ylabel(f"{loss_title(loss)}: q_B")
        assert mesh is not None
        bar = figure.colorbar(mesh, ax=panels, shrink=0.7, pad=0.01, aspect=28)
        bar.set_label("share of anchors in a bin")
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    counts = [len(_runs(study, loss, size)) for loss, size in found]
    return Picture(
        name=f"multiplier-history-{study.slug}",
        title="Distribution of the multiplier over the training",
        caption=f"{dataset_title(study.dataset)}: how the multiplier q_B is distributed over the "
        "anchors of a step (20 bins, the colour is on a square-root scale), against epochs over "
        f"images; a column a batch size, a row a loss; the line is its mean. {seed_words(counts)} "
        "averaged. For DCL and DCLW, which do not have the factor, what NT-Xent would multiply "
        f"by. {paper.DECOUPLED.short}.",
        figure=figure,
    )


def learning_curve_figure(study: BatchStudy) -> Picture | None:
    """kNN accuracy against epochs: a panel a batch size, a line a run."""
    return _over_training(
        study,
        "knn_accuracy",
        100.0,
        "kNN accuracy [%]",
        f"learning-{study.slug}",
        "Learning curves",
        "kNN accuracy on test images during the training, against epochs over images",
    )


def batch_loss_figure(study: BatchStudy) -> Picture | None:
    """Training loss against epochs: a panel a batch size, a line a run."""
    return _over_training(
        study,
        "loss",
        1.0,
        "training loss [nats]",
        f"loss-{study.slug}",
        "Training loss",
        "training loss against epochs over images. More negatives make a larger loss: compare "
        "shapes, and whether they have settled",
    )


def _over_training(
    study: BatchStudy, field: str, scale: float, label: str, name: str, title: str, words: str
) -> Picture | None:
    curves = {
        (loss, size): [
            c for run in _runs(study, loss, size) if (c := curve(run, field, _POINTS)) is not None
        ]
        for loss in study.losses
        for size in study.sizes
    }
    sizes = [size for size in study.sizes if any(curves[loss, size] for loss in study.losses)]
    if not sizes:
        return None
    columns = min(len(sizes), 5)
    lines = math.ceil(len(sizes) / columns)
    with paper_style():
        figure = new_figure(WIDE, 1.9 * lines + 0.35)
        panels = figure.subplots(lines, columns, sharex=True, sharey=field != "loss", squeeze=False)
        for axes, size in zip(panels.flat, sizes, strict=False):
            for loss in study.losses:
                _draw_curves(axes, curves[loss, size], scale, loss_style(loss, study.losses))
            axes.set_title(f"{size} images", loc="left")
            axes.set_xlabel("epoch")
            axes.set_xlim(left=0)
        for axes in list(panels.flat)[len(sizes) :]:
            axes.set_visible(False)
        for line in range(lines):
            panels[line, 0].set_ylabel(label)
        handles = [
            panels[0, 0].plot([], [], color=loss_style(loss, study.losses)["color"])[0]
            for loss in study.losses
        ]
        names = [loss_title(loss) for loss in study.losses]
        figure.legend(handles, names, loc="outside upper left", ncols=4, borderpad=0)
    counts = [len(found) for found in curves.values() if found]
    return Picture(
        name=name,
        title=title,
        caption=f"{dataset_title(study.dataset)}: {words}. A panel a batch size, thin lines single "
        f"runs, thick ones their mean; {seed_words(counts)}. {paper.DECOUPLED.short}.",
        figure=figure,
    )


def _draw_curves(
    axes: Axes, curves: Sequence[tuple[np.ndarray, np.ndarray]], scale: float, style: dict
) -> None:
    for epochs, values in curves:
        alone = len(curves) == 1
        axes.plot(epochs, values * scale, color=style["color"], linewidth=1.3 if alone else 0.5)
    same = len({tuple(epochs) for epochs, _ in curves}) == 1
    if len(curves) > 1 and same:
        mean = np.mean([values for _, values in curves], axis=0)
        axes.plot(curves[0][0], mean * scale, color=style["color"], linewidth=1.4)


def _draw_history(
    axes: Axes, epochs: np.ndarray, shares: np.ndarray, means: np.ndarray, most: float
):
    """Time by bins as an image, and the mean as a line over it."""
    bins = np.linspace(0, 1, shares.shape[1] + 1)
    middles = (epochs[1:] + epochs[:-1]) / 2
    edges = np.concatenate([[0.0], middles, [epochs[-1]]])
    norm = PowerNorm(0.5, vmin=0, vmax=most)
    mesh = axes.pcolormesh(edges, bins, shares.T, cmap="Blues", norm=norm, rasterized=True)
    axes.plot(epochs, means, color=POSITIVE_COLOUR, linewidth=1.3)
    axes.set_ylim(0, 1)
    return mesh


def _history(runs: Sequence[Run]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Epochs [t], shares of anchors [t, bins] and means [t], averaged over blocks and runs."""
    logs = [[line for line in run.metrics if "multiplier_histogram" in line] for run in runs]
    logs = [log for log in logs if len(log) > 1]
    if not logs:
        return None
    moments = min(_MOMENTS, *(len(log) for log in logs))
    each = []
    for log in logs:
        blocks = np.array_split(np.arange(len(log)), moments)
        epochs = np.array([line["epoch"] for line in log], dtype=float)
        shares = np.array([line["multiplier_histogram"] for line in log], dtype=float)
        means = np.array([line["multiplier_mean"] for line in log], dtype=float)
        each.append(
            [np.array([v[b].mean(axis=0) for b in blocks]) for v in (epochs, shares, means)]
        )
    epochs, shares, means = (np.mean(parts, axis=0) for parts in zip(*each, strict=True))
    return epochs, shares, means


def _runs(study: BatchStudy, loss: str, size: int) -> list[Run]:
    cell = study.cell(loss, size)
    return cell.runs if cell is not None else []
