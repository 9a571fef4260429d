"""Distributions over test images: local separation, and two-dimensional maps of embeddings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jaxcl.reporting import paper
from jaxcl.reporting.figures.picture import Picture
from jaxcl.reporting.names import (
    dataset_title,
    file_name,
    loss_title,
    seed_words,
    temperature_words,
)
from jaxcl.reporting.study import Cell, CellKey, Study
from jaxcl.reporting.style import (
    COLUMN,
    NEGATIVE_COLOUR,
    POSITIVE_COLOUR,
    WIDE,
    new_figure,
    paper_style,
)

# Wang & Liu: which figure shows the local separation of which data set.
SEPARATION_FIGURES = {
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


def separation_figures(study: Study) -> list[Picture]:
    """Box plots of the positive and the ten nearest negative similarities (Figure 8, S1-S7).

    One figure a loss with one panel a temperature; losses without a temperature share one figure.
    """
    samples = [_sample(key, cell) for key, cell in study.ordered_cells()]
    found = [sample for sample in samples if sample is not None]
    groups = [
        (loss, [s for s in found if s.key.loss == loss and s.key.temperature is not None])
        for loss in study.losses
    ]
    groups.append(("", [s for s in found if s.key.temperature is None]))
    return [_separation_figure(study, loss, group) for loss, group in groups if group]


@dataclass(frozen=True)
class _Sample:
    """Similarities of one cell, all its runs pooled: positives [n], nearest negatives [n, k]."""

    key: CellKey
    positives: np.ndarray
    negatives: np.ndarray
    runs: int


def _separation_figure(study: Study, loss: str, samples: Sequence[_Sample]) -> Picture:
    columns = min(4, len(samples)) if len(samples) not in (5, 6, 9) else 3
    lines = math.ceil(len(samples) / columns)
    with paper_style():
        figure = new_figure(COLUMN if columns < 3 else WIDE, 1.7 * lines + 0.1)
        panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        width = (3.0 if columns < 3 else 6.5) / columns
        for axes, sample in zip(panels.flat, samples, strict=False):
            _boxes(axes, sample, width)
        for axes in list(panels.flat)[len(samples) :]:
            axes.set_visible(False)
        for i, axes in enumerate(list(panels.flat)[: len(samples)]):
            # The panel below may be missing in the last line: then this one carries the labels.
            axes.tick_params(axis="x", labelbottom=i + columns >= len(samples), length=0)
        for line in range(lines):
            panels[line, 0].set_ylabel("cosine similarity")
    name = loss_title(loss) if loss else "losses without a temperature"
    source = SEPARATION_FIGURES.get((loss, study.dataset), "cf. Figure 8")
    anchors = max(sample.positives.size for sample in samples)
    return Picture(
        name=f"separation-{file_name(loss or 'constant')}-{study.slug}",
        title=f"Local separation, {name}",
        caption=f"{dataset_title(study.dataset)}, {name}: distribution over test images of the "
        "cosine similarity to the positive (p) and to the ten nearest negatives (1–10, the "
        "paper's n1–n10). Boxes: quartiles and median; whiskers: 5th and 95th percentile; Δ: mean "
        f"of positive − nearest negative. {seed_words([sample.runs for sample in samples])} "
        f"pooled, up to {anchors:,} anchors a panel. {paper.WANG_LIU.short}: {source}.",
        figure=figure,
        wide=columns > 2,
    )


def _sample(key: CellKey, cell: Cell) -> _Sample | None:
    pairs = [
        (run.analysis["positive_similarities"], run.analysis["top_negative_similarities"])
        for run in cell.runs
        if {"positive_similarities", "top_negative_similarities"} <= run.analysis.keys()
    ]
    if not pairs:
        return None
    width = min(negatives.shape[1] for _, negatives in pairs)
    positives = np.concatenate([positives for positives, _ in pairs])
    negatives = np.concatenate([negatives[:, :width] for _, negatives in pairs])
    return _Sample(key, positives, negatives, len(pairs))


def _boxes(axes: Axes, sample: _Sample, width: float) -> None:
    """Eleven boxes as three collections, which draw far faster than a box plot's separate lines."""
    values = np.column_stack([sample.positives, sample.negatives])
    low, first, middle, third, high = np.nanpercentile(values, [5, 25, 50, 75, 95], axis=0)
    count = values.shape[1]
    places = np.arange(count)
    fade = np.concatenate([[0.0], np.linspace(0.0, 0.5, count - 1)])
    base = np.array([to_rgb(POSITIVE_COLOUR)] + [to_rgb(NEGATIVE_COLOUR)] * (count - 1))
    colours = [tuple(row) for row in base + (1 - base) * fade[:, None]]
    points = 72 * width / count
    axes.vlines(places, low, high, colors=colours, linewidth=0.8)
    axes.vlines(places, first, third, colors=colours, linewidth=0.6 * points)
    axes.plot(places, middle, "_", color="white", markersize=0.6 * points, markeredgewidth=1.0)
    axes.set_xticks(places, ["p", *(str(k) for k in range(1, count))])
    axes.set_xlim(-0.7, count - 0.3)
    axes.grid(visible=False, axis="x")
    gap = f"Δ = {np.nanmean(values[:, 0]) - np.nanmean(values[:, 1]):.2f}".replace("-", "−")
    tau = sample.key.temperature
    axes.set_title(
        loss_title(sample.key.loss) if tau is None else f"τ = {temperature_words(tau)}", loc="left"
    )
    axes.set_title(gap, loc="right", fontsize=7)


