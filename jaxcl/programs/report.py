"""The report program: everything below a root becomes one page, figures and tables.

Needs no accelerator and does not import jax.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jaxcl import paths
from jaxcl.programs import older
from jaxcl.reporting.publication import publish as freeze
from jaxcl.reporting.report import FORMATS, write_report


def run(
    root: str | Path,
    formats: Sequence[str] = FORMATS,
    *,
    publish: str | Path | None = None,
    command: str = "",
) -> Path:
    """Writes report/ below `root`, or freezes its runs in a folder for a repository.

    Args:
      root: a directory with runs at any depth; it need not hold any.
      formats: of the figure files, among png, svg and pdf.
      publish: the folder, in which rows, tables, claims and figures are written instead.
      command: that made the runs, for the reader of that folder; asked for once.

    Returns:
      The path of report/index.html, or of README.md in the folder.

    Raises:
      ValueError: `root` is not a directory, a format is unknown, or there is nothing to publish.
    """
    root = paths.parse(root)
    if not root.is_dir():
        raise ValueError(
            f"report: {str(root)!r} is not a directory; give the one that holds the runs"
        )
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown or not {"png", "svg"} & set(formats):
        raise ValueError(
            f"report: formats {list(formats)} must be among {list(FORMATS)}, with png or svg"
        )
    if publish is not None:
        return freeze(root, publish, command, older.defaults())
    return write_report(root, formats, older.defaults())
