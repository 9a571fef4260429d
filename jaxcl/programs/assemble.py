"""From a configuration to the parts of a run, as plain values; and the checks that come before any compilation."""

import functools
import inspect
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from jaxcl import sharding
from jaxcl.data import augment, sources
from jaxcl.losses import LOSSES
from jaxcl.models import Model, build_model
from jaxcl.programs.choices import check_names as check_names
from jaxcl.programs.pictures import center as center
from jaxcl.programs.pictures import data_dirs as data_dirs
from jaxcl.programs.pictures import make_views as make_views
from jaxcl.programs.pictures import source as source
from jaxcl.training.candidates import Candidates, build_candidates, num_slots
from jaxcl.training.coupled import build_share
from jaxcl.training.optimizer import build_optimizer, build_schedule
from jaxcl.training.state import Hyper
from jaxcl.training.step import Parts, Step, build_step

# What the compiled step does not depend on: traced inputs, where the images come from, who looks on, evaluation.
TRACED = (
    "evaluate",
    "seed",
    "loss.temperature",
    "optimizer.learning_rate",
    "data.resident",
    "data.resident_limit",
    "train.monitor_every",
    "train.monitor_images",
)


class Length(NamedTuple):
    """How long a run is.

    Attributes:
      steps: of the run.
      steps_per_epoch: whole batches in the training split; the rest of an epoch is dropped.
    """

    steps: int
    steps_per_epoch: int


def check(config: ConfigDict, train: sources.Source, devices: int) -> None:
    """Raise `ValueError` for whatever else can be known to be wrong before anything compiles.

    Args:
      config: of the run, its names already checked.
      train: its training images.
      devices: over which the global batch is split.
    """
    _check_divides("train.batch_size", config.train.batch_size, devices)
    _check_divides("evaluate.batch_size", config.evaluate.batch_size, devices)
    if config.train.batch_size > len(train):
        raise ValueError(
            f"train.batch_size {config.train.batch_size} is more than the {len(train)} training images of {train.name}"
        )
    check_step(config, train, devices)


def check_step(config: ConfigDict, train: sources.Source, devices: int) -> None:
    """As `check`, for the train step alone; ``train`` need not have images."""
    _check_divides("train.batch_size", config.train.batch_size, devices)
    _check_parts_of_the_batch(config, train, devices)
    _check_images(config, train)
    _check_streams(config, train)
    _check_negatives(config, train)
    parts(config, train)  # finds what the builders refuse; nothing is traced


def _check_divides(name: str, batch: int, devices: int) -> None:
    if batch > 0 and batch % devices == 0:
        return
    below, above = batch // devices * devices, (batch // devices + 1) * devices
    fits = f"{below} and {above} do" if below > 0 else f"{above} does"
    raise ValueError(f"{name} {batch} does not divide over {devices} devices; {fits}")


def _check_parts_of_the_batch(config: ConfigDict, train: sources.Source, devices: int) -> None:
    local, parts_of_it = config.train.batch_size // devices, config.train.microbatches
    if parts_of_it < 1 or local % parts_of_it:
        some = [str(k) for k in range(1, local + 1) if local % k == 0][:6]
        raise ValueError(
            f"train.microbatches {parts_of_it} does not divide the {local} images of each device; {', '.join(some)} do"
        )
    slots = num_slots(len(train))
    if config.candidates.split_bank and slots % devices:
        raise ValueError(
            f"candidates.split_bank: {slots} rows (the {len(train)} training images, filled up) do not divide over "
            f"{devices} devices; a power of two up to {slots & -slots} does"
        )
    if config.train.chunk < 1:
        raise ValueError(f"train.chunk must be at least 1, got {config.train.chunk}")
    groups, views_of_it = config.model.batch_norm_groups, candidates(config, train).views
    if groups == 1:
        return
    rows = config.train.batch_size // parts_of_it * views_of_it
    if groups < 1 or groups % devices or rows % groups:
        raise ValueError(
            f"model.batch_norm_groups {groups} must be 1, or a multiple of the {devices} devices that divides the "
            f"{rows} views of a microbatch"
        )


def _check_images(config: ConfigDict, train: sources.Source) -> None:
    for name in ("mean", "std"):
        if len(config.data[name]) not in (1, train.image_shape[2]):
            raise ValueError(
                f"data.{name} has {len(config.data[name])} values for images of {train.image_shape[2]} channels"
            )
    colour = train.image_shape[2] == 3
    if not colour and config.data.views == "lab":
        raise ValueError(f"data.views 'lab' needs colour images; those of {train.name} are gray")
    if not colour and config.model.streams == 2:
        raise ValueError(f"model.streams 2 needs images of several channels; {train.name} has one")
    if config.data.center == "crop" and config.data.image_size > min(train.image_shape[:2]):
        raise ValueError(
            f"data.center 'crop' cannot cut {config.data.image_size} pixels out of images of "
            f"{train.image_shape[0]}x{train.image_shape[1]}; choose 'resize'"
        )
    used = (config.augment, config.evaluate.augmentation)
    for settings in used if config.evaluate.augment else used[:1]:
        augment.check_augment(
            train.image_shape,
            size=config.data.image_size,
            upsample=config.data.upscale,
            **settings,
        )


