"""One look for all figures: matplotlib parameters, colours, markers and ticks, only here.

Figures are made with `matplotlib.figure.Figure` and never with pyplot, so that importing this
package changes nothing global and no window system is needed.
"""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager, ticker
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from jaxcl import paths
from jaxcl.reporting.names import temperature_words

# Colours of Okabe and Ito (2008), distinguishable with every common colour blindness. A loss and
# its relative share a hue.
_LOSS_STYLES: dict[str, tuple[str, str]] = {
    "contrastive": ("#0072B2", "o"),
    "nt_xent": ("#0072B2", "o"),  # the same loss on two views of a batch
    "hard": ("#D55E00", "s"),
    "simple": ("#56B4E9", "v"),
    "hard_simple": ("#E69F00", "^"),
    "dcl": ("#009E73", "D"),
    "dclw": ("#CC79A7", "P"),
}
_OTHER_STYLES = (
    *(("#332288", "X"), ("#882255", "p"), ("#117733", "h"), ("#999933", "<")),
    *(("#555555", ">"), ("#AA4499", "*"), ("#44AA99", "d"), ("#661100", "8")),
)
INK = "#222222"
GREY = "#777777"
POSITIVE_COLOUR = "#D55E00"
NEGATIVE_COLOUR = "#0072B2"

_SANS = ("Helvetica", "Arial", "Liberation Sans", "Nimbus Sans", "DejaVu Sans")
_PREFERRED_TICKS = (1.0, 0.1, 0.05, 0.2, 0.5, 0.07, 0.3, 0.7, 2.0, 0.01, 0.02, 0.4, 0.6)

WIDE = 6.9  # inches: the text width of a two-column paper
COLUMN = 3.4


@functools.cache
def _fonts() -> list[str]:
    installed = set(font_manager.fontManager.get_font_names())
    return [name for name in _SANS if name in installed]


@contextlib.contextmanager
def paper_style() -> Iterator[None]:
    """Everything that is drawn inside looks the same; nothing is changed outside."""
    parameters: dict[str, Any] = {
        "font.family": "sans-serif",
        "font.sans-serif": _fonts(),
        "mathtext.fontset": "stixsans",
        "font.size": 8,
        "axes.titlesize": 8.5,
        "axes.labelsize": 8,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "legend.fontsize": 7.5,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": "#444444",
        "xtick.color": "#444444",
        "ytick.color": "#444444",
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "axes.linewidth": 0.6,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#e4e4e4",
        "grid.linewidth": 0.5,
        "lines.linewidth": 1.4,
        "lines.markersize": 4,
        "legend.frameon": False,
        "legend.handlelength": 1.9,
        "legend.columnspacing": 1.3,
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        "pdf.fonttype": 42,
        "svg.fonttype": "path",
        "svg.hashsalt": "jaxcl",
    }
    with matplotlib.rc_context(parameters):  # pyright: ignore[reportArgumentType]
        yield


def new_figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def loss_style(loss: str, losses: Sequence[str]) -> dict[str, Any]:
    """Colour and marker of a loss; one without a fixed place takes the next, as in `losses`."""
    if loss in _LOSS_STYLES:
        colour, marker = _LOSS_STYLES[loss]
    else:
        others = [name for name in losses if name not in _LOSS_STYLES]
        colour, marker = _OTHER_STYLES[others.index(loss) % len(_OTHER_STYLES)]
    return {"color": colour, "marker": marker, "markeredgecolor": "white", "markeredgewidth": 0.5}


def temperature_colours(temperatures: Sequence[float]) -> dict[float, Any]:
    """Dark for small, light for large, by the logarithm."""
    colours = matplotlib.colormaps["viridis"]
    low, high = min(temperatures), max(temperatures)
    norm = LogNorm(low, high) if high > low else Normalize(low, low + 1)
    return {tau: colours(0.02 + 0.86 * float(norm(tau))) for tau in temperatures}


def temperature_axis(axes: Axes, temperatures: Sequence[float], width: float) -> None:
    """A logarithmic axis with a tick at each temperature that was run; labels as far as they fit.

    Args:
      axes: where.
      temperatures: those that occur.
      width: of the axes in inches, to know which labels fit.
    """
    ordered = sorted(set(temperatures))
    axes.set_xscale("log")
    axes.set_xlabel("temperature τ")
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    if not ordered:
        return
    low, high = ordered[0], ordered[-1]
    pad = (high / low) ** 0.04 if high > low else 1.3
    axes.set_xlim(low / pad, high * pad)
    shown = _labels_that_fit(ordered, np.log(high * pad**2 / low), width)
    axes.set_xticks(ordered, [temperature_words(tau) if tau in shown else "" for tau in ordered])


def _labels_that_fit(temperatures: Sequence[float], span: float, width: float) -> set[float]:
    rank = {tau: i for i, tau in enumerate(_PREFERRED_TICKS)}
    wished = sorted(temperatures, key=lambda tau: (rank.get(tau, len(rank)), tau))
    ends = [temperatures[0], temperatures[-1]]
    kept: list[float] = []
    for tau in ends + wished:
        room = 0.05 * len(temperature_words(tau)) + 0.04  # inches of a 7 pt label and its margin
        if all(abs(np.log(tau / other)) / span * width >= room for other in kept):
            kept.append(tau)
    return set(kept)


def legend_above(figure: Figure, axes: Axes, columns: int = 4) -> None:
    """The legend of one panel above the whole figure, where it hides no data."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(
            handles, labels, loc="outside upper left", ncols=min(columns, len(handles)), borderpad=0
        )


def save(figure: Figure, folder: Path, name: str, formats: Sequence[str]) -> dict[str, Path]:
    """Writes a figure once per format without dates, so that the same data gives the same file."""
    paths.make_folder(folder)
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    written = {}
    with paper_style():
        # The layout is the dearest part: once, not once a format.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for form in formats:
            written[form] = folder / f"{name}.{form}"
            buffer = io.BytesIO()
            figure.savefig(buffer, format=form, dpi=200, metadata=metadata[form])
            paths.write_bytes(written[form], buffer.getvalue())
    return written
