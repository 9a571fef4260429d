"""The report below a root: which tables and figures it has, and their order on the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jaxcl.reporting import paper, reproduction
from jaxcl.reporting.claims import CLAIMS, claims_table, judged
from jaxcl.reporting.evidence import NOT_ENOUGH
from jaxcl.reporting.figures import Picture, planes, samples, temperature, theory, training
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
from jaxcl.reporting.runs import Run, collect_runs, load_theory
from jaxcl.reporting.studies import build_studies
from jaxcl.reporting.study import Study
from jaxcl.reporting.style import save
from jaxcl.reporting.tables import (
    NOT_RUN,
    Table,
    baseline_table,
    cell_table,
    csv_text,
    markdown,
    penalty_table,
)

FORMATS = ("png", "svg", "pdf")
_THEORY_FIGURES = (
    theory.ratio_figure,
    theory.entropy_theory_figure,
    theory.coupling_figure,
    theory.loss_shape_figure,
)
_STUDY_FIGURES = (
    temperature.accuracy_figure,
    temperature.uniformity_figure,
    temperature.tolerance_figure,
    temperature.entropy_figure,
    temperature.gap_figure,
    temperature.positive_figure,
    planes.plane_figure,
    planes.accuracy_uniformity_figure,
)


class _Figures:
    """Writes figures as they are placed on the page, and counts them."""

    def __init__(self, folder: Path, formats: Sequence[str]):
        self.folder, self.formats, self.count = folder, formats, 0

    def place(self, pictures: Sequence[Picture | None]) -> str:
        parts = []
        for picture in pictures:
            if picture is not None:
                self.count += 1
                files = save(picture.figure, self.folder, picture.name, self.formats)
                parts.append(figure_html(picture, files, self.count))
        return f"<div class='figures'>\n{''.join(parts)}</div>\n" if parts else ""


def write_report(root: str | Path, formats: Sequence[str] = FORMATS) -> Path:
    """Writes report/ below `root` from whatever runs lie there.

    Args:
      root: a directory; every run at or below it is reported.
      formats: of the figure files, among png, svg and pdf; the page needs svg or png.

    Returns:
      The path of index.html.
    """
    folder = Path(root) / "report"
    folder.mkdir(parents=True, exist_ok=True)
    runs = collect_runs(root)
    studies = build_studies(runs)
    figures = _Figures(folder / "figures", formats)
    sections = [_summary_section(runs, studies), *_claims_sections(studies)]
    for study in studies:
        sections += _study_sections(study, figures)
    sections.append(_theory_section(root, figures))
    sections += _reproduction_sections(studies)
    sections.append(_sources_section())
    page = render_page("Behaviour of contrastive losses", _lead(runs, studies), sections)
    (folder / "tables.md").write_text(markdown(all_tables(studies)), encoding="utf-8")
    (folder / "table.csv").write_text(csv_text(studies), encoding="utf-8")
    write_claims(folder, studies)
    (folder / "index.html").write_text(page, encoding="utf-8")
    return folder / "index.html"


def write_claims(folder: Path, studies: Sequence[Study]) -> Path:
    """Writes claims.md: every claim judged on every study; on no study at all, the claims alone."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = _claims_tables(studies)
    path = folder / "claims.md"
    path.write_text(markdown(tables), encoding="utf-8")
    return path


def all_tables(studies: Sequence[Study]) -> list[Table]:
    """Every table of the report, in the order of the page."""
    tables: list[Table] = []
    for study in studies:
        tables += _tables_of(study)
    for dataset in paper.WANG_LIU_DATASETS:
        tables += reproduction.wang_liu_tables(dataset, studies)
    return [*tables, *reproduction.decoupled_tables(studies), reproduction.eecs_table(studies)]


def _tables_of(study: Study) -> list[Table]:
    found = [cell_table(study), penalty_table(study), baseline_table(study)]
    return [table for table in found if table is not None]


def _lead(runs: Sequence[Run], studies: Sequence[Study]) -> str:
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
            f"cells of loss and temperature in {len(studies)} "
            f"stud{'ies' if len(studies) != 1 else 'y'}. Everything on this page is computed from "
            "the rows that the runs wrote."
        )
    return paragraph(text, "lead")


