"""Two colour streams: the claims of the report, and whether its encoders collapsed."""

from pathlib import Path

import numpy as np
import pytest

from jaxcl.reporting.claims_streams import CLAIMS
from jaxcl.reporting.figures import streams as figures
from jaxcl.reporting.runs import collect_runs
from jaxcl.reporting.streams import consistency_table, stream_studies
from jaxcl.reporting.studies import build_studies
from jaxcl.reporting.study import Study
from jaxcl.reporting.verdicts import DOES_NOT_HOLD, HOLDS, NOT_ENOUGH
from tests.reporting.synthetic import write_run
from tests.reporting.synthetic_studies import STREAM_LOSSES, write_stream_run, write_streams
from tests.reporting.test_figures import outside


def study_below(root: Path) -> Study:
    (study,) = stream_studies(build_studies(collect_runs(root)))
    return study


def verdicts(study: Study) -> dict[str, str]:
    return {claim.name: claim.evaluate(study).verdict for claim in CLAIMS}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    root = tmp_path_factory.mktemp("streams")
    write_streams(root)
    write_run(root, "contrastive", 0.1, 0, arrays=False)
    return study_below(root)


def test_the_reports_own_numbers_fulfil_its_claims(study: Study) -> None:
    assert set(verdicts(study).values()) == {HOLDS}


def test_one_seed_against_is_enough_to_defeat_a_claim(tmp_path: Path) -> None:
    write_streams(tmp_path, maps=False)
    write_stream_run(tmp_path, "nce", 1, accuracy=0.6, alignment=0.01, uniformities=(-1.0, -1.0))
    assert set(verdicts(study_below(tmp_path)).values()) == {DOES_NOT_HOLD}


def test_three_losses_or_one_seed_give_no_verdict(tmp_path: Path) -> None:
    for loss in STREAM_LOSSES[:3]:
        for seed in (0, 1):
            write_stream_run(tmp_path, loss, seed, maps=False)
    assert set(verdicts(study_below(tmp_path)).values()) == {NOT_ENOUGH}
    write_stream_run(tmp_path, "nce", 0, maps=False)
    assert set(verdicts(study_below(tmp_path)).values()) == {NOT_ENOUGH}


def states(root: Path) -> dict[str, tuple[str, str]]:
    table = consistency_table(study_below(root))
    return {row[0]: (row[1], row[2]) for row in table.rows}


def test_a_collapse_onto_orthogonal_constants_is_named(tmp_path: Path) -> None:
    write_streams(tmp_path, maps=False)
    found = states(tmp_path)
    assert found["Spring-like"] == (
        "orthogonal constants (2 of 2 seeds)",
        "all negatives (margin 1)",
    )
    assert found["Softmax"] == ("spread (2 of 2 seeds)", "—")


@pytest.mark.parametrize(
    ("alignment", "uniformities", "expected"),
    [
        (2.0, (-1.0, -0.01), "one stream is a constant"),
        (0.01, (-0.01, -0.01), "one constant"),
        (1.0, (-0.01, -0.01), "two constants"),
        (2.0, (-1.0, -1.0), "spread"),
    ],
)
def test_other_ends_are_not_taken_for_it(alignment, uniformities, expected, tmp_path) -> None:
    write_stream_run(
        tmp_path, "spring", 0, alignment=alignment, uniformities=uniformities, maps=False
    )
    assert states(tmp_path)["Spring-like"][0] == expected


def test_the_loss_of_a_collapsed_encoder_stands_beside_the_final_one(study: Study) -> None:
    table = consistency_table(study)
    column = table.columns.index("loss if collapsed")
    assert [row[column] for row in table.rows] == ["1.414", "128.000", "4.852", "5.848"]
    assert "8 of 8 runs" in table.note


def test_the_dashed_line_of_a_histogram_is_the_alignment(study: Study) -> None:
    picture = figures.alignment_figure(study)
    assert picture is not None and outside(picture.figure) == []
    spring, triplet, *_ = picture.figure.axes
    assert spring.get_lines()[0].get_xdata()[0] == pytest.approx(2.0)
    assert sum(patch.get_height() for patch in spring.patches) == 200
    run = next(run for run in study.runs if run.config["loss"]["name"] == "triplet")
    mean = np.mean(2 - 2 * run.analysis["positive_similarities"])
    assert triplet.get_lines()[0].get_xdata()[0] == pytest.approx(mean, abs=1e-6)


def test_the_map_is_drawn_plain_and_on_the_circle(study: Study) -> None:
    picture = figures.circle_figure(study)
    assert picture is not None and outside(picture.figure) == []
    plain, circle = picture.figure.axes[0], picture.figure.axes[4]
    points = np.concatenate([np.asarray(c.get_offsets()) for c in plain.collections])
    moved = np.concatenate([np.asarray(c.get_offsets()) for c in circle.collections])
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(
        moved, points / np.linalg.norm(points, axis=1, keepdims=True), rtol=1e-5
    )


def test_without_points_there_is_no_map(tmp_path: Path) -> None:
    write_stream_run(tmp_path, "nce", 0, maps=False)
    assert figures.circle_figure(study_below(tmp_path)) is None
