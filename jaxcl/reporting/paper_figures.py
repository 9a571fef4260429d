"""Which figures of Wang & Liu a data set has, and which of them were drawn from runs."""

from __future__ import annotations

from collections.abc import Collection

from jaxcl.reporting.figures.samples import SEPARATION_FIGURES
from jaxcl.reporting.names import loss_title
from jaxcl.reporting.tables import NOT_RUN

# Number in the paper, beginning of the file's name here, what it shows.
_OF_EVERY_SET = (
    ("Figure 9", "accuracy", "linear accuracy by temperature"),
    ("Figures 4 and 6", "uniformity", "−uniformity by temperature"),
    ("Figures 5 and 7", "tolerance", "tolerance by temperature"),
)


def figure_states(dataset: str, drawn: Collection[str]) -> list[str]:
    """One line for each figure of the paper: 'drawn above' or 'not yet run'.

    Args:
      dataset: one of the paper's.
      drawn: names of the figures that were drawn.
    """
    figures = list(_OF_EVERY_SET)
    if dataset == "cifar10":
        figures.insert(0, ("Figure 2", "map", "t-SNE at τ = 0.07 and 0.2"))
    for (loss, name), number in SEPARATION_FIGURES.items():
        if name == dataset:
            what = f"local separation, {loss_title(loss)}"
            figures.append((number, f"separation-{loss}", what))
    return [
        f"{number[0].upper()}{number[1:]}, {what}: "
        + ("drawn above" if _is_drawn(f"{kind}-{dataset}-", drawn) else NOT_RUN)
        for number, kind, what in figures
    ]


def _is_drawn(beginning: str, drawn: Collection[str]) -> bool:
    return any(name.startswith(beginning) for name in drawn)
