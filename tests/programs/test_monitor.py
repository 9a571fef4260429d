"""kNN during training: it sees what the probe sees, and the run does not see it."""

import numpy as np
import pytest

from jaxcl.config import override
from jaxcl.programs import pretrain, probe
from jaxcl.training.log import read_lines
from tests.programs.test_resume import final_digest


@pytest.fixture(scope="module")
def monitored(tiny, tmp_path_factory):
    """The tiny run of 6 steps, looked at every 4; its epochs have 22."""
    from tests.programs.conftest import Lines

    changes = {"train.monitor_every": 4 / 22, "train.monitor_images": 1437}
    config, workdir = override(tiny, changes), tmp_path_factory.mktemp("monitored")
    pretrain.run(config, workdir, console=Lines())
    return config, workdir


def test_a_monitored_run_is_bit_for_bit_the_same(tiny, finished, monitored):
    config, workdir = monitored
    assert final_digest(config, workdir, 6) == final_digest(tiny, finished, 6)
    logs = [read_lines(path / "metrics.jsonl") for path in (workdir, finished)]
    losses = [[row["loss"] for row in log if "loss" in row] for log in logs]
    assert losses[0] == losses[1]


def test_it_looks_when_told_and_at_the_end(monitored):
    rows = [row for row in read_lines(monitored[1] / "metrics.jsonl") if "knn_accuracy" in row]
    assert [(row["step"], row["epoch"]) for row in rows] == [(4, 4 / 22), (6, 6 / 22)]
    assert all(0.1 < row["knn_accuracy"] <= 1.0 for row in rows)


def test_with_all_images_it_finds_what_the_probe_finds(monitored, console):
    config, workdir = monitored
    rows = probe.run(config, workdir, baselines=False, console=console)
    (nearest,) = (row["accuracy"] for row in rows if row["solver"] == "knn")
    seen = [
        row["knn_accuracy"]
        for row in read_lines(workdir / "metrics.jsonl")
        if "knn_accuracy" in row
    ]
    assert seen[-1] == nearest


def test_images_without_labels_are_refused_before_anything_compiles(tiny, tmp_path):
    images = np.zeros((128, 8, 8, 1), np.uint8)
    np.savez(tmp_path / "bare.npz", train_images=images, test_images=images)
    config = override(
        tiny, {"data.name": f"npz:{tmp_path / 'bare.npz'}", "train.monitor_every": 1.0}
    )
    with pytest.raises(ValueError, match=r"without a label; train.monitor_every needs"):
        pretrain.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
