"""What every table, figure and claim is computed from: comparable runs in cells over seeds.

A *study* holds runs that differ in nothing but the loss, its temperature and the seed. A *cell* is
one loss at one temperature; its values are indexed by quantity and seed. This file does not know
files; `studies` fills the record.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jaxcl.reporting.names import (
    candidates_title,
    dataset_title,
    file_name,
    loss_order,
    seed_words,
)
from jaxcl.reporting.quantities import Quantity, Readout
from jaxcl.reporting.runs import Run
from jaxcl.reporting.statistics import Summary, summarize

Measured = Quantity | Readout
LEARNING_RATE = "optimizer.learning_rate"


class CellKey(NamedTuple):
    """One loss at one temperature; None for a loss that has none."""

    loss: str
    temperature: float | None


@dataclass
class Cell:
    """The values of one cell, quantity -> seed -> value, and the runs that they come from."""

    values: dict[Measured, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    steps: dict[tuple[Measured, int], int] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)

    def record(self, quantity: Measured, seed: int, value: float, step: int) -> None:
        """Keeps the value of the latest checkpoint; ignores what is not a number."""
        if math.isfinite(value) and step >= self.steps.get((quantity, seed), -1):
            self.values[quantity][seed] = value
            self.steps[quantity, seed] = step

    def summary(self, quantity: Measured) -> Summary | None:
        return summarize(self.by_seed(quantity).values())

    def by_seed(self, quantity: Measured) -> dict[int, float]:
        values = self.values.get(quantity, {})
        return {seed: values[seed] for seed in sorted(values)}


@dataclass
class Study:
    """Comparable runs. `settings` are flat; `differs` names those that set it apart."""

    dataset: str
    candidates: str
    model: str
    settings: dict[str, Any]
    runs: list[Run] = field(default_factory=list)
    cells: dict[CellKey, Cell] = field(default_factory=dict)
    # (pixels | untrained, readout) -> seed -> accuracy
    baselines: dict[tuple[str, Readout], dict[int, float]] = field(default_factory=dict)
    differs: tuple[str, ...] = ()
    learning_rates: set[float] = field(default_factory=set)

    @property
    def title(self) -> str:
        words = [dataset_title(self.dataset), candidates_title(self.candidates), self.model]
        return ", ".join([word for word in words if word] + self.differences(" "))

    @property
    def slug(self) -> str:
        """For file names."""
        words = [self.dataset, self.candidates, self.model, *self.differences("-")]
        return file_name(" ".join(words))

    @property
    def losses(self) -> list[str]:
        return sorted({key.loss for key in self.cells}, key=loss_order)

    @property
    def temperatures(self) -> list[float]:
        return sorted({k.temperature for k in self.cells if k.temperature is not None})

    @property
    def seeds(self) -> list[int]:
        return sorted({s for c in self.cells.values() for v in c.values.values() for s in v})

    @property
    def readouts(self) -> list[Readout]:
        """Readouts of trained encoders: linear before kNN, then the one that most cells have."""
        counts: dict[Readout, int] = defaultdict(int)
        for cell in self.cells.values():
            for quantity in cell.values:
                if isinstance(quantity, Readout):
                    counts[quantity] += 1
        return sorted(counts, key=lambda readout: (readout.is_knn, -counts[readout], readout))

    @property
    def accuracy(self) -> Readout | None:
        """The readout that tables and figures call accuracy."""
        return self.readouts[0] if self.readouts else None

    def temperatures_of(self, loss: str) -> list[float]:
        return sorted(
            k.temperature for k in self.cells if k.loss == loss and k.temperature is not None
        )

    def ordered_cells(self) -> list[tuple[CellKey, Cell]]:
        """Cells by loss, then temperature; a cell without temperature first."""
        keys = sorted(self.cells, key=lambda k: (loss_order(k.loss), k.temperature or -1.0))
        return [(key, self.cells[key]) for key in keys]

    def series(self, loss: str, quantity: Measured) -> list[tuple[float, Summary]]:
        """(temperature, summary) of a loss, where the quantity was measured."""
        points = [
            (tau, self.cells[CellKey(loss, tau)].summary(quantity))
            for tau in self.temperatures_of(loss)
        ]
        return [(tau, summary) for tau, summary in points if summary is not None]

    def constant(self, loss: str, quantity: Measured) -> Summary | None:
        """The summary of a loss without temperature."""
        cell = self.cells.get(CellKey(loss, None))
        return cell.summary(quantity) if cell else None

    def seed_range(self, quantities: Iterable[Measured], losses: Iterable[str] = ()) -> str:
        """'3 seeds' or '1–3 seeds' over the cells in which any of the quantities was measured."""
        chosen = set(losses) or set(self.losses)
        counts = [
            summary.n
            for key, cell in self.cells.items()
            for quantity in quantities
            if key.loss in chosen and (summary := cell.summary(quantity)) is not None
        ]
        return seed_words(counts)

    def scale(self) -> str:
        """One line: what was trained, and at what size."""
        s = self.settings
        parts = [
            f"{self.model} encoder{_width(s)}",
            f"{s['data.image_size']} px images" if "data.image_size" in s else "",
            _split(s),
            _length(s),
            f"batches of {s['train.batch_size']} images" if "train.batch_size" in s else "",
            candidates_title(self.candidates),
            self._optimizer(),
        ]
        return "; ".join(part for part in parts if part)

    def differences(self, joint: str) -> list[str]:
        """The settings that set this study apart, 'epochs 40'."""
        values = {name: self.settings.get(name) for name in self.differs}
        return [
            f"{name.rpartition('.')[2]}{joint}{_words(value)}"
            for name, value in values.items()
            if value is not None
        ]

    def _optimizer(self) -> str:
        name = self.settings.get("optimizer.name")
        rates = sorted(self.learning_rates)
        if not name or not rates:
            return str(name or "")
        words = ", ".join(f"{rate:g}" for rate in rates)
        return f"{name}, learning rate {words}" + (" (set by cell)" if len(rates) > 1 else "")


def _words(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "×".join(_words(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _width(settings: dict[str, Any]) -> str:
    width = settings.get("model.width")
    return f" of width {width:g}" if isinstance(width, int | float) and width != 1 else ""


def _split(settings: dict[str, Any]) -> str:
    split = settings.get("data.train_split", "train")
    return f"images of {split}" if split != "train" else ""


def _length(settings: dict[str, Any]) -> str:
    steps, epochs = settings.get("train.steps"), settings.get("train.epochs")
    if steps:
        return f"{steps} steps"
    return f"{epochs:g} epochs" if isinstance(epochs, int | float) else ""
