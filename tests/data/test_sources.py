"""Sources: the embedded digits, folders, npz files, and the errors that name what is wrong."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from jaxcl.data.sources import load_source, thin

_LOAD_DIGITS = """
import sys
from jaxcl.data.pipeline import batches
from jaxcl.data.sources import load_source
source = load_source("digits", "train", cache_dir=sys.argv[1])
steps = batches(source, batch_size=64, seed=0, start_step=0, num_steps=2)
print(sum(int(batch["image"].sum()) for _, batch in steps))
assert "tensorflow" not in sys.modules
"""


def test_two_processes_prepare_the_digits_at_once_without_tensorflow(tmp_path):
    command = [sys.executable, "-c", _LOAD_DIGITS, str(tmp_path)]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]
    assert [path.name for path in tmp_path.iterdir()] == ["digits"], "no copy is left behind"


def test_the_digits_are_those_of_scikit_learn(digits, cache_dir):
    test = load_source("digits", "test", cache_dir=cache_dir)
    assert (len(digits), len(test)) == (1437, 360)
    assert digits.image_shape == (8, 8, 1)
    assert digits.class_names == tuple("0123456789")
    for source, part in ((digits, slice(None, 1437)), (test, slice(1437, None))):
        bunch = load_digits()
        expected = np.round(bunch.images[part] * 255 / 16).astype(np.uint8)
        ours = sorted(zip(source.labels, map(bytes, source.images), strict=True))
        theirs = sorted(zip(bunch.target[part], map(bytes, expected), strict=True))
        assert ours == theirs


def test_a_batch_holds_the_images_labels_and_positions_asked_for(digits):
    batch = digits[[5, 3, 5]]
    assert {name: (value.dtype, value.shape) for name, value in batch.items()} == {
        "image": (np.uint8, (3, 8, 8, 1)),
        "label": (np.int32, (3,)),
        "index": (np.int32, (3,)),
    }
    np.testing.assert_array_equal(batch["image"], digits.images[[5, 3, 5]])
    np.testing.assert_array_equal(batch["index"], [5, 3, 5])


def test_streaming_gives_what_memory_gives(digits, cache_dir):
    streamed = load_source("digits", "train", cache_dir=cache_dir, in_memory=False)
    limited = load_source("digits", "train", cache_dir=cache_dir, memory_limit=1437 * 64 - 1)
    assert digits.in_memory and not streamed.in_memory and not limited.in_memory
    for name, value in digits[[7, 0, 1436]].items():
        np.testing.assert_array_equal(streamed[[7, 0, 1436]][name], value)


def test_a_part_of_a_split_is_the_beginning_of_the_whole(digits, cache_dir):
    part = load_source("digits", "train[:10%]", cache_dir=cache_dir)
    assert len(part) == 144
    np.testing.assert_array_equal(part.images, digits.images[:144])


def test_thinned_images_are_spread_over_the_whole_set(digits):
    few = thin(digits, 5)
    assert len(few) == 5 and thin(digits, 2000) is digits
    everything = few[np.arange(5)]
    kept = [0, 359, 718, 1077, 1436]
    np.testing.assert_array_equal(everything["image"], digits.images[kept])
    np.testing.assert_array_equal(everything["label"], few.labels)
    np.testing.assert_array_equal(few.labels, digits.labels[kept])


def test_decoding_reports_its_progress(cache_dir):
    seen = []
    load_source("digits", "train", cache_dir=cache_dir, progress=lambda *done: seen.append(done))
    assert seen == [(1024, 1437), (1437, 1437)]


def test_wrong_positions_are_refused(digits):
    with pytest.raises(IndexError, match="positions in digits/train run from 0 to 1436"):
        digits[[1437]]
    with pytest.raises(IndexError, match="run from 0"):
        digits[[-1]]
    with pytest.raises(ValueError, match=r"indexed by a list of int positions, not by float64 \[1"):
        digits[np.array([0.5])]


def test_a_folder_has_the_same_labels_in_every_split(folder):
    train = load_source(f"folder:{folder}", "train")
    test = load_source(f"folder:{folder}", "test")
    assert train.image_shape == (6, 8, 3)
    assert train.class_names == test.class_names == ("cat", "dog", "eel")
    np.testing.assert_array_equal(train.labels, [0, 0, 0, 1, 1, 2])
    np.testing.assert_array_equal(test.labels, [0, 2, 2])
    np.testing.assert_array_equal(train.images[:, 0, 0, 0], [0, 10, 20, 30, 40, 50])
    both = load_source(f"folder:{folder}", "test+train[:2]", in_memory=False)
    np.testing.assert_array_equal(both[range(5)]["image"][:, 0, 0, 0], [60, 70, 80, 0, 10])


def test_images_outside_a_class_folder_are_unlabelled(folder):
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(folder / "test" / "any.png")
    np.testing.assert_array_equal(load_source(f"folder:{folder}", "test").labels, [-1, 0, 2, 2])


def test_images_of_different_sizes_need_a_size(folder):
    tall = np.full((20, 4, 3), 200, np.uint8)
    Image.fromarray(tall).save(folder / "train" / "cat" / "9.png")
    with pytest.raises(ValueError, match=r"differ in size \(.*0.png is 8x6, .*9.png is 4x20\)"):
        load_source(f"folder:{folder}", "train")
    source = load_source(f"folder:{folder}", "train", size=5)
    assert source.image_shape == (5, 5, 3)
    np.testing.assert_array_equal(source.images[3], np.full((5, 5, 3), 200))


def test_gray_files_stay_gray_unless_some_are_coloured(folder):
    for path in (folder / "test").glob("*/*.png"):
        Image.fromarray(np.full((6, 8), 7, np.uint8)).save(path)
    assert load_source(f"folder:{folder}", "test").image_shape == (6, 8, 1)
    Image.fromarray(np.full((6, 8, 3), 7, np.uint8)).save(folder / "test" / "cat" / "c.png")
    assert load_source(f"folder:{folder}", "test").image_shape == (6, 8, 3)


def test_errors_of_a_folder_say_what_is_expected(folder):
    name = f"folder:{folder}"
    with pytest.raises(ValueError, match="there is no folder .*nowhere"):
        load_source(f"{name}/nowhere", "train")
    with pytest.raises(ValueError, match=r"has no split 'val'; expected .*found the .*'test', 'tr"):
        load_source(name, "val")
    (folder / "val" / "cat").mkdir(parents=True)
    with pytest.raises(ValueError, match="holds no images in the split 'val'; expected"):
        load_source(name, "val")
    (folder / "train" / "dog" / "0.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"cannot read the image .*dog/0\.png"):
        load_source(name, "train")


def test_a_file_that_breaks_off_is_named_while_it_is_read(folder):
    path = folder / "train" / "cat" / "1.png"
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-60])
    source = load_source(f"folder:{folder}", "train", in_memory=False)
    with pytest.raises(ValueError, match=r"cannot read the image .*cat/1\.png"):
        source[[1]]


@pytest.fixture
def npz(tmp_path):
    """Two gray splits, one unlabelled, with labels as a column (as MedMNIST has them)."""
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 6), np.uint8)
    labels = np.array([[0], [2], [1], [2], [0]])
    path = tmp_path / "set.npz"
    np.savez(path, train_images=images, train_labels=labels, extra_images=images[:2])
    return path, images


def test_an_npz_file_gives_its_splits(npz):
    path, images = npz
    source = load_source(f"npz:{path}", "train[1:]")
    assert source.image_shape == (4, 6, 1)
    assert source.class_names == ("0", "1", "2")
    np.testing.assert_array_equal(source.images[..., 0], images[1:])
    np.testing.assert_array_equal(source.labels, [2, 1, 2, 0])
    np.testing.assert_array_equal(load_source(f"npz:{path}", "extra").labels, [-1, -1])
    assert load_source(f"npz:{path}", "train", size=3).image_shape == (3, 3, 1)


def test_errors_of_an_npz_file_say_what_is_expected(npz, tmp_path):
    path, images = npz
    with pytest.raises(ValueError, match="there is no file .*none.npz"):
        load_source(f"npz:{tmp_path}/none.npz", "train")
    with pytest.raises(ValueError, match="an array 'test_images' is needed, and the file holds"):
        load_source(f"npz:{path}", "test")
    with pytest.raises(ValueError, match=r"the split 'train\[5:\]' of .* holds no images"):
        load_source(f"npz:{path}", "train[5:]")
    np.savez(path, train_images=images / 255)
    with pytest.raises(ValueError, match=r"must be uint8 \[n, h, w\] .*, not float64 \[5, 4, 6\]"):
        load_source(f"npz:{path}", "train")
    np.savez(path, train_images=images, train_labels=np.zeros(4, int))
    with pytest.raises(ValueError, match="has 5 images but 4 labels"):
        load_source(f"npz:{path}", "train")
