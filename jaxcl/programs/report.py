"""The report program: everything below a root becomes one page, figures and tables.

Needs no accelerator and does not import jax.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jaxcl.reporting.report import FORMATS, write_report


def run(root: str | Path, formats: Sequence[str] = FORMATS) -> Path:
    """Writes report/ below `root`.

    Args:
      root: a directory with runs at any depth; it need not hold any.
      formats: of the figure files, among png, svg and pdf.

    Returns:
      The path of report/index.html.

    Raises:
      ValueError: `root` is not a directory, or a format is unknown.
    """
    root = Path(root)
    if not root.is_dir():
        raise ValueError(
            f"report: {str(root)!r} is not a directory; give the one that holds the runs"
        )
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown or not {"png", "svg"} & set(formats):
        raise ValueError(
            f"report: formats {list(formats)} must be among {list(FORMATS)}, with png or svg"
        )
    return write_report(root, formats)
