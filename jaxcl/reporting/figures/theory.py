"""Figures of the losses themselves, without data or model, from theory/analysis.npz."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from jaxcl.reporting import paper
from jaxcl.reporting.figures.picture import Picture
from jaxcl.reporting.names import loss_order, loss_title, temperature_words
from jaxcl.reporting.style import (
    COLUMN,
    WIDE,
    legend_above,
    loss_style,
    new_figure,
    paper_style,
    temperature_axis,
    temperature_colours,
)

Arrays = dict[str, np.ndarray]

_LOSS_COLOUR, _PULL_COLOUR = "#0072B2", "#D55E00"
_SPREAD_STYLES = (("#0072B2", "o-"), ("#D55E00", "s-"), ("#009E73", "D-"), ("#CC79A7", "P-"))


def ratio_figure(theory: Arrays) -> Picture | None:
    """Gradient ratio against similarity, one curve a temperature (Wang & Liu, Figure 3)."""
    if not {"similarity", "temperatures", "relative_penalty"} <= theory.keys():
        return None
    similarity, ratios = theory["similarity"], theory["relative_penalty"]
    order = np.argsort(similarity)
    taus = [float(tau) for tau in theory["temperatures"]]
    colours = temperature_colours(taus)
    with paper_style():
        figure = new_figure(WIDE, 2.7)
        linear, logarithmic = figure.subplots(1, 2)
        for tau, ratio in zip(taus, ratios, strict=True):
            for axes in (linear, logarithmic):
                axes.plot(
                    similarity[order],
                    ratio[order],
                    color=colours[tau],
                    label=f"τ = {temperature_words(tau)}",
                )
        logarithmic.set_yscale("log")
        logarithmic.set_ylim(bottom=max(float(ratios[ratios > 0].min()), 1e-12) / 2)
        for axes, title in ((linear, "linear"), (logarithmic, "logarithmic")):
            axes.set_xlabel(r"similarity to the negative $s_{ij}$")
            axes.set_xlim(-1, 1)
            axes.set_xticks([-1, -0.5, 0, 0.5, 1])
            axes.set_title(f"{title} scale", loc="left")
        linear.set_ylim(bottom=0)
        linear.set_ylabel(r"gradient ratio $r_i(s_{ij})$")
        figure.legend(*linear.get_legend_handles_labels(), loc="outside right center")
    return Picture(
        name="gradient-ratio",
        title="Gradient ratio by similarity",
        caption="Theory, no seeds: share of the gradient on negatives that falls on a negative of "
        f"similarity s, for {similarity.size:,} negatives (the shares of one temperature sum to "
        f"one). {paper.WANG_LIU.short}: Figure 3, Eq. 5.",
        figure=figure,
    )


def entropy_theory_figure(theory: Arrays) -> Picture | None:
    """Entropy of the relative penalties against temperature, from theory."""
    if not {"entropy_temperatures", "entropy"} <= theory.keys():
        return None
    taus, entropy = theory["entropy_temperatures"], theory["entropy"]
    with paper_style():
        figure = new_figure(COLUMN, 2.6)
        axes = figure.subplots()
        style = loss_style("contrastive", ["contrastive"])
        axes.plot(taus, entropy, color=style["color"])
        bound = np.log(theory["similarity"].size) if "similarity" in theory else None
        if bound is not None and entropy.max() <= bound * 1.001:
            axes.axhline(bound, color="#777777", linestyle=":", linewidth=1.0)
            axes.annotate(
                "log of the number of negatives",
                (float(taus.min()), bound),
                xytext=(2, -8),
                textcoords="offset points",
                fontsize=6.5,
                color="#777777",
            )
        ticks = [t for t in (0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)]
        inside = [t for t in ticks if taus.min() <= t <= taus.max()]
        temperature_axis(axes, inside or [float(t) for t in taus], 2.6)
        axes.set_xlim(float(taus.min()), float(taus.max()))
        axes.set_ylim(bottom=0)
        axes.set_ylabel("entropy of relative penalties [nats]")
    return Picture(
        name="entropy-theory",
        title="Penalty entropy by temperature, theory",
        caption="Theory, no seeds: entropy of the distribution of the gradient over the same "
        "negatives as in the gradient ratio. It rises strictly with the temperature "
        f"({paper.WANG_LIU.short}, supplementary proof).",
        figure=figure,
        wide=False,
    )


def loss_shape_figure(theory: Arrays) -> Picture | None:
    """Loss and pull on the positive against the gap, one small panel a loss."""
    if not {"losses", "gap", "loss_values", "loss_gradients"} <= theory.keys():
        return None
    index = {str(name): i for i, name in enumerate(theory["losses"])}
    names = sorted(index, key=loss_order)
    columns = min(6, len(names))
    lines = math.ceil(len(names) / columns)
    with paper_style():
        figure = new_figure(WIDE, 1.15 * lines + 0.55)
        panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        for axes, name in zip(panels.flat, names, strict=False):
            values = theory["loss_values"][index[name]]
            _draw_shape(axes, theory["gap"], values, theory["loss_gradients"][index[name]])
            axes.set_title(loss_title(name), loc="left", fontsize=7.5)
        for axes in list(panels.flat)[len(names) :]:
            axes.set_visible(False)
        for i, axes in enumerate(list(panels.flat)[: len(names)]):
            axes.tick_params(axis="x", labelbottom=i + columns >= len(names))
        figure.supxlabel("gap: similarity of the positive − of the nearest negative", fontsize=8)
        legend_above(figure, panels[0, 0])
    at = f" at τ = {float(theory['gap_temperature']):g}" if "gap_temperature" in theory else ""
    return Picture(
        name="loss-shapes",
        title="The family of losses",
        caption=f"Theory, no seeds: one anchor{at}; the positive moves, the negatives stay. "
        "Solid: the loss, from its least (0) to its greatest value (1). Dashed: the pull on the "
        "positive, minus the derivative by its similarity, relative to the greatest one, which "
        "stands above each panel. Not drawn in the papers.",
        figure=figure,
    )


def coupling_figure(theory: Arrays) -> Picture | None:
    """The coupling q_B against batch size for several spreads of the negatives."""
    needed = {"batch_sizes", "spreads", "levels", "quantiles", "mean"}
    if not {f"coupling_{name}" for name in needed} <= theory.keys():
        return None
    sizes, levels = theory["coupling_batch_sizes"], list(theory["coupling_levels"])
    with paper_style():
        figure = new_figure(COLUMN, 2.6)
        axes = figure.subplots()
        for i, spread in enumerate(theory["coupling_spreads"]):
            colour, marker = _SPREAD_STYLES[i % len(_SPREAD_STYLES)]
            quantiles = theory["coupling_quantiles"][i]
            axes.fill_between(
                sizes, quantiles[:, 0], quantiles[:, -1], color=colour, alpha=0.16, linewidth=0
            )
            mean = theory["coupling_mean"][i]
            axes.plot(sizes, mean, marker, color=colour, label=f"spread {spread:g}", clip_on=False)
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("images in the batch")
        axes.set_ylabel(r"coupling $q_B$")
        axes.set_ylim(0, 1)
        legend_above(figure, axes, columns=3)
    return Picture(
        name="coupling",
        title="Coupling by batch size, theory",
        caption="Theory, no seeds: the factor by which the contrastive gradient is smaller than "
        f"the decoupled one, at τ = {float(theory['coupling_temperature']):g}, a positive of "
        f"similarity {float(theory['coupling_positive']):g} and negatives drawn with the given "
        f"standard deviation. Lines: mean over draws; bands: {100 * levels[0]:g}th to "
        f"{100 * levels[-1]:g}th percentile. {paper.DECOUPLED.short}.",
        figure=figure,
        wide=False,
    )


def _draw_shape(axes: Axes, gap: np.ndarray, loss: np.ndarray, gradient: np.ndarray) -> None:
    span = float(loss.max() - loss.min()) or 1.0
    most = float(np.abs(gradient).max()) or 1.0
    axes.plot(gap, (loss - loss.min()) / span, color=_LOSS_COLOUR, label="loss", linewidth=1.2)
    axes.plot(
        gap,
        -gradient / most,
        color=_PULL_COLOUR,
        linestyle=(0, (3, 1.5)),
        label="pull on the positive",
        linewidth=1.2,
    )
    axes.set_title(f"{most:.3g}", loc="right", fontsize=6.5, color=_PULL_COLOUR)
    axes.set_xlim(float(gap.min()), float(gap.max()))
    axes.set_ylim(-0.06, 1.1)
    axes.set_xticks([-1, 0, 1])
    axes.set_yticks([0, 1])
