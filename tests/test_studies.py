"""The studies of colour streams and of decoupled losses: every loss of both takes real steps, and is read out."""

import contextlib
import json
import pathlib

import jax
import numpy as np
import pytest

from jaxcl import config as configs
from jaxcl.programs import analyze, assemble, pretrain, probe
from jaxcl.training.checkpoint import Checkpoints, abstract_like
from jaxcl.training.state import to_items

FOLDER = pathlib.Path(__file__).parent.parent / "configs"
STUDIES = ("cmc_losses.py:cpu", "decoupled.py:cpu")


def test_the_colour_study_has_the_reports_losses_and_temperatures():
    cells = configs.load_sweep(str(FOLDER / "cmc_losses.py:report"))
    base = configs.load(str(FOLDER / "cmc_losses.py:report"))
    found = {}
    for cell in cells:
        config = configs.override(base, cell)
        found[config.loss.name] = config.loss.temperature, assemble.loss_constants(config)
    assert found["softmax"] == (0.1, {})
    assert found["nce"] == (0.5, {"num_data": 100_000, "epsilon": 1e-7})
    assert found["spring"][1] == found["triplet"][1] == {}  # margin 1, as coded: their defaults


@pytest.mark.parametrize(("scale", "batch_sizes", "seeds"), [("resnet18", 5, 3), ("cpu", 4, 2)])
def test_the_decoupled_study_has_every_loss_at_every_batch_size(scale, batch_sizes, seeds):
    cells = configs.load_sweep(str(FOLDER / f"decoupled.py:{scale}"))
    pairs = {(cell["loss.name"], cell["train.batch_size"]) for cell in cells}
    assert len(pairs) == 3 * batch_sizes and len(cells) == 3 * batch_sizes * seeds


@pytest.fixture(scope="module")
def colours(tmp_path_factory) -> str:
    """A set of small colour images, two classes that differ in hue and lightness."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 48), ("test", 24)):
        labels = np.arange(count) % 2
        base = np.where(labels[:, None] == 0, (200, 60, 40), (30, 90, 160))[:, None, None, :]
        images = base + rng.integers(-30, 30, (count, 32, 32, 3))
        arrays |= {f"{split}_images": np.clip(images, 0, 255).astype(np.uint8)}
        arrays |= {f"{split}_labels": labels.astype(np.int32)}
    path = tmp_path_factory.mktemp("colours") / "colours.npz"
    np.savez(path, **arrays)
    return f"npz:{path}"


def small(study: str, colours: str, **overrides):
    """A cell of a study at the size of a test."""
    return configs.override(
        configs.load(str(FOLDER / study)),
        {
            "data.name": colours,
            "data.train_split": "train",
            "train.monitor_every": 0.0,
            "train.batch_size": 16,
            "train.steps": 2,
            "train.log_every": 1,
            "evaluate.batch_size": 24,
            "evaluate.untrained": False,
            "evaluate.pixels": False,
            "evaluate.count": 16,
            **overrides,
        },
    )


def cells_of_both_studies() -> list:
    cells = []
    for study in STUDIES:
        seen = {}
        for cell in configs.load_sweep(str(FOLDER / study)):
            seen.setdefault(cell["loss.name"], {n: v for n, v in cell.items() if "batch" not in n})
        cells += [
            pytest.param(study, cell, id=f"{study[:3]}-{name}") for name, cell in seen.items()
        ]
    return cells


@pytest.mark.slow
@pytest.mark.parametrize(("study", "cell"), cells_of_both_studies())
def test_every_loss_of_both_studies_takes_real_steps(study, cell, colours, tmp_path):
    config = small(study, colours, **cell, **{"evaluate.solver": "lbfgs"})
    pretrain.run(config, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert all(np.isfinite(line["loss"]) for line in lines)
    if study.startswith("decoupled"):
        histogram = lines[-1]["multiplier_histogram"]
        assert len(histogram) == 20 and sum(histogram) == pytest.approx(1, abs=1e-5)
        assert 0 <= lines[-1]["multiplier_low"] <= 1


@pytest.mark.slow
def test_two_streams_are_probed_together_and_measured_apart(colours, tmp_path):
    config = small("cmc_losses.py:cpu", colours, **{"candidates.initial": "encoded"})
    pretrain.run(config, tmp_path / "run")
    linear, nearest = probe.run(config, tmp_path / "run")
    assert linear["dimension"] == nearest["dimension"] == 2 * 384
    row = analyze.run(config, tmp_path / "run")
    assert row["uniformity"] == pytest.approx(np.mean(row["uniformity_of_streams"]))
    assert len(row["uniformity_of_streams"]) == 2
    # The last layer is a ReLU: no two features point away from each other.
    assert 0 <= row["alignment"] <= 2 + 1e-6 and -4 <= row["uniformity"] <= 0


@pytest.mark.slow
def test_the_pairs_of_a_decoupled_run_are_measured_in_batches_of_its_size(colours, tmp_path):
    config = small("decoupled.py:cpu", colours, **{"train.batch_size": 8})
    pretrain.run(config, tmp_path / "run")
    row = analyze.run(config, tmp_path / "run")
    with np.load(tmp_path / "run/analysis.npz") as arrays:
        q, norms = arrays["pair_multipliers"], arrays["pair_decoupled_norms"]
        order = np.argsort(arrays["pair_positive_similarities"], kind="stable")
    assert row["pair_batch_size"] == 8 and q.shape == (2 * 16,)
    assert row["pair_coupled_norms"][0] == pytest.approx((q * norms)[order[:8]].mean())
    assert row["pair_multipliers"][-1] == pytest.approx(q[order[-8:]].mean())


@pytest.mark.slow
def test_a_normalizer_of_the_first_batch_stays_and_is_saved(colours, tmp_path):
    changes = {"loss.name": "nce", "loss.normalizer": "first", "train.checkpoint_every": 1}
    config = small("cmc_losses.py:cpu", colours, **changes)
    pretrain.run(config, tmp_path / "whole")
    kept, mesh = [], assemble.mesh()
    with (
        contextlib.closing(Checkpoints(tmp_path / "whole/checkpoints", 2)) as checkpoints,
        jax.set_mesh(mesh),
    ):
        state = pretrain.initial_state(config, assemble.source(config, "train"), mesh)
        for step in (1, 2):
            items = checkpoints.restore(abstract_like(to_items(state)), step)
            kept.append([float(s["log_normalizer"]) for s in items["training"]["shared"]])
    assert kept[0] == kept[1]
    assert all(value > 0 for value in kept[0])


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"model.streams": 1},
            "'stream_banks' compares 2 stream\\(s\\) of a view and model.streams is 1",
        ),
        ({"candidates.kind": "batch"}, "'batch' compares 1 stream"),
        ({"model.dimension": 128}, "model.dimension 128 is not the 384 features of the encoder"),
        (
            {"data.center": "crop", "data.image_size": 48},
            "cannot cut 48 pixels out of images of 32x32",
        ),
        ({"data.views": "hsv"}, "unknown data.views 'hsv'"),
        ({"loss.normalizer": "last"}, "unknown loss.normalizer 'last'"),
        ({"loss.name": "clip"}, "couples anchors by their columns"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_cannot_go_together_is_refused_before_anything_compiles(
    changes, match, colours, tmp_path
):
    with pytest.raises(ValueError, match=match):
        pretrain.run(small("cmc_losses.py:cpu", colours, **changes), tmp_path / "run")
