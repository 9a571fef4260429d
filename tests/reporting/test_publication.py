"""Studies as folders of the repository: what was published can be made again from its rows, to the byte."""

import json
import re
import shlex
from pathlib import Path

import pytest

import main
from jaxcl.programs import report
from jaxcl.reporting import publication
from jaxcl.reporting.blocks import all_tables
from jaxcl.reporting.frozen import FROZEN, pack, unpack
from jaxcl.reporting.judgements import claims_tables
from jaxcl.reporting.publication import MADE_AGAIN, make_again
from jaxcl.reporting.runs import collect_runs
from jaxcl.reporting.studies import build_studies
from jaxcl.reporting.tables import markdown
from tests.reporting.synthetic_studies import write_decoupled, write_stream_run, write_streams

DOCS = Path(__file__).parent.parent.parent / "docs"
PUBLISHED = sorted(path.parent for path in DOCS.rglob(FROZEN))
COMMAND = "python main.py sweep --config=configs/decoupled.py:cpu --workdir=runs/x"


def texts(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in MADE_AGAIN}


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda path: path.name)
def test_every_published_study_is_what_its_rows_give(folder: Path, tmp_path: Path) -> None:
    make_again(folder, tmp_path)
    for name, text in texts(tmp_path).items():
        assert text == (folder / name).read_text(), (
            f"{folder / name} is not what its rows give: python main.py report --workdir={folder} "
            f"--publish={folder}"
        )


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda path: path.name)
def test_every_figure_of_a_published_study_is_there(folder: Path) -> None:
    links = re.findall(r"\]\((figures/[^)]+)\)", (folder / "README.md").read_text())
    assert links
    files = {path.relative_to(folder).as_posix() for path in (folder / "figures").iterdir()}
    assert set(links) == files


def test_a_published_study_begins_with_its_scale_and_command() -> None:
    for folder in PUBLISHED:
        first = (folder / "README.md").read_text().splitlines()[0]
        assert re.match(r"Scale: .*\. \d+ runs, .*Command: `python main.py .*`$", first)
        assert "at revision" in first and "not installed" not in first


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Run directories of two studies, and the folder in which they were frozen."""
    root = tmp_path_factory.mktemp("runs")
    write_decoupled(root / "decoupled", sizes=(32, 128))
    write_streams(root / "streams", maps=False)
    folder = tmp_path_factory.mktemp("published") / "study"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publication, "FORMATS", ("png",))
        assert report.run(root, publish=folder, command=COMMAND) == folder / "README.md"
    return root, folder


def tables(root: Path) -> str:
    studies = build_studies(collect_runs(root))
    return markdown([*all_tables(studies), *claims_tables(studies)])


def test_rows_alone_give_the_tables_of_the_run_directories(roots) -> None:
    root, folder = roots
    assert len(collect_runs(folder)) == len(collect_runs(root)) == 12 + 8
    assert tables(folder) == tables(root)


def test_only_what_was_run_stands_beside_published_numbers(roots) -> None:
    words = texts(roots[1])["tables.md"]
    assert "EECS 442 report, Table 1" in words and "SVHN" not in words


def test_neither_paths_nor_moments_are_published(roots) -> None:
    everything = "".join(path.read_text() for path in roots[1].glob("*.*"))
    assert "/somewhere" not in everything
    assert "2000-01-01" not in everything
    assert str(roots[0]) not in everything


def test_publishing_a_folder_onto_itself_makes_its_texts_again(roots) -> None:
    folder = roots[1]
    before = {path.name: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
    (folder / "notes.md").write_text("It *settled*.\n")
    (folder / "tables.md").unlink()
    report.run(folder, publish=folder)
    assert "\n\nIt *settled*.\n\n" in texts(folder)["README.md"]
    (folder / "notes.md").unlink()
    report.run(folder, publish=folder)
    after = {path.name: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
    assert after == before
    assert "multiplier-history-cifar10-batch-small_conv-batches.png" in after


def test_publishing_again_replaces_and_remembers_the_command(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    write_stream_run(tmp_path / "a", "nce", 0, dataset="cifar10")
    report.run(tmp_path / "a", publish=folder, command=COMMAND)
    write_stream_run(tmp_path / "b", "nce", 0, dataset="stl10", maps=False)
    report.run(tmp_path / "b", publish=folder)
    names = {path.name for path in (folder / "figures").iterdir()}
    assert names and not any("cifar10" in name for name in names)
    assert COMMAND in texts(folder)["README.md"].splitlines()[0]


def test_a_study_without_rows_or_command_is_not_published(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no run below .* has rows yet"):
        report.run(tmp_path, publish=tmp_path / "study", command=COMMAND)
    write_stream_run(tmp_path / "a", "nce", 0, maps=False)
    with pytest.raises(ValueError, match="--publish needs --command='python main.py"):
        report.run(tmp_path / "a", publish=tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_packing_loses_nothing_but_digits_places_and_moments() -> None:
    records = [
        (
            f"seed={seed}",
            {"seed": seed, "a.b": [1, 2], "data.data_dir": "/x"},
            {"jax": "1", "started": f"{seed}"},
            ({"program": "probe", "seed": seed, "accuracy": 1 / 3}, {"program": "p", "seed": seed}),
        )
        for seed in (0, 1)
    ]
    lines = json.loads(json.dumps(pack(records)))
    assert unpack(lines) == [
        (
            f"seed={seed}",
            {"seed": seed, "a": {"b": [1, 2]}},
            {"jax": "1"},
            (
                {"program": "probe", "seed": seed, "accuracy": 0.33333333},
                {"program": "p", "seed": seed},
            ),
        )
        for seed in (0, 1)
    ]


def test_the_commands_of_the_page_on_reproductions_parse() -> None:
    text = (DOCS / "reproduction" / "README.md").read_text()
    commands = [line for line in text.splitlines() if line.startswith("python main.py")]
    assert len(commands) == 3
    for command in commands:
        arguments, overrides = main.parse(shlex.split(command)[2:])
        assert arguments.program == "report" and overrides == {}


@pytest.mark.parametrize(
    "words",
    [
        ["claims", "--workdir=x", "--publish=y"],
        ["report", "--workdir=x", "--command=python main.py"],
    ],
)
def test_publish_and_command_go_with_report_alone(words, capsys) -> None:
    with pytest.raises(SystemExit):
        main.parse(words)
    assert "with" in capsys.readouterr().err
