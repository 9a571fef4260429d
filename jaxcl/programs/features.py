"""The measurement page of features that any model made: nothing is trained but a readout, no model is needed.

Reads an ``.npz`` with ``features [n, d]`` and ``labels [n]`` and, optionally, ``second_view [n, d]``:
features of another view of the same images in the same order. Without it nothing is said of pairs.
"""

import io
import json
import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxcl import metrics, paths
from jaxcl.losses import normalize
from jaxcl.metrics.readout import fit_readout, readout_accuracy
from jaxcl.programs import report
from jaxcl.programs import workdir as directory
from jaxcl.programs.analyze import measure, summarize

TRAIN_SHARE = 0.8  # of the rows, drawn at random, on which the readout is fitted
COUNT = 2000  # rows whose geometry is measured


def run(
    embeddings: str | pathlib.Path,
    workdir: str | pathlib.Path,
    *,
    temperature: float = 0.1,
    seed: int = 0,
) -> pathlib.Path:
    """Measure features and write the report.

    Args:
      embeddings: the file.
      workdir: where rows and the report are written; made if absent.
      temperature: of the penalties that the pairs would get from the contrastive loss.
      seed: of the split in training and test rows of the readout, and of the rows measured.

    Returns:
      The report's page.

    Raises:
      ValueError: the file is not what the top of this page says.
    """
    path, workdir = paths.parse(embeddings), paths.parse(workdir)
    features, labels, second = load(path)
    paths.make_folder(workdir)
    classes = int(labels.max()) + 1
    order = np.random.default_rng(seed).permutation(len(features))
    chosen = order[:COUNT]
    plain = normalize(jnp.asarray(features[chosen]))
    views = None
    if second is not None:
        views = jnp.stack([plain, normalize(jnp.asarray(second[chosen]))], axis=1)
    measured = measure(
        plain[:, None],
        views,
        jnp.asarray(labels[chosen]),
        num_classes=classes,
        temperature=temperature,
    )
    arrays = {name: np.asarray(value) for name, value in measured.items()}
    kept = {name: value for name, value in arrays.items() if value.ndim}
    paths.write_arrays(workdir / "analysis.npz", kept)
    about = {
        "dataset": path.stem,
        "loss": "features",
        "temperature": None if second is None else temperature,
        "constants": {},
        "seed": seed,
        "candidates": "batch",
        "model": "external",
        "step": 0,
    }
    analysis = {
        "program": "analyze",
        **about,
        "features": "backbone",
        "split": "all",
        "count": len(chosen),
        "effective_rank": float(metrics.effective_rank(jnp.asarray(features[chosen]))),
        **summarize(arrays),
    }
    rows = [analysis, *_readouts(about, features, labels, order, classes)]
    config = {
        "seed": seed,
        "data": {"name": path.stem},
        "model": {"name": "external"},
        "loss": {"name": "features", "temperature": temperature},
        "candidates": {"kind": "batch"},
        "train": {},
    }
    paths.write_text(workdir / "config.json", json.dumps(config, indent=2) + "\n")
    directory.write_json(workdir / "environment.json", directory.environment())
    paths.write_text(workdir / "rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return report.run(workdir)


def load(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Features, labels from 0 and the second view or None, checked."""
    if not path.is_file():
        raise ValueError(f"--embeddings={path}: there is no such file")
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    missing = {"features", "labels"} - set(found)
    if missing:
        raise ValueError(f"{path} lacks {sorted(missing)}; it holds {sorted(found)}")
    features, labels = np.asarray(found["features"], np.float32), found["labels"]
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ValueError(
            f"{path}: features {features.shape} and labels {labels.shape} must be [n, d] and [n]"
        )
    if not np.isfinite(features).all():
        raise ValueError(f"{path}: features hold values that are not finite")
    classes, labels = np.unique(labels, return_inverse=True)
    if len(classes) < 2 or len(features) < 20:
        raise ValueError(
            f"{path}: {len(features)} rows of {len(classes)} class(es); at least 20 of 2 are needed"
        )
    second = found.get("second_view")
    if second is not None and second.shape != features.shape:
        raise ValueError(f"{path}: second_view {second.shape} must be as features {features.shape}")
    return features, labels.astype(np.int32), second


def _readouts(
    about: dict[str, Any], features: np.ndarray, labels: np.ndarray, order: np.ndarray, classes: int
) -> list[dict[str, Any]]:
    """Rows of a linear readout and kNN on a random split."""
    cut = round(TRAIN_SHARE * len(order))
    train, test = ((features[part], labels[part]) for part in (order[:cut], order[cut:]))
    readout = fit_readout(*train, num_classes=classes, standardize=True)
    neighbors = max(1, min(200, cut // 10))
    nearest = metrics.knn_accuracy(*train, *test, num_classes=classes, k=neighbors)
    probe = {
        "program": "probe",
        **about,
        "encoder": "trained",
        "features": "backbone",
        "dimension": features.shape[1],
    }
    linear = {
        "solver": "lbfgs",
        "standardized": True,
        "train_accuracy": float(readout_accuracy(readout, *train)),
        "accuracy": float(readout_accuracy(readout, *test)),
    }
    knn = {"solver": "knn", "neighbors": neighbors, "standardized": False}
    return [probe | linear, probe | knn | {"accuracy": float(nearest)}]
