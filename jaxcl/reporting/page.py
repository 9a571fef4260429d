"""The report as one self-contained HTML file: no script, nothing loaded from outside.

This file knows HTML and nothing of studies; what stands where is decided in `report`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from jaxcl.reporting.figures import Picture
from jaxcl.reporting.stylesheet import STYLESHEET
from jaxcl.reporting.tables import NOT_PUBLISHED, NOT_RUN, Table

_LARGEST_INLINE_SVG = 400_000  # bytes; above, the PNG is smaller and looks the same


@dataclass(frozen=True)
class Section:
    """A heading of the page and what stands below it, as HTML; `level` 2 or 3."""

    title: str
    body: str = ""
    level: int = 2


def render_page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The whole page. `lead` is HTML that stands above the contents list."""
    numbered = _with_anchors(sections)
    body = "\n".join(
        f'<section id="{anchor}"><h{s.level}>{escape(s.title)}</h{s.level}>\n{s.body}</section>'
        for anchor, s in numbered
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLESHEET}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n{lead}\n{_contents(numbered)}\n{body}\n</main>\n</body>\n</html>\n"
    )


def table_html(table: Table, caption: bool = True) -> str:
    """A table with its title above and its note below; wide ones scroll instead of being cut."""
    head = "".join(_cell("th", c, j < table.text_columns) for j, c in enumerate(table.columns))
    lines = []
    for i, row in enumerate(table.rows):
        cells = "".join(
            _cell("td", text, j < table.text_columns, (i, j) in table.best)
            for j, text in enumerate(row)
        )
        mark = ' class="group"' if i in table.groups else ""
        lines.append(f"<tr{mark}>{cells}</tr>")
    title = f"<p class='title'>{escape(table.title)}</p>" if caption else ""
    note = f"<p class='note'>{escape(table.note)}</p>" if table.note else ""
    return (
        f"<div class='table{' compact' if table.compact else ''}'>{title}<div "
        f"class='scroll'><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n"
        + "\n".join(lines)
        + f"\n</tbody></table></div>{note}</div>\n"
    )


def figure_html(picture: Picture, files: dict[str, Path], number: int) -> str:
    """A figure with its caption, inlined."""
    size = "wide" if picture.wide else "column"
    words = f"Figure {number}. {picture.title}."
    return (
        f'<figure class="{size}"><img alt="{escape(picture.title)}" src="{_data_uri(files)}">\n'
        f"<figcaption><b>{escape(words)}</b> {escape(picture.caption)}</figcaption></figure>\n"
    )


def paragraph(text: str, kind: str = "") -> str:
    mark = f' class="{kind}"' if kind else ""
    return f"<p{mark}>{escape(text)}</p>\n"


def definition_list(pairs: Sequence[tuple[str, str]]) -> str:
    inside = "".join(f"<dt>{escape(a)}</dt><dd>{escape(b)}</dd>" for a, b in pairs)
    return f"<dl>{inside}</dl>\n"


def bullet_list(items: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>\n"


def details(summary: str, body: str) -> str:
    """A part that is closed at first; printing opens it."""
    return f"<details><summary>{escape(summary)}</summary>\n{body}</details>\n"


def _cell(tag: str, text: str, is_text: bool, best: bool = False) -> str:
    kinds = [
        kind
        for kind, applies in (
            ("text", is_text),
            ("none", text in (NOT_RUN, NOT_PUBLISHED, "—")),
            ("best", best),
            ("good", text == "holds"),
            ("bad", text == "does not hold"),
            ("open", text == "not enough runs"),
        )
        if applies
    ]
    mark = f' class="{" ".join(kinds)}"' if kinds else ""
    return f"<{tag}{mark}>{_spaced(text)}</{tag}>"


def _spaced(text: str) -> str:
    """Escaped; 'τ = 0.1' stays on one line, a spread goes below its mean in narrow columns."""
    value, sign, spread = escape(text).replace("τ = ", "τ&nbsp;=&nbsp;").partition(" ± ")
    return f"{value}<span class='spread'> ± {spread}</span>" if sign else value


def _data_uri(files: dict[str, Path]) -> str:
    if "svg" in files and len(files["svg"].read_bytes()) <= _LARGEST_INLINE_SVG:
        return "data:image/svg+xml;base64," + _base64(files["svg"])
    if "png" in files:
        return "data:image/png;base64," + _base64(files["png"])
    return "data:image/svg+xml;base64," + _base64(files["svg"])


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")


def _with_anchors(sections: Sequence[Section]) -> list[tuple[str, Section]]:
    return [(f"s{i}", section) for i, section in enumerate(sections, start=1)]


def _contents(numbered: Sequence[tuple[str, Section]]) -> str:
    lines = [
        f'<li class="level{s.level}"><a href="#{anchor}">{escape(s.title)}</a></li>'
        for anchor, s in numbered
    ]
    return f'<nav aria-label="Contents"><ol>{"".join(lines)}</ol></nav>'