def _summary_section(runs: Sequence[Run], studies: Sequence[Study]) -> Section:
    if not runs:
        return Section("Runs", paragraph("Not yet run."))
    pairs = [
        ("device", _environment(runs, "device_kind", count="device_count")),
        ("jaxcl", _environment(runs, "jaxcl")),
        ("revision", _environment(runs, "revision")),
        ("jax, Python", f"{_environment(runs, 'jax')}; {_environment(runs, 'python')}"),
        ("processes", _environment(runs, "process_count")),
    ]
    for study in studies:
        seeds = ", ".join(str(seed) for seed in study.seeds) or "none"
        pairs.append((study.title, f"{study.scale()}. {len(study.runs)} runs; seeds {seeds}"))
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
        f"The claims of {paper.WANG_LIU.short}, judged on the runs below by rules fixed in "
        "advance. A claim that does not hold at this scale is not thereby refuted at the paper's."
    )
    tables = _claims_tables(studies)
    body = "".join(table_html(table) for table in tables)
    return [Section("Claims", f"{intro}<div class='claims'>{body}</div>")]


def _claims_tables(studies: Sequence[Study]) -> list[Table]:
    """A table for each study that has a grid of temperatures; the bare claims if there is none."""
    return [claims_table(study) for study in judged(studies)] or [_unjudged()]


def _unjudged() -> Table:
    return Table(
        title="Claims",
        columns=("", "claim", "holds if", "number", "verdict"),
        rows=tuple(
            (str(i), claim.statement, claim.rule, NOT_RUN, NOT_ENOUGH)
            for i, claim in enumerate(CLAIMS, start=1)
        ),
        text_columns=5,
    )


def _study_sections(study: Study, figures: _Figures) -> list[Section]:
    tables = "".join(table_html(table) for table in _tables_of(study))
    sections = [
        Section(study.title, tables),
        Section(
            "Behaviour by temperature", figures.place([f(study) for f in _STUDY_FIGURES]), level=3
        ),
        Section("Local separation", figures.place(samples.separation_figures(study)), level=3),
        Section("Embeddings", figures.place([samples.map_figure(study)]), level=3),
        Section("Training", figures.place([training.loss_curve_figure(study)]), level=3),
    ]
    return [section for section in sections if section.body]


def _theory_section(root: str | Path, figures: _Figures) -> Section:
    arrays = load_theory(root)
    body = figures.place([f(arrays) for f in _THEORY_FIGURES])
    return Section("Theory: no data, no model", body or paragraph("Not yet run.", "none"))


def _reproduction_sections(studies: Sequence[Study]) -> list[Section]:
    present = {study.dataset for study in studies}
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
    blocks = [
        (
            dataset_title(dataset),
            reproduction.wang_liu_tables(dataset, studies),
            dataset in present,
            paper.WANG_LIU,
        )
        for dataset in paper.WANG_LIU_DATASETS
    ]
    decoupled = reproduction.decoupled_tables(studies)
    eecs = [reproduction.eecs_table(studies)]
    blocks += [
        (
            "Decoupled contrastive learning",
            decoupled,
            any(_has_run(t) for t in decoupled),
            paper.DECOUPLED_THIRD_PARTY,
        ),
        ("Contrastive multiview coding", eecs, any(_has_run(t) for t in eecs), paper.EECS),
    ]
    for title, tables, ran, citation in blocks:
        body = "".join(table_html(table) for table in tables)
        if not ran and studies:
            body = details("published numbers; ours: not yet run", body)
        sections.append(Section(f"{title}: {citation.short}", body, level=3))
    return sections


def _has_run(table: Table) -> bool:
    return any(row[1] == "ours" and any(c != NOT_RUN for c in row[2:]) for row in table.rows)


def _sources_section() -> Section:
    citations = (paper.WANG_LIU, paper.DECOUPLED, paper.DECOUPLED_THIRD_PARTY, paper.EECS)
    parts = [paragraph(c.full) + (bullet_list(c.notes) if c.notes else "") for c in citations]
    return Section("Sources of the published numbers", "".join(parts))
