"""Before a long run: is the step that runs on many devices the step that one device would take?

Wrong distributed gradients are silent. Here the configured step, on all devices of all hosts, is compared with the same
step on one device: its loss and its gradient by every parameter. How far apart two right answers may be is measured and
not assumed: the same batch in another order has the same loss and gradient but for the rounding of its sums.
"""

import hashlib
import math
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from jaxcl import sharding
from jaxcl.config import override
from jaxcl.data import pipeline
from jaxcl.programs import assemble, frozen, hosts, pretrain
from jaxcl.programs.compiled import collectives
from jaxcl.programs.terminal import terminal
from jaxcl.training.log import Console
from jaxcl.training.state import TrainState
from jaxcl.training.step import build_step

ENOUGH = 512  # images: a larger batch is made smaller, because one device has to hold it whole
SLACK = 8.0  # times the rounding seen on one device
FLOOR = 64 * 2.0**-24  # relative; for a batch whose other orders happen to round alike
# Relative; for candidates drawn by row, where another order is another draw. A gradient that lacks the candidates of
# other devices, or counts devices twice, is wrong by far more.
CEILING = 1e-2

Batch = dict[str, np.ndarray]


class Answer(NamedTuple):
    """What a step says of a batch.

    Attributes:
      loss: the mean over all anchors.
      gradient: by the parameters, on the host.
    """

    loss: float
    gradient: Any


def run(config: ConfigDict, *, console: Console | None = None) -> bool:
    """Compare; print what was found.

    Args:
      config: of the run that is to come. Nothing is written.
      console: None for the terminal.

    Returns:
      Whether everything agrees.

    Raises:
      ValueError: a mistake in the configuration.
    """
    console, begun = console or terminal(), time.perf_counter()
    config = smaller(config, jax.device_count())
    train = pretrain.check(config)
    mesh, one = assemble.mesh(), sharding.make_mesh([jax.local_devices()[0]])
    own, whole = (
        read(config, train, jax.process_index(), jax.process_count()),
        read(config, train, 0, 1),
    )
    console.print(
        f"verify: {mesh.size} devices of {jax.process_count()} process(es) against one, a batch of "
        f"{config.train.batch_size} images"
    )
    sharded, text = answers(config, train, mesh, [own, own], describe=True)
    orders = [whole, reordered(whole, 1), reordered(whole, 2)]
    alone, _ = answers(config, train, one, orders)
    verdicts = [
        *compare(sharded[0], alone),
        *repeat(sharded),
        *agree(config, train, mesh, own, whole, sharded[0]),
    ]
    for right, line in verdicts:
        console.print(f"  {'ok' if right else 'WRONG':6} {line}")
    for kind, count, size in collectives(text):
        console.print(f"  {'':6} {kind}: {count}, {size:,} bytes on each device")
    right = all(right for right, _ in verdicts)
    console.print(
        f"verify: {'all agree' if right else 'NOT the same step; do not train with this'} "
        f"({time.perf_counter() - begun:.0f} s)"
    )
    return right


