"""Image sets by name, as one record that is indexed by position.

Names:

* ``digits``: the embedded set, prepared in the cache directory at first use;
* ``cifar10``, ``name/config``, ``name:1.0.0``: a set that lies prepared by TensorFlow Datasets;
* ``folder:/path``: ``/path/<split>/<class>/*.png`` (or jpg);
* ``npz:/path``: arrays ``<split>_images`` and ``<split>_labels`` in one file.

A path may be ``gs://bucket/...``; what lies there is copied once into the cache directory.

Nothing here imports TensorFlow or reads an environment variable.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from jaxcl import paths
from jaxcl.data import files, prepared

Folder = str | pathlib.Path

# Records decoded at a time while a set is read into memory.
_BLOCK = 1024


@dataclasses.dataclass(frozen=True)
class Source:
    """One split of an image set; indexed with int positions ``[k]`` it gives a batch.

    Attributes:
      name: the name that it was asked for by.
      split: the split expression.
      image_shape: ``(h, w, c)`` of every image.
      class_names: one name for each class; empty where the set has no labels.
      length: the number of images, also ``len(source)``.
      read: positions ``[k]`` to images uint8 ``[k, h, w, c]`` and labels int32 ``[k]``.
      images: uint8 ``[length, h, w, c]`` where the set is held in memory, else None.
      labels: int32 ``[length]`` where the set is held in memory, else None. -1: unlabelled.
    """

    name: str
    split: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    length: int
    read: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] = dataclasses.field(repr=False)
    images: np.ndarray | None = dataclasses.field(default=None, repr=False)
    labels: np.ndarray | None = dataclasses.field(default=None, repr=False)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def in_memory(self) -> bool:
        return self.images is not None

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, indices: np.ndarray | Sequence[int]) -> dict[str, np.ndarray]:
        """``{"image": uint8 [k, h, w, c], "label": int32 [k], "index": int32 [k]}``."""
        indices = np.asarray(indices)
        if indices.ndim != 1 or not np.issubdtype(indices.dtype, np.integer):
            raise ValueError(
                "a source is indexed by a list of int positions, not by "
                f"{indices.dtype} {list(indices.shape)}"
            )
        if indices.size and not 0 <= indices.min() <= indices.max() < self.length:
            raise IndexError(
                f"positions in {self.name}/{self.split} run from 0 to {self.length - 1}"
            )
        images, labels = self.read(indices)
        return {"image": images, "label": labels, "index": indices.astype(np.int32)}


def load_source(
    name: str,
    split: str,
    *,
    data_dir: Folder | Sequence[Folder] | None = None,
    in_memory: bool | Literal["auto"] = "auto",
    memory_limit: int = 2**30,
    size: int | None = None,
    cache_dir: Folder | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Source:
    """Opens one split of a set by name.

    Args:
      name: see the top of this file.
      split: ``"train"``, or an expression such as ``"train[:10%]"`` or ``"train+test"``.
      data_dir: the folder or folders in which prepared sets are looked for, in order; the own
        folder of TensorFlow Datasets comes last.
      in_memory: whether everything is decoded once into memory; ``"auto"`` does so where that
        takes at most ``memory_limit``.
      memory_limit: bytes of decoded pixels.
      size: when given, every image is resized on the host to this shorter side and its centre
        square is kept. Sets whose images differ in size need it. Choose it larger than the
        training crop (256 for 224): what is cut off here, no crop can show.
      cache_dir: where the embedded set and copies of sets in buckets are kept; ``~/.cache/jaxcl`` by default.
      progress: called with (images done, images in all) while a set is decoded into memory.

    Raises:
      ValueError: for a set that is unknown, not prepared or damaged, an unknown split, or images
        that differ in size where no ``size`` is given.
    """
    kind, _, path = name.partition(":")
    cache = pathlib.Path(cache_dir or "~/.cache/jaxcl").expanduser()
    if kind in ("folder", "npz"):
        place = paths.copied(paths.parse(path).expanduser(), cache)
        open_own = files.open_folder if kind == "folder" else files.open_npz
        opened = open_own(name, split, place, size)
    else:
        opened = prepared.open_prepared(name, split, _folders(data_dir), cache, size)
    source = Source(name, split, *opened)
    if len(source) == 0:
        raise ValueError(f"the split {split!r} of {name!r} holds no images")
    decoded_bytes = len(source) * int(np.prod(source.image_shape))
    if in_memory is True or (in_memory == "auto" and decoded_bytes <= memory_limit):
        return _decode_all(source, progress)
    return source


def thin(source: Source, count: int) -> Source:
    """At most ``count`` images of a source, evenly spaced, so that a set sorted by class keeps all of its classes."""
    if count >= len(source):
        return source
    positions = np.linspace(0, len(source) - 1, count).round().astype(np.int64)

    def read(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return source.read(positions[indices])

    labels = None if source.labels is None else source.labels[positions]
    return dataclasses.replace(source, length=count, read=read, images=None, labels=labels)


def _folders(data_dir: Folder | Sequence[Folder] | None) -> list[pathlib.Path]:
    if data_dir is None:
        return []
    listed = [data_dir] if isinstance(data_dir, str | pathlib.Path) else data_dir
    return [paths.parse(folder).expanduser() for folder in listed]


def _decode_all(source: Source, progress: Callable[[int, int], None] | None) -> Source:
    count = len(source)
    images = np.empty((count, *source.image_shape), np.uint8)
    labels = np.empty(count, np.int32)
    for start in range(0, count, _BLOCK):
        stop = min(start + _BLOCK, count)
        images[start:stop], labels[start:stop] = source.read(np.arange(start, stop))
        if progress is not None:
            progress(stop, count)
    # Every batch shares these arrays with the caller.
    images.flags.writeable = False
    labels.flags.writeable = False

    def read(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return images[indices], labels[indices]

    return dataclasses.replace(source, read=read, images=images, labels=labels)
