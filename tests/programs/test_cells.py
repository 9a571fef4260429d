"""Cells of a grid pretrained at once, each on a group of devices: the numbers, files and resumption of each alone."""

import jax
import numpy as np
import pytest

from jaxcl import sharding
from jaxcl.config import override
from jaxcl.programs import assemble, cells, pretrain, sweep
from jaxcl.training.log import read_lines
from jaxcl.training.loop import NonFiniteLoss
from tests.programs.conftest import Lines
from tests.programs.test_resume import Cut, cut_after, named_arrays
from tests.programs.test_sweep import Compilations, listen

# What a cell on two of eight devices may differ by from the same cell alone on two devices, after six steps of Adam.
# Each is compiled for itself, and XLA may take a sum of the one in another order; 2e-7 was seen.
ROUNDING = 1e-6
STEPS = 6

FOUR = {
    "temperature=0.1": {},
    "temperature=0.7": {"loss.temperature": 0.7},
    "learning_rate=0.003": {"optimizer.learning_rate": 3e-3},
    "seed=1": {"seed": 1},
}


@pytest.fixture(
    scope="module", params=["batch", pytest.param("memory_bank", marks=pytest.mark.slow)]
)
def placed(request, tiny, tmp_path_factory):
    """Four cells that were pretrained at once, and what was compiled for them.

    Those with the memory bank, which is split over a cell's devices, read their images from the host.
    """
    base = override(tiny, {"candidates.kind": request.param})
    if request.param == "memory_bank":
        base = override(base, {"candidates.split_bank": True, "data.resident": "host"})
    else:
        base = override(base, {"train.monitor_every": 0.2, "train.monitor_images": 64})
    configs = {name: override(base, values) for name, values in FOUR.items()}
    root = tmp_path_factory.mktemp("placed")
    assemble._STEPS.clear()
    with listen(Compilations()) as compiled:
        group = {root / name: config for name, config in configs.items()}
        cells.run(group, force=False, console=Lines())
    return root, configs, compiled.names


@pytest.fixture(scope="module")
def on_two_devices():
    """Pretrain one cell on the first two devices only."""

    def run(config, workdir):
        mesh = sharding.make_mesh(jax.devices()[:2])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(assemble, "mesh", lambda: mesh)
            pretrain.run(config, workdir, console=Lines())

    return run


def check_same_numbers(folder, other, step, learning_rate):
    """Biases before BatchNorm are the exception of `test_resume`: Adam makes steps of their rounding."""
    one, two = named_arrays(folder, step), named_arrays(other, step)
    assert one.keys() == two.keys()
    for name, value in one.items():
        rounding = "Conv" in name and name.endswith("bias") or name.endswith("mean")
        bound = 2 * step * learning_rate if rounding else ROUNDING
        np.testing.assert_allclose(value, two[name], rtol=0, atol=bound, err_msg=name)


def test_each_cell_has_the_numbers_and_files_of_the_cell_alone(placed, on_two_devices, tmp_path):
    root, configs, _ = placed
    for name, config in configs.items():
        on_two_devices(config, tmp_path / name)
        rate = config.optimizer.learning_rate
        check_same_numbers(root / name, tmp_path / name, STEPS, rate)
        both = (root / name, tmp_path / name)
        assert len({tuple(sorted(path.name for path in folder.iterdir())) for folder in both}) == 1
        assert len({(folder / "config.json").read_text() for folder in both}) == 1
        for row, other in zip(
            *(read_lines(folder / "metrics.jsonl") for folder in both), strict=True
        ):
            assert row.keys() == other.keys()
            for key in row.keys() - {"images_per_second", "knn_accuracy"}:
                assert row[key] == pytest.approx(other[key], rel=1e-5)


def test_the_cells_are_different_runs(placed):
    kernels = [
        named_arrays(placed[0] / name, STEPS)["params/encoder/Conv_0/kernel"] for name in FOUR
    ]
    assert all(np.abs(kernels[0] - other).max() > 1e-5 for other in kernels[1:])


def test_the_cells_share_one_compilation(placed):
    assert placed[2].count("step") == 1


def test_cells_that_were_killed_go_on_together_to_the_same_bits(placed, tmp_path, monkeypatch):
    root, configs, _ = placed
    group, console = {tmp_path / name: config for name, config in configs.items()}, Lines()
    with monkeypatch.context() as patch:
        cut_after(patch, 5)
        with pytest.raises(Cut):
            cells.run(group, force=False, console=console)
    assert cells.group(configs, tmp_path) == [list(FOUR)]
    cells.run(group, force=False, console=console)
    assert "resuming 4 cells at step 3" in console.text
    for name in FOUR:
        one, other = (named_arrays(folder / name, STEPS) for folder in (root, tmp_path))
        for key, value in one.items():
            np.testing.assert_array_equal(value, other[key], err_msg=key)
        steps = [
            [row["step"] for row in read_lines(folder / name / "metrics.jsonl")]
            for folder in (root, tmp_path)
        ]
        assert steps[0] == steps[1]


