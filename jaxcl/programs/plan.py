"""Before a pod is paid for: the real train step of a config, compiled for a topology that is not here.

The compiler says whether the step fits into the memory of each device and what it communicates; the work is counted
from the jaxpr, and what it would take at the chip's published rates is an estimate, labelled so. Nothing is run and
no data is read.
"""

import json
import pathlib
import re
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from jaxcl import paths, sharding
from jaxcl.config import flatten
from jaxcl.data import sources
from jaxcl.programs import assemble, own_process, plan_page
from jaxcl.programs.attempts import (
    Attempt,
    arguments,
    attempt,
    crashed,
    on_one_device,
    resident_bytes,
)
from jaxcl.programs.chips import Chip, target_devices
from jaxcl.programs.compiled import collectives
from jaxcl.programs.counting import Work
from jaxcl.programs.search import largest_batch, remedies
from jaxcl.programs.terminal import terminal
from jaxcl.training.log import Console
from jaxcl.training.state import TrainState

# Training images and their size, of the sets whose data a plan need not have. Where images differ in size the
# config's data.resize decides.
KNOWN: dict[str, tuple[int, tuple[int, int, int] | None]] = {
    "cifar10": (50_000, (32, 32, 3)),
    "cifar100": (50_000, (32, 32, 3)),
    "svhn_cropped": (73_257, (32, 32, 3)),
    "imagenet100": (126_689, None),
    "imagenet2012": (1_281_167, None),
}
USUAL = {
    "model.dtype": "float32",
    "model.batch_norm_groups": 1,
    "train.remat": False,
    "train.microbatches": 1,
    "train.chunk": 256,
    "candidates.split_bank": False,
}


def run(
    config: ConfigDict,
    topology: str,
    *,
    name: str = "",
    workdir: str | pathlib.Path | None = None,
    together: int = 1,
    console: Console | None = None,
) -> dict[str, Any]:
    """Compile, print, and save.

    Args:
      config: of the run that is to come.
      topology: ``v5e:8x8`` and the like, ``h100:8``, or ``cpu:8``.
      name: of the config, for the page.
      workdir: a directory that collects plans and the page that shows them all; None: nothing is saved.
      together: cells of a grid that step at once, each on its share of the devices.
      console: None for the terminal.

    Returns:
      What was found, as it is saved.

    Raises:
      ValueError: a mistake in the configuration or the topology.
    """
    console = console or terminal()
    assemble.check_names(config)
    devices, chip = target_devices(topology)
    train = images(config)
    mesh = sharding.mesh_of_cells(together, devices)
    split = sharding.parts_of_batch(mesh)
    assemble.check_step(config, train, split)
    cells = f" of {together} cells, each" if together > 1 else ""
    console.print(f"plan: compiling the step{cells} on {len(devices) // together} x {topology}")
    room = None if chip is None else chip.usable * chip.memory

    def compile_step(config: ConfigDict) -> Attempt:
        if chip is None:  # XLA's own compiler, which is in this process anyway
            return attempt(config, train, mesh, room)
        try:
            return own_process.attempt(config, topology, together, room)
        except own_process.Crash as crash:
            return crashed(config, train, mesh, f"the compiler crashed: {crash}")

    first = compile_step(config)
    found = describe(config, train, mesh, topology, chip, first) | {"config": name}
    if not first.fits:
        because = "the compiler crashed" if first.crashed else "it does not fit"
        console.print(f"plan: {because}; looking for what does")
        if not first.crashed:  # which says nothing about the batch
            found["largest_batch"] = largest_batch(config, split, first, compile_step)
        count = assemble.candidates(config, train).num_candidates
        found["remedies"] = remedies(config, split, count, first, compile_step)
    console.print(plan_page.lines(found))
    if workdir is not None:
        console.print(f"plan: saved in {save(paths.parse(workdir), found)}")
    return found


