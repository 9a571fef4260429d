"""ImageNet100, selected from a tiny imagenet2012 of our own in the form that TFDS gives it."""

import hashlib
import importlib.abc
import io
import json
import pathlib
import shutil
import sys

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from jaxcl import config as configs
from jaxcl.data import imagenet100
from jaxcl.data.imagenet100 import SYNSETS
from jaxcl.data.sources import load_source
from jaxcl.programs import prepare, pretrain

ROOT = pathlib.Path(__file__).parent.parent.parent
# TFDS's own list of the 1000 synsets of imagenet2012, in the order of its labels.
ALL_SYNSETS = tfds.core.tfds_path("datasets/imagenet2012/labels.txt").read_text().split()
# The first, two from the middle and the last class of ImageNet100; and three that are not in it.
INSIDE = (SYNSETS[0], SYNSETS[41], SYNSETS[60], SYNSETS[99])
OUTSIDE = ("n01440764", "n02085782", "n15075141")
PER_CLASS = {"train": 5, "validation": 2}


def encoded(synset: str, number: int) -> bytes:
    """A JPEG that only this file has."""
    key = np.random.default_rng([ALL_SYNSETS.index(synset), number])
    pixels = key.integers(0, 256, (40 + number, 48, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


class Imagenet2012StandIn(tfds.core.GeneratorBasedBuilder):
    """What TFDS's imagenet2012 has: all 1000 names, images of different sizes, names of files."""

    name = "imagenet2012_stand_in"
    VERSION = tfds.core.Version("5.1.0")
    labels = ALL_SYNSETS
    splits = tuple(PER_CLASS)

    def _info(self):
        features = {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=self.labels),
            "file_name": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in self.splits}

    def _generate_examples(self, split):
        start = 0 if split == "train" else 100
        for synset in sorted((*INSIDE, *OUTSIDE)):
            for number in range(start, start + PER_CLASS[split]):
                name = f"{synset}_{number}.JPEG"
                image = encoded(synset, number)
                yield name, {"image": image, "label": synset, "file_name": name}


class NoTensorFlow(importlib.abc.MetaPathFinder):
    """Hides TensorFlow where it is installed."""

    def find_spec(self, fullname, path, target=None):
        if fullname.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError("TensorFlow is hidden")
        return None


def write_stand_in(folder: pathlib.Path, **changes) -> pathlib.Path:
    """Prepares a stand-in and puts it where imagenet2012 is looked for."""
    cls = type("Changed", (Imagenet2012StandIn,), changes, skip_registration=True)
    builder = cls(data_dir=str(folder), file_format="array_record")
    builder.download_and_prepare()
    made = pathlib.Path(builder.data_dir)
    final = folder / "imagenet2012" / made.name
    final.parent.mkdir()
    made.rename(final)
    return folder


@pytest.fixture(scope="session")
def imagenet(tmp_path_factory):
    return write_stand_in(tmp_path_factory.mktemp("imagenet"))


@pytest.fixture(scope="session")
def prepared(imagenet):
    """The folder that holds both sets."""
    folder = prepare.run("imagenet100", imagenet)
    assert folder == imagenet / "imagenet100" / "1.0.0"
    return imagenet


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No folder but the one named is looked in."""
    monkeypatch.delenv("JAXCL_DATA_DIR", raising=False)
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tensorflow_datasets.core.constants.DATA_DIR", str(tmp_path / "own"))


def test_the_classes_are_those_of_the_papers_table_in_its_order():
    assert len(set(SYNSETS)) == 100
    assert set(SYNSETS) <= set(ALL_SYNSETS)
    # Of the printed Table 3, read row by row and joined by line feeds.
    digest = "d61d354b64beb3ce2c2c9cf04a874298362dc9fcd589e15ee34c5e4592145746"
    assert hashlib.sha256("\n".join(SYNSETS).encode()).hexdigest() == digest


def test_the_images_of_the_classes_are_copied_byte_by_byte(prepared):
    builder = tfds.builder_from_directory(str(prepared / "imagenet100" / "1.0.0"))
    for split, count in PER_CLASS.items():
        decoders = {"image": tfds.decode.SkipDecoding()}
        records = list(builder.as_data_source(split=split, decoders=decoders))
        assert len(records) == count * len(INSIDE)
        for record in records:
            synset, number = record["file_name"].decode().removesuffix(".JPEG").split("_")
            assert synset == SYNSETS[record["label"]]
            assert record["image"] == encoded(synset, int(number))


def test_it_opens_by_name_with_labels_in_the_papers_order(prepared):
    for split, count in PER_CLASS.items():
        source = load_source("imagenet100", split, data_dir=prepared, size=32)
        assert source.image_shape == (32, 32, 3)
        assert source.class_names == SYNSETS
        expected = {SYNSETS.index(synset): count for synset in INSIDE}
        values, counts = np.unique(source.labels, return_counts=True)
        assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == expected


def test_preparing_needs_no_tensorflow_and_decodes_nothing(imagenet, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JAXCL_DATA_DIR", str(imagenet))
    monkeypatch.setattr("sys.meta_path", [NoTensorFlow(), *sys.meta_path])
    monkeypatch.setattr("PIL.Image.open", lambda *args, **settings: pytest.fail("decoded"))
    folder = prepare.run("imagenet100", tmp_path)
    assert folder == tmp_path / "imagenet100" / "1.0.0"
    info = json.loads((folder / "dataset_info.json").read_text())
    assert info["fileFormat"] == "array_record"
    assert "train 20, validation 8 images" in capsys.readouterr().out


def test_a_prepared_set_is_left_as_it_is(prepared, capsys):
    records = sorted((prepared / "imagenet100" / "1.0.0").glob("*array_record*"))
    before = [path.stat().st_mtime_ns for path in records]
    prepare.run("imagenet100", prepared)
    assert before == [path.stat().st_mtime_ns for path in records]


def test_without_imagenet_the_way_to_it_is_said(nowhere, tmp_path):
    match = (
        "'imagenet2012', which is not prepared as array_record in any of: .*here.*by hand.*"
        "ILSVRC2012_img_train.tar .*here/downloads/manual.*"
        "main.py prepare --dataset=imagenet2012 --data_dir=.*here"
    )
    with pytest.raises(ValueError, match=match):
        prepare.run("imagenet100", tmp_path / "here")


def test_opening_it_unprepared_says_the_command(nowhere, tmp_path):
    with pytest.raises(ValueError, match="main.py prepare --dataset=imagenet100"):
        load_source("imagenet100", "train", data_dir=tmp_path, size=32)


def test_a_source_without_validation_is_refused(tmp_path):
    write_stand_in(tmp_path, splits=("train",))
    match = r"has no split 'validation', only \['train'\]; .*ILSVRC2012_img_val.tar"
    with pytest.raises(ValueError, match=match):
        prepare.run("imagenet100", tmp_path)


def test_a_source_without_one_of_the_classes_is_refused(tmp_path):
    write_stand_in(tmp_path, labels=[name for name in ALL_SYNSETS if name != SYNSETS[7]])
    with pytest.raises(ValueError, match=f"lacks 1 of the 100 classes, {SYNSETS[7]} among them"):
        prepare.run("imagenet100", tmp_path)


def test_a_damaged_source_is_named_and_leaves_no_set(imagenet, tmp_path):
    shutil.copytree(imagenet / "imagenet2012", tmp_path / "imagenet2012")
    for records in (tmp_path / "imagenet2012" / "5.1.0").glob("*validation.array_record*"):
        records.unlink()
    with pytest.raises(ValueError, match="cannot read imagenet2012/validation: is the copy in"):
        prepare.run("imagenet100", tmp_path)
    assert not (tmp_path / "imagenet100" / "1.0.0").exists()


def test_the_builder_alone_says_what_it_needs(tmp_path):
    builder = imagenet100.Imagenet100(data_dir=str(tmp_path), file_format="array_record")
    with pytest.raises(ValueError, match="needs source=..., a prepared imagenet2012"):
        builder.download_and_prepare()


def test_a_missing_manual_download_is_one_line_and_no_traceback(monkeypatch, tmp_path):
    class Builder:
        data_dir = str(tmp_path)
        MANUAL_DOWNLOAD_INSTRUCTIONS = "register"

        def download_and_prepare(self):
            raise AssertionError("Manual directory does not exist")

    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("tensorflow_datasets.builder", lambda name, **settings: Builder())
    with pytest.raises(ValueError, match="'imagenet2012' needs a download by hand: Manual dir"):
        prepare.run("imagenet2012", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["paper", "views"])
def test_the_config_takes_a_step_at_a_small_size(scale, prepared, tmp_path):
    small = {
        "data.data_dir": str(prepared),
        "data.resize": 40,
        "data.image_size": 32,
        "model.width": 0.0625,
        "train.monitor_every": 0.0,  # there is no test split to monitor
        "loss.name": "hard",
        "loss.num_negatives": 4,
        "train.batch_size": jax.device_count(),
        "train.steps": 1,
    }
    config = configs.load(str(ROOT / "configs" / f"imagenet100.py:{scale}"), small)
    assert pretrain.run(config, tmp_path / "run")["step"] == 1
