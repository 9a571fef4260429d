"""Sets that TensorFlow Datasets left prepared on disk as array_record, read without TensorFlow."""

import difflib
import json
import pathlib
import re
from collections.abc import Callable, Sequence

import numpy as np

from jaxcl.data import decode

Opened = tuple[
    tuple[int, int, int],
    tuple[str, ...],
    int,
    Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
]


def open_prepared(
    name: str, split: str, folders: Sequence[pathlib.Path], cache: pathlib.Path, size: int | None
) -> Opened:
    """Opens a prepared set. Returns image shape, class names, length and the reader; see :class:`jaxcl.data.sources.Source`."""
    import tensorflow_datasets as tfds

    searched = [*folders, pathlib.Path(tfds.core.constants.DATA_DIR).expanduser()]
    folder = _find(name, searched)
    if folder is None and name == "digits":
        from jaxcl.data import digits

        folder = digits.prepare_digits(cache)
    if folder is None:
        raise ValueError(
            _missing(name, searched, tfds.list_builders(with_community_datasets=False))
        )
    builder = tfds.builder_from_directory(str(folder))
    image_key, label_key = _keys(name, builder.info.features, tfds)
    shape = _image_shape(name, builder.info.features[image_key], size)
    names = tuple(builder.info.features[label_key].names) if label_key else ()
    decoders = {image_key: tfds.decode.SkipDecoding()}
    try:
        records = builder.as_data_source(split=split, decoders=decoders)
    except ValueError as error:
        splits = sorted(builder.info.splits)
        raise ValueError(
            f"cannot open the split {split!r} of {name!r}; there are {splits}: {error}"
        ) from error
    what = f"{name}/{split}"

    def read(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        block = records.__getitems__([int(index) for index in indices])
        images = [decode.decode_image(record[image_key], shape[2], size) for record in block]
        labels = [record[label_key] if label_key else -1 for record in block]
        return decode.stack_images(images, what), np.asarray(labels, np.int32)

    return shape, names, len(records), read


def _find(name: str, folders: Sequence[pathlib.Path]) -> pathlib.Path | None:
    """The folder of the newest array_record version of ``name[/config][:version]``."""
    base, _, version = name.partition(":")
    for folder in folders:
        versions = [
            info.parent
            for info in (folder / base).glob("*/dataset_info.json")
            if (not version or info.parent.name == version) and _is_array_record(info)
        ]
        if versions:
            return max(versions, key=_version_key)
    return None


def _is_array_record(info: pathlib.Path) -> bool:
    return json.loads(info.read_text(encoding="utf-8")).get("fileFormat") == "array_record"


def _version_key(folder: pathlib.Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", folder.name))


def _missing(name: str, searched: Sequence[pathlib.Path], known: Sequence[str]) -> str:
    base = re.split("[/:]", name)[0]
    there = {path.name for folder in searched if folder.is_dir() for path in folder.iterdir()}
    near = difflib.get_close_matches(base, sorted({"digits", *known, *there}), n=1)
    looked = ", ".join(str(folder) for folder in searched)
    if base not in known:
        hint = (
            f"; did you mean {near[0]!r}?"
            if near
            else "; use folder:/path or npz:/path for images of your own"
        )
        return f"unknown data set {name!r}: not known to TensorFlow Datasets and not prepared in {looked}{hint}"
    unusable = [folder / base for folder in searched if (folder / base).is_dir()]
    other = f" (what lies in {unusable[0]} is no array_record of this version)" if unusable else ""
    return (
        f"the data set {name!r} is not prepared as array_record in any of: {looked}{other}; "
        f"prepare it once with: python main.py prepare --dataset={name}"
    )


def _keys(name: str, features, tfds) -> tuple[str, str | None]:
    """The names of the image and of the label feature; label None where the set has none."""
    images = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
    labels = [
        key for key, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)
    ]
    if not images:
        raise ValueError(f"the data set {name!r} has no image feature; it has {sorted(features)}")
    image_key = "image" if "image" in images else images[0]
    if not labels:
        return image_key, None
    return image_key, "label" if "label" in labels else labels[0]


def _image_shape(name: str, feature, size: int | None) -> tuple[int, int, int]:
    height, width, channels = feature.shape
    if feature.np_dtype != np.uint8 or channels not in (1, 3, 4):
        raise ValueError(
            f"the images of {name!r} are {feature.np_dtype} with {channels} channels; only uint8 with 1, 3 or 4 can be read"
        )
    if size is not None:
        return size, size, channels
    if height is None or width is None:
        raise ValueError(
            f"the images of {name!r} differ in size; give size=... to resize and crop them while loading "
            "(256 for training crops of 224)"
        )
    return height, width, channels
