"""One compilation of a config's train step for devices that need not be here, and what the compiler said of it."""

import math
import re
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from jaxcl import sharding
from jaxcl.data import sources
from jaxcl.programs import assemble, resident
from jaxcl.programs.counting import Work, count_work
from jaxcl.programs.initial import abstract_state, layout
from jaxcl.training.state import TrainState
from jaxcl.training.step import build_step

USED = re.compile(
    r"(?:Used |temporaries \()([\d.]+)([KMG]?)(?: of |\) exceeds available HBM \()([\d.]+)([KMG]?)"
)
UNITS = {"": 1.0, "K": 2.0**10, "M": 2.0**20, "G": 2.0**30}


class Attempt(NamedTuple):
    """What the compiler said of one config.

    Attributes:
      fits: whether it compiled.
      used: bytes on one device, all kinds; 0 where the compiler gave no number.
      limit: bytes of which the compiler may dispose; None if it did not say.
      temporaries: bytes of activations and other temporaries, from the compiler.
      program: bytes of the program itself.
      text: of the compiled program.
      work: of one device and step.
      seconds: that compiling took.
      reason: why it did not compile.
      crashed: the compiler said nothing and ended.
    """

    fits: bool
    used: float
    limit: float | None
    temporaries: float
    program: float
    text: str
    work: Work
    seconds: float
    reason: str = ""
    crashed: bool = False


def arguments(config: ConfigDict, train: Any, mesh: jax.sharding.Mesh) -> tuple[Any, Any, Any]:
    """State, batch and traced inputs of the step, as shapes laid out over the mesh, of all its cells."""
    if sharding.GRID in mesh.shape:
        return sharding.for_all_cells(arguments(config, train, sharding.cell_meshes(mesh)[0]), mesh)
    everywhere, split = sharding.everywhere(mesh), sharding.split(mesh)
    shapes: Any = abstract_state(config, train)
    places: Any = layout(config, train, mesh)
    state = TrainState(*(sharding.lay_out(a, b) for a, b in zip(shapes, places, strict=True)))
    hyper = sharding.lay_out(jax.eval_shape(lambda: assemble.hyper(config)), everywhere)
    size = config.train.batch_size
    batch = {
        "image": jax.ShapeDtypeStruct((size, *train.image_shape), jnp.uint8, sharding=split),
        "index": jax.ShapeDtypeStruct((size,), jnp.int32, sharding=split),
    }
    return state, batch, hyper


def attempt(
    config: ConfigDict, train: Any, mesh: jax.sharding.Mesh, room: float | None = None
) -> Attempt:
    """Compile the step of a config, which has to leave room for the images that lie on each device."""
    step = build_step(assemble.parts(config, train), mesh)
    inputs = arguments(config, train, mesh)
    held = sum(on_one_device(part) for part in inputs) + resident_bytes(config, train)
    with jax.set_mesh(mesh):
        traced = step.trace(*inputs)
        work = count_work(traced.jaxpr)
        lowered, begun = traced.lower(**_platform(mesh)), time.perf_counter()
        try:
            compiled = lowered.compile()
        except jax.errors.JaxRuntimeError as error:
            seconds, text = time.perf_counter() - begun, str(error)
            if "RESOURCE_EXHAUSTED" not in text:
                raise
            used, limit = _exceeded(text)
            used += resident_bytes(config, train) if used else 0
            temporaries = max(used - held, 0.0)
            reason = " ".join(text.split())[:200]
            return Attempt(False, used, limit, temporaries, 0.0, "", work, seconds, reason)
    seconds, memory = time.perf_counter() - begun, compiled.memory_analysis()
    temporaries, program = memory.temp_size_in_bytes, memory.generated_code_size_in_bytes
    # Whatever of the results does not take the place of an argument.
    fresh = memory.output_size_in_bytes - memory.alias_size_in_bytes
    temporaries += max(fresh, 0)
    used, text = held + temporaries + program, compiled.as_text() or ""
    if room is not None and used > room:
        reason = "the step compiles, but needs more than there is"
        if used - resident_bytes(config, train) <= room:
            reason = "the step compiles, but the training images leave no room for it; data.resident=host does"
        return Attempt(False, used, room, temporaries, program, text, work, seconds, reason)
    return Attempt(True, used, None, temporaries, program, text, work, seconds)


def crashed(config: ConfigDict, train: Any, mesh: jax.sharding.Mesh, reason: str) -> Attempt:
    """The attempt of a compiler that crashed, of which only the work is known."""
    step = build_step(assemble.parts(config, train), mesh)
    with jax.set_mesh(mesh):
        work = count_work(step.trace(*arguments(config, train, mesh)).jaxpr)
    return Attempt(False, 0.0, None, 0.0, 0.0, "", work, 0.0, reason, crashed=True)


def _platform(mesh: jax.sharding.Mesh) -> dict[str, Any]:
    """What lowering for a GPU has to be told, because jax would look for one."""
    kind = mesh.devices.flat[0].platform
    return {"lowering_platforms": ("cuda",)} if kind in ("gpu", "cuda") else {}


def _exceeded(text: str) -> tuple[float, float | None]:
    """Bytes that the compiler wanted and had, from its message."""
    match = USED.search(text)
    if not match:
        return 0.0, None
    return float(match[1]) * UNITS[match[2]], float(match[3]) * UNITS[match[4]]


def resident_bytes(config: ConfigDict, train: sources.Source) -> int:
    """Bytes of the training images that will lie on every device."""
    count, choice = resident.num_bytes(train), config.data.resident
    if choice == "auto":
        return count if count <= config.data.resident_limit else 0
    return count if choice == "device" else 0


def on_one_device(tree: Any) -> int:
    """Bytes of a tree of laid out arrays on one device."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * _itemsize(leaf.dtype)
        for leaf in jax.tree.leaves(tree)
    )


def _itemsize(dtype: Any) -> int:
    return 8 if jnp.issubdtype(dtype, jax.dtypes.prng_key) else dtype.itemsize
