"""Reading run directories, whole and broken."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from jaxcl.reporting.runs import collect_runs, load_theory, newest_rows
from tests.reporting.synthetic import write_lines, write_run, write_theory


def test_runs_are_found_at_any_depth_in_a_fixed_order(tmp_path: Path) -> None:
    for seed in (1, 0):
        write_run(tmp_path / "a" / "b", "contrastive", 0.1, seed)
    names = [run.name for run in collect_runs(tmp_path)]
    assert len(names) == 2
    assert names == sorted(names)


def test_reports_checkpoints_theory_and_runs_moved_aside_are_no_runs(tmp_path: Path) -> None:
    for name in ("report", "theory", "checkpoints", ".hidden", "run.old-1", "run"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    assert [run.name for run in collect_runs(tmp_path)] == ["run"]


def test_rows_without_a_config_are_a_run(tmp_path: Path) -> None:
    write_lines(tmp_path / "rows.jsonl", [{"program": "probe", "accuracy": 0.5}])
    (run,) = collect_runs(tmp_path)
    assert run.config == {}
    assert run.rows == ({"program": "probe", "accuracy": 0.5},)


def test_half_written_lines_are_counted_and_skipped(tmp_path: Path) -> None:
    row = {"program": "probe", "accuracy": 0.5}
    text = json.dumps(row) + '\n{"program": "pro{"program": "x"}\n[1]\n{"accura'
    (tmp_path / "rows.jsonl").write_text(text)
    (run,) = collect_runs(tmp_path)
    assert run.rows == (row,)
    assert run.unreadable_lines == 3


def test_a_later_row_replaces_an_earlier_one_of_the_same_key() -> None:
    old = {"program": "probe", "seed": 0, "solver": "lbfgs", "constants": {"a": 1}, "accuracy": 0.1}
    new = old | {"accuracy": 0.2}
    other = old | {"seed": 1}
    assert newest_rows([old, other, new]) == (new, other)


def test_a_step_logged_twice_counts_once(tmp_path: Path) -> None:
    write_run(tmp_path, "contrastive", 0.1, 0)
    (run,) = collect_runs(tmp_path)
    path = run.folder / "metrics.jsonl"
    path.write_text(
        path.read_text().rpartition("\n")[0] + '\n{"step": 0, "epoch": 0.0, "loss": 7.5}\n'
    )
    assert run.metrics[0]["loss"] == 7.5
    assert [line["step"] for line in run.metrics] == list(range(0, 601, 20))


def test_arrays_cut_short_are_treated_as_absent(tmp_path: Path) -> None:
    write_run(tmp_path, "contrastive", 0.1, 0)
    (run,) = collect_runs(tmp_path)
    path = run.folder / "analysis.npz"
    path.write_bytes(path.read_bytes()[:200])
    assert run.analysis == {}
    assert run.embeddings == {}


def test_theory_is_read_from_below_the_root(tmp_path: Path) -> None:
    assert load_theory(tmp_path) == {}
    write_theory(tmp_path)
    np.testing.assert_allclose(load_theory(tmp_path)["relative_penalty"].sum(axis=1), 1.0)


def test_reporting_imports_neither_jax_nor_flax() -> None:
    code = (
        "import sys, jaxcl.programs.report, jaxcl.programs.claims; "
        "print([m for m in ('jax', 'flax', 'matplotlib.pyplot', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
