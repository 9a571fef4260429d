"""Published, ours, difference: the lines of which every table of a reproduction is made."""

from __future__ import annotations

from collections.abc import Sequence

from jaxcl.reporting.names import candidates_title
from jaxcl.reporting.statistics import Summary
from jaxcl.reporting.study import Study
from jaxcl.reporting.tables import NOT_PUBLISHED, NOT_RUN, format_summary

Column = tuple[Summary | None, float | None, int]  # ours, published, digits of ours


def three_lines(title: str, columns: Sequence[Column], scale: float) -> list[tuple[str, ...]]:
    """The lines 'published', 'ours' and 'difference' of one quantity."""
    return [
        published_line(title, [value for _, value, _ in columns]),
        *our_lines("", columns, scale),
    ]


def published_line(title: str, values: Sequence[float | None]) -> tuple[str, ...]:
    return (title, "published", *(published_text(value, 0) for value in values))


def our_lines(label: str, columns: Sequence[Column], scale: float) -> list[tuple[str, ...]]:
    """The lines 'ours' and 'difference'; `label` tells one study from another."""
    return [
        ("", f"ours{label}", *(ours_text(s, digits, scale) for s, _, digits in columns)),
        (
            "",
            f"difference{label}",
            *(difference_text(s, value, digits, scale) for s, value, digits in columns),
        ),
    ]


def published_text(value: float | None, decimals: int) -> str:
    """As printed: at least so many decimals, more where the paper gives more."""
    if value is None:
        return NOT_PUBLISHED
    printed = len(f"{value:g}".partition(".")[2])
    return f"{value:.{max(decimals, printed)}f}".replace("-", "−")


def ours_text(summary: Summary | None, digits: int, scale: float) -> str:
    return NOT_RUN if summary is None else format_summary(summary, digits, scale)


def difference_text(summary: Summary | None, value: float | None, digits: int, scale: float) -> str:
    if summary is None:
        return NOT_RUN
    if value is None:
        return "—"
    return f"{summary.mean * scale - value:+.{digits}f}".replace("-", "−")


def study_label(study: Study, siblings: Sequence[Study]) -> str:
    """What tells a study from its siblings: candidates, the model if it varies, settings."""
    words = [candidates_title(study.candidates)]
    if len({sibling.model for sibling in siblings}) > 1:
        words.append(study.model)
    return ", ".join(words + study.differences(" "))


def scale_note(ours: Sequence[Study]) -> str:
    if not ours:
        return ""
    scales = "; ".join(dict.fromkeys(study.scale() for study in ours))
    return f"Ours: {scales}. Mean ± standard deviation over seeds where there are several."
