"""A lint for contrastive losses: which properties of the theory does a function have?

Each property is measured on fixed random similarities and reported with the size of its violation.
All measurements of a loss come out of one compiled function in float64, and one in float32 for what
rounding spoils. Nothing here knows which loss it is.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcl.analysis.gradients import Loss
from jaxcl.analysis.interview import (
    ANCHORS,
    LARGE,
    MATRICES,
    SMALL,
    TEMPERATURES,
    Answer,
    Case,
    Interview,
    build_cases,
    negatives_of,
    penalties_of,
    pulls_and_pushes,
)
from jaxcl.analysis.penalties import penalty_entropy
from jaxcl.analysis.properties import PROPERTIES

# Identities are checked in float64; a loss that computes in float32 may still pass.
_TOLERANCE = 1e-5


class Verdict(NamedTuple):
    """Whether a property holds (None: it does not apply), how badly it fails, and a remark."""

    holds: bool | None
    violation: float
    remark: str = ""

    def __str__(self) -> str:
        if self.holds is None:
            return f"-    {self.remark}".rstrip()
        if self.holds:
            return f"yes  {self.remark}".rstrip()
        size = (
            f"violated by {self.violation:.2g}" if math.isfinite(self.violation) else "not finite"
        )
        return f"NO   {size}{'; ' if self.remark else ''}{self.remark}"


@dataclass(frozen=True)
class Examination:
    """The verdicts on a loss, by property; printing it gives the table."""

    name: str
    verdicts: Mapping[str, Verdict]

    def __str__(self) -> str:
        width = max(map(len, self.verdicts))
        lines = [f"{name:<{width}}  {verdict}" for name, verdict in self.verdicts.items()]
        return "\n".join([self.name, "-" * len(self.name), *lines])

    @property
    def violated(self) -> tuple[str, ...]:
        """Names of the properties that do not hold."""
        return tuple(name for name, v in self.verdicts.items() if v.holds is False)


def examine(
    loss: Loss, *, name: str | None = None, quiet: bool = False, **constants: Any
) -> Examination:
    """Measure which properties a loss has; print the table and return the verdicts.

    Args:
        loss: ``loss(similarities, positives, *, temperature, where, **constants) -> [n]``.
            ``temperature`` or ``where`` may be missing; what needs them then does not apply.
        name: for the table; None: the name of the function.
        quiet: do not print.
        **constants: handed to the loss, Python values.

    Returns:
        Examination, with ``verdicts[property]`` for every property of ``PROPERTIES``.

    Raises:
        ValueError: the loss does not return one value an anchor.

    Example:
        >>> import jax.numpy as jnp
        >>> def squared(similarities, positives, *, temperature):
        ...     own = jnp.arange(similarities.shape[1])[None, :] == positives[:, None]
        ...     return jnp.sum((similarities - own) ** 2, axis=1) / temperature
        >>> examination = examine(squared, quiet=True)
        >>> print(examination.verdicts["convex"])
        yes
        >>> print(examination.verdicts["penalties sum to one"].holds)
        False

    References:
        Wang and Liu, "Understanding the Behaviour of Contrastive Loss", CVPR 2021, sections 3 and
        4; Yeh et al., "Decoupled Contrastive Learning", ECCV 2022.
    """
    title = str(name or getattr(loss, "__name__", type(loss).__name__))
    ask = Interview(loss, constants, title)
    cases = build_cases()
    with jax.enable_x64(True):
        answers = ask(cases, np.float64)
    rough_cases = {key: cases[key] for key in ("low", "extreme")}
    rough = ask(rough_cases, np.float32)
    has_temperature = ask.takes("temperature") and _depends_on_temperature(answers)
    # A loss may well answer with infinities; comparing them is no reason for a warning.
    with np.errstate(all="ignore"):
        verdicts = {
            **_gradient_verdicts(cases, answers),
            **_invariance_verdicts(answers),
            **_limit_verdicts(cases, answers),
            **_independence_verdicts(cases, answers, takes_where=ask.takes("where")),
            **_float_verdicts(answers, rough),
        }
    if not has_temperature:
        for needs in _NEED_TEMPERATURE:
            verdicts[needs] = Verdict(None, 0.0, "has no temperature")
    examination = Examination(title, {key: verdicts[key] for key in PROPERTIES})
    if not quiet:
        print(examination)
    return examination


_NEED_TEMPERATURE = (
    "entropy monotone in tau",
    "scale covariant",
    "nearest negative as tau -> 0",
    "uniform as tau -> infinity",
    "full pull",
)


def _judge(violation: Any, remark: str = "", *, tolerance: float = _TOLERANCE) -> Verdict:
    violation = float(np.max(violation))
    holds = bool(violation <= tolerance)  # False for NaN
    return Verdict(holds, 0.0 if holds else violation, remark)


def _depends_on_temperature(answers: Mapping[str, Answer]) -> bool:
    values = answers["grid"].values.reshape(MATRICES, len(TEMPERATURES), -1)
    return bool(np.any(values != values[:, :1]))


def _gradient_verdicts(
    cases: Mapping[str, Case], answers: Mapping[str, Answer]
) -> dict[str, Verdict]:
    pulls, pushes = pulls_and_pushes(answers["grid"])
    size = max(np.max(np.abs(pulls)), np.max(np.abs(pushes)), 1e-300)
    verdicts = {
        "attracts the positive": _judge(-np.min(pulls) / size)
        if np.any(pulls > 0)
        else Verdict(False, 1.0, "no pull at all"),
        "repels negatives": _judge(-np.min(pushes) / size)
        if np.any(pushes > 0)
        else Verdict(False, 1.0, "no push at all"),
        "hardness-aware": _hardness(negatives_of(cases["grid"].similarities), pushes),
    }
    # Relative to the pull: an anchor that is neither pulled nor pushed has nothing to sum.
    sums = np.sum(np.abs(pushes), axis=-1)
    active = np.maximum(np.abs(pulls), sums) > _TOLERANCE * size
    excess = np.abs(sums - np.abs(pulls)) / np.maximum(np.abs(pulls), _TOLERANCE * size)
    verdicts["penalties sum to one"] = _judge(np.where(active, excess, 0))
    there, here = penalties_of(answers["moved"]), penalties_of(answers["base"])
    # Where a margin is satisfied there is no ratio to compare.
    both = (np.sum(there, axis=-1) > 0) & (np.sum(here, axis=-1) > 0)
    verdicts["ratio independent of the positive"] = _judge(
        np.where(both[..., None], np.abs(there - here), 0)
    )
    shape = (MATRICES, len(TEMPERATURES), ANCHORS)
    entropies = np.asarray(penalty_entropy(penalties_of(answers["grid"]))).reshape(shape)
    steps = np.nan_to_num(np.diff(entropies, axis=1))
    verdicts["entropy monotone in tau"] = (
        _judge(-np.min(steps))
        if np.max(np.abs(steps)) > _TOLERANCE
        else Verdict(False, 0.0, "constant")
    )
    constant = pulls * cases["grid"].temperature[:, None]
    verdicts["full pull"] = _judge(np.abs(constant - 1))
    return verdicts


def _hardness(similarities: np.ndarray, pushes: np.ndarray) -> Verdict:
    order = np.argsort(similarities, axis=-1)
    steps = np.diff(np.take_along_axis(pushes, order, axis=-1), axis=-1)
    size = np.max(np.abs(pushes), axis=-1, keepdims=True)
    steps = steps / np.where(size > 0, size, 1)
    if np.max(np.abs(steps)) <= _TOLERANCE:
        return Verdict(False, 0.0, "all are pushed alike")
    return _judge(-np.min(steps))


def _invariance_verdicts(answers: Mapping[str, Answer]) -> dict[str, Verdict]:
    base = answers["base"].values
    size = 1 + np.abs(base)

    def same(other: str) -> Verdict:
        return _judge(np.abs(answers[other].values - base) / size)

    bulges = [
        (answers[f"halfway {end}"].values - (base + answers[end].values) / 2) / size
        for end in ("moved", "near", "far")
    ]
    lowest = np.min(answers["grid"].values)
    return {
        "shift invariant": same("shifted"),
        "scale covariant": same("scaled"),
        "negatives alike": same("shuffled"),
        # Short segments bulge little: 1e-5 would hide a concave stretch of theirs.
        "convex": _judge(np.stack(bulges), tolerance=1e-9),
        "non-negative": _judge(-lowest),
    }


def _limit_verdicts(cases: Mapping[str, Case], answers: Mapping[str, Answer]) -> dict[str, Verdict]:
    rows = cases["small"].similarities
    gaps = np.max(negatives_of(rows), axis=-1) - np.einsum("...ii->...i", rows)
    scaled = SMALL * answers["small"].values
    # The contrastive loss times tau exceeds its limit by tau log N at most; others are slower.
    allowed = 10 * SMALL * math.log(ANCHORS)
    hinge = np.max(np.abs(scaled - np.maximum(gaps, 0)))
    line = np.max(np.abs(scaled - gaps))
    nearest = _judge(
        min(hinge, line), "[s_max - s_pos]+" if hinge < line else "s_max - s_pos", tolerance=allowed
    )
    if not nearest.holds:
        nearest = nearest._replace(remark="")
    pushes = np.abs(pulls_and_pushes(answers["large"])[1])
    most = np.max(pushes, axis=-1, keepdims=True)
    share = pushes / np.where(most > 0, most, 1)
    pushed = share > _TOLERANCE
    # To first order the pushes still differ by the range of similarities over the temperature.
    uneven = np.where(pushed, 1 - share, 0)
    remark = "" if np.all(pushed) else f"over {np.sum(pushed, axis=-1).max()} of {ANCHORS - 1}"
    uniform = _judge(uneven, remark, tolerance=10 / LARGE)
    return {"nearest negative as tau -> 0": nearest, "uniform as tau -> infinity": uniform}


def _independence_verdicts(
    cases: Mapping[str, Case], answers: Mapping[str, Answer], *, takes_where: bool
) -> dict[str, Verdict]:
    slopes = answers["base"].slopes
    elsewhere = slopes * (1 - np.eye(ANCHORS))[None, :, :, None]
    size = max(np.max(np.abs(slopes)), 1e-300)
    verdicts = {"rows independent": _judge(np.abs(elsewhere) / size)}
    if not takes_where:
        return {**verdicts, "mask obeyed": Verdict(None, 0.0, "has no mask")}
    masked = answers["masked"]
    leaks = np.abs(masked.slopes) * ~cases["masked"].where[:, None]
    effect = np.abs(answers["changed"].values - masked.values)
    return {**verdicts, "mask obeyed": _judge(max(np.max(leaks) / size, np.max(effect)))}


def _float_verdicts(
    answers: Mapping[str, Answer], rough: Mapping[str, Answer]
) -> dict[str, Verdict]:
    leaves = [leaf for key in rough for leaf in rough[key]]
    total = sum(leaf.size for leaf in leaves)
    bad = sum(int(np.sum(~np.isfinite(leaf))) for leaf in leaves)
    finite = Verdict(bad == 0, bad / total, "" if bad == 0 else f"{bad} of {total} are not finite")
    # Anchor by anchor: the small gradient of an easy one is lost first. Below 1e-30 lies the end of
    # float32, and no fault of a loss.
    exact, found = answers["low"].own(), rough["low"].own()
    sizes = np.linalg.norm(exact, axis=-1)
    errors = np.linalg.norm(found - exact, axis=-1) / np.maximum(sizes, 1e-30)
    error = np.where(sizes > 1e-30, errors, 0)
    return {
        "finite at tau = 0.005": finite,
        "precise at tau = 0.005": _judge(error, tolerance=1e-3),
    }
