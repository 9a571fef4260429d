"""The loop around the step: take a batch, step, write the previous metrics, save, and stop when told to."""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcl.training.checkpoint import Checkpoints
from jaxcl.training.feed import Feed
from jaxcl.training.log import Console, Metrics, Progress
from jaxcl.training.peers import Stop
from jaxcl.training.state import Hyper, TrainState, to_items
from jaxcl.training.step import Step


class Preempted(RuntimeError):
    """The run was asked to stop (SIGTERM) and has saved its state."""


class NonFiniteLoss(ArithmeticError):
    """The loss or its gradient is not a finite number any more."""


class StopRequest:
    """True once this process, the only one of its run, was asked to stop; a second request is not delayed."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def requested(self) -> bool:
        """Whether the process was asked to stop."""
        return bool(self)

    def after(self, done: int) -> bool:
        """Whether to stop after ``done`` steps."""
        del done
        return bool(self)

    def listening(self, start: int) -> contextlib.AbstractContextManager:
        """`on_sigterm`; with `requested` and `after` it is what the loop asks of one process or of many."""
        del start
        return self.on_sigterm()

    @contextlib.contextmanager
    def on_sigterm(self) -> Iterator["StopRequest"]:
        """Listen to SIGTERM within the block; outside the main thread, do nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return

        def handle(number: int, frame: Any) -> None:
            signal.signal(signal.SIGTERM, previous)
            self._event.set()

        previous = signal.signal(signal.SIGTERM, handle)
        try:
            yield self
        finally:
            signal.signal(signal.SIGTERM, previous)


class Run(NamedTuple):
    """Where the loop writes what becomes of one run.

    Attributes:
      checkpoints: where its states are saved.
      metrics: None on processes that write no text.
      monitor: more about a state, for the log; it must only read it.
      name: for messages, where there are several runs.
    """

    checkpoints: Checkpoints
    metrics: Metrics | None
    monitor: Callable[[TrainState], dict[str, float]] | None = None
    name: str = ""


def train(
    step: Step,
    state: TrainState,
    batches: Iterator[tuple[int, dict[str, np.ndarray]]],
    hyper: Hyper,
    feed: Feed,
    *,
    start: int,
    num_steps: int,
    batch_size: int,
    steps_per_epoch: int,
    log_every: int,
    checkpoint_every: int,
    runs: Sequence[Run],
    apart: Callable[[Any], Sequence[Any]] = lambda tree: (tree,),
    console: Console,
    stop: Stop | None = None,
    monitor_every: int = 0,
) -> TrainState:
    """Run from step ``start`` to ``num_steps``: one run, or several that step at once.

    Args:
      step: the jitted step.
      state: after ``start`` steps.
      batches: yields (step, this host's part of the batch) from ``start`` on.
      hyper: traced inputs of the step.
      feed: makes global arrays of a batch.
      start: steps already taken.
      num_steps: of the whole run.
      batch_size: images in the global batch, for the log.
      steps_per_epoch: for the log.
      log_every: steps between lines of ``metrics``.
      checkpoint_every: steps between checkpoints; the last step is always saved.
      runs: where each run writes.
      apart: from a state, or the scalars of a step, to that of each run.
      console: told about progress.
      stop: where a run of several processes agrees on the step after which all stop; None for one process.
      monitor_every: steps between calls of the monitors, which also see the last step; 0 for none.

    Returns:
      The state after ``num_steps``.

    Raises:
      Preempted: after SIGTERM, once the state is saved.
      NonFiniteLoss: names the run, the step and the last good checkpoint.
    """
    pending: tuple[int, Sequence[dict[str, jax.Array]]] | None = None
    clock, last = time.perf_counter, start
    begun = clock()
    stop = StopRequest() if stop is None else stop

    def flush() -> str:
        nonlocal pending, begun, last
        if pending is None:
            return ""
        done, each = pending
        pending = None
        rows = [
            {name: value.tolist() for name, value in jax.device_get(scalars).items()}
            for scalars in each
        ]
        for run, values in zip(runs, rows, strict=True):
            _check_finite(values, done, run)
        now = clock()
        rate = (done - last) * batch_size / max(now - begun, 1e-9)
        begun, last = now, done
        at = {"step": done, "epoch": done / steps_per_epoch}
        for run, values in zip(runs, rows, strict=True):
            if run.metrics is not None:
                run.metrics.write({**at, **values, "images_per_second": rate})
        losses = " ".join(f"{values['loss']:.4f}" for values in rows)
        return f"loss {losses}  {rate * len(runs):,.0f} images/s"

    def look(done: int) -> None:
        nonlocal begun
        jax.block_until_ready(state)
        paused = clock()
        with jax.transfer_guard("allow"):
            for run, own in zip(runs, apart(state), strict=True):
                values = run.monitor(own) if run.monitor is not None else {}
                if run.metrics is not None:
                    at = {"step": done, "epoch": done / steps_per_epoch}
                    run.metrics.write({**at, **values})
        begun += clock() - paused  # images/s are those of training

    def save(done: int) -> None:  # so that no name keeps what was set apart
        for run, own in zip(runs, apart(state), strict=True):
            if run.metrics is not None:
                run.metrics.flush()
            run.checkpoints.save(done, to_items(own))
            if len(runs) > 1 and jax.process_count() > 1:
                # Orbax's processes meet under names that do not tell two managers apart: one writes at a time.
                run.checkpoints.wait()

    note = ""
    with (
        Progress("pretrain", num_steps, console, start) as progress,
        stop.listening(start),
        jax.transfer_guard("disallow"),
    ):
        for number, batch in batches:
            # With several processes jax takes even this for an implicit transfer; it is the one that is meant.
            with jax.transfer_guard_host_to_device("allow"):
                arrays = feed(batch)
            state, scalars = step(state, arrays, hyper)
            note = flush() or note
            done = number + 1
            last_step = done == num_steps
            stopping = not last_step and stop.after(done)
            if done % log_every == 0 or last_step or stopping:
                pending = (done, apart(scalars))
            if monitor_every and (done % monitor_every == 0 or last_step):
                look(done)
            if done % checkpoint_every == 0 or last_step or stopping:
                pending = (done, apart(scalars))
                note = flush() or note  # a state that is not finite is never saved
                save(done)
            progress.update(done, note)
            if stopping or (last_step and stop.requested()):
                _wait(runs)
                raise Preempted(f"asked to stop: saved step {done} of {num_steps}")
    _wait(runs)
    return state


def _wait(runs: Sequence[Run]) -> None:
    for run in runs:
        run.checkpoints.wait()


def _check_finite(values: dict[str, float], done: int, run: Run) -> None:
    if math.isfinite(values["loss"]) and math.isfinite(values["gradient_norm"]):
        return
    run.checkpoints.wait()
    good = run.checkpoints.steps()
    raise NonFiniteLoss(
        f"{run.name and f'{run.name}: '}loss {values['loss']}, gradient norm {values['gradient_norm']} at step {done}; "
        f"last good checkpoint: {f'step {good[-1]}' if good else 'none'}. "
        "Lower optimizer.learning_rate or raise loss.temperature."
    )
