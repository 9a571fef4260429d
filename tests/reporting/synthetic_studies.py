"""Run directories of the decoupled losses and of two colour streams, with made-up numbers: for tests, not results."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from tests.reporting.synthetic import write_lines

DECOUPLED_LOSSES = ("nt_xent", "dcl", "dclw")
STREAM_LOSSES = ("spring", "triplet", "softmax", "nce")


def write_decoupled_run(
    root: Path,
    loss: str,
    batch_size: int,
    seed: int,
    *,
    dataset: str = "cifar10",
    accuracy: float | None = None,
    multiplier: float | None = None,
    monitored: bool = True,
) -> Path:
    """One cell of configs/decoupled.py; q_B and the accuracy of NT-Xent grow with the batch."""
    size = math.log2(batch_size / 16)
    random = np.random.default_rng([seed, batch_size, len(loss)])
    if accuracy is None:
        lead = {"nt_xent": -0.1 / size, "dcl": -0.01, "dclw": -0.02}[loss]
        accuracy = 0.6 + lead + 0.002 * float(random.normal())
    q = multiplier if multiplier is not None else 1 - 1 / (1 + 0.6 * size)
    folder = root / f"name={loss},batch_size={batch_size},seed={seed}"
    _write_settings(folder, dataset, loss, 0.1, "batch", seed, batch_size)
    identity = _identity(dataset, loss, 0.1, "batch", seed, batch_size)
    rows = _probes(identity, accuracy, baselines=batch_size == 32)
    pairs = np.clip(random.normal(0.6, 0.2, 300), -1, 1)
    damping = 1 / (1 + np.exp(8 * (pairs - 0.2 - 0.12 * size)))
    quarters = [float(part.mean()) for part in np.array_split(np.sort(damping)[::-1], 4)]
    analysis = _analysis(identity, 2.5, 0.5, random) | {
        "pair_batch_size": batch_size,
        "pair_multipliers": quarters,
        "pair_coupled_norms": [7 * q for q in quarters],
        "pair_decoupled_norms": [8.0, 7.0, 6.0, 5.0],
    }
    write_lines(folder / "rows.jsonl", [*rows, analysis])
    np.savez(
        folder / "analysis.npz",
        pair_positive_similarities=pairs.astype(np.float32),
        pair_multipliers=damping.astype(np.float32),
        pair_decoupled_norms=(9 - 4 * pairs).astype(np.float32),
    )
    steps = max(4, 4096 // batch_size)
    log = []
    for step in range(steps):
        share = (step + 1) / steps
        mean = min(0.99, max(0.01, q * (1.2 - 0.4 * share)))
        draws = random.beta(4 * mean, 4 * (1 - mean), 400)
        histogram, _ = np.histogram(draws, bins=20, range=(0, 1))
        log.append(
            {
                "step": 10 * (step + 1),
                "epoch": 5 * share,
                "loss": 2 + math.log(batch_size) * math.exp(-share),
                "images_per_second": 1000.0,
                "multiplier_mean": mean,
                "multiplier_low": float(np.mean(draws < 0.1)),
                "multiplier_histogram": (histogram / 400).tolist(),
            }
        )
    if monitored:
        for epoch in range(1, 6):
            last = max(row["step"] for row in log if row["epoch"] <= epoch + 1e-9)
            knn = accuracy - 0.05 - 0.2 * math.exp(-epoch)
            log.append({"step": last, "epoch": float(epoch), "knn_accuracy": knn})
    write_lines(folder / "metrics.jsonl", log)
    return folder


def write_stream_run(
    root: Path,
    loss: str,
    seed: int,
    *,
    dataset: str = "cifar10",
    accuracy: float | None = None,
    alignment: float | None = None,
    uniformities: tuple[float, float] | None = None,
    count: int = 200,
    maps: bool = True,
) -> Path:
    """One cell of configs/cmc_losses.py, with the numbers of the report's Table 1 and some noise."""
    random = np.random.default_rng([seed, len(loss), 7])
    table = {
        "spring": (0.229, -0.012, 2.0),
        "triplet": (0.343, -0.516, 0.0473),
        "softmax": (0.481, -2.214, 0.686),
        "nce": (0.418, -2.636, 0.374),
    }[loss]
    accuracy = table[0] + 0.003 * float(random.normal()) if accuracy is None else accuracy
    alignment = table[2] if alignment is None else alignment
    uniformities = (table[1] * 0.9, table[1] * 1.1) if uniformities is None else uniformities
    temperature = {"softmax": 0.1, "nce": 0.5}.get(loss)
    folder = root / f"{dataset}-name={loss},seed={seed}"
    _write_settings(folder, dataset, loss, temperature, "stream_banks", seed, 128)
    identity = _identity(dataset, loss, temperature, "stream_banks", seed, 128)
    spread = 0.0 if loss == "spring" else 0.3 * alignment
    distances = np.clip(alignment + spread * random.normal(size=count), 0, 2)
    nearest = 0.0 if loss == "spring" else 0.9
    analysis = _analysis(identity, -float(np.mean(uniformities)), 0.3, random) | {
        "alignment": alignment,
        "uniformity_of_streams": list(uniformities),
        "positive_similarity": 1 - alignment / 2,
        "top_negative_similarities": [nearest] * 10,
    }
    write_lines(folder / "rows.jsonl", [*_probes(identity, accuracy, baselines=False), analysis])
    ends = {"spring": math.sqrt(2), "triplet": 60.0, "softmax": 3.1, "nce": 4.9}
    log = [
        {"step": s, "epoch": s / 100, "loss": ends[loss] * (1 + math.exp(-s / 50))}
        for s in range(10, 1001, 10)
    ]
    write_lines(folder / "metrics.jsonl", log)
    np.savez(
        folder / "analysis.npz",
        positive_similarities=(1 - distances / 2).astype(np.float32),
        top_negative_similarities=np.full((count, 10), nearest, np.float32),
    )
    if maps:
        labels = np.arange(count) % 10
        points = 8 * np.stack([np.cos(labels), np.sin(2 * labels)], 1) + random.normal(
            size=(count, 2)
        )
        np.savez(folder / "embeddings.npz", tsne=points[:150].astype(np.float32), labels=labels)
    return folder