def map_figure(study: Study) -> Picture | None:
    """Two-dimensional maps of embeddings, coloured by class (Figure 2).

    The run brings them: `tsne` [m, 2] of the first images and `labels` [n] in embeddings.npz.
    """
    maps = _maps(study)
    if not maps:
        return None
    maps = maps[:4]
    with paper_style():
        figure = new_figure(WIDE / 2 * max(len(maps), 1) if len(maps) < 3 else WIDE, 3.1)
        panels = figure.subplots(1, len(maps), squeeze=False)[0]
        for axes, (key, points, labels, _) in zip(panels, maps, strict=True):
            draw_map(axes, points, labels)
            tau = (
                f", τ = {temperature_words(key.temperature)}" if key.temperature is not None else ""
            )
            axes.set_title(f"{loss_title(key.loss)}{tau}", loc="left")
        class_legend(figure, [labels for _, _, labels, _ in maps])
    count = max(len(points) for _, points, _, _ in maps)
    seeds = ", ".join(str(seed) for seed in sorted({seed for *_, seed in maps}))
    return Picture(
        name=f"map-{study.slug}",
        title="Embeddings in two dimensions",
        caption=f"{dataset_title(study.dataset)}: t-SNE of the embeddings of up to {count:,} test "
        f"images, coloured by class; one run a panel (seed {seeds}). Distances between clusters "
        f"and axes have no unit. {paper.WANG_LIU.short}: Figure 2 (τ = 0.07 and 0.2).",
        figure=figure,
    )


def _maps(study: Study) -> list[tuple[CellKey, np.ndarray, np.ndarray, int]]:
    """The first run of each cell that brought points; if there, only the paper's temperatures."""
    found: list[tuple[CellKey, np.ndarray, np.ndarray, int]] = []
    for key, cell in study.ordered_cells():
        for run in cell.runs:
            points, labels = run.embeddings.get("tsne"), run.embeddings.get("labels")
            if points is not None and labels is not None and len(points) <= len(labels):
                seen = labels[: len(points)]
                found.append((key, points, seen, int(run.config.get("seed", 0))))
                break
    wished = [entry for entry in found if entry[0].temperature in _MAP_TEMPERATURES]
    return wished or found


def class_legend(figure: Figure, labels: Sequence[np.ndarray]) -> None:
    """The colours of the classes below the figure, where there are not too many."""
    classes = sorted({int(label) for part in labels for label in part})
    if len(classes) > len(_CLASS_COLOURS):
        return
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


def draw_map(axes: Axes, points: np.ndarray, labels: np.ndarray) -> None:
    """Points in the plane, coloured by class."""
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
