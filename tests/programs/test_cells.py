"""Cells of a grid pretrained at once, each on a group of devices: the numbers, files and resumption of each alone."""

import jax
import numpy as np
import pytest

from jaxcl import sharding
from jaxcl.config import override
from jaxcl.programs import assemble, cells, pretrain, sweep
from jaxcl.training.log import read_lines
from tests.programs.conftest import Lines
from tests.programs.test_resume import Cut, cut_after, named_arrays
from tests.programs.test_sweep import Compilations, listen

# What a cell on two of eight devices may differ by from the same cell alone on two devices, after six steps of Adam.
# The two programs are the same but for how XLA fuses them; 0 was seen for most arrays.
ROUNDING = 1e-6

FOUR = {
    "temperature=0.1": {},
    "temperature=0.7": {"loss.temperature": 0.7},
    "learning_rate=0.003": {"optimizer.learning_rate": 3e-3},
    "seed=1": {"seed": 1},
}


def four(tiny, **overrides):
    base = override(tiny, {name.replace("__", "."): value for name, value in overrides.items()})
    return {name: override(base, values) for name, values in FOUR.items()}


def alone(config, workdir, patch, devices=2):
    """Pretrain one cell on the first devices only."""
    mesh = sharding.make_mesh(jax.devices()[:devices])
    patch.setattr(assemble, "mesh", lambda: mesh)
    pretrain.run(config, workdir, console=Lines())


def check_same(together, apart, step=6):
    one, other = named_arrays(together, step), named_arrays(apart, step)
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value.shape == other[name].shape
        np.testing.assert_allclose(value, other[name], rtol=0, atol=ROUNDING, err_msg=name)


@pytest.fixture(scope="module")
def placed(tiny, tmp_path_factory):
    """Four cells that were pretrained at once, their console's lines, and what was compiled for them."""
    root, console = tmp_path_factory.mktemp("placed"), Lines()
    configs = four(tiny, train__monitor_every=0.2, train__monitor_images=64)
    assemble._STEPS.clear()
    with listen(Compilations()) as compiled:
        group = {root / name: config for name, config in configs.items()}
        cells.run(group, force=False, console=console)
    return root, configs, console, compiled.names


@pytest.mark.parametrize("name", FOUR)
def test_a_cell_has_the_numbers_and_files_of_the_cell_alone(placed, tmp_path, monkeypatch, name):
    root, configs, _, _ = placed
    alone(configs[name], tmp_path / name, monkeypatch)
    check_same(root / name, tmp_path / name)
    files = [sorted(p.name for p in folder.iterdir()) for folder in (root / name, tmp_path / name)]
    assert files[0] == files[1]
    texts = [(folder / name / "config.json").read_text() for folder in (root, tmp_path)]
    assert texts[0] == texts[1]
    rows = [read_lines(folder / name / "metrics.jsonl") for folder in (root, tmp_path)]
    for row, other in zip(*rows, strict=True):
        assert row.keys() == other.keys()
        for key in row.keys() - {"images_per_second", "knn_accuracy"}:
            assert row[key] == pytest.approx(other[key], rel=1e-5)


def test_the_cells_share_one_compilation(placed):
    assert placed[3].count("step") == 1
