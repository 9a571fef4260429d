"""Figures of the losses themselves, without data or model, from theory/analysis.npz."""

from __future__ import annotations

import numpy as np
from matplotlib.ticker import MultipleLocator

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
    """Loss and gradient of every loss against the gap between positive and negatives."""
    if not {"losses", "gap", "loss_values"} <= theory.keys():
        return None
    names = sorted((str(name) for name in theory["losses"]), key=loss_order)
    index = {str(name): i for i, name in enumerate(theory["losses"])}
    with paper_style():
        both = "loss_gradients" in theory
        figure = new_figure(WIDE if both else COLUMN, 2.9)
        panels = figure.subplots(1, 2 if both else 1, squeeze=False)[0]
        for name in names:
            style = loss_style(name, names) | {"marker": ""}
            panels[0].plot(
                theory["gap"], theory["loss_values"][index[name]], label=loss_title(name), **style
            )
            if both:
                panels[1].plot(theory["gap"], theory["loss_gradients"][index[name]], **style)
        labels = ("loss [nats, or similarity]", "gradient by the positive similarity")
        for axes, label in zip(panels, labels, strict=False):
            axes.set_xlabel("gap: positive − negative similarity")
            axes.set_ylabel(label)
            axes.set_xlim(float(theory["gap"].min()), float(theory["gap"].max()))
            axes.xaxis.set_major_locator(MultipleLocator(0.5))
        legend_above(figure, panels[0], columns=5)
    return Picture(
        name="loss-shapes",
        title="The family of losses",
        caption="Theory, no seeds: loss of one anchor, and its gradient by the positive "
        "similarity, against the gap between the positive and the negatives. Losses with a "
        "logarithm are in nats.",
        figure=figure,
    )
