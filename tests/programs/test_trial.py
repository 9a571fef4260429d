"""A grid on trial: every cell takes real steps of its own config, and nothing is written."""

import jax
import numpy as np
import pytest

from jaxcl import config as configs
from jaxcl.programs import command, sweep, trial
from jaxcl.training.log import read_lines
from tests.programs.conftest import ROOT, TINY

CELLS = [
    {"loss.temperature": 0.1, "seed": 0},
    {"loss.temperature": 0.5, "seed": 0},
    {"loss.name": "simple", "seed": 0},
]


def test_every_cell_takes_the_first_steps_of_its_run(tiny, finished, console):
    found = trial.run(sweep.choose(tiny, CELLS), steps=2, console=console)
    assert list(found) == [sweep.cell_name(cell) for cell in CELLS]
    (first,) = (row for row in read_lines(finished / "metrics.jsonl") if row["step"] == 2)
    cell = found["temperature=0.1,seed=0"]
    assert (cell.loss, cell.gradient_norm) == (first["loss"], first["gradient_norm"])
    assert len({cell.loss for cell in found.values()}) == 3
    assert "3 cells took 2 step(s) with 2 compiled step(s)" in console.text
    assert "every loss and gradient is finite" in console.text


def test_a_cell_that_is_not_finite_is_named(tiny, console):
    config = configs.override(tiny, {"optimizer.name": "sgd", "optimizer.learning_rate": 1e30})
    found = trial.run({"a": tiny, "b": config}, steps=3, console=console)
    assert found["a"].finite and not found["b"].finite
    assert "NOT FINITE: b" in console.text


def test_the_command_needs_no_directory_and_fails_where_a_cell_does(tmp_path, monkeypatch, capsys):
    import main

    monkeypatch.chdir(tmp_path)
    overrides = [f"--config.{name}={value}" for name, value in TINY.items()]
    file = f"--config={ROOT / 'configs' / 'digits.py'}"
    arguments = main.parse(["sweep", file, "--steps=1", "--cell=0", *overrides])
    assert command.run(*arguments) == 0
    assert "1 cells took 1 step(s)" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(trial, "run", lambda *_, **__: {"a": trial.Trial(float("nan"), 1.0, 0.0)})
    assert command.run(*arguments) == command.FAILED


@pytest.mark.parametrize("flag", ["--steps", "--together"])
@pytest.mark.parametrize("words", [["pretrain", "1"], ["sweep", "0"]])
def test_steps_and_together_go_with_sweep(flag, words, capsys):
    import main

    with pytest.raises(SystemExit):
        main.parse([words[0], f"{flag}={words[1]}", "--config=x", "--workdir=y"])
    plan = " and plan" if flag == "--together" else ""
    assert f"{flag} goes with sweep{plan} and is at least 1" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cifar10", "imagenet100"])
def test_all_cells_of_the_papers_grids_take_a_step_with_narrow_layers(name, tmp_path, console):
    # The grids of cifar100 and svhn are that of cifar10 on other images of 32 pixels.
    file = f"{ROOT / 'configs' / name}.py:paper"
    side = 32 if name != "imagenet100" else 64
    images = np.random.default_rng(0).integers(0, 256, (64, side, side, 3), dtype=np.uint8)
    splits = {"train_images": images, "train_labels": np.arange(64) % 10}
    np.savez(tmp_path / "random.npz", **splits)
    small = {
        "data.name": f"npz:{tmp_path / 'random.npz'}",
        "data.resize": 0,
        "data.image_size": side,
        "model.width": 0.0625,
        "train.monitor_every": 0.0,  # there is no test split to monitor
        "loss.num_negatives": 4,
        "train.batch_size": 2 * jax.device_count(),
    }
    cells = sweep.choose(configs.load(file, small), configs.load_sweep(file))
    found = trial.run(cells, steps=1, console=console)
    assert len(found) == 26 and all(cell.finite for cell in found.values())
    assert "26 cells took 1 step(s) with 4 compiled step(s)" in console.text