def _check_streams(config: ConfigDict, train: sources.Source) -> None:
    needed, streams = candidates(config, train).streams, config.model.streams
    if needed != streams:
        raise ValueError(
            f"candidates.kind {config.candidates.kind!r} compares {needed} stream(s) of a view and model.streams "
            f"is {streams}; two streams go with 'streams' and 'stream_banks'"
        )
    if config.model.head != "none":
        return
    side = config.data.image_size
    shape, network = (side, side, train.image_shape[2]), model(config)
    made = jax.eval_shape(
        lambda: network.apply(
            network.init(jax.random.key(0), shape), jnp.zeros((1, *shape)), train=False
        )[0]
    )
    if made.projection.shape[1] != config.model.dimension:
        raise ValueError(
            f"model.dimension {config.model.dimension} is not the {made.projection.shape[1]} features of the "
            "encoder; with model.head 'none' they must agree"
        )


def _check_negatives(config: ConfigDict, train: sources.Source) -> None:
    have = candidates(config, train).num_negatives
    if have < 1:
        raise ValueError(f"train.batch_size {config.train.batch_size} leaves an anchor no negative")
    wanted = loss_constants(config).get("num_negatives")
    if wanted is not None and not 1 <= wanted <= have:
        raise ValueError(
            f"loss.num_negatives {wanted} is out of range: each anchor has {have} negatives "
            f"(candidates.kind {config.candidates.kind!r})"
        )


def loss_constants(config: ConfigDict) -> dict[str, Any]:
    """Those values below ``config.loss`` that the loss takes as constants, and that are not its defaults."""
    parameters = inspect.signature(LOSSES[config.loss.name]).parameters
    taken = (name for name in config.loss if name in parameters and name != "temperature")
    return {n: config.loss[n] for n in taken if config.loss[n] != parameters[n].default}


def loss(config: ConfigDict) -> Callable[..., jax.Array]:
    """The loss with its constants bound."""
    return functools.partial(LOSSES[config.loss.name], **loss_constants(config))


def model(config: ConfigDict) -> Model:
    """The encoder with its head."""
    return build_model(**config.model, remat=config.train.remat)


def candidates(config: ConfigDict, train: sources.Source) -> Candidates:
    """Where the negatives come from."""
    return build_candidates(
        config.candidates.kind,
        batch_size=config.train.batch_size,
        size=len(train),
        dimension=config.model.dimension,
        views=config.candidates.views,
        momentum=config.candidates.momentum,
        draws=config.candidates.draws,
        split_bank=config.candidates.split_bank,
    )


def length(config: ConfigDict, train: sources.Source) -> Length:
    """How long the run is."""
    per_epoch = len(train) // config.train.batch_size
    return Length(config.train.steps or round(config.train.epochs * per_epoch), per_epoch)


def parts(config: ConfigDict, train: sources.Source) -> Parts:
    """Everything that a step is made of."""
    steps, per_epoch = length(config, train)
    optimizer = config.optimizer
    schedule = build_schedule(
        optimizer.schedule,
        total_steps=steps,
        warmup_steps=round(optimizer.warmup_epochs * per_epoch),
        boundaries=[round(epoch * per_epoch) for epoch in optimizer.boundaries],
        factor=optimizer.factor,
    )
    source_of_candidates = candidates(config, train)
    return Parts(
        apply=model(config).apply,
        views=make_views(config, source_of_candidates.views),
        loss=loss(config),
        candidates=source_of_candidates,
        optimizer=build_optimizer(
            optimizer.name,
            schedule,
            momentum=optimizer.momentum,
            betas=optimizer.betas,
            weight_decay=optimizer.weight_decay,
        ),
        schedule=schedule,
        share=build_share(config.loss.name, loss_constants(config)),
        share_first=keeps_shared(config),
        log_multiplier=config.train.log_multiplier,
        microbatches=config.train.microbatches,
        chunk=config.train.chunk,
    )


def keeps_shared(config: ConfigDict) -> bool:
    """Whether what the loss's rows share is kept from the first batch."""
    return config.loss.name == "nce" and config.loss.normalizer == "first"


def hyper(config: ConfigDict) -> Hyper:
    """The traced inputs of the step."""
    return Hyper(
        temperature=jnp.float32(config.loss.temperature),
        learning_rate=jnp.float32(config.optimizer.learning_rate),
        key=jax.random.fold_in(jax.random.key(config.seed), 1),
    )


_STEPS: dict[str, Step] = {}


def step(config: ConfigDict, train: sources.Source, mesh: jax.sharding.Mesh) -> Step:
    """The jitted step of a config; cells that differ only in traced inputs get the same one, compiled once."""
    key = json.dumps([without(config, TRACED), len(train), str(mesh.devices.tolist())])
    if key not in _STEPS:
        _STEPS[key] = build_step(parts(config, train), mesh)
    return _STEPS[key]


def without(config: ConfigDict, names: Sequence[str]) -> dict[str, Any]:
    """A configuration as plain values, without the keys of these names."""
    kept = config.to_dict()
    for name in names:
        section, _, leaf = name.rpartition(".")
        (kept[section] if section else kept).pop(leaf)
    return kept


def mesh() -> jax.sharding.Mesh:
    """All devices of all hosts."""
    return sharding.make_mesh()
