"""Each claim on made-up curves of which the verdict is known."""

import math
from collections.abc import Callable

import pytest

from jaxcl.reporting.claims import CLAIMS, WANG_LIU
from jaxcl.reporting.quantities import (
    EFFECTIVE,
    ENTROPY,
    GAP,
    MINUS_UNIFORMITY,
    POSITIVE,
    TOLERANCE,
    Readout,
)
from jaxcl.reporting.study import Cell, CellKey, Measured, Study
from jaxcl.reporting.verdicts import DOES_NOT_HOLD, HOLDS, NOT_ENOUGH

ACCURACY = Readout("backbone", "lbfgs", True)
TAUS = (0.05, 0.1, 0.3, 0.5, 1.0)
Curve = Callable[[float], float]


def make_study(
    curves: dict[tuple[str, Measured], Curve],
    constants: dict[str, float] | None = None,
    seeds: int = 3,
    taus: tuple[float, ...] = TAUS,
) -> Study:
    """A study whose seeds lie 0.001 apart around the given curves."""
    study = Study("digits", "batch", "small_conv", {})
    for (loss, quantity), curve in curves.items():
        for tau in taus:
            cell = study.cells.setdefault(CellKey(loss, tau), Cell())
            for seed in range(seeds):
                cell.record(quantity, seed, curve(tau) + 0.001 * (seed - 1), 0)
    for loss, value in (constants or {}).items():
        cell = study.cells.setdefault(CellKey(loss, None), Cell())
        for seed in range(seeds):
            cell.record(ACCURACY, seed, value + 0.001 * (seed - 1), 0)
    return study


def verdict(name: str, study: Study) -> str:
    claim = next(claim for claim in CLAIMS if claim.name == name)
    return claim.evaluate(study).verdict


def rising(tau: float) -> float:
    return 0.5 + 0.2 * math.log(tau)


def falling(tau: float) -> float:
    return -rising(tau)


TRENDS = {
    "uniformity_falls": (MINUS_UNIFORMITY, falling),
    "tolerance_rises": (TOLERANCE, rising),
    "gap_shrinks": (GAP, falling),
    "positives_align": (POSITIVE, rising),
    "entropy_rises": (ENTROPY, rising),
}


@pytest.mark.parametrize("name", TRENDS)
def test_a_trend_holds_its_opposite_does_not(name: str) -> None:
    quantity, curve = TRENDS[name]
    assert verdict(name, make_study({("contrastive", quantity): curve})) == HOLDS
    opposite = make_study({("contrastive", quantity): lambda tau: -curve(tau)})
    assert verdict(name, opposite) == DOES_NOT_HOLD


@pytest.mark.parametrize("name", TRENDS)
def test_a_trend_that_turns_round_does_not_hold(name: str) -> None:
    quantity, _ = TRENDS[name]
    study = make_study({("contrastive", quantity): lambda tau: -abs(math.log(tau / 0.3))})
    assert verdict(name, study) == DOES_NOT_HOLD


@pytest.mark.parametrize("name", TRENDS)
def test_one_seed_or_three_temperatures_are_not_enough(name: str) -> None:
    quantity, curve = TRENDS[name]
    curves: dict[tuple[str, Measured], Curve] = {("contrastive", quantity): curve}
    assert verdict(name, make_study(curves, seeds=1)) == NOT_ENOUGH
    assert verdict(name, make_study(curves, taus=TAUS[:3])) == NOT_ENOUGH


def test_one_seed_still_shows_its_number() -> None:
    study = make_study({("contrastive", TOLERANCE): rising}, seeds=1)
    claim = next(claim for claim in CLAIMS if claim.name == "tolerance_rises")
    assert claim.evaluate(study).number.startswith("ρ = 1.00 over 5 temperatures, p = 0.0083")


def test_a_seed_that_goes_the_other_way_defeats_a_trend() -> None:
    study = make_study({("contrastive", TOLERANCE): rising}, seeds=2)
    for tau in TAUS:
        study.cells[CellKey("contrastive", tau)].record(TOLERANCE, 1, 0.1 * falling(tau), 0)
    assert verdict("tolerance_rises", study) == DOES_NOT_HOLD


def reversed_u_curve(tau: float) -> float:
    return 0.8 - 0.02 * math.log(tau / 0.3) ** 2


def test_a_reversed_u_holds_and_a_monotone_curve_does_not() -> None:
    assert verdict("reversed_u", make_study({("contrastive", ACCURACY): reversed_u_curve})) == HOLDS
    monotone = make_study({("contrastive", ACCURACY): rising})
    assert verdict("reversed_u", monotone) == DOES_NOT_HOLD


