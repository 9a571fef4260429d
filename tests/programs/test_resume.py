"""A run that was killed and started again ends bit for bit where an uninterrupted one ends."""

import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from jaxcl import sharding
from jaxcl.config import override
from jaxcl.programs import frozen, pretrain
from jaxcl.training import loop
from jaxcl.training.candidates import num_slots
from tests.programs.conftest import ROOT, TINY
from tests.programs.saved import arrays, named_arrays


def final_digest(config, workdir: pathlib.Path, step: int) -> str:
    """A digest of every parameter and statistic of a step."""
    mesh = pretrain.assemble.mesh()
    reached, variables = frozen.restore(config, workdir, 1, mesh, step)
    assert reached == step
    return frozen.fingerprint(variables)


def metrics_digest(workdir: pathlib.Path) -> str:
    """A digest of the losses that were logged, without the speed."""
    rows = loop_rows(workdir)
    return hashlib.sha256(repr([(row["step"], row["loss"]) for row in rows]).encode()).hexdigest()


def loop_rows(workdir: pathlib.Path):
    from jaxcl.training.log import read_lines

    return read_lines(workdir / "metrics.jsonl")


class Cut(Exception):
    """Stands for a kill between two steps."""


def cut_after(monkeypatch, steps: int) -> None:
    """Let the batches end with `Cut` after so many."""
    original = pretrain.pipeline.batches

    def batches(*args, **kwargs):
        for count, item in enumerate(original(*args, **kwargs)):
            if count == steps:
                raise Cut
            yield item

    monkeypatch.setattr(pretrain.pipeline, "batches", batches)


def test_a_run_cut_between_checkpoints_ends_bit_for_bit_the_same(
    tiny, finished, tmp_path, monkeypatch, console
):
    with monkeypatch.context() as patch:
        cut_after(patch, 5)
        with pytest.raises(Cut):
            pretrain.run(tiny, tmp_path, console=console)
    summary = pretrain.run(tiny, tmp_path, console=console)
    assert summary == {"step": 6, "resumed_from": 3}
    assert "resuming" in console.text
    assert final_digest(tiny, tmp_path, 6) == final_digest(tiny, finished, 6)
    assert metrics_digest(tmp_path) == metrics_digest(finished)


# What a resumed run may differ by on another number of devices, after three steps of Adam. Biases before BatchNorm are
# the exception: their gradient is zero but for rounding, of which Adam makes steps of the learning rate's size, and
# BatchNorm subtracts them again, so that in training nothing but its running mean shows them.
ROUNDING = 1e-6


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_devices_a_split_bank_with_it(
    tiny, tmp_path, monkeypatch, console
):
    config = override(tiny, {"candidates.kind": "memory_bank", "candidates.split_bank": True})
    pretrain.run(config, tmp_path / "eight", console=console)
    shutil.copytree(tmp_path / "eight", tmp_path / "four")
    shutil.rmtree(tmp_path / "four" / "checkpoints" / "6")
    four = sharding.make_mesh(jax.devices()[:4])
    monkeypatch.setattr(pretrain.assemble, "mesh", lambda: four)
    assert pretrain.run(config, tmp_path / "four", console=console)["resumed_from"] == 3
    one, other = (named_arrays(tmp_path / name, 6) for name in ("eight", "four"))
    assert one["candidates"].shape == (num_slots(1437), 16)
    steps = 3 * config.optimizer.learning_rate
    for name, value in one.items():
        gap = np.abs(other[name] - value).max()
        if "Conv" in name and name.endswith("bias") or name.endswith("mean"):
            assert gap <= 2 * steps, name
        else:
            assert gap <= ROUNDING, name


# Orbax cancels the other reads when one fails, and their threads complain of it as they end.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_truncated_checkpoint_falls_back_to_the_one_before_and_says_so(
    tiny, finished, tmp_path, monkeypatch, console
):
    with monkeypatch.context() as patch:
        cut_after(patch, 5)
        with pytest.raises(Cut):
            pretrain.run(override(tiny, {"train.checkpoint_every": 2}), tmp_path, console=console)
    files = [path for path in (tmp_path / "checkpoints" / "4").rglob("d/*") if path.is_file()]
    biggest = max(files, key=lambda path: path.stat().st_size)
    biggest.write_bytes(biggest.read_bytes()[: biggest.stat().st_size // 2])
    summary = pretrain.run(override(tiny, {"train.checkpoint_every": 2}), tmp_path, console=console)
    assert summary["resumed_from"] == 2
    assert "checkpoint of step 4 is damaged" in console.text
    assert "falling back to 2" in console.text
    assert list((tmp_path / "damaged").iterdir())
    assert final_digest(override(tiny, {"train.checkpoint_every": 2}), tmp_path, 6) == final_digest(
        tiny, finished, 6
    )


def command(workdir: pathlib.Path) -> list[str]:
    flags = [f"--config.{name}={value}" for name, value in {**TINY, "train.steps": 60}.items()]
    flags += ["--config.train.checkpoint_every=7", "--config.train.keep=2"]
    config = str(ROOT / "configs" / "digits.py")
    main = [sys.executable, str(ROOT / "main.py"), "pretrain", f"--config={config}"]
    return [*main, f"--workdir={workdir}", "--devices=2", *flags]


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    return kept | {"JAX_PLATFORMS": "cpu"}


def run_to_the_end(workdir: pathlib.Path) -> None:
    done = subprocess.run(
        command(workdir),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def wait_for(condition, process: subprocess.Popen, seconds: float = 200.0) -> None:
    """Poll until the condition holds or the process has ended by itself."""
    end = time.monotonic() + seconds
    while not condition() and process.poll() is None:
        if time.monotonic() > end:
            raise TimeoutError("the run never came so far")
        time.sleep(0.002)


@pytest.mark.slow
def test_three_kills_one_of_them_during_a_write_change_no_bit(tmp_path):
    reference, killed = tmp_path / "reference", tmp_path / "killed"
    run_to_the_end(reference)
    checkpoints = killed / "checkpoints"

    def steps() -> list[int]:
        return [int(path.name) for path in checkpoints.glob("[0-9]*") if path.name.isdigit()]

    moments = (
        lambda: bool(list(checkpoints.glob("*tmp*"))) and max(steps(), default=0) >= 7,
        lambda: max(steps(), default=0) >= 28,
        lambda: max(steps(), default=0) >= 42,
    )
    for moment in moments:
        process = subprocess.Popen(command(killed), env=environment(), stdout=subprocess.DEVNULL)
        wait_for(moment, process)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "the run ended before it was killed"
    run_to_the_end(killed)
    for a, b in zip(arrays(reference, 60), arrays(killed, 60), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_sigterm_saves_says_so_and_the_same_command_goes_on(tmp_path):
    reference, stopped = tmp_path / "reference", tmp_path / "stopped"
    process = subprocess.Popen(
        command(stopped), env=environment(), stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: (stopped / "checkpoints" / "7").is_dir(), process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 143
    assert "asked to stop: saved step" in errors and "same command goes on" in errors
    run_to_the_end(stopped)
    run_to_the_end(reference)
    for a, b in zip(arrays(reference, 60), arrays(stopped, 60), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_stop_request_is_seen_once_and_the_second_one_kills():
    with loop.StopRequest().on_sigterm() as stop:
        assert not stop
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
