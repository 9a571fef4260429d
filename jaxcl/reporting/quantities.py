"""What is measured of a trained encoder; how each number is read, named, scaled and rounded."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]

_SOLVER_ORDER = ("lbfgs", "sgd", "adam", "mlp", "knn")
_FEATURE_ORDER = ("backbone", "projection", "pixels")
SOLVER_NAMES = {
    "lbfgs": "linear (L-BFGS)",
    "sgd": "linear (SGD)",
    "adam": "linear (Adam)",
    "mlp": "MLP",
    "knn": "kNN",
}


@dataclass(frozen=True)
class Readout:
    """How an accuracy was read out of frozen features: a fraction in rows, percent in tables."""

    features: str
    solver: str
    standardized: bool

    scale = 100.0
    digits = 2

    @staticmethod
    def of(row: Row) -> Readout:
        hidden = row.get("readout") == "mlp"
        return Readout(
            features=str(row.get("features", "backbone")),
            solver="mlp" if hidden else str(row.get("solver", "lbfgs")),
            standardized=bool(row.get("standardized", False)),
        )

    @property
    def is_knn(self) -> bool:
        return self.solver == "knn"

    @property
    def title(self) -> str:
        where = "" if self.features in ("backbone", "pixels") else f", {self.features}"
        scaled = ", standardized" if self.standardized and not self.is_knn else ""
        return f"{SOLVER_NAMES.get(self.solver, self.solver)}{where}{scaled} accuracy [%]"

    @property
    def kind(self) -> str:
        """For an axis: 'linear accuracy [%]'; the title says the rest."""
        return f"{SOLVER_NAMES.get(self.solver, self.solver).split(' ')[0]} accuracy [%]"

    @property
    def name(self) -> str:
        """For a column of the CSV file."""
        scaled = "_standardized" if self.standardized else ""
        return f"accuracy_{self.features}_{self.solver}{scaled}"

    def __lt__(self, other: Readout) -> bool:
        return self._order() < other._order()

    def _order(self) -> tuple[int, int, str, str, bool]:
        return (
            _place(_FEATURE_ORDER, self.features),
            _place(_SOLVER_ORDER, self.solver),
            self.features,
            self.solver,
            not self.standardized,
        )


@dataclass(frozen=True)
class Quantity:
    """One number of an analyze row: `value` reads it, `scale` and `digits` print it."""

    name: str
    title: str
    read: Callable[[Row], Any]
    digits: int
    scale: float = 1.0

    def value(self, row: Row) -> float:
        found = self.read(row)
        return float(found) if isinstance(found, int | float) else math.nan


def _nearest(row: Row) -> Any:
    values = row.get("top_negative_similarities") or [None]
    return values[0]


def _negated(row: Row) -> Any:
    value = row.get("uniformity")
    return -value if isinstance(value, int | float) else None


def _gap(row: Row) -> Any:
    positive, nearest = row.get("positive_similarity"), _nearest(row)
    if isinstance(positive, int | float) and isinstance(nearest, int | float):
        return positive - nearest
    return None


def _of_list(name: str, number: int, sign: float = 1.0) -> Callable[[Row], Any]:
    def read(row: Row) -> Any:
        values = row.get(name) or []
        return sign * values[number] if len(values) > max(number, 0) else None

    return read


MINUS_UNIFORMITY = Quantity("minus_uniformity", "−uniformity (t = 2)", _negated, 3)
TOLERANCE = Quantity("tolerance", "tolerance", lambda row: row.get("tolerance"), 3)
ALIGNMENT = Quantity("alignment", "alignment", lambda row: row.get("alignment"), 3)
POSITIVE = Quantity(
    "positive_similarity", "positive similarity", lambda row: row.get("positive_similarity"), 3
)
NEAREST = Quantity("nearest_negative_similarity", "nearest negative", _nearest, 3)
GAP = Quantity("gap", "positive − nearest negative", _gap, 3)
ENTROPY = Quantity(
    "penalty_entropy", "penalty entropy [nats]", lambda row: row.get("penalty_entropy"), 3
)
EFFECTIVE = Quantity(
    "penalty_effective_negatives",
    "effective negatives exp(H)",
    lambda row: row.get("penalty_effective_negatives"),
    1,
)
TOP = Quantity("penalty_top1", "largest penalty", lambda row: row.get("penalty_top1"), 3)
# Of the two streams of lightness and colour, each by itself.
STREAMS = (
    Quantity(
        "minus_uniformity_first", "−uniformity, L", _of_list("uniformity_of_streams", 0, -1), 3
    ),
    Quantity(
        "minus_uniformity_second", "−uniformity, ab", _of_list("uniformity_of_streams", 1, -1), 3
    ),
)

ANALYSIS = (
    MINUS_UNIFORMITY,
    TOLERANCE,
    ALIGNMENT,
    POSITIVE,
    NEAREST,
    GAP,
    ENTROPY,
    EFFECTIVE,
    TOP,
)

# Of pairs of two views in a batch: the hardest and the easiest quarter by their similarity.
PAIRS = tuple(
    Quantity(f"pair_{name}_{which}", f"{title}, {which} pairs", _of_list(f"pair_{name}", place), 3)
    for name, title in (
        ("multipliers", "q_B"),
        ("coupled_norms", "gradient × q_B"),
        ("decoupled_norms", "gradient"),
    )
    for which, place in (("hard", 0), ("easy", -1))
)

# Of the training log. The multiplier q_B is that of Yeh et al. (2022), averaged over the training.
MULTIPLIER = Quantity("multiplier_mean", "mean q_B", lambda row: row.get("multiplier_mean"), 3)
MULTIPLIER_LOW = Quantity(
    "multiplier_low", "q_B < 0.1 [% of anchors]", lambda row: row.get("multiplier_low"), 1, 100.0
)
FINAL_LOSS = Quantity("final_loss", "final training loss", lambda row: row.get("final_loss"), 3)
RATE = Quantity("images_per_second", "images/s", lambda row: row.get("images_per_second"), 0)

TRAINING = (FINAL_LOSS, MULTIPLIER, MULTIPLIER_LOW, RATE)

# Shares of a softmax at the loss's temperature: without meaning for a loss that has none.
NEED_TEMPERATURE = (ENTROPY, EFFECTIVE, TOP)


def _place(order: tuple[str, ...], name: str) -> int:
    return order.index(name) if name in order else len(order)
