"""Claims, verdicts, and the words and numbers that go with them, whatever the claim is about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jaxcl.reporting.paper import Citation
from jaxcl.reporting.statistics import bootstrap_interval, mean
from jaxcl.reporting.study import Study
from jaxcl.reporting.tables import NOT_RUN, Table

HOLDS = "holds"
DOES_NOT_HOLD = "does not hold"
NOT_ENOUGH = "not enough runs"

LEAST_SEEDS = 2


@dataclass(frozen=True)
class Evidence:
    """The outcome of one claim on one subject."""

    verdict: str
    number: str


@dataclass(frozen=True)
class Claim:
    """A statement of a paper, how it is judged, and the function that judges it on a subject."""

    name: str
    statement: str
    rule: str
    evaluate: Callable[[Any], Evidence]


class Subject(Protocol):
    """What claims are judged on: a study, or several side by side."""

    @property
    def title(self) -> str: ...

    def scale(self) -> str: ...


@dataclass(frozen=True)
class ClaimSet:
    """The claims of one paper.

    `subjects` finds among all studies those that the claims are about; `note` says how they are
    judged.
    """

    citation: Citation
    claims: tuple[Claim, ...]
    subjects: Callable[[Sequence[Study]], Sequence[Subject]]
    note: str

    def table(self, subject: Subject) -> Table:
        """Claims, rules, numbers and verdicts."""
        results = [(claim, claim.evaluate(subject)) for claim in self.claims]
        return self._table(
            f"Claims of {self.citation.short}: {subject.title}",
            [(evidence.number, evidence.verdict) for _, evidence in results],
            f"{subject.scale()}. {self.note}",
        )

    def unjudged(self) -> Table:
        """The claims alone."""
        outcomes = [(NOT_RUN, NOT_ENOUGH)] * len(self.claims)
        return self._table(f"Claims of {self.citation.short}", outcomes, "")

    def _table(self, title: str, outcomes: Sequence[tuple[str, str]], note: str) -> Table:
        return Table(
            title=title,
            columns=("", "claim", "holds if", "number", "verdict"),
            rows=tuple(
                (str(i), claim.statement, claim.rule, *outcome)
                for i, (claim, outcome) in enumerate(
                    zip(self.claims, outcomes, strict=True), start=1
                )
            ),
            note=note,
            text_columns=5,
        )


def judged(holds: bool, number: str) -> Evidence:
    """A verdict on runs enough."""
    return Evidence(HOLDS if holds else DOES_NOT_HOLD, number)


def too_few(
    temperatures: int | None = None, seeds: int | None = None, number: str = ""
) -> Evidence:
    """No verdict, and how much there is."""
    words = [number] if number else []
    if temperatures is not None:
        words.append(f"{temperatures} temperature" + ("s" if temperatures != 1 else ""))
    if seeds is not None:
        words.append(f"{seeds} seed" + ("s" if seeds != 1 else ""))
    return Evidence(NOT_ENOUGH, ", ".join(words))


def with_interval(values: Sequence[float], digits: int = 2) -> str:
    """The mean of values, one a seed, and its bootstrap interval.

    >>> with_interval([-1.0, 1.0])
    '0.00 [−1.00, 1.00]'
    """
    low, high = bootstrap_interval(values)
    return minus(f"{mean(values):.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]")


def minus(text: str) -> str:
    return text.replace("-", "−")
