"""Several cells of a grid pretrained at once, in one program, each on a group of devices of its own.

Cells go together whose step is the same but for its traced inputs: temperature, learning rate and seed. Each has the
directory, the batches and, but for rounding, the numbers that it has alone.
"""

import contextlib
import json
import math
import pathlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from jaxcl import sharding
from jaxcl.data import pipeline, sources
from jaxcl.programs import assemble, hosts, monitor, pretrain, resident
from jaxcl.programs import workdir as directory
from jaxcl.programs.initial import layout
from jaxcl.training.checkpoint import Checkpoints, abstract_like
from jaxcl.training.log import Console
from jaxcl.training.loop import Run
from jaxcl.training.loop import train as run_loop
from jaxcl.training.peers import Stop
from jaxcl.training.state import TrainState, from_items, to_items

# In what the cells of one program may differ; nothing but these and the evaluation.
OWN = ("seed", "loss.temperature", "optimizer.learning_rate", "evaluate")


def group(
    cells: Mapping[str, ConfigDict], root: pathlib.Path, most: int | None = None
) -> list[list[str]]:
    """Which cells to pretrain at once: as many as divide the devices of each process; those that are done, none.

    Args:
      cells: the configurations by their names, checked.
      root: of their directories. A cell that was interrupted goes with cells at the same step.
      most: cells at once; None for no limit.

    Returns:
      The names, each once, groups in the order of their first cells.
    """
    own = math.gcd(*Counter(device.process_index for device in jax.devices()).values())
    sizes = [n for n in range(own, 0, -1) if own % n == 0 and (most is None or n <= most)]
    alike: dict[str, list[str]] = {}
    for name, config in cells.items():
        steps = assemble.length(config, assemble.source(config, config.data.train_split)).steps
        step = hosts.from_first(_newest_step(root / name))
        alike.setdefault(name if step == steps else f"{step} {_common(config)}", []).append(name)
    groups = []
    for names in alike.values():
        while names:
            size = next(size for size in sizes if size <= len(names))
            groups.append(names[:size])
            names = names[size:]
    order = list(cells)
    return sorted(groups, key=lambda names: order.index(names[0]))


def _newest_step(workdir: pathlib.Path) -> int:
    found = (workdir / "checkpoints").glob("*")
    return max((int(path.name) for path in found if path.name.isdigit()), default=0)


def _common(config: ConfigDict) -> str:
    return json.dumps(assemble.without(config, OWN), sort_keys=True)


def describe(count: int) -> str:
    """How the cells lie on the devices, in a few words."""
    devices = jax.device_count()
    return f"{count} cells at once, each on {devices // count} of {devices} devices"


def run(
    cells: Mapping[pathlib.Path, ConfigDict],
    *,
    force: bool,
    console: Console,
    stop: Stop | None = None,
) -> None:
    """Pretrain the cells of one group to the end, or from the step that all have reached.

    Args:
      cells: the configurations by their directories.
      force: move runs of other configs aside instead of refusing.
      console: told about progress.
      stop: how the processes of a run agree on where to stop; None for one process.

    Raises:
      ValueError: a mistake in a configuration or a directory.
      Preempted: SIGTERM came; the states of all cells are saved.
      NonFiniteLoss: of one of the cells; names it.
    """
    configs, mesh = list(cells.values()), sharding.make_grid(len(cells))
    train = [pretrain.check(config) for config in configs][0]
    resuming = [directory.open_for_training(*cell, force) for cell in cells.items()]
    with contextlib.ExitStack() as stack:
        checkpoints = [
            stack.enter_context(Checkpoints(workdir / "checkpoints", config.train.keep))
            for workdir, config in cells.items()
        ]
        meshes = sharding.cell_meshes(mesh)
        found = [
            _newest_state(config, train, own, saved if resumes else None, console)
            for config, own, saved, resumes in zip(
                configs, meshes, checkpoints, resuming, strict=True
            )
        ]
        starts = [start for start, _ in found]
        if len(set(starts)) > 1:  # where a checkpoint was damaged
            console.print(f"the cells are at steps {starts}; they go on one after another")
            return
        console.print(
            pretrain.opening(
                configs[0], train, meshes[0], assemble.length(configs[0], train).steps, found[0][1]
            )
        )
        if starts[0]:
            console.print(f"resuming {len(cells)} cells at step {starts[0]}")
        runs = [
            Run(
                saved,
                stack.enter_context(pretrain.metrics_of(config, workdir, starts[0])),
                _monitor(config),
                workdir.name,
            )
            for (workdir, config), saved in zip(cells.items(), checkpoints, strict=True)
        ]
        state = sharding.join([state for _, state in found], mesh)
        found.clear()  # the memory of a second state
        _train(configs, train, mesh, state, starts[0], runs, console, stop)


