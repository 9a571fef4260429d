"""Decoupled contrastive learning: accuracy and multiplier against batch size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes

from jaxcl.reporting import paper
from jaxcl.reporting.batches import BatchStudy
from jaxcl.reporting.figures.picture import Picture
from jaxcl.reporting.names import dataset_title, loss_title
from jaxcl.reporting.quantities import MULTIPLIER, MULTIPLIER_LOW
from jaxcl.reporting.statistics import Summary
from jaxcl.reporting.study import Measured
from jaxcl.reporting.style import COLUMN, WIDE, legend_above, loss_style, new_figure, paper_style

_BAND = "Lines: mean over {seeds}; bands: ± one standard deviation over seeds."


def batch_accuracy_figure(study: BatchStudy) -> Picture | None:
    """Accuracy against batch size: a panel a readout, and the published values beside."""
    readouts = [
        next((r for r in study.readouts if r.is_knn == nearest), None) for nearest in (0, 1)
    ]
    shown = [r for r in readouts if r is not None and _has_curve(study, r)]
    if not shown:
        return None
    theirs = paper.DECOUPLED_CIFAR.get(study.dataset, {})
    count = len(shown) + bool(theirs)
    with paper_style():
        figure = new_figure(WIDE if count > 1 else COLUMN, 2.5)
        panels = figure.subplots(1, count, squeeze=False)[0]
        for axes, readout in zip(panels, shown, strict=False):
            _curves(axes, study, readout)
            axes.set_ylabel(readout.kind)
        if theirs:
            _published(panels[-1], theirs)
        if count > 1:
            for axes in panels[: len(shown)]:
                axes.set_title("runs of this report", loc="left")
        legend_above(figure, panels[0])
    beside = (
        " Right: linear accuracy published by a third party at 100 epochs; the axes differ."
        if theirs
        else ""
    )
    return Picture(
        name=f"accuracy-{study.slug}",
        title="Accuracy by batch size",
        caption=f"{dataset_title(study.dataset)}: accuracy against the images in a batch "
        f"(logarithmic axis). {_BAND.format(seeds=study.seed_range(shown))}{beside} "
        f"{paper.DECOUPLED.short}.",
        figure=figure,
        wide=count > 1,
    )


def multiplier_figure(study: BatchStudy) -> Picture | None:
    """The mean of q_B, and the share of anchors below 0.1, against batch size."""
    if not _has_curve(study, MULTIPLIER):
        return None
    with paper_style():
        figure = new_figure(WIDE, 2.5)
        panels = figure.subplots(1, 2)
        labels = ("mean multiplier q_B", "anchors with q_B < 0.1 [%]")
        for axes, quantity, label in zip(panels, (MULTIPLIER, MULTIPLIER_LOW), labels, strict=True):
            _curves(axes, study, quantity)
            axes.set_ylabel(label)
            axes.set_ylim(bottom=0)
        panels[0].set_ylim(0, 1)
        legend_above(figure, panels[0])
    return Picture(
        name=f"multiplier-{study.slug}",
        title="Multiplier by batch size",
        caption=f"{dataset_title(study.dataset)}: the multiplier q_B, by which NT-Xent damps an "
        "anchor's gradient, against the images in a batch: its mean over anchors and over the "
        "whole training, and the share of anchors whose gradient is damped more than tenfold. DCL "
        "and DCLW do not have the factor; theirs is what NT-Xent would multiply by. "
        f"{_BAND.format(seeds=study.seed_range([MULTIPLIER]))} {paper.DECOUPLED.short}.",
        figure=figure,
    )


def batch_axis(axes: Axes, sizes: Sequence[int]) -> None:
    """A logarithmic axis with a tick at each batch size."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.set_xticks(list(sizes), [str(size) for size in sizes])
    axes.set_xlim(sizes[0] / 1.15, sizes[-1] * 1.15)
    axes.set_xlabel("images in a batch")


def _has_curve(study: BatchStudy, quantity: Measured) -> bool:
    return any(len(study.series(loss, quantity)) > 1 for loss in study.losses)


def _curves(axes: Axes, study: BatchStudy, quantity: Measured) -> None:
    for loss in study.losses:
        series = study.series(loss, quantity)
        if series:
            _line(axes, series, quantity.scale, loss_style(loss, study.losses), loss_title(loss))
    batch_axis(axes, study.sizes)


def _line(
    axes: Axes, series: Sequence[tuple[int, Summary]], scale: float, style: dict, label: str
) -> None:
    sizes = np.array([size for size, _ in series], dtype=float)
    means = np.array([summary.mean for _, summary in series]) * scale
    stds = np.nan_to_num(np.array([summary.std for _, summary in series])) * scale
    axes.plot(sizes, means, label=label, clip_on=False, zorder=3, **style)
    if stds.any():
        axes.fill_between(
            sizes, means - stds, means + stds, color=style["color"], alpha=0.16, linewidth=0
        )


def _published(axes: Axes, curves: dict[str, tuple[float, ...]]) -> None:
    names = list(curves)
    for loss, values in curves.items():
        axes.plot(paper.DECOUPLED_BATCH_SIZES, values, clip_on=False, **loss_style(loss, names))
    batch_axis(axes, paper.DECOUPLED_BATCH_SIZES)
    axes.set_ylabel("linear accuracy [%]")
    axes.set_title("published (third party)", loc="left")
