"""Figures: what they show, that nothing is cut off, that files repeat byte for byte."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from jaxcl.reporting.figures import planes, samples, temperature, theory, training
from jaxcl.reporting.quantities import TOLERANCE
from jaxcl.reporting.runs import collect_runs, load_theory
from jaxcl.reporting.studies import build_studies
from jaxcl.reporting.study import Study
from jaxcl.reporting.style import (
    loss_style,
    new_figure,
    paper_style,
    save,
    temperature_axis,
    temperature_colours,
)
from tests.reporting.synthetic import write_grid, write_run, write_theory

BY_TEMPERATURE = (
    temperature.accuracy_figure,
    temperature.uniformity_figure,
    temperature.tolerance_figure,
    temperature.entropy_figure,
    temperature.gap_figure,
    temperature.positive_figure,
    planes.plane_figure,
    planes.accuracy_uniformity_figure,
)
THEORY = (
    theory.ratio_figure,
    theory.entropy_theory_figure,
    theory.coupling_figure,
    theory.loss_shape_figure,
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    root = tmp_path_factory.mktemp("grid")
    write_grid(root, seeds=(0, 1), temperatures=(0.07, 0.2, 1.0), count=40)
    return build_studies(collect_runs(root))[0]


def outside(figure: Figure) -> list[str]:
    """Texts that reach beyond the edge of the figure."""
    with paper_style():
        figure.draw_without_rendering()
        renderer = FigureCanvasAgg(figure).get_renderer()
        box = figure.bbox.padded(1)
        texts = set(figure.findobj(Text)) - set(undrawn_labels(figure))
        extents = {text: text.get_window_extent(renderer) for text in texts if text.get_text()}
    corners = {text: (e.x0, e.y0, e.x1, e.y1) for text, e in extents.items() if text.get_visible()}
    return [
        text.get_text()
        for text, (x0, y0, x1, y1) in corners.items()
        if not (box.contains(x0, y0) and box.contains(x1, y1))
    ]


def undrawn_labels(figure: Figure) -> list[Text]:
    """Labels of ticks beyond the limits of their axis: they exist and are not drawn."""
    found = []
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not low <= tick.get_loc() <= high:
                    found += [tick.label1, tick.label2]
    return found


@pytest.mark.parametrize("draw", BY_TEMPERATURE)
def test_every_caption_says_the_seeds_and_the_source(study: Study, draw) -> None:
    picture = draw(study)
    assert picture is not None
    assert "2 seeds" in picture.caption
    assert "Wang & Liu 2021" in picture.caption
    assert outside(picture.figure) == []


def test_the_curve_is_the_mean_over_seeds_at_each_temperature(study: Study) -> None:
    picture = temperature.tolerance_figure(study)
    assert picture is not None
    line = next(
        line for line in picture.figure.axes[0].get_lines() if line.get_label() == "Contrastive"
    )
    series = study.series("contrastive", TOLERANCE)
    np.testing.assert_allclose(line.get_xdata(), [tau for tau, _ in series])
    np.testing.assert_allclose(line.get_ydata(), [summary.mean for _, summary in series])


def test_a_data_set_of_the_paper_gets_the_published_curve_beside_ours(tmp_path: Path) -> None:
    for tau in (0.1, 1.0):
        write_run(tmp_path, "contrastive", tau, 0, dataset="cifar100", arrays=False)
    (study,) = build_studies(collect_runs(tmp_path))
    picture = temperature.accuracy_figure(study)
    assert picture is not None
    ours, published = picture.figure.axes
    assert published.get_title(loc="left") == "published (Wang & Liu 2021)"
    assert max(published.get_lines()[0].get_ydata()) == 56.44
    assert ours.get_ylabel() == "linear accuracy [%]"


def test_one_temperature_makes_no_curve(tmp_path: Path) -> None:
    write_run(tmp_path, "contrastive", 0.1, 0, arrays=False)
    (study,) = build_studies(collect_runs(tmp_path))
    assert [draw(study) for draw in BY_TEMPERATURE] == [None] * len(BY_TEMPERATURE)
    assert samples.separation_figures(study) == []
    assert samples.map_figure(study) is None


def test_separation_has_a_panel_for_each_temperature_and_medians_of_all_seeds(
    study: Study,
) -> None:
    pictures = samples.separation_figures(study)
    assert [picture.title for picture in pictures] == [
        "Local separation, Contrastive",
        "Local separation, Hard contrastive",
        "Local separation, losses without a temperature",
    ]
    panel = pictures[0].figure.axes[0]
    assert panel.get_title(loc="left") == "τ = 0.07"
    pooled = np.concatenate(
        [
            run.analysis["positive_similarities"]
            for run in study.runs
            if run.config["loss"] == run.config["loss"] | {"name": "contrastive"}
            and run.config["loss"]["temperature"] == 0.07
        ]
    )
    assert pooled.size == 80
    medians = next(line for line in panel.get_lines() if len(line.get_ydata()) == 11)
    assert medians.get_ydata()[0] == pytest.approx(np.median(pooled))
    for picture in pictures:
        assert outside(picture.figure) == []


def test_the_map_shows_the_points_of_the_run_coloured_by_class(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "contrastive", 0.07, 0, arrays=False)
    points = np.random.default_rng(0).normal(size=(30, 2))
    np.savez(folder / "embeddings.npz", tsne=points, labels=np.arange(50) % 3)
    (study,) = build_studies(collect_runs(tmp_path))
    picture = samples.map_figure(study)
    assert picture is not None
    drawn = [c.get_offsets() for c in picture.figure.axes[0].collections]
    assert [len(offsets) for offsets in drawn] == [10, 10, 10]
    np.testing.assert_allclose(drawn[1], points[1::3])


def test_loss_curves_have_a_line_for_each_run(study: Study) -> None:
    picture = training.loss_curve_figure(study)
    assert picture is not None
    # Three temperatures, two seeds, and three empty lines for the legend.
    assert len(picture.figure.axes[0].get_lines()) == 9
    assert outside(picture.figure) == []


def test_learning_curves_show_what_the_monitor_logged(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "contrastive", 0.1, 0, arrays=False)
    (study,) = build_studies(collect_runs(tmp_path))
    assert training.learning_curve_figure(study) is None
    with (folder / "metrics.jsonl").open("a") as file:
        for step, accuracy in ((20, 0.3), (40, 0.5)):
            line = {"step": step, "epoch": step / 15, "knn_accuracy": accuracy}
            file.write("\n" + json.dumps(line))
    (study,) = build_studies(collect_runs(tmp_path))
    picture = training.learning_curve_figure(study)
    assert picture is not None
    np.testing.assert_allclose(picture.figure.axes[0].get_lines()[0].get_ydata(), [30, 50])


def test_theory_is_drawn_from_its_arrays_and_not_at_all_without_them(tmp_path: Path) -> None:
    assert [draw({}) for draw in THEORY] == [None] * len(THEORY)
    write_theory(tmp_path)
    arrays = load_theory(tmp_path)
    for draw in THEORY:
        picture = draw(arrays)
        assert picture is not None
        assert picture.caption.startswith("Theory, no seeds")
        assert outside(picture.figure) == []


def test_every_temperature_has_a_tick_and_labels_do_not_overlap() -> None:
    taus = (0.05, 0.07, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    with paper_style():
        figure = new_figure(3.4, 2.6)
        axes = figure.subplots()
        temperature_axis(axes, taus, 2.6)
        figure.draw_without_rendering()
        np.testing.assert_allclose(axes.get_xticks(), taus)
        labels = [label for label in axes.get_xticklabels() if label.get_text()]
        boxes = [label.get_window_extent() for label in labels]
    assert {"0.05", "0.07", "0.1", "1.0"} <= {label.get_text() for label in labels}
    assert all(a.x1 < b.x0 for a, b in zip(boxes, boxes[1:], strict=False))


def test_losses_and_temperatures_keep_colours_of_their_own() -> None:
    losses = ["contrastive", "hard", "nce", "spring", "triplet"]
    assert len({loss_style(loss, losses)["color"] for loss in losses}) == len(losses)
    assert loss_style("contrastive", ["contrastive"]) == loss_style("contrastive", losses)
    assert len(set(temperature_colours([0.05, 0.1, 1.0]).values())) == 3


def test_the_same_rows_give_the_same_files(study: Study, tmp_path: Path) -> None:
    written = []
    for name in ("a", "b"):
        picture = temperature.tolerance_figure(study)
        assert picture is not None
        files = save(picture.figure, tmp_path / name, picture.name, ("png", "svg", "pdf"))
        written.append({form: path.read_bytes() for form, path in files.items()})
    assert written[0] == written[1]
    # Files of one second would agree even if they held the time.
    assert b"Date" not in written[0]["pdf"] + written[0]["svg"] + written[0]["png"]
