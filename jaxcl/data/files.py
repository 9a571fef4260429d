"""Images of the user's own: a folder of class folders, or one npz file."""

import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from jaxcl.data import decode, splits
from jaxcl.data.prepared import Opened

_SUFFIXES = {".png", ".jpg", ".jpeg"}


def open_folder(name: str, split: str, root: pathlib.Path, size: int | None) -> Opened:
    """Opens ``root/<split>/<class>/*.png``. Classes are the sorted folder names of *all* splits, so that a label means the
    same in each; images that lie directly in a split's folder are unlabelled (-1).

    Returns image shape, class names, length and the reader; see :class:`jaxcl.data.sources.Source`.
    """
    if not root.is_dir():
        raise ValueError(f"{name!r}: there is no folder {root}")
    folders = {folder.name: folder for folder in sorted(root.iterdir()) if folder.is_dir()}
    class_names = sorted(
        {path.name for folder in folders.values() for path in folder.iterdir() if path.is_dir()}
    )
    listed: dict[str, list[tuple[pathlib.Path, int]]] = {}
    for part in splits.split_names(split):
        if part not in folders:
            raise ValueError(
                f"{name!r} has no split {part!r}; expected {root}/<split>/<class>/*.png, found the folders {sorted(folders)}"
            )
        listed[part] = _list_images(folders[part], class_names)
    selected = splits.split_indices(split, {part: len(paths) for part, paths in listed.items()})
    images = [
        listed[part][position] for part, positions in selected.items() for position in positions
    ]
    if not images:
        raise ValueError(
            f"{name!r} holds no png or jpg images in the split {split!r}; expected {root}/<split>/<class>/*.png"
        )
    shape = _common_shape(name, [path for path, _ in images], size)

    def read(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pixels = np.empty((len(indices), *shape), np.uint8)
        for row, index in enumerate(indices):
            pixels[row] = _read_image(images[index][0], shape[2], size)
        return pixels, np.asarray([images[index][1] for index in indices], np.int32)

    return shape, tuple(class_names), len(images), read


def open_npz(name: str, split: str, path: pathlib.Path, size: int | None) -> Opened:
    """Opens the arrays ``<split>_images`` uint8 ``[n, h, w]`` or ``[n, h, w, c]`` and, if there, ``<split>_labels`` int
    ``[n]`` or ``[n, 1]`` and ``class_names``.

    Returns image shape, class names, length and the reader; see :class:`jaxcl.data.sources.Source`.
    """
    if not path.is_file():
        raise ValueError(f"{name!r}: there is no file {path}")
    with np.load(path, allow_pickle=False) as archive:
        parts = sorted(key.removesuffix("_images") for key in archive if key.endswith("_images"))
        for part in splits.split_names(split):
            if part not in parts:
                raise ValueError(
                    f"{name!r} has no split {part!r}: an array '{part}_images' is needed; the file holds {sorted(archive)}"
                )
        by_part = {part: _npz_part(name, archive, part) for part in set(splits.split_names(split))}
        all_labels = [archive[key] for key in archive if key.endswith("_labels")]
        highest = max((int(labels.max(initial=-1)) for labels in all_labels), default=-1)
        given = archive["class_names"] if "class_names" in archive else range(highest + 1)
    selected = splits.split_indices(
        split, {part: len(images) for part, (images, _) in by_part.items()}
    )
    images = np.concatenate([by_part[part][0][positions] for part, positions in selected.items()])
    labels = np.concatenate([by_part[part][1][positions] for part, positions in selected.items()])
    if size is not None:
        images = _resize_all(images, size)

    def read(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return images[indices], labels[indices]

    shape = (images.shape[1], images.shape[2], images.shape[3])
    return shape, tuple(str(class_name) for class_name in given), len(images), read


def _list_images(
    folder: pathlib.Path, class_names: Sequence[str]
) -> list[tuple[pathlib.Path, int]]:
    images = [(path, -1) for path in sorted(folder.iterdir()) if _is_image(path)]
    for label, class_name in enumerate(class_names):
        if (folder / class_name).is_dir():
            images += [
                (path, label) for path in sorted((folder / class_name).iterdir()) if _is_image(path)
            ]
    return images


def _is_image(path: pathlib.Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and path.is_file()


def _common_shape(
    name: str, paths: Sequence[pathlib.Path], size: int | None
) -> tuple[int, int, int]:
    """The shape of all images. With ``size`` only some headers are read: reading them all takes minutes for a million."""
    looked_at = paths if size is None else paths[:: max(1, len(paths) // 100)]
    sizes, modes = {}, set()
    for path in looked_at:
        try:
            with Image.open(path) as image:
                sizes.setdefault(image.size, path)
                modes.add(image.mode)
        except OSError as error:
            raise ValueError(f"{name!r}: cannot read the image {path}: {error}") from error
    channels = 1 if modes <= {"1", "L"} else 3
    if size is not None:
        return size, size, channels
    if len(sizes) > 1:
        (first, first_path), (second, second_path) = list(sizes.items())[:2]
        raise ValueError(
            f"the images of {name!r} differ in size ({first_path.name} is {first[0]}x{first[1]}, {second_path.name} is "
            f"{second[0]}x{second[1]}); give size=... to resize and crop them while loading"
        )
    ((width, height),) = sizes
    return height, width, channels


def _read_image(path: pathlib.Path, channels: int, size: int | None) -> np.ndarray:
    try:
        return decode.decode_image(path.read_bytes(), channels, size)
    except OSError as error:
        raise ValueError(f"cannot read the image {path}: {error}") from error


def _npz_part(name: str, archive, part: str) -> tuple[np.ndarray, np.ndarray]:
    images = archive[f"{part}_images"]
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise ValueError(
            f"{name!r}: '{part}_images' must be uint8 [n, h, w] or [n, h, w, c], not {images.dtype}{list(images.shape)}"
        )
    images = images[..., None] if images.ndim == 3 else images
    if f"{part}_labels" not in archive:
        return images, np.full((len(images),), -1, np.int32)
    labels = archive[f"{part}_labels"].reshape(-1)
    if len(labels) != len(images):
        raise ValueError(
            f"{name!r}: {len(images)} images but {len(labels)} labels in the split {part!r}"
        )
    return images, labels.astype(np.int32)


def _resize_all(images: np.ndarray, size: int) -> np.ndarray:
    channels = images.shape[3]
    squeezed = images[..., 0] if channels == 1 else images
    return np.stack([decode.to_array(Image.fromarray(image), channels, size) for image in squeezed])
