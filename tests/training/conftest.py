"""A tiny run that every test of the step shares: few shapes, so few compilations."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcl import sharding
from jaxcl.losses import LOSSES
from jaxcl.models import Model, build_model
from jaxcl.training.candidates import build_candidates
from jaxcl.training.optimizer import build_optimizer, build_schedule
from jaxcl.training.state import Hyper, TrainState, init_state
from jaxcl.training.step import Parts, build_step

IMAGES, SIZE, BATCH, STEPS = 48, 16, 16, 5


class Tiny(NamedTuple):
    """What `run_tiny` gives back."""

    state: TrainState
    losses: list[float]
    step: Any
    arguments: tuple[Any, ...]


def make_views(count: int):
    """Views that are the images with noise, a function of (key, index) alone."""

    def make(key, images, index):
        def one(image, number):
            key_of_image = jax.random.fold_in(key, number)
            noise = jax.random.normal(key_of_image, (count, *image.shape))
            return (image.astype(jnp.float32) / 255.0)[None] + 0.1 * noise

        return jax.vmap(one)(images, index)

    return make


def run_tiny(
    devices: int,
    *,
    loss: Any = LOSSES["contrastive"],
    kind: str = "batch",
    views: str = "both",
    batch_norm: bool = True,
    temperature: float = 0.2,
    steps: int = STEPS,
    microbatches: int = 1,
    split_bank: bool = False,
    **of_model: Any,
) -> Tiny:
    """Train a small network for a few steps on random images over ``devices`` devices."""
    mesh = sharding.make_mesh(jax.devices()[:devices])
    model: Model = build_model(
        "small_conv", channels=(8, 8), batch_norm=batch_norm, pool="mean", dimension=8, **of_model
    )
    candidates = build_candidates(
        kind,
        batch_size=BATCH,
        size=IMAGES,
        dimension=8,
        views=views,
        momentum=0.5,
        split_bank=split_bank,
    )
    schedule = build_schedule("cosine", total_steps=STEPS)
    optimizer = build_optimizer("sgd", schedule, momentum=0.9, weight_decay=1e-4)
    parts = Parts(model.apply, make_views(candidates.views), loss, candidates, optimizer, schedule)
    parts = parts._replace(microbatches=microbatches)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (IMAGES, SIZE, SIZE, 3), dtype=np.uint8)
    with jax.set_mesh(mesh):
        key = jax.random.key(0)
        variables = model.init(key, (SIZE, SIZE, 3))
        state = sharding.place(init_state(variables, optimizer, candidates.init(key)), mesh)
        if split_bank:
            bank = jax.device_put(state.candidates, sharding.split(mesh))
            state = state._replace(candidates=bank)
        hyper = sharding.place(
            Hyper(jnp.float32(temperature), jnp.float32(0.1), jax.random.key(1)), mesh
        )
        step = build_step(parts, mesh)
        losses, batch = [], {}
        for number in range(steps):
            index = (np.arange(BATCH) + number * BATCH) % IMAGES
            host = {"image": images[index], "index": index.astype(np.int32)}
            batch = sharding.global_batch(host, mesh)
            state, scalars = step(state, batch, hyper)
            losses.append(float(scalars["loss"]))
    return Tiny(state, losses, step, (state, batch, hyper))


@pytest.fixture(scope="session")
def tiny_on():
    """`run_tiny` on 1, 2 or 8 devices with its defaults, each run once in a session."""
    kept: dict[int, Tiny] = {}

    def get(devices: int) -> Tiny:
        if devices not in kept:
            kept[devices] = run_tiny(devices)
        return kept[devices]

    return get
