"""Checkpoints of a run: the only file that imports orbax.

Orbax's `CheckpointManager` writes each step into a temporary directory and renames it when it is whole, in the
background; a kill during a write therefore leaves the step before it. What a disk can still do to a finished checkpoint
(truncation) is met at restore: the damaged step is set aside, never deleted, and the one before it is used.

All processes of a run call every function here together; the directory is one that all of them see.
"""

import contextlib
import functools
import logging
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from jaxcl import paths


class SaveFailed(OSError):
    """A checkpoint could not be written; the ones before it are whole."""


class Checkpoints:
    """The checkpoints below one directory.

    Args:
      directory: made if absent; local, or in a bucket.
      keep: how many of the newest steps are kept.
    """

    def __init__(self, directory: pathlib.Path, keep: int = 2):
        _quieten_writers()
        self._directory = paths.absolute(paths.parse(directory))
        self._options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, create=True, cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager(self._directory, options=self._options)

    def steps(self) -> list[int]:
        """The steps that can be restored, oldest first."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, items: dict[str, Any]) -> None:
        """Begin to write named trees of arrays; returns before the write has ended."""
        args = {name: ocp.args.StandardSave(tree) for name, tree in items.items()}
        # Forced, because the manager would otherwise skip a save while the one before is being written.
        with self._explaining():
            self._manager.save(step, args=ocp.args.Composite(**args), force=True)

    def wait(self) -> None:
        """Return when everything begun is on disk.

        Raises:
          SaveFailed: it could not be written, for want of space or of the right to.
        """
        with self._explaining():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait, and give back threads."""
        self.wait()
        self._manager.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *unused: Any) -> None:
        # With an error on one process only, closing would wait for the others, which wait for it.
        if kind is None or jax.process_count() == 1:
            self.close()

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        """Say what a failed write means; what failed in the background is raised by the next call of the manager."""
        try:
            yield
        except jax.errors.JaxRuntimeError:
            raise  # a process was lost, which is not the disk's fault
        except Exception as error:
            # Any type: tensorstore raises ValueError for a full disk.
            whole = self._whole()
            last = f"step {max(whole)}" if whole else "none"
            raise SaveFailed(
                f"cannot write a checkpoint into {self._directory}: {' '.join(str(error).split())[:300]}; last good "
                f"checkpoint: {last}. Once there is space and the right to write, the same command goes on from it"
            ) from error

    def _whole(self) -> list[int]:
        """The finished steps: locally those with a number for a name; in a bucket, where nothing is renamed, marked."""
        named = [path for path in self._directory.glob("*") if path.name.isdigit()]
        if paths.is_remote(self._directory):
            named = [path for path in named if (path / "commit_success.txt").is_file()]
        return [int(path.name) for path in named]

    def restore(self, abstract: dict[str, Any], step: int | None = None) -> dict[str, Any]:
        """Read those items of one step that are asked for.

        Args:
          abstract: for each item, a tree of `jax.ShapeDtypeStruct` with the shardings that the result shall have; the
            checkpoint may come from another number of devices.
          step: None for the newest.

        Raises:
          ValueError: there is no such step.
        """
        steps = self.steps()
        if step is None and steps:
            step = steps[-1]
        if step not in steps:
            raise ValueError(
                f"no checkpoint of step {step} in {self._directory}; there are: {steps}"
            )
        args = {name: ocp.args.StandardRestore(tree) for name, tree in abstract.items()}
        restored = self._manager.restore(step, args=ocp.args.Composite(**args))
        return {name: restored[name] for name in abstract}

    def restore_newest_whole(
        self, abstract: dict[str, Any], say: Callable[[str], None]
    ) -> tuple[int, dict[str, Any]] | None:
        """Read the newest step that can be read, setting aside any newer that cannot.

        Args:
          abstract: as for `restore`.
          say: told about each step that was set aside.

        Returns:
          The step and its items, or None if there is no readable checkpoint.
        """
        if jax.process_count() > 1:
            return self._restore_newest_together(abstract, say)
        while steps := self.steps():
            try:
                return steps[-1], self.restore(abstract, steps[-1])
            except Exception as error:  # whatever a damaged file makes the reader raise
                say(_damaged(steps, error, self._set_aside(steps[-1])))
        return None

    def _restore_newest_together(
        self, abstract: dict[str, Any], say: Callable[[str], None]
    ) -> tuple[int, dict[str, Any]] | None:
        """The first process reads alone, so that the others never wait in a restore that failed elsewhere."""
        first = jax.process_index() == 0
        while (newest := _from_first(max(self.steps(), default=-1))) >= 0:
            error = self._read_alone(abstract, newest) if first else None
            if not _from_first(error is not None):
                return newest, self.restore(abstract, newest)
            steps = self.steps()
            aside = self._set_aside(newest, move=first)
            if error is not None:
                say(_damaged(steps, error, aside))
        return None

    def _read_alone(self, abstract: dict[str, Any], step: int) -> Exception | None:
        """What is wrong with a checkpoint, found on this process without any other."""
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        alone = ocp.options.MultiprocessingOptions(
            primary_host=0, active_processes={0}, barrier_sync_key_prefix="alone"
        )
        local = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), abstract
        )
        try:
            with ocp.StandardCheckpointer(multiprocessing_options=alone) as reader:
                for name, tree in local.items():
                    reader.restore(self._directory / str(step) / name, tree)
        except Exception as error:  # whatever a damaged file makes the reader raise
            return error
        return None

    def _set_aside(self, step: int, move: bool = True) -> pathlib.Path:
        parent = self._directory.parent / "damaged"
        paths.make_folder(parent)
        aside = next(p for p in (parent / f"{step}-{i}" for i in range(1000)) if not p.exists())
        if move:
            with contextlib.suppress(FileNotFoundError):
                paths.move(self._directory / str(step), aside)
        _from_first(0)  # nobody lists the directory before that
        self._manager.close()
        self._manager = ocp.CheckpointManager(self._directory, options=self._options)
        return aside


@functools.cache
def _quieten_writers() -> None:
    """Leave a failed write to `SaveFailed`.

    The first write that fails ends the event loop of all of them; each of the others then prints a stack from a thread
    of its own, at any time, in the middle of any line.
    """
    before = sys.unraisablehook

    def hook(event: Any) -> None:
        orphan = isinstance(event.exc_value, RuntimeError) and event.object is None
        if not (orphan and str(event.exc_value) == "Event loop is closed"):
            before(event)

    sys.unraisablehook = hook
    unread = "exception was never retrieved"
    logging.getLogger("asyncio").addFilter(lambda record: unread not in record.getMessage())


def _from_first(value: int) -> int:
    """What the first process has; with one process, the value."""
    return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


def _damaged(steps: list[int], error: Exception, aside: pathlib.Path) -> str:
    reason = " ".join(str(error).split())[:160]
    return (
        f"checkpoint of step {steps[-1]} is damaged ({type(error).__name__}: {reason}); "
        f"moved to {aside}; falling back to {steps[-2] if steps[1:] else 'the start'}"
    )


def abstract_like(tree: Any) -> Any:
    """The shapes, types and shardings of a tree of arrays."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), tree
    )
