"""Run directories with made-up numbers of plausible shape: for tests of the report, not results."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

TEMPERATURES = (0.05, 0.07, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


def write_lines(path: Path, rows: list[dict], tail: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + tail, encoding="utf-8")


def write_run(
    root: Path,
    loss: str,
    temperature: float | None,
    seed: int,
    *,
    dataset: str = "digits",
    candidates: str = "batch",
    epochs: int = 40,
    batch_size: int = 256,
    count: int = 120,
    learning_rate: float = 0.1,
    arrays: bool = True,
) -> Path:
    """One run directory: smooth made-up curves of the temperature, plus noise by seed."""
    word = "none" if temperature is None else f"{temperature:g}"
    folder = root / f"{dataset}-{candidates}" / f"{loss}-t{word}-s{seed}-e{epochs}-b{batch_size}"
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng([seed, round(1000 * (temperature or 2)), len(loss)])
    config = {
        "seed": seed,
        "data": {"name": dataset, "data_dir": f"/somewhere/{seed}", "image_size": 16},
        "model": {"name": "small_conv", "width": 1.0},
        "loss": {"name": loss, "temperature": temperature or 1.0, "num_negatives": 64},
        "candidates": {"kind": candidates},
        "optimizer": {"name": "sgd", "learning_rate": learning_rate},
        "train": {"batch_size": batch_size, "epochs": float(epochs), "steps": 0},
    }
    (folder / "config.json").write_text(json.dumps(config))
    environment = {
        "jaxcl": "0.0.0",
        "jax": "0.0.0",
        "python": "3.11.0",
        "revision": "synthetic",
        "device_kind": "cpu",
        "device_count": 2,
        "process_count": 1,
        "started": "2000-01-01T00:00:00",
    }
    (folder / "environment.json").write_text(json.dumps(environment))
    identity = {
        "dataset": dataset,
        "loss": loss,
        "temperature": temperature,
        "seed": seed,
        "candidates": candidates,
        "model": "small_conv",
        "step": 600,
        "constants": {"num_negatives": 64} if loss.startswith("hard") else {},
    }
    shape = _shape(loss, temperature)
    write_lines(folder / "rows.jsonl", _rows(identity, shape, random))
    steps = range(0, 601, 20)
    write_lines(
        folder / "metrics.jsonl",
        [
            {
                "step": s,
                "epoch": s / 600 * epochs,
                "loss": (2 + 3 * math.exp(-s / 120)) * (temperature or 0.3) ** -0.2
                + 0.02 * random.normal(),
                "learning_rate": 0.1,
                "temperature": temperature,
                "images_per_second": 1000.0,
            }
            for s in steps
        ],
        tail='{"step": 620, "epo',
    )
    if arrays:
        np.savez(folder / "analysis.npz", **_arrays(shape, count, random))
    return folder


def write_grid(root: Path, seeds: tuple[int, ...] = (0, 1, 2), **kwargs) -> None:
    """Contrastive and hard over the temperatures, simple and hard_simple once, for each seed."""
    temperatures = kwargs.pop("temperatures", TEMPERATURES)
    for seed in seeds:
        for tau in temperatures:
            write_run(root, "contrastive", tau, seed, **kwargs)
            write_run(root, "hard", tau, seed, **kwargs)
        write_run(root, "simple", None, seed, **kwargs)
        write_run(root, "hard_simple", None, seed, **kwargs)


def write_theory(root: Path) -> None:
    """Arrays in the form of theory/analysis.npz, by the closed forms in NumPy."""
    similarity = np.sort(np.random.default_rng(0).uniform(-1, 1, 512))
    taus = np.array([0.05, 0.1, 0.2, 0.3, 0.5, 1.0])
    fine = np.geomspace(0.01, 10, 60)

    def penalties(tau: np.ndarray) -> np.ndarray:
        logits = similarity[None, :] / tau[:, None]
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shifted / shifted.sum(axis=1, keepdims=True)

    spread = penalties(fine)
    gap = np.linspace(-1, 1, 81)
    softplus = np.log1p(np.exp(-gap / 0.2))
    (root / "theory").mkdir(parents=True, exist_ok=True)
    np.savez(
        root / "theory" / "analysis.npz",
        similarity=similarity,
        temperatures=taus,
        relative_penalty=penalties(taus),
        entropy_temperatures=fine,
        entropy=-np.sum(spread * np.log(np.maximum(spread, 1e-300)), axis=1),
        coupling_batch_sizes=np.array([8, 64, 512]),
        coupling_spreads=np.array([0.1]),
        coupling_levels=np.array([0.05, 0.5, 0.95]),
        coupling_quantiles=np.array([[[0.0, 0.1, 0.2], [0.2, 0.3, 0.4], [0.6, 0.7, 0.8]]]),
        coupling_mean=np.array([[0.1, 0.3, 0.7]]),
        coupling_temperature=np.array(0.1),
        coupling_positive=np.array(0.8),
        losses=np.array(["contrastive", "simple", "dcl", "triplet"]),
        gap=gap,
        loss_values=np.stack([softplus, -gap, -gap / 0.2, np.maximum(0.3 - gap, 0)]),
        loss_gradients=np.stack(
            [
                -1 / (1 + np.exp(gap / 0.2)) / 0.2,
                -np.ones_like(gap),
                -np.ones_like(gap) / 0.2,
                -1.0 * (gap < 0.3),
            ]
        ),
    )


def _shape(loss: str, temperature: float | None) -> dict[str, float]:
    t = 1.2 if temperature is None else temperature
    x = math.log(t / 0.05) / math.log(20)
    hard = loss.startswith("hard")
    accuracy = 0.62 + 0.10 * (1 - (2.2 * (x - 0.5)) ** 2 * (0.25 if hard and x > 0.5 else 1.0))
    if loss == "simple":
        accuracy = 0.50
    return {
        "accuracy": accuracy,
        "minus_uniformity": 3.8 - 0.1 * x if hard else 3.8 - 1.1 * x**1.5,
        "tolerance": 0.05 + (0.04 if hard else 0.35) * x,
        "positive": 0.55 + 0.35 * x,
        "nearest": 0.25 + 0.45 * x,
        "entropy": 0.2 + 4.6 * x,
    }


def _rows(identity: dict, shape: dict[str, float], random: np.random.Generator) -> list[dict]:
    def probe(encoder: str, features: str, solver: str, accuracy: float) -> dict:
        return {
            "program": "probe",
            **identity,
            "encoder": encoder,
            "features": features,
            "dimension": 64,
            "standardized": solver != "knn",
            "solver": solver,
            "accuracy": accuracy,
            "train_accuracy": min(1.0, accuracy + 0.05),
        }

    noise = lambda scale: scale * float(random.normal())  # noqa: E731
    nearest = shape["nearest"] + noise(0.01)
    return [
        probe("trained", "backbone", "lbfgs", shape["accuracy"] + noise(0.006)),
        probe("trained", "backbone", "knn", shape["accuracy"] - 0.04 + noise(0.006)),
        probe("untrained", "backbone", "lbfgs", 0.55 + 0.001 * identity["seed"]),
        probe("pixels", "pixels", "lbfgs", 0.5),
        {
            "program": "analyze",
            **identity,
            "features": "projection",
            "split": "test",
            "uniformity": -(shape["minus_uniformity"] + noise(0.03)),
            "alignment": 2 - 2 * shape["positive"],
            "tolerance": shape["tolerance"] + noise(0.005),
            "positive_similarity": shape["positive"] + noise(0.01),
            "top_negative_similarities": [nearest - 0.02 * k for k in range(10)],
            "penalty_entropy": shape["entropy"] + noise(0.03),
            "penalty_effective_negatives": math.exp(shape["entropy"]),
            "penalty_top1": math.exp(-shape["entropy"]),
            "count": 500,
        },
    ]


def _arrays(
    shape: dict[str, float], count: int, random: np.random.Generator
) -> dict[str, np.ndarray]:
    positives = np.clip(shape["positive"] + 0.12 * random.normal(size=count), -1, 1)
    offsets = 0.02 * np.arange(10)[None, :]
    negatives = shape["nearest"] - offsets + 0.08 * random.normal(size=(count, 1))
    return {
        "positive_similarities": positives.astype(np.float32),
        "top_negative_similarities": np.clip(negatives, -1, 1).astype(np.float32),
        "penalty_entropy": np.full(count, shape["entropy"], np.float32),
        "relative_penalty_top": np.full((count, 10), 0.1, np.float32),
    }
