"""Distributions over test images: local separation, and two-dimensional maps of embeddings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from jaxcl.reporting import paper
from jaxcl.reporting.figures.picture import Picture
from jaxcl.reporting.names import dataset_title, loss_title, seed_words
from jaxcl.reporting.runs import Run
from jaxcl.reporting.study import CellKey, Study
from jaxcl.reporting.style import (
    NEGATIVE_COLOUR,
    POSITIVE_COLOUR,
    WIDE,
    new_figure,
    paper_style,
)

# Wang & Liu: which figure shows the local separation of which data set.
_SEPARATION_FIGURES = {
    ("contrastive", "cifar100"): "Figure 8",
    ("contrastive", "cifar10"): "supplementary Figure 1",
    ("contrastive", "svhn_cropped"): "supplementary Figure 2",
    ("contrastive", "imagenet100"): "supplementary Figure 3",
    ("hard", "cifar10"): "supplementary Figure 4",
    ("hard", "cifar100"): "supplementary Figure 5",
    ("hard", "svhn_cropped"): "supplementary Figure 6",
    ("hard", "imagenet100"): "supplementary Figure 7",
}
_CLASS_COLOURS = (
    *("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE"),
    *("#AA3377", "#BBBBBB", "#332288", "#DD7733", "#117766"),
)
_MAP_TEMPERATURES = (0.07, 0.2)


def separation_figure(study: Study, loss: str) -> Picture | None:
    """Box plots of the positive and the ten nearest negative similarities, one panel a temperature (Figure 8)."""
    samples = [
        (key.temperature, *_pooled(cell.runs))
        for key, cell in study.ordered_cells()
        if key.loss == loss and _pooled(cell.runs)[0].size
    ]
    if not samples:
        return None
    with paper_style():
        columns = min(4, len(samples)) if len(samples) != 6 else 3
        lines = math.ceil(len(samples) / columns)
        figure = new_figure(WIDE * max(columns, 2) / 4 if columns < 3 else WIDE, 1.75 * lines + 0.1)
        panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        for axes, (tau, positives, negatives, _) in zip(panels.flat, samples, strict=False):
            _boxes(axes, positives, negatives)
            axes.set_title(f"τ = {tau:g}" if tau is not None else loss_title(loss), loc="left")
        for axes in list(panels.flat)[len(samples) :]:
            axes.set_visible(False)
        _separation_labels(panels, len(samples))
    source = _SEPARATION_FIGURES.get((loss, study.dataset), "cf. Figure 8")
    counts = [runs for _, _, _, runs in samples]
    images = max(positives.size for _, positives, _, _ in samples)
    return Picture(
        name=f"separation-{loss.split(' ')[0]}-{study.slug}",
        title=f"Local separation, {loss_title(loss)}",
        caption=f"{dataset_title(study.dataset)}, {loss_title(loss)}: distribution over test images of the cosine "
        "similarity to the positive (pos) and to the ten nearest negatives (1–10). Boxes: quartiles and median; whiskers: "
        f"5th and 95th percentile; Δ: mean of pos − nearest negative. {seed_words(counts)} pooled, up to {images:,} "
        f"anchors a panel. {paper.WANG_LIU.short}: {source}.",
        figure=figure,
    )


def map_figure(study: Study) -> Picture | None:
    """Two-dimensional maps (t-SNE, points given by the run) of embeddings, coloured by class (Figure 2)."""
    maps = _maps(study)
    if not maps:
        return None
    maps = maps[:4]
    with paper_style():
        figure = new_figure(WIDE / 2 * max(len(maps), 1) if len(maps) < 3 else WIDE, 3.1)
        panels = figure.subplots(1, len(maps), squeeze=False)[0]
        for axes, (key, points, labels, _) in zip(panels, maps, strict=True):
            _draw_map(axes, points, labels)
            tau = f", τ = {key.temperature:g}" if key.temperature is not None else ""
            axes.set_title(f"{loss_title(key.loss)}{tau}", loc="left")
        classes = sorted({int(label) for _, _, labels, _ in maps for label in labels})
        if len(classes) <= len(_CLASS_COLOURS):
            handles = [
                Line2D([], [], marker="o", linestyle="", color=_CLASS_COLOURS[i], label=str(c))
                for i, c in enumerate(classes)
            ]
            figure.legend(
                handles=handles,
                loc="outside lower center",
                ncols=len(classes),
                handletextpad=0.1,
                columnspacing=0.9,
            )
    count = max(len(points) for _, points, _, _ in maps)
    seeds = ", ".join(str(seed) for seed in sorted({seed for *_, seed in maps}))
    return Picture(
        name=f"map-{study.slug}",
        title="Embeddings in two dimensions",
        caption=f"{dataset_title(study.dataset)}: t-SNE of the embeddings of up to {count:,} test images, coloured by "
        f"class; one run a panel (seed {seeds}). Distances between clusters and axes have no unit. "
        f"{paper.WANG_LIU.short}: Figure 2 (τ = 0.07 and 0.2).",
        figure=figure,
    )


def _pooled(runs: list[Run]) -> tuple[np.ndarray, np.ndarray, int]:
    """Positives [n], top negatives [n, 10] of all seeds of a cell, and how many runs had them."""
    pairs = [
        (run.analysis["positive_similarities"], run.analysis["top_negative_similarities"])
        for run in runs
        if {"positive_similarities", "top_negative_similarities"} <= run.analysis.keys()
    ]
    if not pairs:
        return np.empty(0), np.empty((0, 0)), 0
    width = min(negatives.shape[1] for _, negatives in pairs)
    return (
        np.concatenate([positives for positives, _ in pairs]),
        np.concatenate([negatives[:, :width] for _, negatives in pairs]),
        len(pairs),
    )


def _boxes(axes: Axes, positives: np.ndarray, negatives: np.ndarray) -> None:
    groups = [positives, *negatives.T]
    groups = [group[np.isfinite(group)] for group in groups]
    drawn = axes.boxplot(
        groups,
        positions=range(len(groups)),
        widths=0.62,
        whis=(5, 95),
        showfliers=False,
        patch_artist=True,
        medianprops={"color": "white", "linewidth": 1.0},
        whiskerprops={"linewidth": 0.7},
        showcaps=False,
        boxprops={"linewidth": 0},
    )
    for i, box in enumerate(drawn["boxes"]):
        colour = POSITIVE_COLOUR if i == 0 else NEGATIVE_COLOUR
        box.set(facecolor=colour, alpha=1.0 if i == 0 else 1.0 - 0.055 * (i - 1))
        for whisker in drawn["whiskers"][2 * i : 2 * i + 2]:
            whisker.set_color(colour)
    axes.grid(visible=False, axis="x")
    gap = float(np.mean(groups[0]) - np.mean(groups[1])) if len(groups) > 1 else math.nan
    axes.annotate(
        f"Δ = {gap:.2f}".replace("-", "−"),
        (1, 1),
        xycoords="axes fraction",
        xytext=(0, 4),
        textcoords="offset points",
        ha="right",
        fontsize=7,
    )


def _separation_labels(panels: np.ndarray, used: int) -> None:
    lines, columns = panels.shape
    for i, axes in enumerate(panels.flat):
        last = i + columns >= used
        ticks = axes.get_xticks()
        names = ["pos", *(str(k) for k in range(1, len(ticks)))]
        axes.set_xticks(ticks, names)
        axes.tick_params(axis="x", labelbottom=last, length=0)
    for line in range(lines):
        panels[line, 0].set_ylabel("cosine similarity")


def _maps(study: Study) -> list[tuple[CellKey, np.ndarray, np.ndarray, int]]:
    """The first run of each cell that brought points; the paper's temperatures first, if they are there."""
    found: list[tuple[CellKey, np.ndarray, np.ndarray, int]] = []
    for key, cell in study.ordered_cells():
        for run in cell.runs:
            arrays: dict[str, Any] = run.embeddings
            points, labels = arrays.get("points"), arrays.get("labels")
            if points is not None and labels is not None and len(points) == len(labels):
                found.append((key, points, labels, int(run.config.get("seed", 0))))
                break
    wished = [entry for entry in found if entry[0].temperature in _MAP_TEMPERATURES]
    return wished or found


def _draw_map(axes: Axes, points: np.ndarray, labels: np.ndarray) -> None:
    classes = np.unique(labels)
    for i, c in enumerate(classes):
        chosen = points[labels == c]
        axes.scatter(
            chosen[:, 0],
            chosen[:, 1],
            s=3,
            linewidths=0,
            color=_CLASS_COLOURS[i % len(_CLASS_COLOURS)],
            rasterized=True,
        )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
