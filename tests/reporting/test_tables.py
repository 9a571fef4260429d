"""Tables: what stands in a cell, and that the same rows give the same bytes."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from jaxcl.reporting import paper
from jaxcl.reporting.names import DATASET_NAMES
from jaxcl.reporting.reproduction import wang_liu_tables
from jaxcl.reporting.reproduction_decoupled import decoupled_tables
from jaxcl.reporting.reproduction_streams import eecs_table
from jaxcl.reporting.runs import collect_runs
from jaxcl.reporting.statistics import Summary
from jaxcl.reporting.studies import build_studies
from jaxcl.reporting.tables import (
    NOT_PUBLISHED,
    NOT_RUN,
    Table,
    baseline_table,
    cell_table,
    csv_text,
    format_summary,
    markdown,
)
from tests.reporting.synthetic import write_run
from tests.reporting.synthetic_studies import write_decoupled, write_streams


def test_one_seed_shows_no_spread() -> None:
    assert format_summary(Summary(0.5, float("nan"), 1), 2, 100.0) == "50.00"
    assert format_summary(None, 2) == "—"
    assert format_summary(Summary(-0.5, 0.25, 2), 2) == "−0.50 ± 0.25"


def test_a_cell_is_mean_and_deviation_in_percent(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path, "contrastive", 0.1, seed, arrays=False)
    (study,) = build_studies(collect_runs(tmp_path))
    values = [
        row["accuracy"]
        for run in study.runs
        for row in run.rows
        if row.get("solver") == "lbfgs" and row.get("encoder") == "trained"
    ]
    expected = f"{100 * np.mean(values):.2f} ± {100 * np.std(values, ddof=1):.2f}"
    table = cell_table(study)
    assert table.rows[0][:4] == ("Contrastive", "0.1", "2", expected)


def test_the_best_accuracy_of_a_column_is_bold(tmp_path: Path) -> None:
    for tau in (0.05, 0.3):
        write_run(tmp_path, "contrastive", tau, 0, arrays=False)
    (study,) = build_studies(collect_runs(tmp_path))
    assert cell_table(study).best == {(1, 3), (1, 4)}


def test_baselines_stand_beside_the_best_trained_cell(tmp_path: Path) -> None:
    write_run(tmp_path, "contrastive", 0.3, 0, arrays=False)
    (study,) = build_studies(collect_runs(tmp_path))
    table = baseline_table(study)
    assert table is not None
    names = [row[0] for row in table.rows]
    assert names[:3] == ["raw pixels", "untrained encoder", "best trained: Contrastive, τ = 0.3"]
    assert [row[2] for row in table.rows[:2]] == ["50.00", "55.00"]


@pytest.mark.parametrize("dataset", paper.WANG_LIU_DATASETS)
def test_without_runs_every_cell_of_ours_says_not_yet_run(dataset: str) -> None:
    for table in [*wang_liu_tables(dataset, []), *decoupled_tables([]), eecs_table([])]:
        labels = 1 if table.text_columns == 1 else 2
        for row in table.rows:
            if row[labels - 1] == "published":
                assert NOT_RUN not in row
            else:
                assert set(row[labels:]) == {NOT_RUN}


def test_ours_stands_under_the_published_value_with_the_difference(tmp_path: Path) -> None:
    write_run(tmp_path, "contrastive", 0.3, 0, dataset="cifar10", arrays=False)
    studies = build_studies(collect_runs(tmp_path))
    table, ordinary, hard = wang_liu_tables("cifar10", studies)
    column = ordinary.columns.index("τ = 0.3")
    published, ours, difference = (float(r[column].replace("−", "-")) for r in ordinary.rows)
    assert published == 83.27
    assert difference == pytest.approx(ours - published, abs=0.011)
    assert [row[column + 1] for row in ordinary.rows[1:]] == [NOT_RUN, NOT_RUN]
    assert {cell for row in hard.rows[1:] for cell in row[1:]} == {NOT_RUN}
    assert table.rows[1][table.columns.index("Contrastive τ = 0.3")] == ordinary.rows[1][column]


def test_studies_of_one_data_set_get_lines_of_their_own(tmp_path: Path) -> None:
    for candidates in ("batch", "memory_bank"):
        write_run(
            tmp_path, "hard", 0.3, 0, dataset="svhn_cropped", candidates=candidates, arrays=False
        )
    _, _, hard = wang_liu_tables("svhn_cropped", build_studies(collect_runs(tmp_path)))
    assert [row[0] for row in hard.rows] == [
        "published",
        "ours (in-batch negatives)",
        "difference (in-batch negatives)",
        "ours (memory bank)",
        "difference (memory bank)",
    ]


def test_decoupled_runs_are_placed_by_batch_size_and_the_rest_is_not_published(
    tmp_path: Path,
) -> None:
    write_decoupled(tmp_path, sizes=(64, 512), dataset="cifar100")
    write_run(tmp_path, "dcl", 0.2, 0, dataset="cifar100", batch_size=128, arrays=False)
    cifar10, cifar100, imagenet = decoupled_tables(build_studies(collect_runs(tmp_path)))
    # The run at another temperature has no place in the table.
    heads = [f"{size} images" for size in (32, 64, 128, 256, 512)]
    assert cifar100.columns[2:] == tuple(heads)
    assert cifar100.rows[0][:2] == ("NT-Xent", "published")
    assert cifar100.rows[0][-1] == NOT_PUBLISHED
    ours = dict(zip(heads, cifar100.rows[1][2:], strict=True))
    assert {size for size, cell in ours.items() if cell != NOT_RUN} == {"64 images", "512 images"}
    published, mean = 57.76, float(ours["64 images"].split(" ")[0])
    assert cifar100.rows[2][3] == f"{mean - published:+.2f}".replace("-", "−")
    assert cifar100.rows[2][-1] == "—"
    assert cifar100.rows[3][1] == "ours, kNN"
    assert {cell for row in cifar10.rows[1::3] for cell in row[2:]} == {NOT_RUN}
    assert imagenet.rows[6][1:5] == ("published", *[NOT_PUBLISHED] * 3)


def test_every_study_of_two_streams_stands_beside_the_report(tmp_path: Path) -> None:
    for dataset in ("cifar10", "tiny_imagenet20"):
        write_streams(tmp_path, seeds=(0,), dataset=dataset, maps=False)
    table = eecs_table(build_studies(collect_runs(tmp_path)))
    labels = [row[1] for row in table.rows[:5]]
    assert labels == [
        "published",
        "ours (CIFAR10)",
        "difference (CIFAR10)",
        "ours (Tiny ImageNet, 20 classes)",
        "difference (Tiny ImageNet, 20 classes)",
    ]
    assert table.rows[1][3:] == ("−0.012", "2.000")
    assert table.rows[2][4] == "+0.000"


def test_published_values_keep_their_printed_digits() -> None:
    table = wang_liu_tables("cifar10", [])[0]
    assert table.rows[0][2] == "79.75"
    assert table.rows[6][8] == "0.0267"
    assert eecs_table([]).rows[3][2:] == ("34.3", "−0.516", "0.0473")


def test_the_main_and_supplementary_tables_agree_but_for_the_known_misprints() -> None:
    differing = set()
    for dataset, values in paper.TABLE_1.items():
        for (loss, tau), accuracy in zip(paper.TABLE_1_SETTINGS, values["accuracy"], strict=True):
            if tau is not None:
                column = paper.TEMPERATURES.index(tau)
                if paper.ACCURACY[loss][dataset][column] != accuracy:
                    differing.add((dataset, loss, tau))
    assert differing == {("imagenet100", "contrastive", 1.0), ("imagenet100", "hard", 1.0)}


def test_every_published_data_set_has_a_name_and_a_full_line() -> None:
    for dataset in paper.WANG_LIU_DATASETS:
        assert dataset in DATASET_NAMES
        for loss in ("contrastive", "hard"):
            assert len(paper.ACCURACY[loss][dataset]) == len(paper.TEMPERATURES)
        for values in paper.TABLE_1[dataset].values():
            assert len(values) == len(paper.TABLE_1_SETTINGS)
    assert paper.published("digits", "accuracy") == {}


def test_markdown_escapes_bars_and_marks_the_best() -> None:
    table = Table("T", ("a", "b"), (("x|y", "1"), ("z", "2")), "note", best=frozenset({(1, 1)}))
    assert markdown([table]) == (
        "## T\n\n| a | b |\n| --- | ---: |\n| x\\|y | 1 |\n| z | **2** |\n\nnote\n"
    )


def test_the_csv_file_has_a_line_for_each_cell_with_numbers_at_full_precision(
    tmp_path: Path,
) -> None:
    for seed in (0, 1):
        write_run(tmp_path, "contrastive", 0.1, seed, arrays=False)
    write_run(tmp_path, "simple", None, 0, arrays=False)
    studies = build_studies(collect_runs(tmp_path))
    lines = list(csv.DictReader(io.StringIO(csv_text(studies))))
    assert [(line["loss"], line["temperature"]) for line in lines] == [
        ("contrastive", "0.1"),
        ("simple", ""),
    ]
    assert lines[0]["minus_uniformity_n"] == "2"
    assert lines[1]["minus_uniformity_std"] == ""
    accuracies = [s.mean for s in [studies[0].constant("simple", studies[0].readouts[0])] if s]
    column = "accuracy_backbone_lbfgs_standardized_mean"
    assert float(lines[1][column]) == pytest.approx(accuracies[0], rel=1e-7)
