"""Two colour streams: histograms of the alignment, and maps of embeddings, a panel a loss."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from jaxcl.reporting import paper
from jaxcl.reporting.figures.picture import Picture
from jaxcl.reporting.figures.samples import class_legend, draw_map
from jaxcl.reporting.names import dataset_title, loss_title
from jaxcl.reporting.runs import Run
from jaxcl.reporting.study import CellKey, Study
from jaxcl.reporting.style import GREY, INK, NEGATIVE_COLOUR, WIDE, new_figure, paper_style

_BINS = 40


class _Panel(NamedTuple):
    key: CellKey
    run: Run
    values: np.ndarray


def alignment_figure(study: Study) -> Picture | None:
    """Histograms of the squared distances of positive pairs, with their mean (Figure 4, above)."""
    panels = _panels(study, "analysis", "positive_similarities")
    if not panels:
        return None
    distances = [np.clip(2 - 2 * panel.values, 0, 4) for panel in panels]
    top = max(2.05, *(float(d.max()) for d in distances))
    edges = np.linspace(0, top, _BINS + 1)
    with paper_style():
        figure = new_figure(WIDE, 2.0)
        axes_of = figure.subplots(1, len(panels), sharex=True, squeeze=False)[0]
        for axes, panel, found in zip(axes_of, panels, distances, strict=True):
            _histogram(axes, found, edges)
            axes.set_title(loss_title(panel.key.loss), loc="left")
        axes_of[0].set_ylabel("pairs")
        figure.supxlabel("squared distance of the two streams, 2 − 2s", fontsize=8)
    count = max(len(panel.values) for panel in panels)
    return Picture(
        name=f"alignment-{study.slug}",
        title="Alignment of the two streams",
        caption=f"{dataset_title(study.dataset)}: squared distances of the two streams of up to "
        f"{count:,} test images; dashed: their mean, which is the alignment (α = 2). Orthogonal "
        f"streams lie at 2. One run a panel ({_seeds(panels)}). {paper.EECS.short}: Figure 4, "
        "upper row, whose axis says l2 distances and shows their squares.",
        figure=figure,
    )


def circle_figure(study: Study) -> Picture | None:
    """t-SNE coloured by class, plain, and on the circle as the report prints it."""
    panels = [
        panel
        for panel in _panels(study, "embeddings", "tsne")
        if len(panel.run.embeddings.get("labels", ())) >= len(panel.values)
    ]
    if not panels:
        return None
    width = WIDE / 4 * max(len(panels), 2)
    with paper_style():
        figure = new_figure(width, 2 * width / len(panels) + 0.55)
        axes_of = figure.subplots(2, len(panels), squeeze=False)
        for column, panel in enumerate(panels):
            labels = panel.run.embeddings["labels"][: len(panel.values)]
            draw_map(axes_of[0, column], panel.values, labels)
            draw_map(axes_of[1, column], _on_circle(panel.values), labels)
            axes_of[1, column].set_aspect("equal", adjustable="box")
            axes_of[1, column].set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15))
            axes_of[0, column].set_title(loss_title(panel.key.loss), loc="left")
        class_legend(figure, [_labels(panel) for panel in panels])
    return Picture(
        name=f"circle-{study.slug}",
        title="Embeddings in two dimensions",
        caption=f"{dataset_title(study.dataset)}: t-SNE of the embeddings of up to "
        f"{max(len(panel.values) for panel in panels):,} test images, coloured by class; above as "
        "it is, below with every point moved onto the unit circle, as the report prints it. One "
        f"run a panel ({_seeds(panels)}). t-SNE discards scale: a collapsed embedding can look "
        f"spread, so that these maps are no evidence of uniformity. {paper.EECS.short}: Figure 4, "
        "lower row.",
        figure=figure,
        wide=len(panels) > 2,
    )


def _panels(study: Study, source: str, name: str) -> list[_Panel]:
    """The first run of each loss that brought the array."""
    found = []
    for key, cell in study.ordered_cells():
        for run in cell.runs:
            arrays = run.analysis if source == "analysis" else run.embeddings
            if name in arrays:
                found.append(_Panel(key, run, arrays[name]))
                break
    return found


def _labels(panel: _Panel) -> np.ndarray:
    """Of the images that are mapped, which are the first."""
    return panel.run.embeddings["labels"][: len(panel.values)]


def _histogram(axes: Axes, distances: np.ndarray, edges: np.ndarray) -> None:
    mean = float(distances.mean())
    axes.hist(distances, bins=list(edges), color=NEGATIVE_COLOUR, alpha=0.75)
    axes.axvline(mean, color=INK, linestyle=(0, (4, 2)), linewidth=1.0)
    right = mean < (edges[0] + edges[-1]) / 2
    axes.annotate(
        f"{mean:.3f}",
        (mean, 1),
        xycoords=("data", "axes fraction"),
        xytext=(3 if right else -3, -2),
        textcoords="offset points",
        ha="left" if right else "right",
        va="top",
        fontsize=7,
        color=GREY,
    )
    axes.grid(visible=False, axis="x")


def _on_circle(points: np.ndarray) -> np.ndarray:
    """Every point divided by its length; one at the origin stays there."""
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    return points / np.where(lengths > 0, lengths, 1)


def _seeds(panels: list[_Panel]) -> str:
    seeds = sorted({int(panel.run.config.get("seed", 0)) for panel in panels})
    return "seed " + ", ".join(str(seed) for seed in seeds)
