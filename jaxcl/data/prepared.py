"""Sets that TensorFlow Datasets left prepared as array_record, read without TensorFlow."""

import difflib
import json
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcl import paths
from jaxcl.data import decode

# Sets that `main.py prepare` makes and TensorFlow Datasets does not know.
OWN_SETS = ("imagenet100",)


class Opened(NamedTuple):
    """What a kind of source must know about one split; see :class:`jaxcl.data.sources.Source`."""

    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    length: int
    read: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def open_prepared(
    name: str, split: str, folders: Sequence[pathlib.Path], cache: pathlib.Path, size: int | None
) -> Opened:
    """Opens ``name[/config][:version]``, looked for in ``folders`` and TFDS's own folder."""
    import tensorflow_datasets as tfds

    searched = places(folders)
    folder = find_prepared(name, searched)
    if folder is None and name == "digits":
        from jaxcl.data import digits

        folder = digits.prepare_digits(cache)
    if folder is None:
        known = [*tfds.list_builders(with_community_datasets=False), *OWN_SETS]
        raise ValueError(_missing(name, searched, known))
    folder = paths.copied(folder, cache)  # array_record reads files only
    builder: Any = tfds.builder_from_directory(str(folder))
    features = builder.info.features
    image_key, label_key = _keys(name, features, tfds)
    shape = _image_shape(name, features[image_key], size)
    class_names = tuple(features[label_key].names) if label_key else ()
    if split_error := _split_error(name, split, builder.info.splits):
        raise ValueError(split_error)
    decoders = {image_key: tfds.decode.SkipDecoding()}
    records = builder.as_data_source(split=split, decoders=decoders)

    def read(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        try:
            block = records.__getitems__([int(index) for index in indices])
        except RuntimeError as error:  # What array_record raises for a missing or cut file.
            raise ValueError(
                f"cannot read {name}/{split}: is the copy in {folder} complete? ({error})"
            ) from error
        images = (decode.decode_image(record[image_key], shape[2], size) for record in block)
        labels = [record[label_key] if label_key else -1 for record in block]
        return decode.stack_images(images, f"{name}/{split}"), np.asarray(labels, np.int32)

    return Opened(shape, class_names, len(records), read)


def places(folders: Sequence[pathlib.Path]) -> list[pathlib.Path]:
    """Where prepared sets are looked for: in ``folders``, then in TFDS's own folder."""
    from tensorflow_datasets.core import constants

    own = pathlib.Path(constants.DATA_DIR).expanduser()
    return list(dict.fromkeys([*folders, own]))


def find_prepared(name: str, folders: Sequence[pathlib.Path]) -> pathlib.Path | None:
    """The folder of the newest array_record version in the first folder that has one."""
    base, _, version = name.partition(":")
    for folder in folders:
        versions = [
            info.parent
            for info in (folder / base).glob("*/dataset_info.json")
            if (not version or info.parent.name == version) and _is_array_record(info)
        ]
        if versions:
            return max(versions, key=_version_numbers)
    return None


def _is_array_record(info: pathlib.Path) -> bool:
    return json.loads(info.read_text(encoding="utf-8")).get("fileFormat") == "array_record"


def _version_numbers(folder: pathlib.Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", folder.name)]


def _missing(name: str, searched: Sequence[pathlib.Path], known: Sequence[str]) -> str:
    base = re.split("[/:]", name)[0]
    looked = ", ".join(str(folder) for folder in searched)
    lying = [folder / base for folder in searched if (folder / base).is_dir()]
    if not lying and base not in known:
        there = {path.name for folder in searched if folder.is_dir() for path in folder.iterdir()}
        near = difflib.get_close_matches(base, sorted({"digits", *known, *there}), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "for your own images say folder:/path"
        return (
            f"unknown data set {name!r}: TensorFlow Datasets has none of this name, and none lies "
            f"prepared in any of: {looked}; {hint}"
        )
    found = [
        f"{info.parent} ({json.loads(info.read_text(encoding='utf-8')).get('fileFormat')})"
        for folder in lying
        for info in [*folder.glob("*/dataset_info.json"), *folder.glob("*/*/dataset_info.json")]
    ]
    other = f" (found only {', '.join(found)})" if found else ""
    elsewhere = " --data_dir=ANOTHER_FOLDER" if found else ""
    return (
        f"the data set {name!r} is not prepared as array_record in any of: {looked}{other}; "
        f"prepare it once with: python main.py prepare --dataset={name}{elsewhere}"
    )


def _keys(name: str, features, tfds) -> tuple[str, str | None]:
    """The names of the image and of the label feature; label None where the set has none."""
    kinds = (tfds.features.Image, tfds.features.ClassLabel)
    images, labels = (
        [key for key, feature in features.items() if isinstance(feature, kind)] for kind in kinds
    )
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
            f"the images of {name!r} are {np.dtype(feature.np_dtype)} with {channels} channels; "
            "only uint8 with 1, 3 or 4 can be read"
        )
    if size is not None:
        return size, size, channels
    if height is None or width is None:
        raise ValueError(
            f"the images of {name!r} differ in size; give size=... to resize and crop them while "
            "loading (256 for training crops of 224)"
        )
    return height, width, channels


def _split_error(name: str, split: str, splits) -> str | None:
    """What is wrong with the names in a split expression; TFDS itself reads the slices."""
    unknown = [part for part in re.findall(r"(?:^|\+)\s*([\w.\-]+)", split) if part not in splits]
    if not unknown:
        return None
    near = difflib.get_close_matches(unknown[0], list(splits), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"the data set {name!r} has no split {unknown[0]!r}; it has {sorted(splits)}{hint}"
