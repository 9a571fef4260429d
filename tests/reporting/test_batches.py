"""Studies side by side: which batch sizes belong together, and what is claimed of them."""

import json
from pathlib import Path

import numpy as np
import pytest

from jaxcl.reporting.batches import BatchStudy, batch_studies
from jaxcl.reporting.claims_batches import CLAIMS
from jaxcl.reporting.figures import batches, batches_over_training, pairs
from jaxcl.reporting.quantities import MULTIPLIER
from jaxcl.reporting.runs import collect_runs
from jaxcl.reporting.studies import build_studies
from jaxcl.reporting.tables_batches import batch_tables
from jaxcl.reporting.verdicts import DOES_NOT_HOLD, HOLDS, NOT_ENOUGH
from tests.reporting.synthetic import write_run
from tests.reporting.synthetic_studies import write_decoupled, write_decoupled_run
from tests.reporting.test_figures import outside

DRAWINGS = (
    batches.batch_accuracy_figure,
    batches.multiplier_figure,
    batches_over_training.multiplier_history_figure,
    batches_over_training.learning_curve_figure,
    batches_over_training.batch_loss_figure,
    pairs.pair_figure,
)


def groups_below(root: Path) -> list[BatchStudy]:
    return batch_studies(build_studies(collect_runs(root)))


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> BatchStudy:
    root = tmp_path_factory.mktemp("decoupled")
    write_decoupled(root)
    (found,) = groups_below(root)
    return found


def verdict(name: str, root: Path) -> str:
    (group,) = groups_below(root)
    return next(claim for claim in CLAIMS if claim.name == name).evaluate(group).verdict


def set_rate(folder: Path, rate: float) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["optimizer"]["learning_rate"] = rate
    (folder / "config.json").write_text(json.dumps(config))


def test_batch_sizes_stand_side_by_side_in_rising_order(group: BatchStudy) -> None:
    assert group.sizes == [32, 128, 512]
    assert group.losses == ["nt_xent", "dcl", "dclw"]
    assert "batches of 32, 128, 512 images" in group.scale()
    assert len(group.runs) == 18


def test_a_grid_of_temperatures_stays_by_itself(tmp_path: Path) -> None:
    for size in (128, 256):
        for tau in (0.1, 0.5):
            write_run(tmp_path, "contrastive", tau, 0, batch_size=size, arrays=False)
    assert groups_below(tmp_path) == []


def test_the_rate_may_follow_the_batch_size_but_not_vary_at_one(tmp_path: Path) -> None:
    for size, rate in ((32, 1e-3), (64, 2e-3)):
        set_rate(write_decoupled_run(tmp_path / "a", "dcl", size, 0), rate)
    assert [group.sizes for group in groups_below(tmp_path)] == [[32, 64]]
    set_rate(write_decoupled_run(tmp_path / "b", "dcl", 32, 0), 2e-3)
    assert [group.sizes for group in groups_below(tmp_path)] == [[32], [32, 64]]


def test_the_multiplier_is_the_mean_over_the_training(group: BatchStudy) -> None:
    run = next(run for run in group.members[32].runs if run.config["loss"]["name"] == "nt_xent")
    logged = [line["multiplier_mean"] for line in run.metrics if "multiplier_mean" in line]
    assert group.by_seed("nt_xent", 32, MULTIPLIER)[run.config["seed"]] == pytest.approx(
        np.mean(logged)
    )


@pytest.mark.parametrize(
    ("multipliers", "expected"), [((0.3, 0.5, 0.7), HOLDS), ((0.3, 0.7, 0.5), DOES_NOT_HOLD)]
)
def test_the_multiplier_must_grow_at_every_step(multipliers, expected, tmp_path: Path) -> None:
    for size, q in zip((32, 128, 512), multipliers, strict=True):
        for seed in (0, 1):
            write_decoupled_run(tmp_path, "nt_xent", size, seed, multiplier=q + 0.01 * seed)
    assert verdict("multiplier_grows", tmp_path) == expected


def write_leads(root: Path, leads: dict[int, tuple[float, ...]]) -> None:
    """DCL's lead over NT-Xent in percentage points, by batch size and seed."""
    for size, by_seed in leads.items():
        for seed, lead in enumerate(by_seed):
            write_decoupled_run(root, "nt_xent", size, seed, accuracy=0.5)
            write_decoupled_run(root, "dcl", size, seed, accuracy=0.5 + lead / 100)