def test_an_interior_best_by_chance_is_no_reversed_u() -> None:
    # Each seed has its own best. At 0.1 both beat the ends, but only seed 0 would have chosen it.
    study = make_study({("contrastive", ACCURACY): lambda tau: 0.8}, seeds=2)
    for tau, values in ((0.1, (0.85, 0.81)), (0.3, (0.79, 0.85))):
        for seed, value in enumerate(values):
            study.cells[CellKey("contrastive", tau)].record(ACCURACY, seed, value, 0)
    assert verdict("reversed_u", study) == DOES_NOT_HOLD


def test_temperatures_that_only_one_seed_has_do_not_disturb_the_reversed_u() -> None:
    study = make_study({("contrastive", ACCURACY): reversed_u_curve})
    study.cells[CellKey("contrastive", 0.4)] = Cell()
    study.cells[CellKey("contrastive", 0.4)].record(ACCURACY, 0, 0.99, 0)
    assert verdict("reversed_u", study) == HOLDS


def test_hard_keeps_uniformity_where_contrastive_loses_it() -> None:
    flat = make_study(
        {
            ("contrastive", MINUS_UNIFORMITY): falling,
            ("hard", MINUS_UNIFORMITY): lambda tau: 3.8 - 0.01 * tau,
        }
    )
    assert verdict("hard_keeps_uniformity", flat) == HOLDS
    both_fall = make_study(
        {("contrastive", MINUS_UNIFORMITY): falling, ("hard", MINUS_UNIFORMITY): falling}
    )
    assert verdict("hard_keeps_uniformity", both_fall) == DOES_NOT_HOLD
    mostly_falls = make_study(
        {
            ("contrastive", MINUS_UNIFORMITY): falling,
            ("hard", MINUS_UNIFORMITY): lambda tau: 0.75 * falling(tau),
        }
    )
    assert verdict("hard_keeps_uniformity", mostly_falls) == DOES_NOT_HOLD
    both_flat = make_study(
        {
            ("contrastive", MINUS_UNIFORMITY): lambda tau: 3.8,
            ("hard", MINUS_UNIFORMITY): lambda tau: 3.8,
        }
    )
    assert verdict("hard_keeps_uniformity", both_flat) == DOES_NOT_HOLD
    alone = make_study({("hard", MINUS_UNIFORMITY): falling})
    assert verdict("hard_keeps_uniformity", alone) == NOT_ENOUGH


@pytest.mark.parametrize(
    ("fall", "expected"), [(-0.02, HOLDS), (0.005, HOLDS), (0.03, DOES_NOT_HOLD)]
)
def test_hard_may_lose_less_than_a_point_of_accuracy(fall: float, expected: str) -> None:
    study = make_study({("hard", ACCURACY): lambda tau: 0.8 - fall * (tau - 0.3) / 0.7})
    assert verdict("hard_keeps_accuracy", study) == expected


@pytest.mark.parametrize(
    ("simple", "hard_simple", "expected"),
    [(0.70, 0.84, HOLDS), (0.78, 0.84, DOES_NOT_HOLD), (0.70, 0.80, DOES_NOT_HOLD)],
)
def test_simple_must_be_far_and_hard_simple_close(
    simple: float, hard_simple: float, expected: str
) -> None:
    study = make_study(
        {("contrastive", ACCURACY): reversed_u_curve, ("hard", ACCURACY): lambda tau: 0.84},
        constants={"simple": simple, "hard_simple": hard_simple},
    )
    assert verdict("simple_needs_hardness", study) == expected


@pytest.mark.parametrize(("least", "expected"), [(1.5, HOLDS), (3.0, DOES_NOT_HOLD)])
def test_the_smallest_temperature_must_see_at_most_two_negatives(
    least: float, expected: str
) -> None:
    study = make_study({("contrastive", EFFECTIVE): lambda tau: least * tau / 0.05})
    assert verdict("few_neighbours", study) == expected
    large_only = make_study({("contrastive", EFFECTIVE): lambda tau: least}, taus=TAUS[2:])
    assert verdict("few_neighbours", large_only) == NOT_ENOUGH


def test_an_empty_study_has_ten_claims_and_no_verdict() -> None:
    table = WANG_LIU.table(make_study({}))
    assert len(table.rows) == len(CLAIMS) == 10
    assert {row[-1] for row in table.rows} == {NOT_ENOUGH}
