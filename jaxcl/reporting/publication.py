"""A study as a folder that a repository can hold: rows, tables, claims and figures, and how they came about.

Everything but the figures can be made again from runs.jsonl and study.json alone, to the byte.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxcl import paths
from jaxcl.reporting.blocks import Block, all_tables, blocks
from jaxcl.reporting.frozen import FROZEN, pack, text
from jaxcl.reporting.judgements import claims_tables
from jaxcl.reporting.names import seed_words
from jaxcl.reporting.runs import Run, collect_runs, flatten
from jaxcl.reporting.studies import build_studies
from jaxcl.reporting.style import save
from jaxcl.reporting.tables import csv_text, markdown

ABOUT = "study.json"
NOTES = "notes.md"
FORMATS = ("png", "pdf")  # for the reader of the folder, and for a paper
MADE_AGAIN = ("README.md", "tables.md", "table.csv", "claims.md")


def publish(
    root: str | Path,
    folder: str | Path,
    command: str = "",
    defaults: Mapping[str, Any] | None = None,
) -> Path:
    """Freezes the runs below `root` in `folder`.

    Args:
      root: runs at any depth; or the folder itself, whose texts are then made again.
      folder: made if absent; what was published there before is replaced.
      command: that made the runs; where it is empty, the one that is published already.
      defaults: of settings, for runs that lack some; see `collect_runs`.

    Returns:
      The folder's README.md.

    Raises:
      ValueError: no rows, or no command.
    """
    root, folder = paths.parse(root), paths.parse(folder)
    if paths.same(root, folder) and (folder / FROZEN).is_file():
        return make_again(folder, folder)
    runs = [run for run in collect_runs(root, defaults) if run.rows]
    if not runs:
        raise ValueError(f"report: no run below {str(root)!r} has rows yet; nothing to publish")
    command = command or _read_about(folder).get("command", "")
    if not command:
        raise ValueError(
            "report: --publish needs --command='python main.py sweep ...', the command that made "
            "the runs"
        )
    paths.make_folder(folder)
    records = [(run.name, flatten(run.config), run.environment, run.rows) for run in runs]
    paths.write_text(folder / FROZEN, text(pack(records)))
    # Drawn from the rows as they were written, with the arrays and logs of where they came from.
    places = {run.name: run.folder for run in runs}
    frozen = [dataclasses.replace(run, folder=places[run.name]) for run in collect_runs(folder)]
    figures = _draw(blocks(build_studies(frozen)), folder / "figures")
    about = {"command": command, "figures": figures}
    paths.write_text(folder / ABOUT, json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    return make_again(folder, folder)


def make_again(source: Path, folder: Path) -> Path:
    """Writes README.md, tables.md, table.csv and claims.md of a published study into `folder`."""
    runs = collect_runs(source)
    studies = build_studies(runs)
    about = _read_about(source)
    first = _first_line(blocks(studies), runs, about.get("command", ""))
    paths.make_folder(folder)
    tables = markdown(all_tables(studies, only_run=True))
    claims = markdown(claims_tables(studies))
    notes = source / NOTES
    parts = [
        first,
        "The rows of all runs are in runs.jsonl; [tables.md](tables.md), table.csv and "
        "[claims.md](claims.md) are computed from them.",
        notes.read_text(encoding="utf-8").strip() if notes.is_file() else "",
        claims.strip(),
        *(_figure_words(figure) for figure in about.get("figures", [])),
    ]
    readme = "\n\n".join(part for part in parts if part) + "\n"
    for name, content in (
        ("README.md", readme),
        ("tables.md", f"{first}\n\n{tables}"),
        ("table.csv", csv_text(studies)),
        ("claims.md", f"{first}\n\n{claims}"),
    ):
        paths.write_text(folder / name, content)
    return folder / "README.md"


def _draw(found: Sequence[Block], folder: Path) -> list[dict[str, str]]:
    """The figures of all blocks in place of those that were there; what stands under each."""
    drawn = []
    for block in found:
        for drawings in block.figures.values():
            for picture in filter(None, (draw() for draw in drawings)):
                save(picture.figure, folder, picture.name, FORMATS)
                words = {"title": picture.title, "caption": picture.caption}
                drawn.append({"name": picture.name} | words)
    names = {figure["name"] for figure in drawn}
    for path in folder.glob("*.*"):
        if path.stem not in names:
            path.unlink()
    return drawn


def _first_line(found: Sequence[Block], runs: Sequence[Run], command: str) -> str:
    scales = "; and ".join(dict.fromkeys(block.scale for block in found))
    cells: dict[str, set[Any]] = {}
    for run in runs:
        flat = flatten(run.config)
        cell = json.dumps({k: v for k, v in flat.items() if k != "seed"}, sort_keys=True)
        cells.setdefault(cell, set()).add(flat.get("seed"))
    seeds = seed_words([len(values) for values in cells.values()])
    return (
        f"Scale: {scales}. {len(runs)} runs, {len(cells)} cells of {seeds}, on {_hardware(runs)}. "
        f"Command: `{command}`"
    )


def _hardware(runs: Sequence[Run]) -> str:
    found = set()
    for run in runs:
        e = run.environment
        cores = f" ({e['cores']} cores)" if "cores" in e else ""
        devices = f"{e.get('device_count', 1)} × {e.get('device_kind', 'unknown device')}{cores}"
        version = str(e.get("jaxcl", ""))
        numbered = version if version[:1].isdigit() else ""  # a checkout that is not installed
        name = " ".join(filter(None, ["jaxcl", numbered]))
        revision = f"{name} at revision {e.get('revision', 'unknown')}"
        found.add(f"{devices}, {revision}, jax {e.get('jax', '?')}")
    return "; ".join(sorted(found))


def _figure_words(figure: dict[str, str]) -> str:
    name, title, caption = figure["name"], figure["title"], figure["caption"]
    return f"![{title}](figures/{name}.png)\n\n*{title}.* {caption} [PDF](figures/{name}.pdf)"


def _read_about(folder: Path) -> dict[str, Any]:
    path = folder / ABOUT
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
