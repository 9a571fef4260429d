"""Which runs may be averaged, and which may not."""

import json
from pathlib import Path

import pytest

from jaxcl.reporting.quantities import ENTROPY, MINUS_UNIFORMITY, TOLERANCE
from jaxcl.reporting.runs import collect_runs
from jaxcl.reporting.studies import build_studies
from jaxcl.reporting.study import CellKey, Study
from tests.reporting.synthetic import write_lines, write_run


def studies_below(root: Path) -> list[Study]:
    return build_studies(collect_runs(root))


def rows_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def test_seeds_share_a_cell_and_temperatures_do_not(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        for tau in (0.1, 0.5):
            write_run(tmp_path, "contrastive", tau, seed, arrays=False)
    (study,) = studies_below(tmp_path)
    assert list(study.cells) == [CellKey("contrastive", 0.1), CellKey("contrastive", 0.5)]
    summary = study.cells[CellKey("contrastive", 0.1)].summary(study.readouts[0])
    assert summary is not None
    assert summary.n == 3


def test_runs_of_different_length_are_different_studies_and_say_so(tmp_path: Path) -> None:
    write_run(tmp_path, "contrastive", 0.1, 0, epochs=10, arrays=False)
    write_run(tmp_path, "contrastive", 0.5, 0, epochs=40, arrays=False)
    titles = [study.title for study in studies_below(tmp_path)]
    assert titles == [
        "Digits, in-batch negatives, small_conv, epochs 10",
        "Digits, in-batch negatives, small_conv, epochs 40",
    ]


def test_where_data_lie_makes_no_other_study(tmp_path: Path) -> None:
    # The synthetic configs name a data directory for each seed.
    write_run(tmp_path, "contrastive", 0.1, 0, arrays=False)
    write_run(tmp_path, "contrastive", 0.1, 1, arrays=False)
    assert len(studies_below(tmp_path)) == 1


def test_a_learning_rate_may_follow_the_temperature(tmp_path: Path) -> None:
    write_run(tmp_path, "contrastive", 0.1, 0, learning_rate=0.03, arrays=False)
    write_run(tmp_path, "contrastive", 1.0, 0, learning_rate=0.12, arrays=False)
    (study,) = studies_below(tmp_path)
    assert "learning rate 0.03, 0.12 (set by cell)" in study.scale()


def test_two_learning_rates_of_one_cell_are_two_studies(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "contrastive", 0.1, 0, learning_rate=0.03, arrays=False)
    write_run(tmp_path / "b", "contrastive", 0.1, 0, learning_rate=0.12, arrays=False)
    assert [study.differs for study in studies_below(tmp_path)] == [
        ("optimizer.learning_rate",),
        ("optimizer.learning_rate",),
    ]


def test_constants_are_named_only_where_a_loss_has_several(tmp_path: Path) -> None:
    one = write_run(tmp_path / "a", "hard", 0.1, 0, arrays=False)
    other = write_run(tmp_path / "b", "hard", 0.1, 0, arrays=False)
    (study,) = studies_below(tmp_path)
    assert study.losses == ["hard"]
    rows = [row | {"constants": {"num_negatives": 8}} for row in rows_of(other)]
    write_lines(other / "rows.jsonl", rows)
    (study,) = studies_below(tmp_path)
    assert study.losses == ["hard (num_negatives 64)", "hard (num_negatives 8)"]
    assert one != other


def test_the_latest_checkpoint_counts_whatever_the_order_of_rows(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "contrastive", 0.1, 0, arrays=False)
    rows = rows_of(folder)
    early = [row | {"step": 100, "accuracy": 0.0, "tolerance": 9.0} for row in rows]
    write_lines(folder / "rows.jsonl", rows + early)
    (study,) = studies_below(tmp_path)
    cell = study.cells[CellKey("contrastive", 0.1)]
    tolerance = next(row["tolerance"] for row in rows if row["program"] == "analyze")
    assert cell.by_seed(TOLERANCE) == {0: tolerance}


def test_baselines_are_kept_apart_from_trained_encoders(tmp_path: Path) -> None:
    write_run(tmp_path, "contrastive", 0.1, 0, arrays=False)
    (study,) = studies_below(tmp_path)
    assert {encoder for encoder, _ in study.baselines} == {"untrained", "pixels"}
    assert len(study.readouts) == 2


def test_a_loss_without_temperature_has_no_penalties(tmp_path: Path) -> None:
    write_run(tmp_path, "simple", None, 0, arrays=False)
    (study,) = studies_below(tmp_path)
    cell = study.cells[CellKey("simple", None)]
    assert cell.summary(ENTROPY) is None
    assert cell.summary(MINUS_UNIFORMITY) is not None
    assert study.temperatures == []


def test_minus_uniformity_is_positive(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "contrastive", 0.1, 0, arrays=False)
    uniformity = next(r["uniformity"] for r in rows_of(folder) if r["program"] == "analyze")
    (study,) = studies_below(tmp_path)
    summary = study.cells[CellKey("contrastive", 0.1)].summary(MINUS_UNIFORMITY)
    assert summary is not None
    assert summary.mean == pytest.approx(-uniformity)


def test_steps_replace_epochs_in_the_name_of_a_study(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", "contrastive", 0.1, 0, arrays=False)
    config = json.loads((folder / "config.json").read_text())
    config["train"]["steps"] = 150
    (folder / "config.json").write_text(json.dumps(config))
    write_run(tmp_path / "b", "contrastive", 0.1, 0, arrays=False)
    titles = [study.title.rpartition(", ")[2] for study in studies_below(tmp_path)]
    assert titles == ["epochs 40", "steps 150"]
