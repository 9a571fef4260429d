"""Curves over the temperature: accuracy, uniformity, tolerance, penalties."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from jaxcl.reporting import paper
from jaxcl.reporting.figures.picture import Picture
from jaxcl.reporting.names import dataset_title, loss_title
from jaxcl.reporting.quantities import (
    ENTROPY,
    GAP,
    MINUS_UNIFORMITY,
    POSITIVE,
    TOLERANCE,
)
from jaxcl.reporting.statistics import Summary, summarize
from jaxcl.reporting.study import Measured, Study
from jaxcl.reporting.style import (
    COLUMN,
    GREY,
    WIDE,
    legend_above,
    loss_style,
    new_figure,
    paper_style,
    temperature_axis,
)

_DASHED = " Dashed lines: losses without a temperature."


def accuracy_figure(study: Study) -> Picture | None:
    """Accuracy against temperature, one line a loss (Wang & Liu, Figure 9)."""
    readout = study.accuracy
    if readout is None:
        return None
    solver = readout.title.removesuffix(" accuracy [%]")
    how = f" The readout is {solver}, on frozen {readout.features} features."
    return _curve_figure(
        study, readout, "accuracy", readout.kind, "accuracy", "Figure 9", note=how, baselines=True
    )


def uniformity_figure(study: Study) -> Picture | None:
    """-uniformity against temperature (Wang & Liu, Figures 4 and 6)."""
    return _curve_figure(
        study,
        MINUS_UNIFORMITY,
        "uniformity",
        "−uniformity (t = 2)",
        "minus_uniformity",
        "Figures 4 and 6",
    )


def tolerance_figure(study: Study) -> Picture | None:
    """Tolerance against temperature (Wang & Liu, Figures 5 and 7)."""
    return _curve_figure(
        study,
        TOLERANCE,
        "tolerance",
        "tolerance (mean same-class similarity)",
        "tolerance",
        "Figures 5 and 7",
    )


def entropy_figure(study: Study) -> Picture | None:
    """The measured entropy of the relative penalties against temperature."""
    return _curve_figure(
        study,
        ENTROPY,
        "entropy",
        "entropy of relative penalties [nats]",
        "",
        "Section 3.2; not drawn in the paper",
    )


def positive_figure(study: Study) -> Picture | None:
    """Mean positive similarity against temperature."""
    return _curve_figure(
        study, POSITIVE, "positive", "mean positive similarity", "", "cf. Figure 8"
    )


def gap_figure(study: Study) -> Picture | None:
    """Mean gap between the positive and the nearest negative against temperature."""
    return _curve_figure(
        study, GAP, "gap", "positive − nearest negative similarity", "", "cf. Figure 8"
    )


def _curve_figure(
    study: Study,
    quantity: Measured,
    name: str,
    label: str,
    published: str,
    source: str,
    note: str = "",
    baselines: bool = False,
) -> Picture | None:
    """Ours alone, or with the published curve in a panel beside it where there is one."""
    if max((len(study.series(loss, quantity)) for loss in study.losses), default=0) < 2:
        return None
    theirs = paper.published(study.dataset, published) if published else {}
    with paper_style():
        figure = new_figure(WIDE if theirs else COLUMN, 2.6)
        panels = figure.subplots(1, 2 if theirs else 1, squeeze=False)[0]
        _draw_ours(panels[0], study, quantity)
        note += _draw_baselines(panels[0], study) if baselines else ""
        panels[0].set_ylabel(label)
        temperature_axis(panels[0], study.temperatures, 2.6)
        if theirs:
            _draw_published(panels[1], study.dataset, published, theirs)
            panels[0].set_title("runs of this report", loc="left")
            panels[1].set_title(f"published ({paper.WANG_LIU.short})", loc="left")
        legend_above(figure, panels[0], columns=4 if theirs else 2)
    constants = any(key.temperature is None for key in study.cells)
    beside = (
        f" Right: the values printed by {paper.WANG_LIU.short}, at full scale; the axes differ."
        if theirs
        else ""
    )
    return Picture(
        name=f"{name}-{study.slug}",
        title=f"{label[0].upper()}{label[1:]} by temperature",
        caption=f"{dataset_title(study.dataset)}: {label} against temperature (logarithmic axis). "
        + _seed_sentence(study.seed_range([quantity]))
        + (_DASHED if constants else "")
        + note
        + beside
        + f" {paper.WANG_LIU.short}: {source}.",
        figure=figure,
        wide=bool(theirs),
    )


def _seed_sentence(seeds: str) -> str:
    if seeds == "1 seed":
        return "One seed, so no spread is known."
    return f"Lines: mean over {seeds}; bands: ± one standard deviation over the seeds of a cell."


def _draw_ours(axes: Axes, study: Study, quantity: Measured) -> None:
    for loss in study.losses:
        style = loss_style(loss, study.losses)
        series = study.series(loss, quantity)
        if series:
            _line(axes, series, quantity.scale, style, loss_title(loss))
        constant = study.constant(loss, quantity)
        if constant is not None:
            _level(axes, constant, quantity.scale, style["color"], loss_title(loss))


def _line(
    axes: Axes, series: Sequence[tuple[float, Summary]], scale: float, style: dict, label: str
) -> None:
    taus = np.array([tau for tau, _ in series])
    means = np.array([summary.mean for _, summary in series]) * scale
    stds = np.nan_to_num(np.array([summary.std for _, summary in series])) * scale
    axes.plot(taus, means, label=label, clip_on=False, zorder=3, **style)
    if stds.any():
        axes.fill_between(
            taus, means - stds, means + stds, color=style["color"], alpha=0.16, linewidth=0
        )


def _level(axes: Axes, summary: Summary, scale: float, colour: str, label: str) -> None:
    mean = summary.mean * scale
    axes.axhline(mean, color=colour, linestyle=(0, (4, 2)), linewidth=1.2, label=label)
    if summary.n > 1:
        std = summary.std * scale
        axes.axhspan(mean - std, mean + std, color=colour, alpha=0.12, linewidth=0)


def _draw_baselines(axes: Axes, study: Study) -> str:
    """Dotted lines of the baselines; words for the caption if one is too far below the curves."""
    readout = study.accuracy
    words = {"pixels": "raw pixels", "untrained": "untrained encoder"}
    notes = []
    low, high = axes.get_ylim()
    for encoder in ("pixels", "untrained"):
        found = [
            (r, values)
            for (name, r), values in study.baselines.items()
            if name == encoder and readout is not None and r.solver == readout.solver
        ]
        if not found:
            continue
        summary = summarize(sorted(found, key=lambda pair: pair[0])[0][1].values())
        if summary is None:
            continue
        value = summary.mean * 100
        if value < low - 1.2 * (high - low):
            notes.append(f"{words[encoder]} {value:.1f} %")
            continue
        axes.axhline(value, color=GREY, linestyle=":", linewidth=1.0)
        axes.annotate(
            words[encoder],
            (1, value),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="right",
            fontsize=6.5,
            color=GREY,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
        )
    return f" Below the axis: {', '.join(notes)}." if notes else ""


def _draw_published(axes: Axes, dataset: str, name: str, curves: dict) -> None:
    losses = list(curves)
    for loss, points in curves.items():
        style = loss_style(loss, losses)
        axes.plot(*zip(*points, strict=True), clip_on=False, zorder=3, **style)
    for loss, value in paper.published_constants(dataset, name).items():
        colour = loss_style(loss, [loss])["color"]
        axes.axhline(value, color=colour, linestyle=(0, (4, 2)), linewidth=1.2)
    temperature_axis(axes, [tau for points in curves.values() for tau, _ in points], 2.6)
