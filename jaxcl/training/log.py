"""Metrics as JSON lines, and what a person sees of a run: a bar on a terminal, plain lines anywhere else."""

import json
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any, Protocol

import rich.console
import rich.progress


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
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(row) + "\n" for row in kept))
        os.replace(temporary, path)

    def write(self, row: dict[str, Any]) -> None:
        """Append one line."""
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")


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