def images(config: ConfigDict) -> sources.Source:
    """The training images: number and shape of a known set, or the set itself."""
    count, shape = KNOWN.get(config.data.name, (0, None))
    side = config.data.resize
    shape = (side, side, 3) if side else shape
    if not count or shape is None:
        return assemble.source(config, config.data.train_split)

    def read(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raise AssertionError("a plan reads no images")

    return sources.Source(config.data.name, config.data.train_split, shape, (), count, read)


def describe(
    config: ConfigDict,
    train: Any,
    mesh: jax.sharding.Mesh,
    topology: str,
    chip: Chip | None,
    tried: Attempt,
) -> dict[str, Any]:
    """What was found, as plain values; sizes are bytes on one device, times are seconds of one step."""
    candidates, devices = assemble.candidates(config, train), sharding.parts_of_batch(mesh)
    found = collectives(tried.text)
    state, batch, _ = arguments(config, train, mesh)
    return {
        "topology": topology,
        "devices": mesh.size,
        "together": mesh.size // devices,
        "jax": jax.__version__,
        "model": config.model.name,
        "batch_size": config.train.batch_size,
        "training_images": len(train),
        "images_per_device": config.train.batch_size // devices,
        "anchors_per_device": candidates.num_anchors // devices,
        "candidates": candidates.num_candidates,
        "switches": switches(config),
        "fits": tried.fits,
        "crashed": tried.crashed,
        "reason": tried.reason,
        "memory": {
            "chip": None if chip is None else chip.memory,
            "compiler_limit": tried.limit,
            **_held(state),
            "images": resident_bytes(config, train),
            "batch": on_one_device(batch),
            "temporaries": tried.temporaries,
            "program": tried.program,
            "total": tried.used,
        },
        "collectives": [kind._asdict() for kind in found],
        "work": tried.work._asdict(),
        "estimate": estimate(tried.work, sum(kind.size for kind in found), chip),
        "compile_seconds": tried.seconds,
    }


def switches(config: ConfigDict) -> dict[str, Any]:
    """The settings that trade memory for time or precision, where they are not the usual ones."""
    flat = dict(flatten(config))
    return {name: flat[name] for name, usual in USUAL.items() if flat[name] != usual}


def _held(state: TrainState) -> dict[str, int]:
    return {
        "parameters": on_one_device((state.params, state.batch_stats)),
        "optimizer": on_one_device(state.opt_state),
        "bank": on_one_device(state.candidates),
    }


def estimate(work: Work, communicated: int, chip: Chip | None) -> dict[str, Any] | None:
    """What a step takes at least, at the chip's published rates; None where there are none.

    It is the longest of three times, each as if the device did nothing else: no step is faster, and how much slower a
    real one is, only the machine tells.
    """
    if chip is None:
        return None
    seconds = {"compute": work.passes / chip.flops, "memory": work.size / chip.bandwidth}
    if chip.interconnect is not None:
        seconds["interconnect"] = communicated / chip.interconnect
    return {**seconds, "step": max(seconds.values()), "source": chip.source}


def save(workdir: pathlib.Path, found: dict[str, Any]) -> pathlib.Path:
    """Write one plan and, anew, the page of all plans of the directory; the page."""
    paths.make_folder(workdir)
    config = re.sub(r"\W+", "-", found["config"].removesuffix(".py")).strip("-") or "config"
    parts = [config, str(found["batch_size"]), found["topology"].replace(":", "-")]
    parts += [f"{name}-{value}" for name, value in found["switches"].items()]
    parts += [f"together-{found['together']}"] if found["together"] > 1 else []
    path = workdir / f"{'_'.join(parts)}.json"
    paths.write_text(path, json.dumps(found, indent=1) + "\n")
    page = workdir / "plan.md"
    plans = [json.loads(each.read_text()) for each in sorted(workdir.glob("*.json"))]
    paths.write_text(page, plan_page.page(plans))
    return page
