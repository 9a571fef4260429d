"""A grid end to end: cells, shared compilation, skipping what is done, the report."""

import contextlib
import json
import logging
import re

import jax
import pytest

from jaxcl.programs import assemble, sweep
from jaxcl.programs.workdir import read_rows

CELLS = [
    {"loss.temperature": 0.1, "seed": 0},
    {"loss.temperature": 0.7, "seed": 0},
    {"loss.temperature": 0.7, "seed": 1},
]


class Compilations(logging.Handler):
    """Remembers what XLA compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.names += re.findall(r"Finished XLA compilation of jit\((\w+)\)", record.getMessage())


@contextlib.contextmanager
def listen(compiled: Compilations):
    """Let ``compiled`` remember what is compiled in the block."""
    logger = logging.getLogger("jax._src.dispatch")
    logger.addHandler(compiled)
    try:
        with jax.log_compiles():
            yield compiled
    finally:
        logger.removeHandler(compiled)


@pytest.fixture(scope="module")
def grid(tiny, tmp_path_factory):
    """A finished grid, its console's lines, and what was compiled for it."""
    from tests.programs.conftest import Lines

    root, console = tmp_path_factory.mktemp("grid"), Lines()
    assemble._STEPS.clear()
    with listen(Compilations()) as compiled:
        page = sweep.run(tiny, root, cells=CELLS, together=1, console=console)
    return root, console, page, compiled.names


def test_every_cell_is_pretrained_probed_and_analyzed(grid):
    root, _, page, _ = grid
    for cell in CELLS:
        rows = read_rows(root / sweep.cell_name(cell))
        assert {row["program"] for row in rows} == {"probe", "analyze"}
        assert {row["temperature"] for row in rows} == {cell["loss.temperature"]}
        assert {row["step"] for row in rows} == {6}
    assert page == root / "report" / "index.html" and page.is_file()


def test_cells_that_differ_in_temperature_and_seed_share_one_compilation(grid):
    assert grid[3].count("step") == 1


def test_baselines_are_probed_once_for_each_seed(grid):
    encoders = [
        {row.get("encoder") for row in read_rows(grid[0] / sweep.cell_name(cell))} - {None}
        for cell in CELLS
    ]
    everything = {"trained", "untrained", "pixels"}
    assert encoders == [everything, {"trained"}, everything]


def test_the_same_command_skips_what_is_done(tiny, grid, console):
    root = grid[0]
    before = {path: path.read_bytes() for path in root.rglob("rows.jsonl")}
    tables = (root / "report" / "tables.md").read_bytes()
    sweep.run(tiny, root, cells=CELLS, console=console)
    assert console.text.count("is done: 6 steps") == len(CELLS)
    assert before == {path: path.read_bytes() for path in root.rglob("rows.jsonl")}
    assert (root / "report" / "tables.md").read_bytes() == tables


def test_a_run_says_what_it_is_before_it_starts(grid):
    text = grid[1].text
    for piece in (
        "contrastive, temperature 0.1, seed 0, on digits (1,437 images 8x8x1)",
        "8 x cpu",
        "64 images, 2 view(s) of each, 8 images on each device",
        "128 anchors, 126 negatives for each",
        "steps                6",
    ):
        assert piece in text


def test_what_a_run_depends_on_is_written_down(grid):
    environment = json.loads((grid[0] / sweep.cell_name(CELLS[0]) / "environment.json").read_text())
    assert {"jax", "flax", "revision", "device_kind", "device_count", "python"} <= set(environment)


def test_a_mistake_in_any_cell_is_found_before_the_first_one_runs(tiny, tmp_path):
    cells = [{"seed": 0}, {"loss.temperature": -1.0}]
    with pytest.raises(ValueError, match="must be positive and finite, got -1.0"):
        sweep.run(tiny, tmp_path / "grid", cells=cells)
    assert not (tmp_path / "grid").exists()


def test_a_cell_out_of_range_is_refused(tiny, tmp_path):
    with pytest.raises(ValueError, match="--cell 3 is out of range: the grid has cells 0 to 2"):
        sweep.run(tiny, tmp_path, cells=CELLS, only=3)


@pytest.mark.slow
def test_cells_as_jobs_of_their_own_end_as_the_grid_does(tiny, grid, tmp_path, console):
    cells = CELLS[:2]
    assert sweep.run(tiny, tmp_path, cells=cells, only=1, console=console) is None
    assert "1 of the grid's 2 cells are not done" in console.text
    assert not (tmp_path / "report").exists()
    assert sweep.run(tiny, tmp_path, cells=cells, only=0) == tmp_path / "report" / "index.html"
    kept = ("encoder", "accuracy", "uniformity", "step")
    for name in map(sweep.cell_name, cells):
        jobs, whole = (
            [{key: row.get(key) for key in kept} for row in read_rows(root / name)]
            for root in (tmp_path, grid[0])
        )
        assert jobs == whole
