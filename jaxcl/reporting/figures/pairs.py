"""What decoupling does to single pairs: gradients of hard and easy ones, and how similar they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from jaxcl.reporting import paper
from jaxcl.reporting.batches import ORDINARY, BatchStudy
from jaxcl.reporting.figures.picture import Picture
from jaxcl.reporting.names import dataset_title, loss_title, seed_words
from jaxcl.reporting.study import Cell
from jaxcl.reporting.style import WIDE, loss_style, new_figure, paper_style

_GROUPS = 12  # of equally many pairs, by similarity
_BINS = 40
_NAMES = ("pair_positive_similarities", "pair_multipliers", "pair_decoupled_norms")

_Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]


def pair_figure(study: BatchStudy) -> Picture | None:
    """Gradient norm against the similarity of the pair, and its distribution, by batch size."""
    found: dict[tuple[str, int], tuple[_Pairs, int]] = {}
    for loss in study.losses:
        for size in study.sizes:
            cell = study.cell(loss, size)
            if cell is not None and (pooled := _pooled(cell)) is not None:
                found[loss, size] = pooled
    sizes = [size for size in study.sizes if any(number == size for _, number in found)]
    losses = [loss for loss in study.losses if any(name == loss for name, _ in found)]
    if not sizes:
        return None
    with paper_style():
        figure = new_figure(WIDE if len(sizes) > 1 else WIDE / 2, 3.7)
        panels = figure.subplots(2, len(sizes), sharex=True, sharey="row", squeeze=False)
        for column, size in enumerate(sizes):
            for loss in losses:
                if (loss, size) in found:
                    _draw(list(panels[:, column]), found[loss, size][0], loss, losses)
            panels[0, column].set_title(f"{size} images", loc="left")
            panels[1, column].set_yticks([])
            panels[1, column].set_xlabel("similarity of the pair")
        for row in (0, 1):  # shared by all columns, so only once all are drawn
            panels[row, 0].set_ylim(bottom=0)
        panels[0, 0].set_xlim(min(pairs[0].min() for pairs, _ in found.values()), 1)
        panels[0, 0].set_ylabel("gradient norm")
        panels[1, 0].set_ylabel("density of pairs")
        _legend(figure, panels[0, 0], losses)
    counts = [runs for _, runs in found.values()]
    return Picture(
        name=f"pairs-{study.slug}",
        title="Gradients of hard and easy pairs",
        caption=f"{dataset_title(study.dataset)}: pairs of two views of test images, inside batches "
        "of the size of the training. Above: mean norm of the gradient by the anchor (as a vector "
        f"that may move freely), against the similarity of the pair, over {_GROUPS} groups of "
        "equally many pairs, each loss on the encoder that it trained; dotted: NT-Xent's without "
        "its multiplier q_B; DCLW's is drawn without its weight. Below: how similar the pairs are. "
        f"{seed_words(counts)} pooled. {paper.DECOUPLED.short}.",
        figure=figure,
        wide=len(sizes) > 1,
    )


def _pooled(cell: Cell) -> tuple[_Pairs, int] | None:
    """The pairs of all runs of a cell together, and how many runs there are."""
    each = [
        tuple(run.analysis[name] for name in _NAMES)
        for run in cell.runs
        if set(_NAMES) <= run.analysis.keys()
    ]
    if not each:
        return None
    similarities, multipliers, norms = (np.concatenate(part) for part in zip(*each, strict=True))
    return (similarities, multipliers, norms), len(each)


def _draw(panels: Sequence[Axes], pairs: _Pairs, loss: str, losses: Sequence[str]) -> None:
    similarities, multipliers, norms = pairs
    colour = loss_style(loss, losses)["color"]
    groups = np.array_split(np.argsort(similarities, kind="stable"), _GROUPS)
    places = [similarities[group].mean() for group in groups]
    if loss in ORDINARY:
        damped = [(multipliers * norms)[group].mean() for group in groups]
        panels[0].plot(places, damped, color=colour)
        style: dict[str, Any] = {"linestyle": ":", "linewidth": 1.1}
    else:
        style = {}
    panels[0].plot(places, [norms[group].mean() for group in groups], color=colour, **style)
    shares, edges = np.histogram(similarities, bins=_BINS, range=(-1, 1), density=True)
    panels[1].stairs(shares, edges, color=colour, linewidth=1.2)


def _legend(figure: Any, axes: Axes, losses: Sequence[str]) -> None:
    handles, labels = [], []
    for loss in losses:
        colour = loss_style(loss, losses)["color"]
        handles += axes.plot([], [], color=colour)
        labels.append(loss_title(loss))
        if loss in ORDINARY:
            handles += axes.plot([], [], color=colour, linestyle=":")
            labels.append(f"{loss_title(loss)} without q_B")
    figure.legend(handles, labels, loc="outside upper left", ncols=len(handles), borderpad=0)