def _write_settings(
    folder: Path,
    dataset: str,
    loss: str,
    temperature: float | None,
    candidates: str,
    seed: int,
    batch_size: int,
) -> None:
    streams = candidates == "stream_banks"
    config = {
        "seed": seed,
        "data": {"name": dataset, "data_dir": "/somewhere", "image_size": 32},
        "model": {
            "name": "small_conv",
            "streams": 2 if streams else 1,
            "head": "none" if streams else "mlp",
        },
        "loss": {"name": loss, "temperature": temperature or 0.1, "margin": 1.0},
        "candidates": {"kind": candidates, "draws": 127},
        "optimizer": {"name": "adam", "learning_rate": 1e-3},
        "train": {"batch_size": batch_size, "epochs": 5.0, "steps": 0},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    environment = {
        "jaxcl": "0.0.0",
        "jax": "0.0.0",
        "python": "3.11.0",
        "revision": "synthetic",
        "device_kind": "cpu",
        "device_count": 2,
        "process_count": 1,
        "cores": 2,
        "started": f"2000-01-01T00:00:0{seed}",
    }
    (folder / "environment.json").write_text(json.dumps(environment))


def _identity(
    dataset: str, loss: str, temperature: float | None, candidates: str, seed: int, batch_size: int
) -> dict:
    return {
        "dataset": dataset,
        "loss": loss,
        "temperature": temperature,
        "constants": {},
        "seed": seed,
        "candidates": candidates,
        "model": "small_conv",
        "batch_size": batch_size,
        "step": 1000,
    }


def _probes(identity: dict, accuracy: float, baselines: bool) -> list[dict]:
    def probe(encoder: str, solver: str, value: float) -> dict:
        return {
            "program": "probe",
            **identity,
            "encoder": encoder,
            "features": "pixels" if encoder == "pixels" else "backbone",
            "standardized": solver != "knn",
            "solver": solver,
            "accuracy": value,
        }

    rows = [probe("trained", "lbfgs", accuracy), probe("trained", "knn", accuracy - 0.05)]
    if baselines:
        rows += [probe("untrained", "lbfgs", 0.42), probe("pixels", "lbfgs", 0.38)]
    return rows


def _analysis(
    identity: dict, minus_uniformity: float, tolerance: float, random: np.random.Generator
) -> dict:
    return {
        "program": "analyze",
        **identity,
        "features": "projection",
        "split": "test",
        "uniformity": -minus_uniformity,
        "alignment": 0.5,
        "tolerance": tolerance + 0.01 * float(random.normal()),
        "positive_similarity": 0.75,
        "top_negative_similarities": [0.7 - 0.02 * k for k in range(10)],
        "penalty_entropy": 3.0,
        "penalty_effective_negatives": 20.0,
        "penalty_top1": 0.2,
        "count": 500,
    }


def write_decoupled(root: Path, sizes: tuple[int, ...] = (32, 128, 512), **kwargs) -> None:
    for size in sizes:
        for loss in DECOUPLED_LOSSES:
            for seed in (0, 1):
                write_decoupled_run(root, loss, size, seed, **kwargs)


def write_streams(root: Path, seeds: tuple[int, ...] = (0, 1), **kwargs) -> None:
    for loss in STREAM_LOSSES:
        for seed in seeds:
            write_stream_run(root, loss, seed, **kwargs)
