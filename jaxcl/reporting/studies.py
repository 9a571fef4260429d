"""From run directories to studies: which runs may be compared, and where each row belongs.

Numbers of runs whose settings differ are never averaged: every setting splits, except those listed
here.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from jaxcl.reporting.names import dataset_order
from jaxcl.reporting.quantities import (
    ANALYSIS,
    NEED_TEMPERATURE,
    PAIRS,
    STREAMS,
    TRAINING,
    Readout,
)
from jaxcl.reporting.runs import Row, Run, flatten
from jaxcl.reporting.study import LEARNING_RATE, Cell, CellKey, Study

# Settings that do not make two runs different experiments: what a cell varies, where files lie, how
# often to write, and how the finished encoder is measured (a row says that itself).
_NOT_SETTINGS = (
    "seed",
    "loss.",
    "evaluate.",
    "data.data_dir",
    "data.resident",
    "train.log_every",
    "train.monitor_",
    "train.tensorboard",
    "train.checkpoint_every",
    "train.keep",
)

# What a reader would name first to tell two studies apart.
_TELLING = (
    "train.epochs",
    "train.steps",
    "train.batch_size",
    "model.width",
    "model.channels",
    LEARNING_RATE,
)

_Members = list[tuple[Run, Row]]


def build_studies(runs: Sequence[Run]) -> list[Study]:
    """Groups the rows of all runs into studies, ordered by data set and title."""
    families: dict[tuple[str, str, str], _Members] = defaultdict(list)
    for run in runs:
        for row in run.rows:
            families[_family(run, row)].append((run, row))
    studies = [study for key in sorted(families) for study in _split(key, families[key])]
    return sorted(studies, key=lambda s: (dataset_order(s.dataset), s.dataset, s.title))


def _split(family: tuple[str, str, str], members: _Members) -> list[Study]:
    """One study for each distinct set of settings."""
    # Gradients scale with 1 / temperature, so that a rate tuned for each temperature is part of one
    # study; two rates for the same cell are two studies.
    dropped = set() if _rate_varies_within_a_cell(members) else {LEARNING_RATE}
    groups: dict[str, _Members] = defaultdict(list)
    settings: dict[str, dict[str, Any]] = {}
    for run, row in members:
        kept = {k: v for k, v in _settings(run).items() if k not in dropped}
        identity = json.dumps(kept, sort_keys=True, default=str)
        settings[identity] = kept
        groups[identity].append((run, row))
    studies = [_fill(Study(*family, settings=settings[i]), groups[i]) for i in sorted(groups)]
    differs = _telling_apart(studies)
    for study in studies:
        study.differs = differs
    return studies


def _telling_apart(studies: Sequence[Study]) -> tuple[str, ...]:
    """The first few settings, the telling ones first, whose values differ for any two studies."""
    names = sorted({name for study in studies for name in study.settings})
    chosen: tuple[str, ...] = ()
    for name in [*_TELLING, *(name for name in names if name not in _TELLING)]:
        groups = {tuple(_text(study, n) for n in chosen) for study in studies}
        finer = {tuple(_text(study, n) for n in (*chosen, name)) for study in studies}
        if len(finer) > len(groups):
            chosen = (*chosen, name)
    # A study has either epochs or steps: each shows the one that it has.
    length = {"train.epochs", "train.steps"}
    return (
        chosen + tuple(sorted(length & set(names) - set(chosen)))
        if length & set(chosen)
        else chosen
    )


def _fill(study: Study, members: _Members) -> Study:
    variants: dict[str, set[str]] = defaultdict(set)
    for run, row in members:
        variants[_loss(run, row)].add(_constants(row))
    for run, row in members:
        if all(run is not known for known in study.runs):
            study.runs.append(run)
            rate = flatten(run.config).get(LEARNING_RATE)
            if isinstance(rate, int | float):
                study.learning_rates.add(float(rate))
        _add(study, run, row, several=len(variants[_loss(run, row)]) > 1)
    return study


def _add(study: Study, run: Run, row: Row, several: bool) -> None:
    seed = int(row.get("seed") or 0)
    readout = Readout.of(row) if row.get("program") == "probe" else None
    if readout is not None and row.get("encoder", "trained") != "trained":
        baseline = study.baselines.setdefault((str(row["encoder"]), readout), {})
        baseline[seed] = _number(row.get("accuracy"))
        return
    name = _loss(run, row) + (f" ({_constants(row) or 'defaults'})" if several else "")
    temperature = row.get("temperature")
    key = CellKey(name, None if temperature is None else float(temperature))
    cell = study.cells.setdefault(key, Cell())
    if all(run is not known for known in cell.runs):
        cell.runs.append(run)
    step = row["step"] if isinstance(row.get("step"), int) else -1
    if readout is not None:
        cell.record(readout, seed, _number(row.get("accuracy")), step)
    elif row.get("program") == "analyze":
        for quantity in (*ANALYSIS, *STREAMS, *PAIRS):
            if key.temperature is not None or quantity not in NEED_TEMPERATURE:
                cell.record(quantity, seed, quantity.value(row), step)
    elif row.get("program") == "pretrain":
        for quantity in TRAINING:
            cell.record(quantity, seed, quantity.value(row), step)


def _rate_varies_within_a_cell(members: _Members) -> bool:
    rates: dict[str, set[Any]] = defaultdict(set)
    for run, row in members:
        cell = json.dumps([_loss(run, row), _constants(row), row.get("temperature")])
        rates[cell].add(flatten(run.config).get(LEARNING_RATE))
    return any(len(values) > 1 for values in rates.values())


def _settings(run: Run) -> dict[str, Any]:
    kept = {k: v for k, v in flatten(run.config).items() if not k.startswith(_NOT_SETTINGS)}
    # A positive number of steps replaces the epochs.
    kept.pop("train.epochs" if kept.get("train.steps") else "train.steps", None)
    return kept


def _family(run: Run, row: Row) -> tuple[str, str, str]:
    flat = flatten(run.config)
    return (
        str(row.get("dataset") or flat.get("data.name") or "unknown"),
        str(row.get("candidates") or flat.get("candidates.kind") or ""),
        str(row.get("model") or flat.get("model.name") or ""),
    )


def _loss(run: Run, row: Row) -> str:
    return str(row.get("loss") or flatten(run.config).get("loss.name") or "unknown")


def _constants(row: Row) -> str:
    constants = row.get("constants") or {}
    return ", ".join(f"{name} {value}" for name, value in sorted(constants.items()))


def _text(study: Study, name: str) -> str:
    return json.dumps(study.settings.get(name), default=str)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
