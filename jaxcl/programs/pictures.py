"""From a configuration to its images: the splits of a data set, their random views, and the central one."""

import contextlib
import functools
import os
import pathlib
from collections.abc import Callable

import jax
from ml_collections import ConfigDict

from jaxcl.data import augment, lab, sources, views
from jaxcl.programs.terminal import terminal
from jaxcl.training.log import Progress


def data_dirs(config: ConfigDict) -> tuple[str, ...]:
    """Where prepared data sets are looked for, first to last."""
    named = (config.data.data_dir, os.environ.get("JAXCL_DATA_DIR", ""))
    named += (os.environ.get("TFDS_DATA_DIR", ""), str(pathlib.Path.home() / "tensorflow_datasets"))
    return tuple(dict.fromkeys(name for name in named if name))


@functools.lru_cache(maxsize=8)
def _source(
    name: str, split: str, dirs: tuple[str, ...], size: int, in_memory: bool | None, limit: int
) -> sources.Source:
    with contextlib.ExitStack() as stack:
        bar: list[Progress] = []

        def progress(done: int, total: int) -> None:
            if not bar:
                title = f"decode {name}/{split}"
                bar.append(stack.enter_context(Progress(title, total, terminal())))
            bar[0].update(done)

        return sources.load_source(
            name,
            split,
            data_dir=dirs,
            size=size or None,
            in_memory="auto" if in_memory is None else in_memory,
            memory_limit=limit,
            progress=progress,
        )


def source(config: ConfigDict, split: str) -> sources.Source:
    """The images of ``train_split`` or ``test_split``; kept for the next cell of a grid."""
    data = config.data
    in_memory = True if data.resident == "device" and split == data.train_split else None
    return _source(data.name, split, data_dirs(config), data.resize, in_memory, data.resident_limit)


def make_views(
    config: ConfigDict, count: int, augmentation: ConfigDict | None = None
) -> Callable[[jax.Array, jax.Array, jax.Array], jax.Array]:
    """(key, images, index) -> ``count`` random, normalised views of each image ``[b, v, h, w, c]``.

    They are drawn as ``augmentation`` says; None for that of the training.
    """
    settings = dict(config.augment if augmentation is None else augmentation)
    size, finish = config.data.image_size, _finish(config)

    def make(key: jax.Array, images: jax.Array, index: jax.Array) -> jax.Array:
        return finish(views.several(key, images, index, num_views=count, size=size, **settings))

    return make


def _finish(config: ConfigDict) -> Callable[[jax.Array], jax.Array]:
    """The last thing that happens to a view: its colour space, mean and deviation."""
    mean, std, to_lab = config.data.mean, config.data.std, config.data.views == "lab"

    def finish(made: jax.Array) -> jax.Array:
        return augment.normalize_images(lab.rgb_to_lab(made) if to_lab else made, mean, std)

    return finish


def center(config: ConfigDict) -> Callable[[jax.Array], jax.Array]:
    """Images as the evaluation sees them: resized, cropped in the middle, normalised; no randomness."""

    size, finish, cut = config.data.image_size, _finish(config), config.data.center == "crop"

    def make(images: jax.Array) -> jax.Array:
        if cut:
            top, left = ((side - size) // 2 for side in images.shape[1:3])
            images = images[:, top : top + size, left : left + size]
        return finish(augment.center_view(images, size))

    return make
