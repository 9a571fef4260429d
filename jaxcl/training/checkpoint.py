"""Checkpoints of a run: the only file that imports orbax.

Orbax's `CheckpointManager` writes each step into a temporary directory and renames it when it is whole, in the
background; a kill during a write therefore leaves the step before it. What a disk can still do to a finished checkpoint
(truncation) is met at restore: the damaged step is set aside, never deleted, and the one before it is used.
"""

import contextlib
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import orbax.checkpoint as ocp


class Checkpoints:
    """The checkpoints below one directory.

    Args:
      directory: made if absent.
      keep: how many of the newest steps are kept.
    """

    def __init__(self, directory: pathlib.Path, keep: int = 2):
        self._directory = pathlib.Path(directory).absolute()
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
        self._manager.save(step, args=ocp.args.Composite(**args), force=True)

    def wait(self) -> None:
        """Return when everything begun is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait, and give back threads."""
        self.wait()
        self._manager.close()

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
            raise ValueError(f"no checkpoint of step {step} in {self._directory}; there are: {steps}")
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
        while steps := self.steps():
            try:
                return steps[-1], self.restore(abstract, steps[-1])
            except Exception as error:  # whatever a damaged file makes the reader raise
                aside = self._set_aside(steps[-1])
                reason = " ".join(str(error).split())[:160]
                say(
                    f"checkpoint of step {steps[-1]} is damaged ({type(error).__name__}: {reason}); "
                    f"moved to {aside}; falling back to {steps[-2] if steps[1:] else 'the start'}"
                )
        return None

    def _set_aside(self, step: int) -> pathlib.Path:
        parent = self._directory.parent / "damaged"
        parent.mkdir(exist_ok=True)
        aside = next(p for p in (parent / f"{step}-{i}" for i in range(1000)) if not p.exists())
        with contextlib.suppress(FileNotFoundError):
            (self._directory / str(step)).rename(aside)
        self._manager.close()
        self._manager = ocp.CheckpointManager(self._directory, options=self._options)
        return aside


def abstract_like(tree: Any) -> Any:
    """The shapes, types and shardings of a tree of arrays."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), tree
    )
