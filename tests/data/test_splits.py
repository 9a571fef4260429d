"""Split expressions mean what TensorFlow Datasets makes of them."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from jaxcl.data import splits


@pytest.mark.parametrize(
    "split", ["train", "train[:10%]", "train[33%:66%]", "train[5:-5]", "train[-7:]", "train[90%:]"]
)
def test_a_slice_selects_what_tfds_selects(split):
    sizes = {"train": 1437}
    info = tfds.core.SplitInfo(name="train", shard_lengths=[1437], num_bytes=0)
    (absolute,) = tfds.core.ReadInstruction.from_spec(split).to_absolute({"train": info})
    expected = np.arange(1437)[absolute.from_ : absolute.to]
    ((name, positions),) = splits.split_indices(split, sizes)
    assert name == "train"
    np.testing.assert_array_equal(positions, expected)


def test_a_sum_keeps_its_order_and_its_repeats():
    selected = splits.split_indices("test[:2]+train+test[1:]", {"train": 2, "test": 3})
    assert [(name, list(positions)) for name, positions in selected] == [
        ("test", [0, 1]),
        ("train", [0, 1]),
        ("test", [1, 2]),
    ]


def test_what_cannot_be_read_is_named_with_an_example():
    with pytest.raises(ValueError, match=r"cannot read the split 'train\[a:b\]'; write 'train'"):
        splits.split_indices("train[a:b]", {"train": 3})
    with pytest.raises(ValueError, match=r"unknown split 'val' .*there are \['train'\]"):
        splits.split_indices("val", {"train": 3})
