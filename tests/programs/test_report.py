"""The report and claims programs, end to end."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from jaxcl.programs import claims, report
from tests.reporting.synthetic import write_grid, write_run, write_theory


class Page(HTMLParser):
    """Checks that tags are balanced and collects what a browser would load, and the anchors."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        for name, value in attrs:
            if name == "src":
                self.sources.append(value or "")
            if name == "href":
                self.links.append(value or "")
            if name == "id":
                self.anchors.add(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(root: Path) -> dict[str, str]:
    names = ("tables.md", "table.csv", "claims.md", "index.html")
    return {name: (root / "report" / name).read_text() for name in names}


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("grid")
    write_grid(root, seeds=(0, 1), temperatures=(0.07, 0.2, 0.5, 1.0), dataset="cifar10", count=30)
    write_theory(root)
    report.run(root, formats=("svg",))
    return root


def test_the_page_is_one_file_without_script_or_anything_from_outside(grid: Path) -> None:
    page = Page(read(grid)["index.html"])
    assert page.open == []
    assert page.tags.isdisjoint({"script", "link", "iframe", "object"})
    assert len(page.sources) > 10
    assert all(source.startswith("data:image/") for source in page.sources)
    assert "url(" not in read(grid)["index.html"].partition("</style>")[0]


def test_the_contents_list_leads_to_every_section(grid: Path) -> None:
    page = Page(read(grid)["index.html"])
    assert {link.removeprefix("#") for link in page.links} == page.anchors


def test_the_page_says_device_versions_seeds_and_scale(grid: Path) -> None:
    text = read(grid)["index.html"]
    for words in ("2 × cpu", "synthetic", "seeds 0, 1", "40 epochs", "batches of 256 images"):
        assert words in text


def test_figures_of_the_paper_are_named_as_drawn_or_not_yet_run(grid: Path) -> None:
    text = read(grid)["index.html"]
    assert "<li>Supplementary Figure 1, local separation, Contrastive: drawn above</li>" in text
    assert "<li>Figure 9, linear accuracy by temperature: drawn above</li>" in text
    assert "<li>Figure 2, t-SNE at τ = 0.07 and 0.2: not yet run</li>" in text


def test_every_figure_is_a_file_too(grid: Path) -> None:
    page = Page(read(grid)["index.html"])
    assert len(list((grid / "report" / "figures").glob("*.svg"))) == len(page.sources)


def test_running_again_gives_the_same_bytes(grid: Path) -> None:
    before = read(grid)
    report.run(grid, formats=("svg",))
    assert read(grid) == before


def test_the_moment_of_a_run_does_not_reach_the_report(grid: Path) -> None:
    assert "2000-01-01" not in "".join(read(grid).values())


def test_an_empty_root_shows_the_papers_columns_and_not_yet_run(tmp_path: Path) -> None:
    assert report.run(tmp_path) == tmp_path / "report" / "index.html"
    text = read(tmp_path)
    page = Page(text["index.html"])
    assert page.open == []
    assert "details" not in page.tags
    for words in ("CIFAR10", "CIFAR100", "SVHN", "ImageNet100", "83.27", "75.41", "2.636"):
        assert words in text["index.html"].replace("−", "")
        assert words in text["tables.md"].replace("−", "")
    ours = [line for line in text["tables.md"].splitlines() if re.search(r"\| ours", line)]
    # Wang & Liu on four data sets; three losses on CIFAR10, CIFAR100 and ImageNet; four losses.
    assert len(ours) == 4 * (3 + 2) + 3 * 3 + 4
    for line in ours:
        assert set(line.split("ours |")[1].strip(" |").split(" | ")) == {"not yet run"}
    assert text["claims.md"].count("not enough runs") == 10 + 3 + 3
    # Figures 4-7 and 9 and two of local separation for each data set, and Figure 2 for CIFAR10.
    figures = re.findall(
        r"<li>((?:Supplementary )?Figures? .*?): not yet run</li>", text["index.html"]
    )
    assert len(figures) == 4 * 5 + 1
    assert "Figure 8, local separation, Contrastive" in figures


def test_a_single_run_without_arrays_or_log_is_reported(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "contrastive", 0.1, 0, arrays=False)
    (folder / "metrics.jsonl").unlink()
    (folder / "environment.json").unlink()
    report.run(tmp_path)
    assert "not recorded" in read(tmp_path)["index.html"]


def test_a_run_that_has_no_rows_yet_is_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "contrastive", 0.1, 0, arrays=False)
    (folder / "rows.jsonl").unlink()
    report.run(tmp_path)
    assert folder.relative_to(tmp_path).as_posix() in read(tmp_path)["index.html"]


def test_names_of_the_user_are_escaped(tmp_path: Path) -> None:
    write_run(tmp_path, "my<b>loss", 0.1, 0, arrays=False)
    report.run(tmp_path)
    assert "my<b>" not in read(tmp_path)["index.html"]


def test_claims_prints_a_verdict_a_claim(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = claims.run(grid)
    assert path == grid / "report" / "claims.md"
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11
    assert "holds" in lines[2]


def test_a_root_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    for program in (report.run, claims.run):
        with pytest.raises(ValueError, match="is not a directory"):
            program(tmp_path / "absent")


def test_unknown_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be among"):
        report.run(tmp_path, formats=("gif",))
