"""Accuracies of frozen features: the configured readout, and kNN."""

from collections.abc import Callable
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from jaxcl import metrics
from jaxcl.metrics.readout import fit_readout, readout_accuracy
from jaxcl.programs import identity, labelled
from jaxcl.training.readout import READOUTS, SOLVERS, Features, fit_by_steps

Row = dict[str, Any]


class Frozen(NamedTuple):
    """Features that a readout is fitted to and judged by.

    Attributes:
      train: ``[n, d]`` float32 and labels ``[n]``, of the images as the evaluation sees them.
      test: the same of the test split.
      augmented: from an epoch to features of the training images, augmented anew; None: ``train`` in each epoch.
    """

    train: Features
    test: Features
    augmented: Callable[[int], Features] | None = None


def check(config: ConfigDict) -> None:
    """Raise `ValueError` for a readout that cannot be fitted as configured."""
    choice = config.evaluate
    if choice.readout == "mlp" and choice.solver == "lbfgs":
        raise ValueError(
            "evaluate.readout 'mlp' is not convex and evaluate.solver 'lbfgs' is for what is; choose "
            f"{' or '.join(SOLVERS)}"
        )
    if choice.augment and choice.solver == "lbfgs":
        raise ValueError(
            "evaluate.augment makes new features for each epoch and evaluate.solver 'lbfgs' has none; choose "
            f"{' or '.join(SOLVERS)}"
        )
    for name in ("epochs", "readout_batch_size", "hidden"):
        if choice[name] < 1:
            raise ValueError(f"evaluate.{name} must be at least 1, got {choice[name]}")


def evaluate(
    config: ConfigDict, features: Frozen, *, classes: int, encoder: str, step: int
) -> list[Row]:
    """The rows of one kind of features: the configured readout, and kNN.

    Args:
      config: of the run.
      features: of one encoder.
      classes: number of classes.
      encoder: ``trained``, ``untrained`` or ``pixels``.
      step: of the checkpoint.
    """
    choice, train, test = config.evaluate, features.train, features.test
    about = identity.row(config, "probe", step) | {
        "encoder": encoder,
        "features": "pixels" if encoder == "pixels" else choice.features,
        "dimension": train[0].shape[1],
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
    fit = _by_steps if choice.solver in SOLVERS else _lbfgs
    return [about | fit(config, features, classes), about | knn]


def _lbfgs(config: ConfigDict, features: Frozen, classes: int) -> Row:
    choice = config.evaluate
    readout = fit_readout(
        *features.train, num_classes=classes, l2=choice.penalty, standardize=choice.standardize
    )
    return {
        "solver": "lbfgs",
        "readout": "linear",
        "standardized": choice.standardize,
        "augmented": False,
        "penalty": choice.penalty,
        "gradient_norm": float(readout.gradient_norm),
        "train_accuracy": float(readout_accuracy(readout, *features.train)),
        "accuracy": float(readout_accuracy(readout, *features.test)),
    }


def _by_steps(config: ConfigDict, features: Frozen, classes: int) -> Row:
    choice = config.evaluate
    mean, std = 0.0, 1.0
    if choice.standardize:
        mean, std = features.train[0].mean(0), features.train[0].std(0) + 1e-6

    def scaled(pair: Features) -> Features:
        return ((pair[0] - mean) / std, pair[1]) if choice.standardize else pair

    augmented = features.augmented
    readout = fit_by_steps(
        lambda epoch: scaled(features.train if augmented is None else augmented(epoch)),
        scaled(features.test),
        num_classes=classes,
        solver=choice.solver,
        hidden=choice.hidden if choice.readout == "mlp" else None,
        epochs=choice.epochs,
        learning_rate=choice.sgd_learning_rate
        if choice.solver == "sgd"
        else choice.adam_learning_rate,
        batch_size=choice.readout_batch_size,
        weight_decay=choice.weight_decay,
        seed=config.seed,
    )
    return {
        "solver": choice.solver,
        "readout": choice.readout,
        "standardized": choice.standardize,
        "augmented": augmented is not None,
        "train_accuracy": readout.train_accuracy,
        "accuracy": readout.test_accuracy,
        "best_accuracy": readout.best_test_accuracy,
    }


__all__ = ["READOUTS", "SOLVERS", "Frozen", "Row", "check", "evaluate"]
