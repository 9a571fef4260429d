"""What the probe reads out, and of what."""

import shutil

import numpy as np
import pytest

from jaxcl.config import override
from jaxcl.programs import assemble, frozen, probe

STEPS = {"evaluate.epochs": 3, "evaluate.sgd_learning_rate": 0.1, "evaluate.standardize": False}


@pytest.fixture
def workdir(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def linear(rows, encoder="trained"):
    (row,) = (row for row in rows if row["encoder"] == encoder and row["solver"] != "knn")
    return row


def test_augmented_images_are_new_in_each_epoch_and_the_same_in_each_run(tiny, workdir):
    changes = {
        "evaluate.solver": "sgd",
        "evaluate.augment": True,
        "evaluate.augmentation.flip": 0.5,
    }
    config = override(tiny, {**STEPS, **changes})
    mesh = assemble.mesh()
    train, test = (assemble.source(config, split) for split in ("train", "test"))
    _, variables = frozen.restore(config, workdir, 1, mesh, None)
    made = probe._frozen(config, train, test, variables, mesh)
    first, second, again = (made.augmented(epoch)[0] for epoch in (0, 1, 0))
    np.testing.assert_array_equal(first, again)
    plain = made.train[0]
    # Flipped or not, by a coin for each image: without a flip the view is the central one.
    same = np.isclose(first, plain, atol=1e-5).all(1)
    assert 0.4 < same.mean() < 0.6
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(made.augmented(0)[1], made.train[1])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"solver": "sgd", "augment": True}, ("sgd", "linear", True)),
        ({"solver": "adam", "readout": "mlp", "hidden": 8}, ("adam", "mlp", False)),
    ],
)
def test_a_row_says_how_it_was_read_out(tiny, workdir, console, changes, expected):
    changes = {f"evaluate.{name}": value for name, value in changes.items()}
    config = override(tiny, {**STEPS, **changes, "evaluate.untrained": False})
    rows = probe.run(config, workdir, console=console)
    assert {row["encoder"] for row in rows} == {"trained", "pixels"}
    row = linear(rows)
    assert (row["solver"], row["readout"], row["augmented"]) == expected
    assert linear(rows, "pixels")["augmented"] is False
    assert 0.05 < row["accuracy"] <= row["best_accuracy"] <= 1.0


def test_each_baseline_has_its_switch(tiny, workdir, console):
    config = override(tiny, {"evaluate.pixels": False})
    rows = probe.run(config, workdir, console=console)
    assert {row["encoder"] for row in rows} == {"trained", "untrained"}
    rows = probe.run(config, workdir, baselines=False, console=console)
    assert {row["encoder"] for row in rows} == {"trained"}
