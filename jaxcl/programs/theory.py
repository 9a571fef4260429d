"""The figures that need no data and no model: what each loss does to similarities, by `jax.grad`."""

import pathlib
from collections.abc import Sequence

from jaxcl import paths
from jaxcl.analysis import theory
from jaxcl.programs import report

TEMPERATURES = (0.05, 0.07, 0.1, 0.2, 0.3, 0.5, 1.0)


def write(
    root: str | pathlib.Path,
    *,
    temperatures: Sequence[float] = TEMPERATURES,
    temperature: float = 0.2,
) -> pathlib.Path:
    """Write ``theory/analysis.npz`` below a root.

    Args:
      root: of a report.
      temperatures: of the gradient ratio's curves (Wang & Liu, Figure 3).
      temperature: at which all losses are drawn side by side.

    Returns:
      The file.
    """
    folder = paths.parse(root) / "theory"
    paths.make_folder(folder)
    arrays = theory.theory_arrays(temperatures, temperature=temperature)
    path = folder / "analysis.npz"
    paths.write_arrays(path, arrays)
    return path


def run(
    root: str | pathlib.Path,
    *,
    temperatures: Sequence[float] = TEMPERATURES,
    temperature: float = 0.2,
) -> pathlib.Path:
    """Write the arrays and the report of a root; arguments as for `write`.

    Returns:
      The report's page.
    """
    write(root, temperatures=temperatures, temperature=temperature)
    return report.run(root)
