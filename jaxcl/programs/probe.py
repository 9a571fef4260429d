"""The separate evaluation: a linear readout and kNN on the frozen features of a checkpoint.

Beside the trained encoder, with the same readout, stand the two baselines that a table needs to mean something: raw
pixels and the encoder as it was before training.
"""

import pathlib
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from jaxcl import paths
from jaxcl.data.sources import Source
from jaxcl.programs import assemble, frozen, labelled, readouts
from jaxcl.programs import workdir as directory
from jaxcl.programs.embed import embed
from jaxcl.programs.initial import initial_variables
from jaxcl.programs.readouts import Row
from jaxcl.programs.terminal import terminal
from jaxcl.training.log import Console
from jaxcl.training.readout import Features


def run(
    config: ConfigDict,
    workdir: str | pathlib.Path,
    *,
    step: int | None = None,
    baselines: bool = True,
    console: Console | None = None,
) -> list[Row]:
    """Probe a checkpoint and append its rows to ``rows.jsonl``.

    Args:
      config: of the run; ``evaluate`` may differ from what it was trained with.
      workdir: the run directory.
      step: of the checkpoint; None for the last.
      baselines: also probe the untrained encoder and raw pixels, as the config says; False: neither.
      console: None for the terminal.

    Returns:
      The rows; accuracies are fractions.

    Raises:
      ValueError: no such run or checkpoint, or a class without training images.
    """
    console, workdir = console or terminal(), paths.parse(workdir)
    readouts.check(config)
    mesh = assemble.mesh()
    train = assemble.source(config, config.evaluate.train_split or config.data.train_split)
    test = assemble.source(config, config.data.test_split)
    for split in (train, test):
        labelled.check_labels(split, "a probe")
    step, variables = frozen.restore(config, workdir, train.image_shape[2], mesh, step)
    before = frozen.fingerprint(variables)
    encoders = {"trained": variables}
    if baselines and config.evaluate.untrained:
        with jax.set_mesh(mesh):
            encoders["untrained"] = initial_variables(config, train.image_shape[2], mesh)
    rows, about = [], {"classes": train.num_classes, "step": step}
    for encoder, values in encoders.items():
        features = _frozen(config, train, test, values, mesh)
        rows += readouts.evaluate(config, features, encoder=encoder, **about)
    if baselines and config.evaluate.pixels:
        features = readouts.Frozen(_pixels(train), _pixels(test))
        rows += readouts.evaluate(config, features, encoder="pixels", **about)
    if frozen.fingerprint(variables) != before:
        raise RuntimeError("a frozen value moved while it was probed; the accuracies are not valid")
    directory.append_rows(workdir, rows)
    for row in rows:
        how = f"{row['solver']} {'mlp' if row.get('readout') == 'mlp' else ''}"
        console.print(f"  {row['encoder']:9} {how:9} {100 * row['accuracy']:.1f} %")
    return rows


def _frozen(
    config: ConfigDict, train: Source, test: Source, variables: Any, mesh: jax.sharding.Mesh
) -> readouts.Frozen:
    """The features of an encoder; nothing random but what `evaluate.augmentation` draws from the seed and the epoch."""

    def features(source: Source, **views: Any) -> Features:
        with jax.set_mesh(mesh):
            made = embed(config, source, variables, mesh, **views)
        return labelled.features(config, made), made.labels

    def augmented(epoch: int) -> Features:
        seed = config.seed * config.evaluate.epochs + epoch
        return features(train, views=1, seed=seed, augmentation=config.evaluate.augmentation)

    fresh = augmented if config.evaluate.augment else None
    return readouts.Frozen(features(train), features(test), fresh)


def _pixels(source: Source) -> Features:
    """Raw pixels in [0, 1], as the source has them."""
    batch = source[np.arange(len(source))]
    return batch["image"].reshape(len(source), -1).astype(np.float32) / 255.0, batch["label"]
