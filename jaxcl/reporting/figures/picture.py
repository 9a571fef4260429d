"""A figure with the words that must stand under it."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A drawn figure.

    `name` is its file name, `title` its heading; `caption` says what is plotted, its unit, the
    number of seeds and the figure of the paper. A `wide` one takes the whole width of a page.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    wide: bool = True
