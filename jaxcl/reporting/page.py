"""The report as one self-contained HTML file: no script, nothing loaded from outside, readable on paper.

This file knows HTML and nothing of studies; what stands where is decided in `report`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from jaxcl.reporting.figures import Picture
from jaxcl.reporting.tables import NOT_RUN, Table

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
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
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
        f"<div class='table'>{title}<div class='scroll'><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n"
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
            ("none", text in (NOT_RUN, "—")),
            ("best", best),
            ("good", text == "holds"),
            ("bad", text == "does not hold"),
            ("open", text == "not enough runs"),
        )
        if applies
    ]
    mark = f' class="{" ".join(kinds)}"' if kinds else ""
    return f"<{tag}{mark}>{escape(text)}</{tag}>"


def _data_uri(files: dict[str, Path]) -> str:
    if "svg" in files and files["svg"].stat().st_size <= _LARGEST_INLINE_SVG:
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


_STYLE = """
:root { color-scheme: light dark; --ink: #1d1f21; --soft: #5c6166; --line: #d9dcdf; --paper: #ffffff;
  --shade: #f5f6f7; --link: #0b5394; --good: #0a6b4b; --bad: #a33a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e3; --soft: #a3a8ad; --line: #3a3e42; --paper: #17191b;
  --shade: #202326; --link: #8ab8e6; --good: #5cc79c; --bad: #f0935a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 "Source Sans 3", "Helvetica Neue", Arial, "Liberation Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 2.5rem 1.5rem 5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .6rem; }
h2 { font-size: 1.35rem; margin: 3rem 0 .8rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.08rem; margin: 2rem 0 .5rem; }
a { color: var(--link); text-decoration: none; } a:hover { text-decoration: underline; }
p { margin: .5rem 0; max-width: 75ch; } p.lead { font-size: 1.08rem; }
nav { background: var(--shade); border-radius: 6px; padding: .8rem 1.2rem; margin: 1.5rem 0; }
nav ol { list-style: none; margin: 0; padding: 0; columns: 2; column-gap: 2.5rem; font-size: .93rem; }
nav li { break-inside: avoid; padding: .1rem 0; } nav li.level3 { padding-left: 1.2rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem; font-size: .95rem; margin: 1rem 0; }
dt { color: var(--soft); } dd { margin: 0; }
.table { margin: 1.4rem 0; } .title { font-weight: 600; font-size: .95rem; max-width: none; }
.note { color: var(--soft); font-size: .85rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .84rem; font-variant-numeric: tabular-nums; line-height: 1.35;
  border-top: 1.5px solid var(--ink); border-bottom: 1.5px solid var(--ink); }
th, td { padding: .28rem .6rem; text-align: right; white-space: nowrap; vertical-align: top; }
thead th { font-weight: 600; border-bottom: 1px solid var(--ink); vertical-align: bottom; white-space: normal; min-width: 3.2rem; }
.text { text-align: left; } tr.group td { border-top: 1px solid var(--line); }
td.none { color: var(--soft); opacity: .75; } td.best { font-weight: 700; }
td.good { color: var(--good); font-weight: 600; } td.bad { color: var(--bad); font-weight: 600; } td.open { color: var(--soft); }
.claims td.text { white-space: normal; }
.claims td:nth-child(5) { white-space: nowrap; }
.figures { display: grid; grid-template-columns: 1fr 1fr; gap: 1.2rem 1.6rem; align-items: start; margin: 1rem 0; }
figure { margin: 0; break-inside: avoid; } figure.wide { grid-column: 1 / -1; }
figure img { display: block; width: 100%; height: auto; background: #fff; border-radius: 4px; padding: 8px; }
figcaption { font-size: .85rem; line-height: 1.45; color: var(--soft); margin-top: .45rem; }
figcaption b { color: var(--ink); }
details { margin: .6rem 0; } summary { cursor: pointer; font-weight: 600; }
@media (max-width: 720px) { nav ol { columns: 1; } .figures { grid-template-columns: 1fr; } }
@media print { body { font-size: 10pt; } main { max-width: none; padding: 0; } nav { background: none; }
  .scroll { overflow: visible; } table { font-size: 7pt; } th, td { padding: 2pt 3pt; }
  h2 { break-after: avoid; } details::details-content { content-visibility: visible; display: block; } }
"""
