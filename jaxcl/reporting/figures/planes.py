"""Two measurements against each other, one point a cell: uniformity against tolerance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from jaxcl.reporting import paper
from jaxcl.reporting.figures.picture import Picture
from jaxcl.reporting.names import dataset_title, loss_title, temperature_words
from jaxcl.reporting.quantities import MINUS_UNIFORMITY, TOLERANCE
from jaxcl.reporting.statistics import Summary
from jaxcl.reporting.study import Measured, Study
from jaxcl.reporting.style import COLUMN, legend_above, loss_style, new_figure, paper_style


def plane_figure(study: Study) -> Picture | None:
    """Uniformity against tolerance, one point a cell: the dilemma as a curve."""
    return _scatter(
        study,
        (MINUS_UNIFORMITY, TOLERANCE),
        ("−uniformity (t = 2)", "tolerance"),
        "plane",
        "Uniformity–tolerance plane",
        "Section 4; not drawn in the paper",
    )


def accuracy_uniformity_figure(study: Study) -> Picture | None:
    """Accuracy against uniformity, one point a cell."""
    if study.accuracy is None:
        return None
    return _scatter(
        study,
        (MINUS_UNIFORMITY, study.accuracy),
        ("−uniformity (t = 2)", study.accuracy.kind),
        "accuracy-uniformity",
        "Accuracy and uniformity",
        "not drawn in the paper",
    )


def _scatter(
    study: Study,
    quantities: tuple[Measured, Measured],
    labels: tuple[str, str],
    name: str,
    title: str,
    source: str,
) -> Picture | None:
    points = {loss: _points(study, loss, quantities) for loss in study.losses}
    if sum(len(p) for p in points.values()) < 2:
        return None
    with paper_style():
        figure = new_figure(COLUMN, 2.8)
        axes = figure.subplots()
        for loss in study.losses:
            _draw_path(axes, points[loss], loss, study)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        axes.margins(0.14)
        legend_above(figure, axes, columns=2)
    return Picture(
        name=f"{name}-{study.slug}",
        title=title,
        caption=f"{dataset_title(study.dataset)}: {labels[1]} against {labels[0]}. Each point is "
        f"one loss at one temperature, mean over {study.seed_range(quantities)}; lines join "
        "neighbouring temperatures, the smallest and the largest are labelled; crosses: ± one "
        f"standard deviation over seeds. {paper.WANG_LIU.short}: {source}.",
        figure=figure,
        wide=False,
    )


def _points(
    study: Study, loss: str, quantities: tuple[Measured, Measured]
) -> list[tuple[float | None, Summary, Summary]]:
    found = []
    for key, cell in study.ordered_cells():
        x, y = (cell.summary(quantity) for quantity in quantities)
        if key.loss == loss and x is not None and y is not None:
            scaled = [
                Summary(s.mean * q.scale, s.std * q.scale, s.n)
                for s, q in zip((x, y), quantities, strict=True)
            ]
            found.append((key.temperature, scaled[0], scaled[1]))
    return found


def _draw_path(axes: Axes, points: Sequence, loss: str, study: Study) -> None:
    if not points:
        return
    style = loss_style(loss, study.losses)
    axes.errorbar(
        [x.mean for _, x, _ in points],
        [y.mean for _, _, y in points],
        xerr=np.nan_to_num([x.std for _, x, _ in points]),
        yerr=np.nan_to_num([y.std for _, _, y in points]),
        label=loss_title(loss),
        elinewidth=0.6,
        linewidth=1.0,
        **style,
    )
    # Labels of neighbouring losses go to opposite sides of their points.
    above = study.losses.index(loss) % 2 == 0
    ends = [p for p in (points[0], points[-1]) if p[0] is not None]
    for tau, x, y in ends if len(points) > 1 else []:
        axes.annotate(
            f"τ = {temperature_words(tau)}",
            (x.mean, y.mean),
            xytext=(4, 4) if above else (-4, -4),
            textcoords="offset points",
            ha="left" if above else "right",
            va="bottom" if above else "top",
            fontsize=6.5,
            color=style["color"],
        )
