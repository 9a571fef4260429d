"""Several local processes are several hosts to JAX: the same numbers as one, and what they do when one is lost."""

import json
import logging
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import types

import numpy as np
import pytest

from jaxcl.programs import pretrain
from jaxcl.training.log import read_lines
from tests.programs.conftest import ROOT, TINY
from tests.programs.processes import LONG, SHORT, compiled_once, environment, flags, launch
from tests.programs.saved import arrays
from tests.programs.test_cells import check_same_numbers

__all__ = ["compiled_once"]  # applies to every test here

# Bounds on parameters after 20 steps of Adam and on cosines; float32, sums in another order.
ROUNDING = 1e-6
COSINES = 1e-5


# The same numbers on any number of processes.


@pytest.fixture(scope="module")
def cells(tmp_path_factory) -> dict[int, pathlib.Path]:
    """One cell of a grid, pretrained, probed and analyzed by 1, 2 and 4 processes with four devices in all."""
    root, found = tmp_path_factory.mktemp("processes"), {}
    for processes in (1, 2, 4):
        workdir = root / str(processes)
        overrides = flags({**SHORT, "evaluate.untrained": False, "evaluate.pixels": False})
        command = ("sweep", "--cell=0", f"--workdir={workdir}", *overrides)
        done = launch(processes, 4 // processes, *command)
        assert done.returncode == 0, done.stdout + done.stderr
        found[processes] = next(path.parent for path in workdir.glob("*/config.json"))
    return found


@pytest.mark.hosts
@pytest.mark.parametrize("processes", [2, 4])
def test_parameters_do_not_depend_on_the_number_of_processes(cells, processes):
    for a, b in zip(arrays(cells[1], 20), arrays(cells[processes], 20), strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=ROUNDING)


@pytest.mark.hosts
@pytest.mark.parametrize("processes", [2, 4])
def test_the_probe_sees_all_images_and_one_process_writes(cells, processes):
    one, many = (read_lines(cells[count] / "rows.jsonl") for count in (1, processes))
    assert [row["program"] for row in many] == [row["program"] for row in one]
    for a, b in zip(one, many, strict=True):
        if a["program"] == "probe":
            assert a["accuracy"] == b["accuracy"]
    log = read_lines(cells[processes] / "metrics.jsonl")
    assert [row["step"] for row in log] == list(range(2, 21, 2))
    about = json.loads((cells[processes] / "environment.json").read_text())
    assert (about["process_count"], about["device_count"]) == (processes, 4)


@pytest.mark.hosts
@pytest.mark.parametrize("processes", [2, 4])
def test_embeddings_come_in_the_order_of_the_split(cells, processes):
    one, many = (np.load(cells[count] / "analysis.npz") for count in (1, processes))
    for name in ("positive_similarities", "top_negative_similarities"):
        np.testing.assert_allclose(many[name], one[name], rtol=0, atol=COSINES)


@pytest.mark.hosts
def test_a_run_goes_on_with_another_number_of_processes_within_rounding(cells, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(cells[2], workdir)
    shutil.rmtree(workdir / "checkpoints" / "20")
    overrides = flags(
        {**SHORT, "evaluate.untrained": False, "evaluate.pixels": False, "loss.temperature": 0.05}
    )
    done = launch(1, 4, "pretrain", f"--workdir={workdir}", *overrides)
    assert done.returncode == 0 and "at step 10 of 20" in done.stdout, done.stdout + done.stderr
    for a, b in zip(arrays(cells[1], 20), arrays(workdir, 20), strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=ROUNDING)


@pytest.mark.hosts
def test_two_cells_at_once_on_two_processes_have_the_numbers_of_each_alone(tmp_path):
    quick = {**SHORT, "evaluate.untrained": False, "evaluate.pixels": False}
    grid = tmp_path / "two.py"
    grid.write_text(
        "from configs.digits import get_config\n"
        "def sweep():\n"
        "    return [{'loss.temperature': 0.05}, {'loss.temperature': 0.5}]\n"
    )
    together = [f"--config={grid}", *flags(quick)[1:]]
    done = launch(2, 2, "sweep", f"--workdir={tmp_path / 'grid'}", *together)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 cells at once, each on 2 of 4 devices" in done.stdout
    for temperature in (0.05, 0.5):
        alone, cell = tmp_path / str(temperature), tmp_path / f"grid/temperature={temperature}"
        overrides = flags({**quick, "loss.temperature": temperature})
        done = launch(1, 2, "pretrain", f"--workdir={alone}", *overrides)
        assert done.returncode == 0, done.stdout + done.stderr
        check_same_numbers(cell, alone, 20, learning_rate=1e-3)
        assert {row["program"] for row in read_lines(cell / "rows.jsonl")} == {"probe", "analyze"}


@pytest.mark.hosts
def test_a_mistake_is_one_line_and_exit_code_2_on_every_process(tmp_path):
    done = launch(
        2, 1, "pretrain", f"--workdir={tmp_path}", *flags({**TINY, "train.batch_size": 7})
    )
    assert done.returncode == 2
    assert "train.batch_size 7 does not divide over 2 devices; 6 and 8 do" in done.stderr
    assert "Traceback" not in done.stderr


# Faults. Two processes; whatever happens, the same command goes on and ends with the same bits.


class Run:
    """Two processes of one run, started by hand so that each can be hit alone."""

    def __init__(self, workdir: pathlib.Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, str(ROOT / "main.py"), "pretrain", f"--workdir={workdir}"]
        command += [*flags(LONG), "--devices=1", "--multihost", f"--coordinator=127.0.0.1:{port}"]
        self.checkpoints = workdir / "checkpoints"
        self.processes = [
            subprocess.Popen(
                [*command, "--processes=2", f"--process-id={number}"],
                env=environment(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number in range(2)
        ]

    def steps(self) -> list[int]:
        return sorted(int(p.name) for p in self.checkpoints.glob("*") if p.name.isdigit())

    def wait_for(self, condition, seconds: float = 300.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert all(process.poll() is None for process in self.processes), self.errors()
            assert time.monotonic() < end
            time.sleep(0.002)

    def hit(self, number: int, name: signal.Signals) -> None:
        """Send a signal to a process below its supervisor (SIGTERM, as schedulers do, to the supervisor)."""
        pid = self.processes[number].pid
        if name != signal.SIGTERM:
            children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
            pid = int(children.split()[0])
        os.kill(pid, name)
        self.struck = pid

    def wait(self, number: int, seconds: float = 300.0) -> int:
        return self.processes[number].wait(timeout=seconds)

    def errors(self) -> list[str]:
        return [process.communicate(timeout=300)[1] for process in self.processes]

    def kill(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def faulty(tmp_path_factory) -> pathlib.Path:
    """A run that every fault below hits once."""
    return tmp_path_factory.mktemp("faults") / "run"


@pytest.fixture
def run(faulty):
    started = Run(faulty)
    yield started
    started.kill()


def wait_for_progress(run: Run) -> None:
    """Until this start of the run has saved."""
    before = max(run.steps(), default=0)
    run.wait_for(lambda: max(run.steps(), default=0) >= before + 10)


def wait_for_a_write(run: Run) -> None:
    """Until this start of the run has saved and is saving again."""
    wait_for_progress(run)
    run.wait_for(lambda: bool(list(run.checkpoints.glob("*tmp*"))))


@pytest.mark.hosts
@pytest.mark.parametrize(
    ("name", "victim", "moment"),
    [
        pytest.param(signal.SIGKILL, 1, wait_for_progress, id="worker-killed"),
        pytest.param(signal.SIGKILL, 0, wait_for_a_write, id="coordinator-killed-while-it-writes"),
        pytest.param(signal.SIGSTOP, 1, wait_for_progress, id="worker-stopped"),
        pytest.param(signal.SIGSTOP, 0, wait_for_progress, id="coordinator-stopped"),
    ],
)
def test_the_other_process_leaves_with_step_and_command(run, name, victim, moment):
    moment(run)
    run.hit(victim, name)
    struck = time.monotonic()
    code = run.wait(1 - victim, seconds=60)
    took = time.monotonic() - struck
    if name == signal.SIGSTOP:
        os.kill(run.struck, signal.SIGKILL)
    text = run.errors()[1 - victim]
    assert code == 75, text
    assert "at step" in text and "The same command resumes from the last checkpoint: " in text
    assert "main.py pretrain" in text and "--workdir=" in text
    # On an idle machine it takes less than five seconds (docs/operations.md). One that is busy is no failure: what this
    # is about is JAX's own limit, which is 100 seconds.
    print(f"{name.name} of process {victim}: the other left after {took:.1f} s with code {code}")
    assert took < 40.0


@pytest.mark.hosts
def test_sigterm_on_one_process_saves_the_same_step_on_all_and_exits_143(run):
    wait_for_progress(run)
    run.hit(1, signal.SIGTERM)
    struck = time.monotonic()
    assert [run.wait(number, seconds=120) for number in range(2)] == [143, 143]
    print(f"SIGTERM of process 1: both ended after {time.monotonic() - struck:.1f} s with code 143")
    first, second = run.errors()
    assert f"asked to stop: saved step {max(run.steps())} of 160. The same command goes on" in first
    assert "asked to stop" not in second


@pytest.mark.hosts
def test_after_all_these_faults_the_run_ends_with_the_same_bits(faulty, tmp_path):
    for workdir in (faulty, tmp_path / "reference"):
        done = launch(2, 1, "pretrain", f"--workdir={workdir}", *flags(LONG))
        assert done.returncode == 0, done.stdout + done.stderr
    for a, b in zip(arrays(faulty, 160), arrays(tmp_path / "reference", 160), strict=True):
        np.testing.assert_array_equal(a, b)
    logged = [row["step"] for row in read_lines(faulty / "metrics.jsonl")]
    assert logged == sorted(set(logged))
    # SIGTERM writes the step at which it stopped, which need not be one of these.
    assert set(logged) >= set(range(2, 161, 2))


# The disk.


def test_a_checkpoint_that_cannot_be_written_says_so_and_keeps_the_last(
    tiny, finished, tmp_path, monkeypatch, console
):
    from jaxcl.training import checkpoint

    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    shutil.rmtree(workdir / "checkpoints" / "6")

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.ocp.CheckpointManager, "save", full)
    with pytest.raises(
        checkpoint.SaveFailed, match=r"No space left on device.*last good checkpoint: step 3"
    ):
        pretrain.run(tiny, workdir, console=console)
    monkeypatch.undo()
    assert pretrain.run(tiny, workdir, console=console) == {"step": 6, "resumed_from": 3}


def test_the_threads_of_a_failed_write_are_silent_and_other_threads_are_not(monkeypatch, caplog):
    from jaxcl.training import checkpoint

    said = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    checkpoint._quieten_writers.__wrapped__()
    for error in (RuntimeError("Event loop is closed"), RuntimeError("something else")):
        sys.unraisablehook(types.SimpleNamespace(exc_value=error, object=None))
    assert [str(event.exc_value) for event in said] == ["something else"]
    logging.getLogger("asyncio").error("Task exception was never retrieved")
    logging.getLogger("asyncio").error("a slow callback")
    assert [record.message for record in caplog.records] == ["a slow callback"]


@pytest.mark.hosts
def test_a_disk_that_is_full_ends_the_run_with_one_line_and_the_last_checkpoint(tmp_path):
    # A limit on the size of a file stands for a full disk: writes fail with an error of the operating system.
    command = [sys.executable, str(ROOT / "main.py"), "pretrain", f"--workdir={tmp_path}"]
    command += ["--devices=1", *flags({**SHORT, "train.checkpoint_every": 5})]
    settings = environment()
    settings.pop("JAX_COMPILATION_CACHE_DIR")
    done = subprocess.run(
        ["sh", "-c", f"ulimit -f 8; exec {shlex.join(command)}"],
        env=settings,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: cannot write a checkpoint into")
    assert "last good checkpoint: none" in lines[0]
    # The threads that were writing have nothing to add.
    assert "Traceback" not in done.stderr and "never retrieved" not in done.stderr


# The command line.


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--processes=2"], "--processes needs --multihost"),
        (["--multihost", "--processes=2"], "--processes needs --coordinator, --process-id too"),
        (
            ["--multihost", "--coordinator=a:1", "--processes=2", "--process-id=2"],
            "--process-id 2 must lie in 0 to 1",
        ),
        (
            ["--multihost", "--coordinator=a", "--processes=2", "--process-id=0"],
            "--coordinator 'a' must be HOST:PORT",
        ),
    ],
)
def test_a_mistake_in_the_flags_of_several_processes_is_named(arguments, match, capsys):
    import main

    with pytest.raises(SystemExit):
        main.parse(["pretrain", "--config=x", "--workdir=y", *arguments])
    assert match in capsys.readouterr().err


@pytest.mark.hosts
def test_where_jax_knows_no_cluster_the_flags_are_named(tmp_path):
    command = [
        sys.executable,
        str(ROOT / "main.py"),
        "pretrain",
        f"--workdir={tmp_path}",
        *flags(TINY),
    ]
    done = subprocess.run(
        [*command, "--multihost"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2
    assert "--multihost found no cluster that jax knows" in done.stderr
    assert "--coordinator=HOST:PORT --processes=N --process-id=I" in done.stderr
