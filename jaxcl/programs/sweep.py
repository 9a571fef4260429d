"""A config's grid: pretrain, probe and analyze every cell, then write the report.

Cells that are done are skipped, so the same command resumes a grid, and a job for each cell is a grid on a cluster.
Cells whose compiled step is the same share one compilation (temperature, seed and learning rate are traced inputs of
the step). Where there are devices for it, such cells are pretrained at once (`jaxcl.programs.cells`).
"""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jax.errors import JaxRuntimeError
from ml_collections import ConfigDict

from jaxcl import paths
from jaxcl.config import override
from jaxcl.programs import analyze, hosts, pretrain, probe, report, theory
from jaxcl.programs import cells as several
from jaxcl.programs.terminal import terminal
from jaxcl.programs.workdir import read_rows
from jaxcl.training.log import Console
from jaxcl.training.loop import NonFiniteLoss
from jaxcl.training.peers import Stop

Cell = Mapping[str, Any]


def cell_name(cell: Cell) -> str:
    """The cell's directory: ``name=hard,temperature=0.1,seed=0``; ``run`` for the empty cell."""
    parts = (f"{name.rpartition('.')[2]}={value}" for name, value in cell.items())
    return ",".join(parts).replace("/", "-").replace(" ", "") or "run"


def show(config: ConfigDict, cells: Sequence[Cell]) -> None:
    """Print the cells, each with its number and overrides, once all have been checked against the config."""
    for number, cell in enumerate(cells):
        override(config, cell)
        flags = " ".join(f"--config.{name}={value}" for name, value in cell.items())
        print(f"{number:4d}  {cell_name(cell)}  {flags}")


def run(
    config: ConfigDict,
    workdir: str | pathlib.Path,
    *,
    cells: Sequence[Cell],
    only: int | None = None,
    together: int | None = None,
    force: bool = False,
    console: Console | None = None,
    stop: Stop | None = None,
) -> pathlib.Path | None:
    """Run a grid.

    Args:
      config: what the cells have in common.
      workdir: its root; each cell gets a directory below it.
      cells: flat overrides of each cell.
      only: run only the cell of this number. Other processes may run the others meanwhile; the report is written by the
        cell after which all are done.
      together: pretrain at most so many cells at once; 1 for one after another, None for as many as the devices allow.
      force: move runs of other configs aside instead of refusing.
      console: None for the terminal.
      stop: how the processes of a run agree on where to stop; None for one process.

    Returns:
      The report's page, which the first process writes; None while other cells are to be run.

    Raises:
      ValueError: a mistake in the grid, found before the first cell runs.
    """
    console = console or terminal()
    root = paths.parse(workdir)
    chosen = choose(config, cells, only)
    with_baselines = _first_of_a_kind({cell_name(cell): override(config, cell) for cell in cells})
    done, fits = 0, True
    for names in several.group(chosen, root, together):
        if len(names) > 1 and fits:
            group = {root / name: chosen[name] for name in names}
            fits = _at_once(group, force=force, console=console, stop=stop)
        for name in names:
            done += 1
            console.print(f"[{done}/{len(chosen)}] {name}")
            run_cell(
                chosen[name],
                root / name,
                baselines=name in with_baselines,
                force=force,
                console=console,
                stop=stop,
            )
    left = [name for cell in cells if not _is_done(root / (name := cell_name(cell)))]
    if hosts.from_first(len(left)):
        console.print(
            f"{len(left)} of the grid's {len(cells)} cells are not done; the last one writes the report "
            f"(so far: python main.py report --workdir={root})"
        )
        return None
    if not hosts.first():
        return root / "report" / "index.html"
    theory.write(root)
    return report.run(root)


def _at_once(
    group: Mapping[pathlib.Path, ConfigDict], *, force: bool, console: Console, stop: Stop | None
) -> bool:
    """Pretrain several cells at once; whether they fit the devices' memory so."""
    names = ", ".join(folder.name for folder in group)
    console.print(f"{several.describe(len(group))}: {names}")
    try:
        several.run(group, force=force, console=console, stop=stop)
    except NonFiniteLoss as failure:
        console.print(f"{failure} The cells go on one after another.")
    except JaxRuntimeError as failure:
        if "RESOURCE_EXHAUSTED" not in str(failure):
            raise
        console.print("this does not fit the devices' memory; the cells go one after another")
        return False
    return True


def choose(
    config: ConfigDict, cells: Sequence[Cell], only: int | None = None
) -> dict[str, ConfigDict]:
    """The configurations of the chosen cells by their names, all checked; nothing compiles.

    Raises:
      ValueError: a mistake in any of them, or a cell that is not there.
    """
    if only is not None and not 0 <= only < len(cells):
        raise ValueError(f"--cell {only} is out of range: the grid has cells 0 to {len(cells) - 1}")
    chosen = cells if only is None else [cells[only]]
    configs = {cell_name(cell): override(config, cell) for cell in chosen}
    for cell in configs.values():
        pretrain.check(cell)
    return configs


def run_cell(
    config: ConfigDict,
    workdir: pathlib.Path,
    *,
    baselines: bool,
    force: bool,
    console: Console,
    stop: Stop | None = None,
) -> None:
    """Pretrain, probe and analyze one cell, as far as that is not done."""
    summary = pretrain.run(config, workdir, force=force, console=console, stop=stop)
    done = {row["program"] for row in read_rows(workdir) if row["step"] == summary["step"]}
    # Files change under the others while the first process writes them, so it alone decides.
    probed, analyzed = (hosts.from_first(name in done) for name in ("probe", "analyze"))
    if not probed:
        probe.run(config, workdir, baselines=baselines, console=console)
    if not analyzed:
        analyze.run(config, workdir, console=console)


def _is_done(workdir: pathlib.Path) -> bool:
    return {"probe", "analyze"} <= {row["program"] for row in read_rows(workdir)}


def _first_of_a_kind(configs: Mapping[str, ConfigDict]) -> set[str]:
    """The first cells of the grid with their data, encoder and seed; they alone probe the baselines."""
    first: dict[str, str] = {}
    for name, config in configs.items():
        plain = config.to_dict()
        key = json.dumps([plain["data"], plain["model"], plain["seed"], plain["evaluate"]])
        first.setdefault(key, name)
    return set(first.values())
