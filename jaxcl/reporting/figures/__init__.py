"""One function per figure. Each takes a study or arrays and returns a `Picture`, or None if nothing was measured."""

from jaxcl.reporting.figures.picture import Picture

__all__ = ["Picture"]