def _train(
    configs: Sequence[ConfigDict],
    train: sources.Source,
    mesh: jax.sharding.Mesh,
    state: TrainState,
    start: int,
    runs: Sequence[Run],
    console: Console,
    stop: Stop | None,
) -> None:
    hypers = []
    for config, own in zip(configs, sharding.cell_meshes(mesh), strict=True):
        with jax.set_mesh(own):
            hypers.append(sharding.place(assemble.hyper(config), own))
    config = configs[0]
    steps, per_epoch = assemble.length(config, train)
    with jax.set_mesh(mesh):
        run_loop(
            assemble.step(config, train, mesh),
            state,
            _batches(configs, train, start, steps),
            sharding.join(hypers, mesh),
            resident.build_feed(config, train, mesh),
            start=start,
            num_steps=steps,
            batch_size=config.train.batch_size,
            steps_per_epoch=per_epoch,
            log_every=config.train.log_every,
            checkpoint_every=config.train.checkpoint_every,
            runs=runs,
            apart=lambda tree: sharding.apart(tree, mesh),
            console=console,
            stop=stop,
            monitor_every=monitor.steps_between(config, per_epoch),
        )


def _newest_state(
    config: ConfigDict,
    train: sources.Source,
    mesh: jax.sharding.Mesh,
    saved: Checkpoints | None,
    console: Console,
) -> tuple[int, TrainState]:
    """Where a cell goes on: steps taken and the state on the cell's devices.

    The first state is made on all devices, with one compilation for all cells.
    """
    everything = assemble.mesh()
    with jax.set_mesh(everything):
        state = pretrain.initial_state(config, train, everything)
    state = jax.device_put(jax.tree.map(hosts.read, state), layout(config, train, mesh))
    if saved is not None:
        found = saved.restore_newest_whole(abstract_like(to_items(state)), console.print)
        if found is not None:
            return found[0], from_items(found[1])
    return 0, state


def _batches(
    configs: Sequence[ConfigDict], train: sources.Source, start: int, steps: int
) -> Iterator[tuple[int, pipeline.Batch]]:
    """Batches ``[g, b/P, ...]`` of all cells: the order follows from the seed, so each seed has one pipeline."""
    config = configs[0]
    pipelines = {
        seed: pipeline.batches(
            train,
            batch_size=config.train.batch_size,
            seed=seed,
            start_step=start,
            num_steps=steps,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            with_images=not resident.on_devices(config, train),
        )
        for seed in dict.fromkeys(config.seed for config in configs)
    }
    for items in zip(*pipelines.values(), strict=True):
        read = dict(zip(pipelines, (batch for _, batch in items), strict=True))
        yield items[0][0], _stack([read[config.seed] for config in configs])


def _stack(batches: Sequence[pipeline.Batch]) -> pipeline.Batch:
    first, count = batches[0], len(batches)
    if all(batch is first for batch in batches):  # one seed: nothing is copied
        return {name: np.broadcast_to(rows, (count, *rows.shape)) for name, rows in first.items()}
    return {name: np.stack([batch[name] for batch in batches]) for name in first}


def _monitor(config: ConfigDict) -> monitor.Monitor | None:
    """The monitor of a cell, which embeds on all devices: one compilation for all cells."""
    if not config.train.monitor_every:
        return None
    everything = assemble.mesh()
    look = monitor.build_monitor(config, everything)

    def on_all_devices(state: TrainState) -> dict[str, float]:
        with jax.set_mesh(everything):
            read: Any = jax.tree.map(hosts.read, (state.params, state.batch_stats))
            params, batch_stats = sharding.place(read, everything)
            return look(state._replace(params=params, batch_stats=batch_stats))

    return on_all_devices
