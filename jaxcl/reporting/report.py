"""The report below a root: which tables and figures it has, and their order on the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxcl import paths
from jaxcl.reporting import paper
from jaxcl.reporting.blocks import Beside, Block, all_tables, besides, blocks
from jaxcl.reporting.figures import Picture, theory
from jaxcl.reporting.judgements import claims_tables
from jaxcl.reporting.names import dataset_title
from jaxcl.reporting.page import (
    Section,
    bullet_list,
    definition_list,
    details,
    figure_html,
    paragraph,
    render_page,
    table_html,
)
from jaxcl.reporting.paper_figures import figure_states
from jaxcl.reporting.runs import Run, collect_runs, load_theory
from jaxcl.reporting.studies import build_studies
from jaxcl.reporting.study import Study
from jaxcl.reporting.style import save
from jaxcl.reporting.tables import csv_text, markdown

FORMATS = ("png", "svg", "pdf")
_THEORY_FIGURES = (
    theory.ratio_figure,
    theory.entropy_theory_figure,
    theory.coupling_figure,
    theory.loss_shape_figure,
)


class _Figures:
    """Writes figures as they are placed on the page, and counts them."""

    def __init__(self, folder: Path, formats: Sequence[str]):
        self.folder, self.formats = folder, formats
        self.names: list[str] = []

    def place(self, pictures: Sequence[Picture | None]) -> str:
        parts = []
        for picture in pictures:
            if picture is not None:
                self.names.append(picture.name)
                files = save(picture.figure, self.folder, picture.name, self.formats)
                parts.append(figure_html(picture, files, len(self.names)))
        return f"<div class='figures'>\n{''.join(parts)}</div>\n" if parts else ""


def write_report(
    root: str | Path,
    formats: Sequence[str] = FORMATS,
    defaults: Mapping[str, Any] | None = None,
) -> Path:
    """Writes report/ below `root` from whatever runs lie there.

    Args:
      root: a directory; every run at or below it is reported.
      formats: of the figure files, among png, svg and pdf; the page needs svg or png.
      defaults: of settings, for runs that lack some; see `collect_runs`.

    Returns:
      The path of index.html.
    """
    folder = paths.parse(root) / "report"
    paths.make_folder(folder)
    runs = collect_runs(root, defaults)
    studies = build_studies(runs)
    figures = _Figures(folder / "figures", formats)
    found = blocks(studies)
    sections = [_summary_section(runs, found), *_claims_sections(studies)]
    for block in found:
        sections += _block_sections(block, figures)
    sections.append(_theory_section(root, figures))
    sections += _reproduction_sections(besides(studies), studies, figures.names)
    sections.append(_sources_section())
    page = render_page(
        "Behaviour of contrastive losses", _lead(runs, studies, len(found)), sections
    )
    _write_tables(folder, studies)
    paths.write_text(folder / "index.html", page)
    return folder / "index.html"


def _write_tables(folder: Path, studies: Sequence[Study]) -> None:
    """Writes tables.md, table.csv and claims.md; the same rows always give the same bytes."""
    tables = markdown(all_tables(studies))
    paths.write_text(folder / "tables.md", tables)
    paths.write_text(folder / "table.csv", csv_text(studies))
    write_claims(folder, studies)


def write_claims(folder: Path, studies: Sequence[Study]) -> Path:
    """Writes claims.md: every claim judged on every study; on no study at all, the claims alone."""
    paths.make_folder(folder)
    path = folder / "claims.md"
    paths.write_text(path, markdown(claims_tables(studies)))
    return path


def _lead(runs: Sequence[Run], studies: Sequence[Study], count: int) -> str:
    if not runs:
        text = (
            "No runs here yet. Below stand the published numbers; every cell of ours says “not yet "
            "run” until a run of that data set, loss and temperature lies under this directory."
        )
    else:
        cells = sum(len(study.cells) for study in studies)
        names = ", ".join(dict.fromkeys(dataset_title(study.dataset) for study in studies))
        text = (
            f"{len(runs)} run{'s' if len(runs) > 1 else ''} on {names or 'unknown data'}: {cells} "
            f"cells of loss and temperature in {count} "
            f"stud{'ies' if count != 1 else 'y'}. Everything on this page is computed from "
            "the rows that the runs wrote."
        )
    return paragraph(text, "lead")


def _summary_section(runs: Sequence[Run], found: Sequence[Block]) -> Section:
    if not runs:
        return Section("Runs", paragraph("Not yet run."))
    pairs = [
        ("device", _environment(runs, "device_kind", count="device_count")),
        ("jaxcl", _environment(runs, "jaxcl")),
        ("revision", _environment(runs, "revision")),
        ("jax, Python", f"{_environment(runs, 'jax')}; {_environment(runs, 'python')}"),
        ("processes", _environment(runs, "process_count")),
    ]
    for block in found:
        seeds = sorted({int(run.config.get("seed") or 0) for run in block.runs})
        words = ", ".join(str(seed) for seed in seeds) or "none"
        pairs.append((block.title, f"{block.scale}. {len(block.runs)} runs; seeds {words}"))
    skipped = sum(run.unreadable_lines for run in runs)
    if skipped:
        pairs.append(("unreadable lines", f"{skipped}, skipped"))
    silent = [run.name for run in runs if not run.rows]
    if silent:
        pairs.append(("without rows", f"{len(silent)}: {', '.join(silent[:8])}"))
    return Section("Runs", definition_list(pairs))


def _environment(runs: Sequence[Run], name: str, count: str = "") -> str:
    found = []
    for run in runs:
        if name in run.environment:
            value = str(run.environment[name])
            number = run.environment.get(count) if count else None
            found.append(f"{number} × {value}" if number is not None else value)
    return ", ".join(sorted(set(found))) or "not recorded"


def _claims_sections(studies: Sequence[Study]) -> list[Section]:
    intro = paragraph(
        "What the papers claim, judged on the runs below by rules fixed in advance. A claim that "
        "does not hold at this scale is not thereby refuted at the paper's."
    )
    body = "".join(table_html(table) for table in claims_tables(studies))
    return [Section("Claims", f"{intro}<div class='claims'>{body}</div>")]


def _block_sections(block: Block, figures: _Figures) -> list[Section]:
    sections = [Section(block.title, "".join(table_html(table) for table in block.tables))]
    for title, drawings in block.figures.items():
        sections.append(Section(title, figures.place([draw() for draw in drawings]), level=3))
    return [section for section in sections if section.body]


def _theory_section(root: str | Path, figures: _Figures) -> Section:
    arrays = load_theory(root)
    body = figures.place([f(arrays) for f in _THEORY_FIGURES])
    return Section("Theory: no data, no model", body or paragraph("Not yet run.", "none"))


def _reproduction_sections(
    found: Sequence[Beside], studies: Sequence[Study], drawn: Sequence[str]
) -> list[Section]:
    sections = [
        Section(
            "Published numbers beside ours",
            paragraph(
                "Three lines for each quantity: as published, ours, and the difference ours − "
                "published (accuracies in percentage points). Ours come from the runs on this page "
                "at the scale stated under each table."
            ),
        )
    ]
    for beside in found:
        body = "".join(table_html(table) for table in beside.tables)
        if beside.citation is paper.WANG_LIU:
            body += bullet_list(figure_states(beside.title, drawn))
        if studies and not beside.has_run:
            body = details("published numbers; ours: not yet run", body)
        sections.append(
            Section(f"{dataset_title(beside.title)}: {beside.citation.short}", body, level=3)
        )
    return sections


def _sources_section() -> Section:
    citations = (paper.WANG_LIU, paper.DECOUPLED, paper.DECOUPLED_THIRD_PARTY, paper.EECS)
    parts = [paragraph(c.full) + (bullet_list(c.notes) if c.notes else "") for c in citations]
    return Section("Sources of the published numbers", "".join(parts))
