"""Images of the user's own: a folder of class folders, or one npz file."""

import pathlib
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from jaxcl.data import decode, splits
from jaxcl.data.prepared import Opened

_SUFFIXES = {".png", ".jpg", ".jpeg"}
_Labelled = list[tuple[pathlib.Path, int]]


def open_folder(name: str, split: str, root: pathlib.Path, size: int | None) -> Opened:
    """Opens ``root/<split>/<class>/*.png`` (or jpg).

    Classes are the sorted folder names of *all* splits, so that a label means the same in each.
    Images directly in a split's folder are unlabelled (-1).
    """
    if not root.is_dir():
        raise ValueError(f"{name!r}: there is no folder {root}")
    expected = f"expected {root}/<split>/<class>/*.png (or jpg)"
    folders = {folder.name: folder for folder in sorted(root.iterdir()) if folder.is_dir()}
    class_names = _class_names(folders.values())
    listed: dict[str, _Labelled] = {}
    for part in splits.split_names(split):
        if part not in folders:
            raise ValueError(
                f"{name!r} has no split {part!r}; {expected}, found the folders {list(folders)}"
            )
        listed[part] = _list_images(folders[part], class_names)
    sizes = {part: len(paths) for part, paths in listed.items()}
    selected = splits.split_indices(split, sizes)
    images = [listed[part][position] for part, positions in selected for position in positions]
    if not images:
        raise ValueError(f"{name!r} holds no images in the split {split!r}; {expected}")
    shape = _common_shape(name, [path for path, _ in images], size)

    def read(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pixels = [_read_image(name, images[index][0], shape[2], size) for index in indices]
        labels = [images[index][1] for index in indices]
        return decode.stack_images(pixels, f"{name}/{split}"), np.asarray(labels, np.int32)

    return Opened(shape, tuple(class_names), len(images), read)


def open_npz(name: str, split: str, path: pathlib.Path, size: int | None) -> Opened:
    """Opens the arrays ``<split>_images``, ``<split>_labels`` and ``class_names`` of one file.

    Images are uint8 ``[n, h, w]`` or ``[n, h, w, c]``; labels int ``[n]`` or ``[n, 1]``, and if
    there are none, the split is unlabelled (-1); names are optional.
    """
    if not path.is_file():
        raise ValueError(f"{name!r}: there is no file {path}")
    parts = splits.split_names(split)
    with np.load(path, allow_pickle=False) as archive:
        for part in parts:
            if f"{part}_images" not in archive:
                raise ValueError(
                    f"{name!r} has no split {part!r}: an array '{part}_images' is needed, and the "
                    f"file holds {sorted(archive)}"
                )
        arrays = {part: _npz_part(name, archive, part) for part in parts}
        class_names = _npz_class_names(archive)
    sizes = {part: len(images) for part, (images, _) in arrays.items()}
    selected = splits.split_indices(split, sizes)
    images = np.concatenate([arrays[part][0][positions] for part, positions in selected])
    labels = np.concatenate([arrays[part][1][positions] for part, positions in selected])
    if size is not None and len(images):
        images = _resize_all(images, size)

    def read(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return images[indices], labels[indices]

    _, height, width, channels = images.shape
    return Opened((height, width, channels), class_names, len(images), read)


def _class_names(folders: Iterable[pathlib.Path]) -> list[str]:
    return sorted({path.name for folder in folders for path in folder.iterdir() if path.is_dir()})


def _list_images(folder: pathlib.Path, class_names: Sequence[str]) -> _Labelled:
    images = [(path, -1) for path in _image_paths(folder)]
    for label, class_name in enumerate(class_names):
        if (folder / class_name).is_dir():
            images += [(path, label) for path in _image_paths(folder / class_name)]
    return images


def _image_paths(folder: pathlib.Path) -> list[pathlib.Path]:
    paths = (path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    return sorted(path for path in paths if path.is_file())


def _common_shape(
    name: str, paths: Sequence[pathlib.Path], size: int | None
) -> tuple[int, int, int]:
    """The shape of all images; with ``size``, a hundred headers are enough to know the channels.

    Reading the headers of a million files takes minutes.
    """
    looked_at = paths if size is None else paths[:: max(1, len(paths) // 100)]
    sizes: dict[tuple[int, int], pathlib.Path] = {}
    modes = set()
    for path in looked_at:
        try:
            with Image.open(path) as image:
                sizes.setdefault(image.size, path)
                modes.add(image.mode)
        except OSError as error:
            raise ValueError(f"{name!r}: cannot read the image {path} ({error})") from error
    channels = 1 if modes <= {"1", "L"} else 3
    if size is not None:
        return size, size, channels
    if len(sizes) > 1:
        first, second, *_ = (f"{path} is {w}x{h}" for (w, h), path in sizes.items())
        raise ValueError(
            f"the images of {name!r} differ in size ({first}, {second}); give size=... to resize "
            "and crop them while loading"
        )
    ((width, height),) = sizes
    return height, width, channels


def _read_image(name: str, path: pathlib.Path, channels: int, size: int | None) -> np.ndarray:
    try:
        return decode.decode_image(path.read_bytes(), channels, size)
    except OSError as error:
        raise ValueError(f"{name!r}: cannot read the image {path} ({error})") from error


def _npz_part(name: str, archive, part: str) -> tuple[np.ndarray, np.ndarray]:
    images = archive[f"{part}_images"]
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise ValueError(
            f"{name!r}: '{part}_images' must be uint8 [n, h, w] or [n, h, w, c], "
            f"not {images.dtype} {list(images.shape)}"
        )
    images = images[..., None] if images.ndim == 3 else images
    if f"{part}_labels" not in archive:
        return images, np.full(len(images), -1, np.int32)
    labels = archive[f"{part}_labels"].reshape(-1)
    if len(labels) != len(images):
        raise ValueError(
            f"{name!r}: the split {part!r} has {len(images)} images but {len(labels)} labels"
        )
    return images, labels.astype(np.int32)


def _npz_class_names(archive) -> tuple[str, ...]:
    """The names given, or the numbers up to the highest label of any split."""
    if "class_names" in archive:
        return tuple(str(class_name) for class_name in archive["class_names"])
    keys = [key for key in archive if key.endswith("_labels")]
    highest = max((int(archive[key].max(initial=-1)) for key in keys), default=-1)
    return tuple(str(label) for label in range(highest + 1))


def _resize_all(images: np.ndarray, size: int) -> np.ndarray:
    channels = images.shape[3]
    squeezed = images[..., 0] if channels == 1 else images
    return np.stack([decode.to_array(Image.fromarray(one), channels, size) for one in squeezed])