def smaller(config: ConfigDict, devices: int) -> ConfigDict:
    """The configuration with a batch that one device can hold, where the loss allows it."""
    # A batch of this unit divides into microbatches and groups as the whole one does.
    unit = math.lcm(devices * config.train.microbatches, config.model.batch_norm_groups)
    size = max(ENOUGH // unit, 2) * unit
    constants = assemble.loss_constants(config)
    wanted = (constants.get("num_negatives") or 0) if config.candidates.kind == "batch" else 0
    if config.train.batch_size <= size or wanted > size - 1:
        return config
    return override(config, {"train.batch_size": size})


def read(config: ConfigDict, train: Any, index: int, count: int) -> Batch:
    """One process's part of the first batch."""
    batches = pipeline.batches(
        train,
        batch_size=config.train.batch_size,
        seed=config.seed,
        start_step=0,
        num_steps=1,
        process_index=index,
        process_count=count,
    )
    return next(iter(batches))[1]


def reordered(batch: Batch, number: int) -> Batch:
    """The same images in another order."""
    order = np.random.default_rng(number).permutation(len(batch["index"]))
    return {name: value[order] for name, value in batch.items()}


def answers(
    config: ConfigDict,
    train: Any,
    mesh: jax.sharding.Mesh,
    batches: list[Batch],
    describe: bool = False,
) -> tuple[list[Answer], str]:
    """Loss and gradient of the configured step for each batch, all from the same state; the compiled program."""
    parts = assemble.parts(config, train)._replace(optimizer=keep_gradient())
    step = build_step(parts, mesh)
    found, text = [], ""
    with jax.set_mesh(mesh):
        hyper = sharding.place(assemble.hyper(config), mesh)
        for batch in batches:
            state = _start(config, train, mesh, parts.optimizer)
            arrays = sharding.global_batch(batch, mesh)
            if describe and not text:
                text = step.lower(state, arrays, hyper).compile().as_text() or ""
            state, scalars = step(state, arrays, hyper)
            gradient = jax.tree.map(np.asarray, state.opt_state)
            found.append(Answer(float(scalars["loss"]), gradient))
    return found, text


def keep_gradient() -> optax.GradientTransformation:
    """An optimizer that moves nothing and leaves the gradient in its state."""

    def zeros(params: Any) -> Any:
        return jax.tree.map(jnp.zeros_like, params)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del state, params
        return zeros(updates), updates

    return optax.GradientTransformation(zeros, update)


def _start(
    config: ConfigDict, train: Any, mesh: jax.sharding.Mesh, optimizer: optax.GradientTransformation
) -> TrainState:
    """The run's own first state, with the state of another optimizer."""
    state = pretrain.initial_state(config, train, mesh)
    return state._replace(opt_state=sharding.place(optimizer.init(state.params), mesh))


def distance(a: Any, b: Any) -> float:
    """The norm of the difference of two trees over the norm of the second."""
    pairs = list(zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
    gap = sum(float(np.square(np.float64(x) - np.float64(y)).sum()) for x, y in pairs)
    size = sum(float(np.square(np.float64(y)).sum()) for _, y in pairs)
    return math.sqrt(gap / max(size, 1e-300))


def compare(sharded: Answer, alone: list[Answer]) -> list[tuple[bool, str]]:
    """The sharded loss and gradient against one device's, with the bound."""
    lines = []
    for name in Answer._fields:
        reference, *others = (getattr(answer, name) for answer in alone)
        rounding = max(distance(other, reference) for other in others)
        gap, bound = (
            distance(getattr(sharded, name), reference),
            min(max(SLACK * rounding, FLOOR), CEILING),
        )
        lines.append(
            (
                gap <= bound,
                f"{name}: relative difference {gap:.1e}, bound {bound:.1e} (reordering the batch on one device: "
                f"{rounding:.1e})",
            )
        )
    return lines


def repeat(sharded: list[Answer]) -> list[tuple[bool, str]]:
    """The same step twice."""
    digests = {_digest(answer) for answer in sharded}
    return [(len(digests) == 1, "the same step twice: loss and gradient bit for bit equal")]


def agree(
    config: ConfigDict,
    train: Any,
    mesh: jax.sharding.Mesh,
    own: Batch,
    whole: Batch,
    sharded: Answer,
) -> list[tuple[bool, str]]:
    """What must be one and the same on every host, and what must be split without overlap or loss."""
    images = hashlib.sha256(whole["image"].tobytes() + whole["label"].tobytes()).digest()
    state = pretrain.initial_state(config, train, mesh)
    start = bytes.fromhex(frozen.fingerprint((state.params, state.batch_stats)))
    indices = hosts.from_each(own["index"]).ravel()
    return [
        (_same(images), "every host reads the same images for the batch"),
        (
            np.array_equal(np.sort(indices), np.sort(whole["index"])),
            "the hosts' parts are the batch, each image once",
        ),
        (_same(start), "every host starts from the same parameters"),
        (_same(_digest(sharded)), "every host has the same loss and gradient"),
    ]


def _digest(answer: Answer) -> bytes:
    digest = frozen.fingerprint((np.float32(answer.loss), answer.gradient))
    return bytes.fromhex(digest)


def _same(digest: bytes) -> bool:
    """Whether every process has this digest."""
    each = hosts.from_each(np.frombuffer(digest[:16], np.uint8).astype(np.int32))
    return bool((each == each[0]).all())
