"""Metrics as JSON lines and for TensorBoard, and what a person sees: a bar on a terminal, plain lines anywhere else."""

import contextlib
import importlib.util
import json
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import rich.console
import rich.progress

from jaxcl import paths

SECONDS = 30.0  # at least, between two writes of metrics to a bucket


class Console(Protocol):
    """Where a program says things."""

    def print(self, text: str) -> None:
        """Show one line."""


class Silence:
    """A console for processes that must not write."""

    def print(self, text: str) -> None:
        """Show nothing."""


class MetricsFile:
    """``metrics.jsonl`` of a run; on resume, lines of steps that will be run again are dropped first.

    Args:
      path: of the file.
      resume_step: steps already taken; lines beyond it are of a run that was killed.
    """

    def __init__(self, path: pathlib.Path, resume_step: int = 0):
        self._path = path
        kept = [row for row in read_lines(path) if row["step"] <= resume_step]
        self._written = "".join(json.dumps(row) + "\n" for row in kept)
        self._new = ""
        paths.write_text(path, self._written)
        self._last = time.monotonic()

    def write(self, row: dict[str, Any]) -> None:
        """Append one line; an object of a bucket is written again only now and then."""
        self._new += json.dumps(row) + "\n"
        if not paths.is_remote(self._path) or time.monotonic() - self._last >= SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet.

        Raises:
          OSError: it could not be written, for want of space or of the right to.
        """
        if not self._new:
            return
        try:
            if paths.is_remote(self._path):
                paths.write_text(self._path, self._written + self._new)
                self._written += self._new
            else:
                paths.append_text(self._path, self._new)
        except Exception as error:  # gcsfs has errors of its own
            raise OSError(
                f"cannot write {self._path}: {' '.join(str(error).split())[:300]}. Once there is space and the right "
                "to write, the same command goes on from the last checkpoint"
            ) from error
        self._new, self._last = "", time.monotonic()


class Metrics(Protocol):
    """Where a loop writes what it measured."""

    def write(self, row: dict[str, Any]) -> None:
        """Keep one row: ``step`` and named values."""

    def flush(self) -> None:
        """See to it that a run which ends now has its rows."""


class _Several:
    """The same rows for several writers."""

    def __init__(self, *writers: Metrics):
        self._writers = writers

    def write(self, row: dict[str, Any]) -> None:
        for writer in self._writers:
            writer.write(row)

    def flush(self) -> None:
        for writer in self._writers:
            writer.flush()


class TensorBoard:
    """Event files for TensorBoard, without TensorFlow.

    Args:
      folder: of the event files; a new one for each start of the run.
      resume_step: steps already taken; TensorBoard forgets what a killed run wrote beyond it.
    """

    def __init__(self, folder: pathlib.Path, resume_step: int = 0):
        require_tensorboard()
        import tensorboardX

        self._writer = tensorboardX.SummaryWriter(str(folder), purge_step=resume_step + 1)

    def write(self, row: dict[str, Any]) -> None:
        """Numbers as scalars; lists as histograms of bins of equal width in [0, 1]."""
        step = row["step"]
        for name, value in row.items():
            if isinstance(value, list):
                self._histogram(name, value, step)
            elif name != "step":
                self._writer.add_scalar(name, value, step)
        self.flush()

    def flush(self) -> None:
        """Write what is not written yet."""
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()

    def _histogram(self, name: str, shares: list[float], step: int) -> None:
        count = len(shares)
        middles = [(i + 0.5) / count for i in range(count)]
        total = sum(share * x for share, x in zip(shares, middles, strict=True))
        squares = sum(share * x * x for share, x in zip(shares, middles, strict=True))
        limits = [(i + 1) / count for i in range(count)]
        self._writer.add_histogram_raw(
            name, 0.0, 1.0, sum(shares), total, squares, limits, shares, step
        )


def require_tensorboard() -> None:
    """Raise `ValueError` if event files cannot be written here."""
    if importlib.util.find_spec("tensorboardX") is None:
        raise ValueError(
            "train.tensorboard is True and tensorboardX is not installed; "
            "pip install 'jaxcl[tensorboard]' brings it, --config.train.tensorboard=False does without"
        )


@contextlib.contextmanager
def open_metrics(folder: pathlib.Path, resume_step: int, *, tensorboard: bool) -> Iterator[Metrics]:
    """``metrics.jsonl`` of a run and, if wished, ``tensorboard/`` beside it.

    Args:
      folder: the run directory.
      resume_step: steps already taken.
      tensorboard: whether event files are written too.
    """
    lines = MetricsFile(folder / "metrics.jsonl", resume_step)
    with contextlib.ExitStack() as stack:
        stack.callback(lines.flush)
        if not tensorboard:
            yield lines
            return
        events = TensorBoard(folder / "tensorboard", resume_step)
        yield _Several(lines, stack.enter_context(contextlib.closing(events)))


def read_lines(path: pathlib.Path) -> list[dict[str, Any]]:
    """The whole lines of a JSON-lines file; a last line that a kill cut short is left out; [] if there is none."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


class Progress:
    """How far a loop has come: a bar on a terminal, a plain line every few seconds elsewhere.

    Args:
      name: of the loop.
      total: steps.
      console: a rich console for a bar; anything else gets plain lines.
      start: steps already taken.
      every: seconds between plain lines.
      clock: for tests.
    """

    def __init__(
        self,
        name: str,
        total: int,
        console: Console,
        start: int = 0,
        every: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._name, self._total, self._console, self._every = name, total, console, every
        self._clock, self._first = clock, start
        self._begun = self._said = clock()
        self._bar = None
        if isinstance(console, rich.console.Console) and console.is_terminal:
            columns = rich.progress.Progress.get_default_columns()
            text = rich.progress.TextColumn("{task.fields[note]}")
            self._bar = rich.progress.Progress(*columns, text, console=console, transient=True)
            self._task = self._bar.add_task(name, total=total, completed=start, note="")

    def __enter__(self) -> "Progress":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *unused: Any) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, done: int, note: str = "") -> None:
        """Say that ``done`` steps are taken; ``note`` stands beside it."""
        if self._bar:
            self._bar.update(self._task, completed=done, note=note)
            return
        now = self._clock()
        if now - self._said < self._every:
            return
        self._said = now
        rate = (done - self._first) / max(now - self._begun, 1e-9)
        left = f"{(self._total - done) / rate:.0f} s left" if rate > 0 else "time left unknown"
        self._console.print(
            f"{self._name}: {done}/{self._total}  {note}  {left}".replace("   ", "  ")
        )
