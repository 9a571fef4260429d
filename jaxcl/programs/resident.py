"""Where a run's training images lie while it trains: on every device, or with the host that reads each batch.

A set lies on the devices as uint8, whole on each of them: an image is then one local read, on any number of devices and
hosts. A set too large for that is read by the hosts, each its own rows of a batch; splitting it over the devices would
exchange images between all of them in every step for memory that the hosts have anyway.
"""

import jax
from ml_collections import ConfigDict

from jaxcl import sharding
from jaxcl.data.sources import Source
from jaxcl.training import feed

CHOICES = ("auto", "host", "device")


def check_choice(config: ConfigDict) -> None:
    """Raise `ValueError` for a choice that is none, or a limit that is no size."""
    if config.data.resident not in CHOICES:
        raise ValueError(
            f"unknown data.resident {config.data.resident!r}; there are: {', '.join(CHOICES)}"
        )
    if config.data.resident_limit < 0:
        raise ValueError(
            f"data.resident_limit must be a number of bytes, got {config.data.resident_limit}"
        )


def num_bytes(source: Source) -> int:
    """Bytes of all pixels of a source."""
    height, width, channels = source.image_shape
    return len(source) * height * width * channels


def on_devices(config: ConfigDict, source: Source) -> bool:
    """Whether the images lie on the devices."""
    if config.data.resident == "auto":
        return source.in_memory and num_bytes(source) <= config.data.resident_limit
    return config.data.resident == "device"


def describe(config: ConfigDict, source: Source) -> str:
    """Where the images lie, in a few words."""
    where = "on every device" if on_devices(config, source) else "read by the host"
    return f"{where}, {num_bytes(source) / 1e6:,.0f} MB"


# The set that was placed last; the cells of a grid train on the same one.
_PLACED: dict[tuple[int, int], tuple[Source, jax.Array]] = {}


def build_feed(config: ConfigDict, source: Source, mesh: jax.sharding.Mesh) -> feed.Feed:
    """What makes global arrays of the batches of `jaxcl.data.pipeline`."""
    if not on_devices(config, source):
        return feed.from_host(mesh)
    assert source.images is not None
    key = (id(source.images), hash(mesh))
    if key not in _PLACED:
        _PLACED.clear()
        _PLACED[key] = (source, sharding.place_rows(source.images, mesh))
    return feed.from_devices(_PLACED[key][1], mesh)
