"""Runs in a bucket: gcsfs and tensorstore against a server of this machine that speaks as Cloud Storage does."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from jaxcl.data.sources import load_source
from jaxcl.training.log import read_lines
from tests.programs.conftest import ROOT
from tests.programs.processes import LONG, SHORT, compiled_once, environment, flags, launch
from tests.programs.saved import arrays
from tests.storage import Storage, serve

__all__ = ["compiled_once"]  # applies to every test here

DONE = "commit_success.txt"  # orbax's mark of a whole step, where nothing can be renamed


@pytest.fixture(scope="module")
def storage(compiled_once):
    pytest.importorskip("gcsfs")
    with serve("runs") as (storage, settings), pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        yield storage


def saved(storage: Storage, run: str) -> list[int]:
    """The steps that are whole."""
    with storage.lock:
        names = [name.split("/") for name in storage.buckets["runs"]]
    return sorted(
        int(name[2])
        for name in names
        if name[:2] == [run, "checkpoints"] and name[2].isdigit() and name[3:] == [DONE]
    )


class Pod:
    """Two hosts of a run; what happens to one happens to both."""

    def __init__(self, *command: str):
        own = [sys.executable, "-m", "jaxcl.launch", "--processes=2", "--devices-per-process=1"]
        self.process = subprocess.Popen(
            [*own, "--", str(ROOT / "main.py"), *command],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def wait_for(self, condition) -> None:
        end = time.monotonic() + 300
        while not condition():
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < end
            time.sleep(0.002)

    def hit(self, name: signal.Signals) -> str:
        """Send a signal, to all processes where it cannot be passed on; what they printed."""
        if name == signal.SIGKILL:
            os.killpg(self.process.pid, name)
        else:
            self.process.send_signal(name)
        return self.process.communicate(timeout=300)[0]


@pytest.mark.hosts
def test_a_run_in_a_bucket_ends_with_the_bits_of_one_in_a_folder_whatever_hits_it(
    storage, tmp_path
):
    command = ("pretrain", "--workdir=gs://runs/hit", *flags(LONG))
    # Both hosts are gone while they write.
    pod = Pod(*command)
    pod.wait_for(lambda: saved(storage, "hit"))
    count = len(storage.writes)
    pod.wait_for(lambda: any("checkpoints" in name for name in storage.writes[count:]))
    pod.hit(signal.SIGKILL)
    first = saved(storage, "hit")[-1]
    # A spot slice is taken back.
    pod = Pod(*command)
    pod.wait_for(lambda: saved(storage, "hit")[-1] > first)
    text = pod.hit(signal.SIGTERM)
    assert pod.process.returncode == 143, text
    assert f"at step {first} of 160" in text
    stopped = saved(storage, "hit")[-1]
    assert f"asked to stop: saved step {stopped} of 160" in text
    # An object that says that a step is whole is missing.
    del storage.buckets["runs"][f"hit/checkpoints/{stopped}/{DONE}"]
    before = saved(storage, "hit")[-1]
    done = launch(2, 1, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"at step {before} of 160" in done.stdout

    done = launch(2, 1, "pretrain", f"--workdir={tmp_path / 'folder'}", *flags(LONG))
    assert done.returncode == 0, done.stdout + done.stderr
    copy = storage.download("runs", tmp_path / "bucket") / "hit"
    for a, b in zip(arrays(copy, 160), arrays(tmp_path / "folder", 160), strict=True):
        np.testing.assert_array_equal(a, b)
    logged = [row["step"] for row in read_lines(copy / "metrics.jsonl")]
    assert logged == sorted(set(logged)) and set(logged) >= set(range(2, 161, 2))


@pytest.fixture
def grid(tmp_path) -> list[str]:
    """Flags of a sweep of two cells."""
    path = tmp_path / "two.py"
    path.write_text(
        "from configs.digits import get_config\n"
        "def sweep():\n"
        "    return [{'loss.temperature': 0.05}, {'loss.temperature': 0.5}]\n"
    )
    quick = flags({**SHORT, "evaluate.untrained": False, "evaluate.pixels": False})[1:]
    return [f"--config={path}", *quick]


@pytest.mark.hosts
def test_a_grid_in_a_bucket_has_its_rows_and_report_there(storage, tmp_path, grid):
    done = launch(2, 1, "sweep", "--workdir=gs://runs/grid", *grid)
    assert done.returncode == 0, done.stdout + done.stderr
    copy = storage.download("runs", tmp_path / "bucket") / "grid"
    assert "<img" in (copy / "report/index.html").read_text()
    for temperature in (0.05, 0.5):
        rows = read_lines(copy / f"temperature={temperature}" / "rows.jsonl")
        assert {row["program"] for row in rows} == {"probe", "analyze"}
    # The same command finds everything done.
    count = len(storage.writes)
    again = launch(2, 1, "sweep", "--workdir=gs://runs/grid", *grid)
    assert again.returncode == 0, again.stdout + again.stderr
    assert not [name for name in storage.writes[count:] if "checkpoints" in name]


@pytest.mark.hosts
def test_cells_as_jobs_of_their_own_find_one_another_in_a_bucket(storage, grid):
    own = [sys.executable, str(ROOT / "main.py"), "sweep", "--workdir=gs://runs/jobs", *grid]
    jobs = [
        subprocess.Popen([*own, "--devices=1", f"--cell={cell}"], env=environment())
        for cell in (0, 1)
    ]
    assert [job.wait(timeout=300) for job in jobs] == [0, 0]
    report = storage.buckets["runs"]["jobs/report/index.html"].data.decode()
    assert "0.05" in report and "0.5<" in report


@pytest.mark.hosts
@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("metrics.jsonl", "cannot write gs://runs/full/metrics.jsonl: "),
        ("checkpoints/", "cannot write a checkpoint into gs://runs/full/checkpoints: "),
    ],
)
def test_a_bucket_that_takes_no_more_ends_the_run_in_a_line(storage, part, message):
    before = saved(storage, "full")
    pod = Pod("pretrain", "--workdir=gs://runs/full", *flags(LONG))
    pod.wait_for(lambda: saved(storage, "full") > before)
    storage.full = f"full/{part}"
    try:
        text = pod.process.communicate(timeout=300)[0]
    finally:
        storage.full = None
    assert pod.process.returncode == 1, text
    lines = [line for line in text.splitlines() if "error: " in line]
    assert 1 <= len(lines) <= 2  # each process writes its part of a checkpoint
    for line in lines:
        assert message in line and "the quota is used up" in line
        assert "the same command goes on from" in line
    assert "Traceback" not in text


@pytest.mark.hosts
def test_a_bucket_that_is_not_there_is_said_at_the_start(storage):
    done = launch(1, 1, "pretrain", "--workdir=gs://elsewhere/run", *flags(SHORT))
    assert done.returncode == 2, done.stdout + done.stderr
    assert "cannot write to workdir gs://elsewhere/run: there is no such bucket" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.hosts
def test_what_others_wrote_is_seen(storage):
    script = (
        "from jaxcl import paths\n"
        "folder = paths.parse('gs://runs/shared')\n"
        "for _ in range(2):\n"
        "    print([path.name for path in folder.iterdir()], flush=True)\n"
        "    input()\n"
    )
    storage.write("runs", "shared/one/rows.jsonl", b"")
    reader = subprocess.Popen(
        [sys.executable, "-c", script],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert reader.stdin and reader.stdout
    with reader:
        assert reader.stdout.readline() == "['one']\n"
        storage.write("runs", "shared/two/rows.jsonl", b"")
        print(file=reader.stdin, flush=True)
        assert reader.stdout.readline() == "['one', 'two']\n"
        print(file=reader.stdin, flush=True)


@pytest.mark.hosts
def test_sets_in_a_bucket_are_the_ones_in_folders(storage, tmp_path):
    own = tmp_path / "own"
    load_source("digits", "train", cache_dir=own)
    images = np.random.default_rng(0).integers(0, 256, (3000, 64, 64, 3), dtype=np.uint8)
    np.savez(own / "large.npz", train_images=images, train_labels=np.zeros(3000))  # 37 MB
    for path in own.rglob("*"):
        if path.is_file():
            storage.write("runs", f"sets/{path.relative_to(own)}", path.read_bytes())
    script = (
        "import sys, numpy as np\n"
        "from jaxcl.data.sources import load_source\n"
        "own, cache = sys.argv[1:]\n"
        "for name, where in (('digits', 'data_dir'), ('npz:{}/large.npz', '')):\n"
        "    found = []\n"
        "    for root in (own, 'gs://runs/sets'):\n"
        "        given = {where: root} if where else {}\n"
        "        source = load_source(name.format(root), 'train', cache_dir=cache, **given)\n"
        "        found.append(source[np.arange(len(source))])\n"
        "    for key in found[0]:\n"
        "        np.testing.assert_array_equal(found[0][key], found[1][key])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(own), str(tmp_path / "cache")],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    copied = (tmp_path / "cache/gs/runs/sets/large.npz").read_bytes()
    assert copied == (own / "large.npz").read_bytes()
