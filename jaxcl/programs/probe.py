"""The separate evaluation: a linear readout and kNN on the frozen features of a checkpoint.

Beside the trained encoder, with the same readout, stand the two baselines that a table needs to mean something: raw
pixels and the encoder as it was before training.
"""

import pathlib
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from jaxcl import metrics
from jaxcl.data.sources import Source
from jaxcl.metrics.readout import fit_readout, readout_accuracy
from jaxcl.programs import assemble, frozen, identity, labelled
from jaxcl.programs import workdir as directory
from jaxcl.programs.embed import Embeddings, embed
from jaxcl.programs.initial import initial_variables
from jaxcl.programs.terminal import terminal
from jaxcl.training.log import Console
from jaxcl.training.readout import fit_sgd

Row = dict[str, Any]
Features = tuple[np.ndarray, np.ndarray]


def run(
    config: ConfigDict,
    workdir: str | pathlib.Path,
    *,
    step: int | None = None,
    baselines: bool | None = None,
    console: Console | None = None,
) -> list[Row]:
    """Probe a checkpoint and append its rows to ``rows.jsonl``.

    Args:
      config: of the run; ``evaluate`` may differ from what it was trained with.
      workdir: the run directory.
      step: of the checkpoint; None for the last.
      baselines: also probe raw pixels and the untrained encoder; None for the config's choice.
      console: None for the terminal.

    Returns:
      The rows; accuracies are fractions.

    Raises:
      ValueError: no such run or checkpoint, or a class without training images.
    """
    console, workdir = console or terminal(), pathlib.Path(workdir)
    baselines = config.evaluate.baselines if baselines is None else baselines
    mesh = assemble.mesh()
    train = assemble.source(config, config.evaluate.train_split or config.data.train_split)
    test = assemble.source(config, config.data.test_split)
    for split in (train, test):
        labelled.check_labels(split, "a probe")
    step, variables = frozen.restore(config, workdir, train.image_shape[2], mesh, step)
    before = frozen.fingerprint(variables)
    with jax.set_mesh(mesh):
        embedded = [embed(config, split, variables, mesh) for split in (train, test)]
        encoders = {"trained": embedded}
        if baselines:
            fresh = initial_variables(config, train.image_shape[2], mesh)
            encoders["untrained"] = [embed(config, split, fresh, mesh) for split in (train, test)]
    rows = []
    for encoder, (a, b) in encoders.items():
        pair = (_features(config, a), _features(config, b))
        rows += evaluate(config, *pair, classes=train.num_classes, encoder=encoder, step=step)
    if baselines:
        pair = (_pixels(config, train), _pixels(config, test))
        rows += evaluate(config, *pair, classes=train.num_classes, encoder="pixels", step=step)
    if frozen.fingerprint(variables) != before:
        raise RuntimeError("a frozen value moved while it was probed; the accuracies are not valid")
    directory.append_rows(workdir, rows)
    for row in rows:
        console.print(f"  {row['encoder']:9} {row['solver']:5} {100 * row['accuracy']:.1f} %")
    return rows


def evaluate(
    config: ConfigDict,
    train: Features,
    test: Features,
    *,
    classes: int,
    encoder: str,
    step: int,
) -> list[Row]:
    """The rows of one kind of features: the configured linear readout, and kNN."""
    choice = config.evaluate
    dimension = train[0].shape[1]
    about = identity.row(config, "probe", step) | {
        "encoder": encoder,
        "features": "pixels" if encoder == "pixels" else choice.features,
        "dimension": dimension,
    }
    neighbors = labelled.neighbors(config, len(train[1]))
    nearest = metrics.knn_accuracy(
        *train, *test, num_classes=classes, k=neighbors, temperature=choice.knn_temperature
    )
    knn = {
        "solver": "knn",
        "neighbors": neighbors,
        "standardized": False,
        "accuracy": float(nearest),
    }
    if choice.solver == "sgd":
        linear = _sgd(config, train, test, classes)
    else:
        linear = _lbfgs(config, train, test, classes)
    return [about | linear, about | knn]


def _lbfgs(config: ConfigDict, train: Features, test: Features, classes: int) -> Row:
    choice = config.evaluate
    readout = fit_readout(
        *train, num_classes=classes, l2=choice.penalty, standardize=choice.standardize
    )
    return {
        "solver": "lbfgs",
        "standardized": choice.standardize,
        "penalty": choice.penalty,
        "gradient_norm": float(readout.gradient_norm),
        "train_accuracy": float(readout_accuracy(readout, *train)),
        "accuracy": float(readout_accuracy(readout, *test)),
    }


def _sgd(config: ConfigDict, train: Features, test: Features, classes: int) -> Row:
    choice = config.evaluate
    if choice.standardize:
        mean, std = train[0].mean(0), train[0].std(0) + 1e-6
        train, test = (((x - mean) / std, y) for x, y in (train, test))
    readout = fit_sgd(
        train,
        test,
        num_classes=classes,
        epochs=choice.sgd_epochs,
        learning_rate=choice.sgd_learning_rate,
        batch_size=choice.sgd_batch_size,
        seed=config.seed,
    )
    return {
        "solver": "sgd",
        "standardized": choice.standardize,
        "train_accuracy": readout.train_accuracy,
        "accuracy": readout.test_accuracy,
        "best_accuracy": readout.best_test_accuracy,
    }


def _features(config: ConfigDict, embeddings: Embeddings) -> Features:
    return labelled.features(config, embeddings), embeddings.labels


def _pixels(config: ConfigDict, source: Source) -> Features:
    """Raw pixels in [0, 1], as the source has them."""
    batch = source[np.arange(len(source))]
    return batch["image"].reshape(len(source), -1).astype(np.float32) / 255.0, batch["label"]
