"""What a report says of each study: its tables and figures, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from jaxcl.reporting import paper
from jaxcl.reporting.batches import BatchStudy, batch_studies
from jaxcl.reporting.figures import (
    Picture,
    batches,
    batches_over_training,
    pairs,
    planes,
    samples,
    streams,
    temperature,
    training,
)
from jaxcl.reporting.reproduction import wang_liu_tables
from jaxcl.reporting.reproduction_decoupled import decoupled_tables
from jaxcl.reporting.reproduction_streams import eecs_table
from jaxcl.reporting.runs import Run
from jaxcl.reporting.streams import consistency_table, stream_studies
from jaxcl.reporting.study import Study
from jaxcl.reporting.tables import NOT_RUN, Table, baseline_table, cell_table, penalty_table
from jaxcl.reporting.tables_batches import batch_tables

Drawing = Callable[[], Picture | None]

_BY_TEMPERATURE = (
    temperature.accuracy_figure,
    temperature.uniformity_figure,
    temperature.tolerance_figure,
    temperature.entropy_figure,
    temperature.gap_figure,
    temperature.positive_figure,
    planes.plane_figure,
    planes.accuracy_uniformity_figure,
)


class Block(NamedTuple):
    """One study: its tables, and its figures below their headings."""

    title: str
    scale: str
    runs: list[Run]
    tables: list[Table]
    figures: dict[str, list[Drawing]]


class Beside(NamedTuple):
    """Published numbers beside ours: one data set of one paper."""

    title: str
    citation: paper.Citation
    tables: list[Table]

    @property
    def has_run(self) -> bool:
        return any(
            row[column].startswith("ours") and any(cell != NOT_RUN for cell in row[column + 1 :])
            for table in self.tables
            for row in table.rows
            for column in (table.text_columns - 1,)
        )


def blocks(studies: Sequence[Study]) -> list[Block]:
    """Studies that stand side by side first, then every other study by itself."""
    together = batch_studies(studies)
    members = {id(study) for group in together for study in group.members.values()}
    alone = [study for study in studies if id(study) not in members]
    return [*(_of_batches(group) for group in together), *(_of_study(study) for study in alone)]


def besides(studies: Sequence[Study]) -> list[Beside]:
    """Every published table, whether or not anything of it was run."""
    sets = [
        Beside(name, paper.WANG_LIU, wang_liu_tables(name, studies))
        for name in paper.WANG_LIU_DATASETS
    ]
    return [
        *sets,
        Beside(
            "Decoupled contrastive learning",
            paper.DECOUPLED_THIRD_PARTY,
            decoupled_tables(studies),
        ),
        Beside("Contrastive multiview coding", paper.EECS, [eecs_table(studies)]),
    ]


def all_tables(studies: Sequence[Study], only_run: bool = False) -> list[Table]:
    """Every table of the report, in the order of the page.

    Args:
      studies: of the rows.
      only_run: leave out published tables beside which nothing was run.
    """
    tables = [table for block in blocks(studies) for table in block.tables]
    for beside in besides(studies):
        if beside.has_run or not only_run:
            tables += beside.tables
    return tables


def _of_batches(group: BatchStudy) -> Block:
    by_size = [batches.batch_accuracy_figure, batches.multiplier_figure]
    over_time = [
        batches_over_training.multiplier_history_figure,
        batches_over_training.learning_curve_figure,
        batches_over_training.batch_loss_figure,
    ]
    return Block(
        group.title,
        group.scale(),
        group.runs,
        batch_tables(group),
        {
            "Behaviour by batch size": [partial(draw, group) for draw in by_size],
            "The mechanism, pair by pair": [partial(pairs.pair_figure, group)],
            "Training": [partial(draw, group) for draw in over_time],
        },
    )


def _of_study(study: Study) -> Block:
    found = [cell_table(study), penalty_table(study), baseline_table(study)]
    tables = [table for table in found if table is not None]
    is_streams = bool(stream_studies([study]))
    if is_streams:
        tables.insert(1, consistency_table(study))
    maps = [streams.alignment_figure, streams.circle_figure] if is_streams else [samples.map_figure]
    separation = samples.separation_figures(study)
    return Block(
        study.title,
        study.scale(),
        study.runs,
        tables,
        {
            "Geometry" if is_streams else "Behaviour by temperature": [
                partial(draw, study) for draw in _BY_TEMPERATURE
            ],
            "Local separation": [partial(_given, picture) for picture in separation],
            "Embeddings": [partial(draw, study) for draw in maps],
            "Training": [
                partial(training.learning_curve_figure, study),
                partial(training.loss_curve_figure, study),
            ],
        },
    )


def _given(picture: Picture) -> Picture:
    return picture
