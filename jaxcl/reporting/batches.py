"""Studies that differ in their batch size alone, side by side: the subject of decoupled losses.

A batch couples the negatives of an anchor with its positive; how much depends on how many there
are. So NT-Xent, DCL and DCLW are compared over batch sizes, at one temperature.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jaxcl.reporting.names import (
    candidates_title,
    dataset_title,
    file_name,
    loss_order,
    seed_words,
    temperature_words,
)
from jaxcl.reporting.quantities import Readout
from jaxcl.reporting.runs import Run
from jaxcl.reporting.statistics import Summary, summarize
from jaxcl.reporting.study import LEARNING_RATE, Cell, CellKey, Measured, Study

BATCH_SIZE = "train.batch_size"
ORDINARY = ("nt_xent", "contrastive")  # two names of the loss that the decoupled ones are held to
DECOUPLED = ("dcl", "dclw")


@dataclass(frozen=True)
class BatchStudy:
    """Studies by batch size, in rising order, all at one temperature."""

    members: dict[int, Study]
    temperature: float | None

    @property
    def sizes(self) -> list[int]:
        return list(self.members)

    @property
    def losses(self) -> list[str]:
        found = {loss for study in self.members.values() for loss in study.losses}
        return sorted(found, key=loss_order)

    @property
    def ordinary(self) -> str:
        """The coupled loss, by the name that it has in these runs."""
        return next((name for name in ORDINARY if name in self.losses), ORDINARY[0])

    @property
    def first(self) -> Study:
        return next(iter(self.members.values()))

    @property
    def dataset(self) -> str:
        return self.first.dataset

    @property
    def runs(self) -> list[Run]:
        return [run for study in self.members.values() for run in study.runs]

    @property
    def readouts(self) -> list[Readout]:
        """Those of the members, linear before kNN."""
        found = {readout for study in self.members.values() for readout in study.readouts}
        return sorted(found, key=lambda readout: (readout.is_knn, readout))

    @property
    def accuracy(self) -> Readout | None:
        return self.readouts[0] if self.readouts else None

    @property
    def title(self) -> str:
        study = self.first
        words = [dataset_title(study.dataset), candidates_title(study.candidates), study.model]
        return ", ".join([*words, *self._differences(" "), self._sizes()])

    @property
    def slug(self) -> str:
        study = self.first
        words = [study.dataset, study.candidates, study.model, *self._differences("-"), "batches"]
        return file_name(" ".join(words))

    def scale(self) -> str:
        """One line: what was trained, and at what size."""
        own = f"batches of {self.sizes[0]} images"
        ours = "batches of " + ", ".join(str(size) for size in self.sizes) + " images"
        tau = "" if self.temperature is None else f"; τ = {temperature_words(self.temperature)}"
        return self.first.scale().replace(own, ours) + tau

    def cell(self, loss: str, size: int) -> Cell | None:
        cells = self.members[size].cells
        return cells.get(CellKey(loss, self.temperature)) or cells.get(CellKey(loss, None))

    def by_seed(self, loss: str, size: int, quantity: Measured) -> dict[int, float]:
        cell = self.cell(loss, size)
        return cell.by_seed(quantity) if cell is not None else {}

    def series(self, loss: str, quantity: Measured) -> list[tuple[int, Summary]]:
        """(batch size, summary) of a loss, where the quantity was measured."""
        found = [
            (size, summarize(self.by_seed(loss, size, quantity).values())) for size in self.sizes
        ]
        return [(size, summary) for size, summary in found if summary is not None]

    def seed_range(self, quantities: Iterable[Measured]) -> str:
        """'3 seeds' or '1–3 seeds' over the cells in which any of the quantities was measured."""
        counts = [
            summary.n
            for quantity in quantities
            for loss in self.losses
            for _, summary in self.series(loss, quantity)
        ]
        return seed_words(counts)

    def _sizes(self) -> str:
        if len(self.sizes) == 1:
            return f"batch size {self.sizes[0]}"
        return f"batch sizes {self.sizes[0]} to {self.sizes[-1]}"

    def _differences(self, joint: str) -> list[str]:
        names = (f"batch_size{joint}", f"learning_rate{joint}")
        return [words for words in self.first.differences(joint) if not words.startswith(names)]


def batch_studies(studies: Sequence[Study]) -> list[BatchStudy]:
    """The studies that stand side by side: several batch sizes, or a decoupled loss at one."""
    groups: dict[str, list[Study]] = defaultdict(list)
    for study in studies:
        if study.candidates == "batch" and BATCH_SIZE in study.settings:
            if len(study.temperatures) <= 1:
                groups[_identity(study, (BATCH_SIZE, LEARNING_RATE))].append(study)
    found = [part for group in groups.values() for part in _without_clashes(group)]
    return [_beside(group) for group in found if len(group) > 1 or _is_decoupled(group[0])]


def _without_clashes(group: list[Study]) -> list[list[Study]]:
    """The learning rate may follow the batch size; where one size has two rates, rates split."""
    if len({study.settings[BATCH_SIZE] for study in group}) == len(group):
        return [group]
    parts: dict[str, list[Study]] = defaultdict(list)
    for study in group:
        parts[_identity(study, (BATCH_SIZE,))].append(study)
    return list(parts.values())


def _beside(group: Sequence[Study]) -> BatchStudy:
    ordered = sorted(group, key=lambda study: study.settings[BATCH_SIZE])
    temperatures = sorted({tau for study in ordered for tau in study.temperatures})
    return BatchStudy(
        {int(study.settings[BATCH_SIZE]): study for study in ordered},
        temperatures[0] if temperatures else None,
    )


def _is_decoupled(study: Study) -> bool:
    return any(loss.split(" (")[0] in DECOUPLED for loss in study.losses)


def _identity(study: Study, ignored: tuple[str, ...]) -> str:
    kept = {name: value for name, value in study.settings.items() if name not in ignored}
    parts = [study.dataset, study.candidates, study.model, study.temperatures, kept]
    return json.dumps(parts, sort_keys=True, default=str)
