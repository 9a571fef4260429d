"""What tables need of a training log: one row for each run, beside those that programs append.

With it a table never reads metrics.jsonl, so that rows alone are enough to make it again.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]

_IDENTITY = (
    "dataset",
    "loss",
    "temperature",
    "constants",
    "seed",
    "candidates",
    "model",
    "batch_size",
)
LAST_SHARE = 0.1  # of the training, over which its end is averaged


def summarize_log(log: Sequence[Row], rows: Sequence[Row]) -> tuple[Row, ...]:
    """Returns one row of program 'pretrain', or none where nothing was logged or measured.

    Args:
      log: the lines of metrics.jsonl in order of steps.
      rows: what other programs said of the run; they say what it is about.

    Returns:
      `final_loss`, the mean over the last tenth of the epochs; the coupling multiplier's
      `multiplier_mean` and `multiplier_low`, means over the whole training; `images_per_second`,
      the median.
    """
    lines = [line for line in log if _is_number(line.get("epoch"))]
    if not lines or not rows:
        return ()
    last = lines[-1]["epoch"]
    end = [line for line in lines if line["epoch"] > (1 - LAST_SHARE) * last]
    found = {
        "final_loss": _mean(end, "loss"),
        "multiplier_mean": _mean(lines, "multiplier_mean"),
        "multiplier_low": _mean(lines, "multiplier_low"),
        "images_per_second": _median(lines, "images_per_second"),
    }
    values = {name: value for name, value in found.items() if value is not None}
    if not values:
        return ()
    about = {name: rows[-1][name] for name in _IDENTITY if name in rows[-1]}
    return ({"program": "pretrain", **about, "step": lines[-1]["step"], **values},)


def _mean(lines: Sequence[Row], name: str) -> float | None:
    values = _values(lines, name)
    return sum(values) / len(values) if values else None


def _median(lines: Sequence[Row], name: str) -> float | None:
    values = _values(lines, name)
    return statistics.median(values) if values else None


def _values(lines: Sequence[Row], name: str) -> list[float]:
    return [float(line[name]) for line in lines if _is_number(line.get(name))]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
