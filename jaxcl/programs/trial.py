"""A grid on trial: every cell is built and takes a few real steps; nothing is written.

Unlike a run of `train.steps` = 1, the steps are the first ones of the configured run, with its schedule.
"""

import math
import time
from collections.abc import Mapping
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from jaxcl import sharding
from jaxcl.data import pipeline
from jaxcl.programs import assemble, pretrain, resident
from jaxcl.programs.terminal import terminal
from jaxcl.training.log import Console


class Trial(NamedTuple):
    """What the steps of a cell gave.

    Attributes:
      loss: after the last step.
      gradient_norm: after the last step.
      seconds: of building, compiling and stepping.
    """

    loss: float
    gradient_norm: float
    seconds: float

    @property
    def finite(self) -> bool:
        """Whether the cell could be trained on."""
        return math.isfinite(self.loss) and math.isfinite(self.gradient_norm)


def run(
    configs: Mapping[str, ConfigDict], *, steps: int, console: Console | None = None
) -> dict[str, Trial]:
    """Let every cell take ``steps`` steps; print a line for each and one for all.

    Args:
      configs: of each cell, by its name, checked.
      steps: to take; fewer where the run itself is shorter.
      console: None for the terminal.

    Returns:
      What came of each cell.
    """
    console, begun = console or terminal(), time.perf_counter()
    mesh, found, compiled = assemble.mesh(), {}, set()
    with jax.set_mesh(mesh):
        for number, (name, config) in enumerate(configs.items()):
            found[name] = trial = _try(config, steps, mesh)
            compiled.add(id(assemble.step(config, pretrain.check(config), mesh)))
            console.print(
                f"[{number + 1}/{len(configs)}] {'ok' if trial.finite else 'NOT FINITE'}  {name}  "
                f"loss {trial.loss:.4g}, gradient norm {trial.gradient_norm:.3g}, {trial.seconds:.1f} s"
            )
    bad = [name for name, trial in found.items() if not trial.finite]
    console.print(
        f"{len(found)} cells took {steps} step(s) with {len(compiled)} compiled step(s) in "
        f"{time.perf_counter() - begun:.0f} s; "
        + (f"NOT FINITE: {', '.join(bad)}" if bad else "every loss and gradient is finite")
    )
    return found


def _try(config: ConfigDict, steps: int, mesh: jax.sharding.Mesh) -> Trial:
    begun = time.perf_counter()
    train = pretrain.check(config)
    step, feed = assemble.step(config, train, mesh), resident.build_feed(config, train, mesh)
    hyper = sharding.place(assemble.hyper(config), mesh)
    state, scalars = pretrain.initial_state(config, train, mesh), {}
    batches = pipeline.batches(
        train,
        batch_size=config.train.batch_size,
        seed=config.seed,
        start_step=0,
        num_steps=min(steps, assemble.length(config, train).steps),
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        with_images=not resident.on_devices(config, train),
    )
    for _, batch in batches:
        state, scalars = step(state, feed(batch), hyper)
    loss, norm = (float(scalars[name]) for name in ("loss", "gradient_norm"))
    return Trial(loss, norm, time.perf_counter() - begun)
