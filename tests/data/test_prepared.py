"""Sets that TensorFlow Datasets prepared: real ones where they are at hand, and one of our own."""

import io
import json
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from jaxcl.data.sources import load_source
from jaxcl.programs import prepare


class TinyPhotos(tfds.core.GeneratorBasedBuilder):
    """Six flat JPEGs of different sizes, the last one gray; labels under another name."""

    VERSION = tfds.core.Version("1.2.0")

    def _info(self):
        features = {
            "file_name": tfds.features.Text(),
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "object": tfds.features.ClassLabel(names=["hat", "pin"]),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for number in range(6):
            shape = (20 + 4 * number, 30) if number == 5 else (20 + 4 * number, 30, 3)
            pixels = np.full(shape, 40 * number, np.uint8)
            encoded = io.BytesIO()
            Image.fromarray(pixels).save(encoded, "JPEG")
            yield number, {"file_name": "?", "image": encoded.getvalue(), "object": number % 2}


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A folder that holds the set ``tiny_photos``."""
    folder = tmp_path_factory.mktemp("photos")
    TinyPhotos(data_dir=str(folder), file_format="array_record").download_and_prepare()
    return folder


def test_images_of_different_sizes_are_resized_to_the_size_asked_for(photos):
    source = load_source("tiny_photos", "train", data_dir=photos, size=16)
    assert source.image_shape == (16, 16, 3)
    assert source.class_names == ("hat", "pin")
    # Flat images stay flat, up to what JPEG makes of them; a gray file becomes red, green and blue.
    numbers = np.rint(source.images.mean(axis=(1, 2, 3)) / 40).astype(int)
    assert sorted(numbers) == list(range(6))
    np.testing.assert_array_equal(source.labels, numbers % 2)
    assert (np.ptp(source.images, axis=(1, 2, 3)) <= 2).all()


def test_images_of_different_sizes_need_a_size(photos):
    with pytest.raises(ValueError, match="images of 'tiny_photos' differ in size; give size="):
        load_source("tiny_photos", "train", data_dir=photos)


def test_the_newest_version_is_taken_and_another_one_by_its_number(photos, tmp_path):
    for version in ("1.10.0", "1.9.0"):
        folder = tmp_path / "tiny_photos" / version
        shutil.copytree(photos / "tiny_photos" / "1.2.0", folder)
        info = folder / "dataset_info.json"
        info.write_text(info.read_text().replace("1.2.0", version))
    for records in folder.glob("*array_record*"):
        records.unlink()
    assert len(load_source("tiny_photos", "train", data_dir=tmp_path, size=8)) == 6
    with pytest.raises(ValueError, match="cannot read tiny_photos:1.9.0/train"):
        load_source("tiny_photos:1.9.0", "train", data_dir=tmp_path, size=8)
    with pytest.raises(ValueError, match=r"not prepared as array_record .*found only .*1\.10\.0"):
        load_source("tiny_photos:3.0.0", "train", data_dir=tmp_path, size=8)


def test_a_damaged_copy_is_named(photos, tmp_path):
    shutil.copytree(photos / "tiny_photos", tmp_path / "tiny_photos")
    (records,) = (tmp_path / "tiny_photos" / "1.2.0").glob("*array_record*")
    records.unlink()
    with pytest.raises(ValueError, match="cannot read tiny_photos/train: is the copy in .* compl"):
        load_source("tiny_photos", "train", data_dir=tmp_path, size=8)


def test_a_missing_set_names_itself_the_places_and_the_command(tmp_path):
    places = (tmp_path / "one", tmp_path / "two")
    match = "'svhn_cropped' is not prepared .*one, .*two, .*main.py prepare --dataset=svhn_cropped"
    with pytest.raises(ValueError, match=match):
        load_source("svhn_cropped", "train", data_dir=places)


def test_a_set_in_another_file_format_is_pointed_out(photos, tmp_path):
    shutil.copytree(photos / "tiny_photos", tmp_path / "tiny_photos")
    path = tmp_path / "tiny_photos" / "1.2.0" / "dataset_info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "fileFormat": "tfrecord"}))
    match = r"found only .*1\.2\.0 \(tfrecord\).*--dataset=tiny_photos --data_dir="
    with pytest.raises(ValueError, match=match):
        load_source("tiny_photos", "train", data_dir=tmp_path, size=8)


@pytest.mark.parametrize(("wrong", "right"), [("digts", "digits"), ("cifar01", "cifar10")])
def test_an_unknown_set_suggests_the_near_one(wrong, right):
    with pytest.raises(ValueError, match=f"unknown data set '{wrong}'.*did you mean '{right}'"):
        load_source(wrong, "train")


def test_an_unknown_set_without_a_near_name_suggests_a_folder():
    with pytest.raises(ValueError, match="for your own images say folder:/path"):
        load_source("zzzzzzzz", "train")


def test_an_unknown_split_names_those_that_there_are(cache_dir):
    match = r"'digits' has no split 'trian'; it has \['test', 'train'\]; did you mean 'train'"
    with pytest.raises(ValueError, match=match):
        load_source("digits", "trian[:10%]", cache_dir=cache_dir)


def test_cifar10_is_read_whole(prepared_data):
    source = load_source("cifar10", "test", data_dir=prepared_data)
    assert len(source) == 10_000
    assert source.image_shape == (32, 32, 3)
    assert source.class_names[:2] == ("airplane", "automobile")
    np.testing.assert_array_equal(np.bincount(source.labels), [1000] * 10)
    theirs = tfds.data_source("cifar10", split="test", data_dir=prepared_data)
    for position in (0, 1024, 9999):
        np.testing.assert_array_equal(source.images[position], theirs[position]["image"])
        assert source.labels[position] == theirs[position]["label"]


def test_unlabelled_images_have_the_label_minus_one(prepared_data):
    if not (prepared_data / "stl10").is_dir():
        pytest.skip("JAXCL_DATA_DIR holds no stl10")
    source = load_source("stl10", "unlabelled[:8]", data_dir=prepared_data)
    np.testing.assert_array_equal(source.labels, [-1] * 8)
    assert source.image_shape == (96, 96, 3)


def test_preparing_says_what_it_needs(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"preparing 'cifar10' needs TensorFlow.*\[prepare\]"):
        prepare.run("cifar10")
    with pytest.raises(ValueError, match="did you mean 'cifar10'"):
        prepare.run("cifar01")
    with pytest.raises(ValueError, match="'digits' needs no preparation"):
        prepare.run("digits")


def test_preparing_writes_array_record_where_it_is_told(monkeypatch, tmp_path, capsys):
    asked = {}

    class Builder:
        data_dir = str(tmp_path / "cifar10" / "3.0.2")

        def download_and_prepare(self):
            asked["prepared"] = True

    def build(name, **settings):
        asked.update(settings, name=name)
        return Builder()

    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("tensorflow_datasets.builder", build)
    assert prepare.run("cifar10", tmp_path) == tmp_path / "cifar10" / "3.0.2"
    assert asked == {
        "name": "cifar10",
        "data_dir": str(tmp_path),
        "file_format": "array_record",
        "prepared": True,
    }
    assert "preparing cifar10 in" in capsys.readouterr().out