def grid_of(tiny, *cells_of_it):
    return {str(number): override(tiny, values) for number, values in enumerate(cells_of_it)}


def test_cells_go_together_that_differ_only_in_what_is_traced(tiny, tmp_path):
    found = cells.group(
        grid_of(
            tiny,
            {},
            {"loss.name": "hard"},
            {"loss.temperature": 0.7},
            {"candidates.kind": "memory_bank"},
            {"loss.name": "hard", "seed": 3},
            {"optimizer.weight_decay": 0.1},
        ),
        tmp_path,
    )
    assert found == [["0", "2"], ["1", "4"], ["3"], ["5"]]


def test_as_many_cells_go_together_as_divide_the_devices_and_are_asked_for(tiny, tmp_path):
    grid = grid_of(tiny, *({"seed": seed} for seed in range(13)))
    assert [len(names) for names in cells.group(grid, tmp_path)] == [8, 4, 1]
    assert [len(names) for names in cells.group(grid, tmp_path, 5)] == [4, 4, 4, 1]
    assert [len(names) for names in cells.group(grid, tmp_path, 1)] == [1] * 13


def test_cells_at_different_steps_do_not_go_together_and_none_goes_that_is_done(tiny, tmp_path):
    for name, step in {"0": 3, "1": 6, "2": 3, "3": 6}.items():
        (tmp_path / name / "checkpoints" / str(step)).mkdir(parents=True)
    grid = grid_of(tiny, *({"seed": seed} for seed in range(6)))
    assert cells.group(grid, tmp_path) == [["0", "2"], ["1"], ["3"], ["4", "5"]]


@pytest.fixture
def only_pretraining(monkeypatch):
    """Let a sweep leave out what comes after pretraining; the names of what it would have done."""
    called = []
    for program in ("probe", "analyze"):

        def note(config, workdir, program=program, **unused):
            called.append((program, workdir.name))

        monkeypatch.setattr(getattr(sweep, program), "run", note)
    monkeypatch.setattr(sweep.report, "run", lambda root: root)
    return called


def test_a_sweep_says_which_cells_it_pretrains_at_once(tiny, tmp_path, console, only_pretraining):
    grid = [{"loss.temperature": value} for value in (0.1, 0.7)]
    sweep.run(tiny, tmp_path, cells=grid, console=console)
    names = ["temperature=0.1", "temperature=0.7"]
    assert console.lines[0] == f"2 cells at once, each on 4 of 8 devices: {', '.join(names)}"
    assert console.text.count("is done: 6 steps") == 2
    assert only_pretraining == [(p, name) for name in names for p in ("probe", "analyze")]
    assert all((tmp_path / name / "checkpoints" / "6").is_dir() for name in names)


def test_cells_one_of_which_diverges_go_on_alone(tiny, tmp_path, console, only_pretraining):
    grid = [{"optimizer.learning_rate": rate} for rate in (1e-3, 1e30)]
    with pytest.raises(NonFiniteLoss):
        sweep.run(tiny, tmp_path, cells=grid, console=console)
    said = next(line for line in console.lines if line.endswith("go on one after another."))
    assert said.startswith("learning_rate=1e+30: loss ")
    assert only_pretraining == [(p, "learning_rate=0.001") for p in ("probe", "analyze")]


def test_cells_that_do_not_fit_at_once_run_alone(
    tiny, tmp_path, console, only_pretraining, monkeypatch
):
    def refuse(*args, **kwargs):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 16.12G > 15.75G")

    monkeypatch.setattr(cells, "run", refuse)
    monkeypatch.setattr(pretrain, "run", lambda *args, **kwargs: {"step": STEPS})
    sweep.run(tiny, tmp_path, cells=[{"seed": seed} for seed in range(9)], console=console)
    assert console.text.count("this does not fit the devices' memory") == 1
    assert len(only_pretraining) == 18


def test_a_grid_gives_every_cell_its_share_of_the_devices():
    mesh = sharding.make_grid(4)
    assert mesh.shape == {"grid": 4, "data": 2}
    assert [len(own.devices) for own in sharding.cell_meshes(mesh)] == [2] * 4
