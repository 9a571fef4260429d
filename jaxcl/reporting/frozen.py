"""Runs as they are published: rows and settings of a whole study in one small file of lines.

The first line holds what all runs share, every other line what one run has for itself. This file
knows plain values and nothing of what they mean.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = dict[str, Any]
Record = tuple[str, Row, Row, tuple[Row, ...]]  # name, flat settings, environment, rows

FROZEN = "runs.jsonl"
DIGITS = 8  # significant digits of a number
# Where and when a run took place says nothing of it.
_LEFT_OUT = ("data.data_dir", "started")


def pack(records: Sequence[Record]) -> list[Row]:
    """Returns the lines of runs; settings are flat, `{"train.epochs": 5.0}`."""
    kept = [
        (name, _kept(config), _kept(environment), rows)
        for name, config, environment, rows in records
    ]
    config = _shared([config for _, config, _, _ in kept])
    environment = _shared([environment for _, _, environment, _ in kept])
    lines: list[Row] = [{"config": config, "environment": environment}]
    for name, own_config, own_environment, rows in kept:
        common = _shared(rows)
        line = {
            "name": name,
            "config": _without(own_config, config),
            "environment": _without(own_environment, environment),
            "row": common,
            "rows": [_without(row, common) for row in rows],
        }
        lines.append({key: value for key, value in line.items() if value or key == "name"})
    return [_rounded(line) for line in lines]


def unpack(lines: Sequence[Row]) -> list[Record]:
    """Returns the runs of `pack`'s lines, with nested settings."""
    if not lines:
        return []
    first, *others = lines
    found = []
    for line in others:
        config = first["config"] | line.get("config", {})
        environment = first["environment"] | line.get("environment", {})
        common = line.get("row", {})
        rows = tuple(common | row for row in line.get("rows", []))
        found.append((line["name"], nested(config), environment, rows))
    return found


def text(lines: Iterable[Row]) -> str:
    """Returns the lines as JSON, one a line."""
    return "".join(
        json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines
    )


def _shared(rows: Sequence[Mapping[str, Any]]) -> Row:
    """What every row has, with the same value."""
    if not rows:
        return {}
    first, *others = rows
    return {
        name: value
        for name, value in first.items()
        if all(name in row and _same(row[name], value) for row in others)
    }


def _without(row: Mapping[str, Any], common: Mapping[str, Any]) -> Row:
    return {name: value for name, value in row.items() if name not in common}


def _kept(row: Mapping[str, Any]) -> Row:
    return {name: value for name, value in row.items() if name not in _LEFT_OUT}


def _same(a: Any, b: Any) -> bool:
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value


def nested(flat: Mapping[str, Any]) -> Row:
    """Returns the mappings of dotted names.

    >>> nested({"seed": 0, "loss.name": "hard"})
    {'seed': 0, 'loss': {'name': 'hard'}}
    """
    whole: Row = {}
    for name, value in flat.items():
        *folders, last = name.split(".")
        place = whole
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = value
    return whole