@pytest.mark.parametrize(
    ("leads", "ahead", "shrinks"),
    [
        ({32: (3, 4), 512: (1, 0)}, HOLDS, HOLDS),
        ({32: (3, -1), 512: (0, 0)}, DOES_NOT_HOLD, DOES_NOT_HOLD),
        ({32: (3, 4), 64: (-2, -1), 512: (1, 1)}, DOES_NOT_HOLD, HOLDS),
        ({32: (1, 1), 512: (2, 3)}, HOLDS, DOES_NOT_HOLD),
        ({32: (3,), 512: (1,)}, NOT_ENOUGH, NOT_ENOUGH),
        ({128: (3, 3), 512: (1, 1)}, NOT_ENOUGH, HOLDS),
    ],
)
def test_verdicts_on_the_lead_of_dcl(leads, ahead, shrinks, tmp_path: Path) -> None:
    write_leads(tmp_path, leads)
    assert verdict("ahead_at_small_batches", tmp_path) == ahead
    assert verdict("lead_shrinks", tmp_path) == shrinks


def test_one_table_holds_every_loss_at_every_batch_size(group: BatchStudy) -> None:
    table = batch_tables(group)[0]
    assert [row[:3] for row in table.rows[:4]] == [
        ("NT-Xent", "32", "2"),
        ("NT-Xent", "128", "2"),
        ("NT-Xent", "512", "2"),
        ("DCL", "32", "2"),
    ]
    assert "mean q_B" in table.columns


@pytest.mark.parametrize("draw", DRAWINGS)
def test_every_figure_says_its_seeds_and_stays_inside(group: BatchStudy, draw) -> None:
    picture = draw(group)
    assert picture is not None
    assert "2 seeds" in picture.caption
    assert outside(picture.figure) == []


def test_the_history_shows_the_logged_shares(tmp_path: Path) -> None:
    folder = write_decoupled_run(tmp_path, "dcl", 512, 0, monitored=False)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    (group,) = groups_below(tmp_path)
    picture = batches_over_training.multiplier_history_figure(group)
    assert picture is not None
    (mesh,) = picture.figure.axes[0].collections
    shares = np.array([line["multiplier_histogram"] for line in lines])
    np.testing.assert_allclose(np.asarray(mesh.get_array()), shares.T)


def test_a_learning_curve_needs_the_monitor(tmp_path: Path) -> None:
    write_decoupled_run(tmp_path, "dcl", 32, 0, monitored=False)
    (group,) = groups_below(tmp_path)
    assert batches_over_training.learning_curve_figure(group) is None


def test_what_the_monitor_logs_of_a_step_joins_what_the_loop_logged(tmp_path: Path) -> None:
    folder = write_decoupled_run(tmp_path, "dcl", 32, 0)
    (run,) = collect_runs(tmp_path)
    last = run.metrics[-1]
    assert folder.is_dir() and {"loss", "knn_accuracy"} <= set(last)


def test_the_coupled_loss_is_drawn_with_its_multiplier_and_without(tmp_path: Path) -> None:
    for size in (32, 64):
        write_decoupled_run(tmp_path, "nt_xent", size, 0)
    (group,) = groups_below(tmp_path)
    picture = pairs.pair_figure(group)
    assert picture is not None
    damped, plain = (line.get_ydata() for line in picture.figure.axes[0].get_lines()[:2])
    arrays = group.members[32].runs[0].analysis
    order = np.argsort(arrays["pair_positive_similarities"])
    norms, q = arrays["pair_decoupled_norms"][order], arrays["pair_multipliers"][order]
    assert plain[0] == pytest.approx(norms[:25].mean(), rel=1e-5)
    assert damped[-1] == pytest.approx((q * norms)[-25:].mean(), rel=1e-5)


def test_hard_and_easy_pairs_stand_in_the_tables(group: BatchStudy) -> None:
    table = next(table for table in batch_tables(group) if table.title.startswith("Hard and easy"))
    assert table.columns[3:5] == ("q_B, hard pairs", "q_B, easy pairs")
    assert table.rows[0][7:9] == ("8.000 ± 0.000", "5.000 ± 0.000")
