"""One function per figure: from a study or arrays to a `Picture`; None if nothing was measured."""

from jaxcl.reporting.figures.picture import Picture

__all__ = ["Picture"]
