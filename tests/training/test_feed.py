"""Images that lie on the devices give the batches that the host would have read."""

import jax
import numpy as np

from jaxcl import sharding
from jaxcl.training import feed


def test_the_batch_is_the_same_from_the_host_and_from_the_devices():
    mesh = sharding.make_mesh()
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 5, 1), dtype=np.uint8)
    index = np.array([39, 0, 7, 7, 21, 3, 38, 1] * 2, np.int32)
    batch = {"image": images[index], "index": index, "label": index}
    with jax.set_mesh(mesh):
        one = feed.from_host(mesh)(batch)
        two = feed.from_devices(sharding.place_rows(images, mesh), mesh)({"index": index})
    assert set(one) == set(two) == {"image", "index"}
    for name in one:
        assert one[name].sharding.is_equivalent_to(two[name].sharding, one[name].ndim)
        assert one[name].dtype == two[name].dtype
        np.testing.assert_array_equal(one[name], two[name])


def test_the_set_lies_whole_on_every_device():
    mesh = sharding.make_mesh()
    rows = np.arange(24, dtype=np.uint8).reshape(12, 2)
    placed = sharding.place_rows(rows, mesh)
    assert placed.is_fully_replicated
    assert len(placed.addressable_shards) == 8
    for shard in placed.addressable_shards:
        np.testing.assert_array_equal(shard.data, rows)
