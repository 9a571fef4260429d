"""Directories in a bucket, with a folder in the bucket's place; checkpoints, which tensorstore writes, are not here."""

import json
import pathlib
import shutil
import sys

import numpy as np
import pytest

from jaxcl import paths
from jaxcl.config import override
from jaxcl.data.sources import load_source
from jaxcl.programs import prepare, pretrain, report
from jaxcl.programs.workdir import append_rows, open_for_training, read_rows
from jaxcl.training.log import open_metrics, read_lines
from tests.buckets import pretend
from tests.programs.conftest import ROOT, TINY
from tests.reporting.synthetic import write_run


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    with pretend(tmp_path / "buckets", monkeypatch) as root:
        yield root


@pytest.fixture(scope="module")
def tiny():
    from jaxcl import config

    return config.load(str(ROOT / "configs" / "digits.py"), TINY)


def test_a_local_path_is_a_pathlib_path():
    assert paths.parse("runs/one") == pathlib.Path("runs/one")
    assert not paths.is_remote(paths.parse("/runs"))


def test_an_address_of_a_bucket_keeps_both_strokes(bucket):
    for name in ("gs://runs/one", pathlib.Path("gs://runs/one"), paths.parse("gs://runs/one/")):
        assert str(paths.parse(name)) == "gs://runs/one"
    assert str(paths.parse("gs://runs") / "one") == "gs://runs/one"


def test_what_is_missing_is_said_before_anything_compiles(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ValueError, match=r"gcsfs, which is not installed; pip install .*\[gcs\]"):
        pretrain.run(tiny, "gs://runs/one")
    with pytest.raises(ValueError, match="names no bucket"):
        pretrain.run(tiny, "gs://")
    with pytest.raises(ValueError, match="s3://runs: a directory is a local one or gs://"):
        pretrain.run(tiny, "s3://runs")


def test_tensorflow_is_not_asked_where_it_is_installed(bucket, tmp_path, monkeypatch):
    package = tmp_path / "installed" / "tensorflow"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('imported')\n")
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.delenv("EPATH_USE_TF", raising=False)
    assert not paths.parse("gs://runs/nothing").exists()


def test_rows_are_appended_to_an_object(bucket):
    workdir = paths.parse("gs://runs/one")
    append_rows(workdir, [{"row": 1}])
    append_rows(workdir, [{"row": 2}, {"row": 3}])
    assert [row["row"] for row in read_rows(workdir)] == [1, 2, 3]
    assert (bucket / "runs" / "one" / "rows.jsonl").is_file()


def test_metrics_are_in_the_bucket_when_flushed_and_when_the_run_ends(bucket):
    workdir = paths.parse("gs://runs/one")
    log = workdir / "metrics.jsonl"
    with open_metrics(workdir, 0, tensorboard=False) as metrics:
        metrics.write({"step": 1})
        assert read_lines(log) == []  # not an object for each row
        metrics.flush()
        assert read_lines(log) == [{"step": 1}]
        metrics.write({"step": 2})
    with open_metrics(workdir, 1, tensorboard=False) as metrics:  # step 2 is run again
        metrics.write({"step": 2, "again": True})
    assert read_lines(log) == [{"step": 1}, {"step": 2, "again": True}]


def test_a_bucket_is_claimed_refused_and_moved_aside_like_a_directory(bucket, tiny):
    workdir = paths.parse("gs://runs/one")
    other = override(tiny, {"loss.temperature": 0.7})
    assert not open_for_training(workdir, tiny)
    assert open_for_training(workdir, tiny)
    with pytest.raises(ValueError, match=r"loss\.temperature is 0\.1 there and 0\.7 here"):
        open_for_training(workdir, other)
    assert not open_for_training(workdir, other, force=True)
    temperatures = [
        json.loads((bucket / "runs" / name / "config.json").read_text())["loss"]["temperature"]
        for name in ("one", "one.old-1")
    ]
    assert temperatures == [0.7, 0.1]


def test_tensorboard_in_a_bucket_is_refused(bucket, tiny):
    config = override(tiny, {"train.tensorboard": True})
    with pytest.raises(ValueError, match="train.tensorboard writes event files, which cannot grow"):
        open_for_training(paths.parse("gs://runs/one"), config)


def test_a_report_in_a_bucket_is_the_report(bucket, tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / "local", "contrastive", 0.1, seed)
        write_run(tmp_path / "local", "contrastive", 0.3, seed)
    shutil.copytree(tmp_path / "local", bucket / "runs")
    here = report.run(tmp_path / "local", ("svg",)).parent
    assert str(report.run("gs://runs", ("svg",))) == "gs://runs/report/index.html"
    there = bucket / "runs" / "report"
    written = {path.relative_to(here) for path in here.rglob("*") if path.is_file()}
    assert written == {path.relative_to(there) for path in there.rglob("*") if path.is_file()}
    for name in written:
        assert (here / name).read_bytes() == (there / name).read_bytes(), name


def test_data_of_a_bucket_are_copied_once(bucket, tmp_path):
    images = np.arange(4 * 8 * 8, dtype=np.uint8).reshape(4, 8, 8)
    file = bucket / "data" / "own.npz"
    file.parent.mkdir(parents=True)
    np.savez(file, train_images=images, train_labels=np.arange(4))
    cache = tmp_path / "cache"
    for _ in range(2):
        source = load_source("npz:gs://data/own.npz", "train", cache_dir=cache)
        np.testing.assert_array_equal(source[np.arange(4)]["image"][..., 0], images)
        file.unlink(missing_ok=True)
    assert [path.name for path in (cache / "gs" / "data").iterdir()] == ["own.npz"]
    with pytest.raises(ValueError, match="there is nothing at gs://data/other.npz"):
        load_source("npz:gs://data/other.npz", "train", cache_dir=cache)


def test_a_prepared_set_is_found_in_a_bucket(bucket, tmp_path):
    load_source("digits", "train", cache_dir=tmp_path / "own")
    shutil.copytree(tmp_path / "own" / "digits", bucket / "data" / "digits")
    cache = tmp_path / "cache"
    source = load_source("digits", "test", data_dir="gs://data", cache_dir=cache)
    assert len(source) == 360
    assert list((cache / "gs" / "data" / "digits").iterdir())


def test_a_set_is_not_prepared_in_a_bucket(bucket):
    with pytest.raises(ValueError, match="prepared in a local folder; copy it there afterwards"):
        prepare.run("cifar10", "gs://data")
