"""Run directories on disk: found, read and handed on as plain values.

This file knows the names and formats of the files that programs write. It knows nothing of what a
row means; grouping runs into comparable sets is the business of `jaxcl.reporting.studies`.
"""

from __future__ import annotations

import functools
import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxcl import paths
from jaxcl.reporting.frozen import FROZEN, nested, unpack
from jaxcl.reporting.training_log import summarize_log

Row = dict[str, Any]

# Two rows that agree in all of these measure the same thing: the later one replaces the earlier.
ROW_KEY = (
    "program",
    "dataset",
    "loss",
    "constants",
    "temperature",
    "seed",
    "candidates",
    "model",
    "step",
    "encoder",
    "features",
    "standardized",
    "solver",
    "readout",
    "split",
)

# Settings of runs that are compared.
_KIND = ("data.name", "candidates.kind", "model.name")

# Written beside or inside runs, hidden, or a run of another config that was moved aside.
_NOT_A_RUN = re.compile(r"^(report|theory|checkpoints|\..*|.*\.old-\d+)$")


@dataclass(frozen=True)
class Run:
    """One run directory. `rows` hold each measurement once; large files are read when asked for."""

    folder: Path
    name: str
    config: Row
    environment: Row
    rows: tuple[Row, ...]
    unreadable_lines: int

    @functools.cached_property
    def metrics(self) -> tuple[Row, ...]:
        """The training log in order of steps, all that was logged of a step in one row."""
        return read_log(self.folder / "metrics.jsonl")

    @functools.cached_property
    def analysis(self) -> dict[str, np.ndarray]:
        """The arrays of analysis.npz, empty if there is none."""
        return read_arrays(self.folder / "analysis.npz")

    @functools.cached_property
    def embeddings(self) -> dict[str, np.ndarray]:
        """The arrays of embeddings.npz, empty if there is none."""
        return read_arrays(self.folder / "embeddings.npz")


def collect_runs(root: str | Path, defaults: Mapping[str, Any] | None = None) -> list[Run]:
    """Returns every run at or below `root`, ordered by path.

    Args:
      root: a directory.
      defaults: of settings by their flat names, for runs that were made before others of the same
        data and model had that setting.

    A run is a directory that holds config.json or rows.jsonl; runs.jsonl holds many, as they were
    published. Folders called report, theory or checkpoints are skipped, and runs that were moved
    aside (`.old-1`).
    """
    root = paths.parse(root)
    runs = [run for folder in _folders(root) if _is_run(folder) for run in _load(folder, root)]
    return _completed(runs, defaults) if defaults else runs


def read_log(path: Path) -> tuple[Row, ...]:
    """Returns metrics.jsonl by steps: lines of one step joined, the later one's values kept."""
    by_step: dict[int, Row] = {}
    for line in read_json_lines(path)[0]:
        if isinstance(line.get("step"), int):
            by_step.setdefault(line["step"], {}).update(line)
    return tuple(by_step[step] for step in sorted(by_step))


def load_theory(root: str | Path) -> dict[str, np.ndarray]:
    """Returns the arrays of the first theory/analysis.npz at or below `root`; empty if none."""
    root = paths.parse(root)
    places = (folder / "theory" / "analysis.npz" for folder in _folders(root))
    found = sorted(path for path in places if path.is_file())
    return read_arrays(found[0]) if found else {}


def read_json_lines(path: Path) -> tuple[list[Row], int]:
    """Returns the objects of a JSON-lines file and the number of lines that could not be read.

    A process that is killed leaves half a line, at the end or, after a resume, in the middle. Such
    lines are counted, not fatal.
    """
    if not path.is_file():
        return [], 0
    rows: list[Row] = []
    unreadable = 0
    for line in path.read_bytes().decode(errors="replace").splitlines():
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError:
            unreadable += 1
            continue
        if isinstance(value, dict):
            rows.append(value)
        else:
            unreadable += 1
    return rows, unreadable


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of an .npz file; empty if it is missing or was cut short."""
    if not path.is_file():
        return {}
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return {}


def newest_rows(rows: list[Row]) -> tuple[Row, ...]:
    """Keeps the last row of each key, in the order of the keys' first appearance."""
    newest: dict[str, Row] = {}
    for row in rows:
        newest[_key(row)] = row
    return tuple(newest.values())


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns a nested mapping as one mapping with dotted names.

    >>> flatten({"seed": 0, "loss": {"name": "hard"}})
    {'seed': 0, 'loss.name': 'hard'}
    """
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _key(row: Row) -> str:
    named = {"readout": "linear", **row}  # as rows were before there were others
    return json.dumps([named.get(name) for name in ROW_KEY], sort_keys=True)


def _completed(runs: list[Run], defaults: Mapping[str, Any]) -> list[Run]:
    flat = [flatten(run.config) for run in runs]
    kinds = [tuple(settings.get(name) for name in _KIND) for settings in flat]
    known: dict[tuple[Any, ...], set[str]] = {}
    for kind, settings in zip(kinds, flat, strict=True):
        known.setdefault(kind, set()).update(settings)
    completed = []
    for run, kind, settings in zip(runs, kinds, flat, strict=True):
        # Only what a run beside it has: of features from elsewhere, the defaults say nothing.
        later = {n: defaults[n] for n in defaults if n in known[kind] and n not in settings}
        config = nested(settings | later) if settings and later else run.config
        completed.append(replace(run, config=config))
    return completed


def _folders(folder: Path) -> Iterator[Path]:
    """A folder and those below it that may be runs or hold some."""
    if not folder.is_dir():
        return
    yield folder
    for child in sorted(folder.iterdir()):
        if child.is_dir() and not _NOT_A_RUN.search(child.name):
            yield from _folders(child)


def _is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("config.json", "rows.jsonl", FROZEN))


def _load(folder: Path, root: Path) -> list[Run]:
    if (folder / FROZEN).is_file():
        lines, unreadable = read_json_lines(folder / FROZEN)
        return [
            Run(folder / name, name, config, environment, rows, unreadable)
            for name, config, environment, rows in unpack(lines)
        ]
    rows, unreadable = read_json_lines(folder / "rows.jsonl")
    measured = newest_rows(rows)
    training = summarize_log(read_log(folder / "metrics.jsonl"), measured)
    return [
        Run(
            folder=folder,
            name=folder.relative_to(root).as_posix(),
            config=_read_object(folder / "config.json"),
            environment=_read_object(folder / "environment.json"),
            rows=measured + training,
            unreadable_lines=unreadable,
        )
    ]


def _read_object(path: Path) -> Row:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return value if isinstance(value, dict) else {}
