"""Pretrain one configuration; started again on the same directory, go on where it stopped."""

import contextlib
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from jaxcl import paths, sharding
from jaxcl.data import pipeline, sources
from jaxcl.losses.pairwise import choose_evaluation
from jaxcl.models import count_parameters
from jaxcl.programs import assemble, hosts, monitor, readouts, resident
from jaxcl.programs import workdir as directory
from jaxcl.programs.embed import embed
from jaxcl.programs.initial import first_state, initial_variables, layout
from jaxcl.programs.terminal import terminal
from jaxcl.training.checkpoint import Checkpoints, abstract_like
from jaxcl.training.log import Console, Metrics, open_metrics, require_tensorboard
from jaxcl.training.loop import Run
from jaxcl.training.loop import train as run_loop
from jaxcl.training.peers import Stop
from jaxcl.training.state import TrainState, from_items, to_items


def run(
    config: ConfigDict,
    workdir: str | pathlib.Path,
    *,
    force: bool = False,
    console: Console | None = None,
    stop: Stop | None = None,
) -> dict[str, Any]:
    """Pretrain to the end of the configured run.

    Args:
      config: locked configuration.
      workdir: the run directory; a run of the same config in it is resumed.
      force: move a run of another config aside instead of refusing.
      console: None for the terminal.
      stop: how the processes of a run agree on where to stop; None for one process.

    Returns:
      ``{"step": steps of the run, "resumed_from": steps that were already taken}``.

    Raises:
      ValueError: a mistake in the configuration, found before anything compiles.
      Preempted: SIGTERM came; the state is saved.
      NonFiniteLoss: with the step and the last good checkpoint.
    """
    console = console or terminal()
    workdir = paths.parse(workdir)
    mesh = assemble.mesh()
    train = check(config)
    resuming = directory.open_for_training(workdir, config, force)
    steps, per_epoch = assemble.length(config, train)
    with (
        Checkpoints(workdir / "checkpoints", config.train.keep) as checkpoints,
        jax.set_mesh(mesh),
    ):
        if hosts.from_first(steps in checkpoints.steps()):
            console.print(f"{workdir} is done: {steps} steps")
            return {"step": steps, "resumed_from": steps}
        state, start = initial_state(config, train, mesh), 0
        console.print(opening(config, train, mesh, steps, state))
        if resuming:
            abstract = abstract_like(to_items(state))
            found = checkpoints.restore_newest_whole(abstract, console.print)
            if found is not None:
                start, state = found[0], from_items(found[1])
                console.print(f"resuming {workdir} at step {start} of {steps}")
        if start < steps:
            look_every = monitor.steps_between(config, per_epoch)
            batches = pipeline.batches(
                train,
                batch_size=config.train.batch_size,
                seed=config.seed,
                start_step=start,
                num_steps=steps,
                process_index=jax.process_index(),
                process_count=jax.process_count(),
                with_images=not resident.on_devices(config, train),
            )
            with metrics_of(config, workdir, start) as metrics:
                look = monitor.build_monitor(config, mesh) if look_every else None
                run_loop(
                    assemble.step(config, train, mesh),
                    state,
                    batches,
                    sharding.place(assemble.hyper(config), mesh),
                    resident.build_feed(config, train, mesh),
                    start=start,
                    num_steps=steps,
                    batch_size=config.train.batch_size,
                    steps_per_epoch=per_epoch,
                    log_every=config.train.log_every,
                    checkpoint_every=config.train.checkpoint_every,
                    runs=[Run(checkpoints, metrics, look)],
                    console=console,
                    stop=stop,
                    monitor_every=look_every,
                )
    return {"step": steps, "resumed_from": start}


def metrics_of(
    config: ConfigDict, workdir: pathlib.Path, start: int
) -> contextlib.AbstractContextManager[Metrics | None]:
    """Where the first process writes metrics; the others write none."""
    if not hosts.first():
        return contextlib.nullcontext()
    return open_metrics(workdir, start, tensorboard=config.train.tensorboard)


def check(config: ConfigDict) -> sources.Source:
    """Raise `ValueError` for any mistake that can be found before something compiles; the training images."""
    assemble.check_names(config)
    readouts.check(config)
    if config.train.tensorboard:
        require_tensorboard()
    train = assemble.source(config, config.data.train_split)
    assemble.check(config, train, jax.device_count())
    monitor.check(config)
    return train


def initial_state(config: ConfigDict, train: Any, mesh: jax.sharding.Mesh) -> TrainState:
    """The state before the first step: a function of config and seed alone."""
    variables = initial_variables(config, train.image_shape[2], mesh)
    where = layout(config, train, mesh)
    state = jax.device_put(first_state(config, train, variables), where)
    fill = assemble.candidates(config, train).fill
    if fill is not None and config.candidates.initial == "encoded":
        projections = embed(config, train, variables, mesh).projection
        bank = jax.device_put(fill(jnp.asarray(projections)), where.candidates)
        state = state._replace(candidates=bank)
    return state


def opening(
    config: ConfigDict, train: Any, mesh: jax.sharding.Mesh, steps: int, state: TrainState
) -> str:
    """What a run is, in a few lines."""
    candidates = assemble.candidates(config, train)
    kind = mesh.devices.flat[0].device_kind
    optimizer = config.optimizer
    rows = candidates.num_anchors // mesh.size
    how = choose_evaluation(rows, candidates.num_candidates)
    evaluated = f"[{rows:,}, {candidates.num_candidates:,}], {how}"
    return "\n".join(
        [
            f"{config.loss.name}, temperature {config.loss.temperature:g}, seed {config.seed}, on {train.name} "
            f"({len(train):,} images {'x'.join(map(str, train.image_shape))})",
            f"  devices              {mesh.size} x {kind}, {jax.process_count()} process(es)",
            f"  images               {resident.describe(config, train)}",
            f"  global batch         {config.train.batch_size} images, {candidates.views} view(s) of each, "
            f"{config.train.batch_size // mesh.size} images on each device",
            f"  candidates           {config.candidates.kind}: {candidates.num_anchors:,} anchors, "
            f"{candidates.num_negatives:,} negatives for each",
            f"  similarities         {evaluated} on each device",
            f"  parameters           {count_parameters(state.params):,} ({config.model.name})",
            f"  steps                {steps:,} ({steps * config.train.batch_size / len(train):.1f} epochs), "
            f"{optimizer.name} {optimizer.learning_rate:g}, {optimizer.schedule}",
        ]
    )
