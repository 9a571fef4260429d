"""Batches are functions of (seed, step), whatever the processes, threads and restarts."""

import threading

import numpy as np
import pytest

from jaxcl.data.pipeline import EpochOrder, batches, ordered
from jaxcl.data.sources import Source


def numbered(count: int) -> Source:
    """A source whose images are their own position."""

    def read(indices):
        images = np.zeros((len(indices), 2, 2, 1), np.uint8)
        images[:, 0, 0, 0] = indices
        return images, (indices % 3).astype(np.int32)

    return Source("numbered", "train", (2, 2, 1), ("a", "b", "c"), count, read)


def positions(source: Source, **settings) -> dict[int, np.ndarray]:
    return {step: batch["index"] for step, batch in batches(source, **settings)}


def test_an_epoch_is_a_new_permutation_without_its_remainder():
    seen = positions(numbered(50), batch_size=16, seed=0, start_step=0, num_steps=6)
    first, second = (
        np.concatenate([seen[step] for step in steps]) for steps in ([0, 1, 2], [3, 4, 5])
    )
    assert list(seen) == list(range(6))
    assert len(set(first)) == len(set(second)) == 48
    assert list(first) != list(second)
    assert set(first) != set(second), "the images left out change from epoch to epoch"


def test_the_batch_holds_the_images_of_its_positions():
    for _, batch in batches(numbered(50), batch_size=16, seed=0, start_step=0, num_steps=2):
        np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], batch["index"])
        np.testing.assert_array_equal(batch["label"], batch["index"] % 3)


def test_without_images_the_positions_are_the_same():
    settings = {"batch_size": 16, "seed": 3, "start_step": 2, "num_steps": 8, "process_count": 2}
    whole = positions(numbered(50), **settings)
    alone = dict(batches(numbered(50), with_images=False, **settings))
    assert list(alone) == list(whole)
    for step, batch in alone.items():
        assert set(batch) == {"index"} and batch["index"].dtype == np.int32
        np.testing.assert_array_equal(batch["index"], whole[step])


def test_going_on_from_any_step_is_exact():
    settings = {"batch_size": 16, "seed": 3, "num_steps": 12}
    whole = positions(numbered(50), start_step=0, **settings)
    for start in (1, 3, 11, 12):
        rest = positions(numbered(50), start_step=start, **settings)
        assert list(rest) == list(range(start, 12))
        for step, indices in rest.items():
            np.testing.assert_array_equal(indices, whole[step])


@pytest.mark.parametrize("process_count", [2, 4])
def test_the_global_order_does_not_depend_on_the_processes(process_count):
    settings = {"batch_size": 16, "seed": 3, "start_step": 2, "num_steps": 5}
    whole = positions(numbered(50), **settings)
    parts = [
        positions(numbered(50), process_index=index, process_count=process_count, **settings)
        for index in range(process_count)
    ]
    for step, indices in whole.items():
        np.testing.assert_array_equal(np.concatenate([part[step] for part in parts]), indices)


def test_the_order_depends_on_the_seed_alone():
    settings = {"batch_size": 16, "start_step": 0, "num_steps": 7}
    reference = positions(numbered(50), seed=1, **settings)
    threaded = positions(numbered(50), seed=1, num_threads=4, prefetch=5, **settings)
    other = positions(numbered(50), seed=2, **settings)
    for step, indices in reference.items():
        np.testing.assert_array_equal(threaded[step], indices)
    assert any((other[step] != indices).any() for step, indices in reference.items())


def test_the_permutation_is_that_of_philox():
    order = EpochOrder(num_images=50, batch_size=50, seed=7)
    bits = np.random.Philox(key=[7, 4]).random_raw(50)
    np.testing.assert_array_equal(bits[order(4)], np.sort(bits))


def test_an_ordered_epoch_shows_every_image_once_and_masks_the_padding():
    seen = list(ordered(numbered(50), batch_size=16))
    assert all(batch["image"].shape == (16, 2, 2, 1) for batch in seen)
    mask = np.concatenate([batch["mask"] for batch in seen])
    assert mask.dtype == np.float32
    index = np.concatenate([batch["index"] for batch in seen])
    np.testing.assert_array_equal(index[mask == 1], np.arange(50))
    np.testing.assert_array_equal(index[mask == 0], [49] * 14)


def test_an_ordered_epoch_is_split_over_the_processes():
    parts = [
        list(ordered(numbered(20), batch_size=32, process_index=index, process_count=2))
        for index in range(2)
    ]
    (first,), (second,) = parts
    np.testing.assert_array_equal(first["index"], np.arange(16))
    np.testing.assert_array_equal(second["mask"], [1] * 4 + [0] * 12)


def test_leaving_early_leaves_no_thread():
    before = set(threading.enumerate())
    steps = batches(numbered(50), batch_size=16, seed=0, start_step=0, num_steps=100)
    next(steps)
    started = set(threading.enumerate()) - before
    del steps
    for thread in started:
        thread.join(timeout=10)
    assert started and not any(thread.is_alive() for thread in started)


def test_an_error_while_reading_reaches_the_reader():
    source = numbered(50)

    def fail(indices):
        raise ValueError("cannot read the image 3.png")

    broken = Source(source.name, source.split, source.image_shape, (), 50, fail)
    with pytest.raises(ValueError, match=r"cannot read the image 3\.png"):
        next(batches(broken, batch_size=16, seed=0, start_step=0, num_steps=1))


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"batch_size": 64}, "batch_size 64 is larger than numbered/train, which holds 50 images"),
        ({"batch_size": 0}, "batch_size 0 must be at least 1"),
        (
            {"batch_size": 10, "process_count": 4},
            "10 does not divide over 4 processes; 8 and 12 do",
        ),
        ({"batch_size": 3, "process_count": 4}, "3 does not divide over 4 processes; 4 does"),
        ({"process_index": 2, "process_count": 2}, r"process_index 2 must lie in \[0, .* 2\)"),
        ({"start_step": 9}, "start_step 9 must lie between 0 and num_steps 5"),
        ({"seed": -1}, "seed -1 must not be negative"),
    ],
)
def test_mistakes_are_named(settings, match):
    settings = {"batch_size": 16, "seed": 0, "start_step": 0, "num_steps": 5, **settings}
    with pytest.raises(ValueError, match=match):
        batches(numbered(50), **settings)
