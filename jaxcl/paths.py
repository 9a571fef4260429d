"""Paths that may name objects of a bucket: a directory is local, or ``gs://bucket/folder``.

The only file that knows the difference. What `parse` returns is read as a `pathlib.Path` is; it is written by the
functions here, because an object is written whole, cannot be appended to and is not renamed, and because a folder of
objects is there as soon as an object is.
"""

import importlib.util
import io
import os
import pathlib
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

Name = str | os.PathLike[str]

REMEDY = "pip install 'jaxcl[gcs]' brings it, or mount the bucket and name the folder"


def parse(name: Name) -> pathlib.Path:
    """A local path, or what stands for it in a bucket.

    Args:
      name: a path, or ``gs://bucket/folder``.

    Returns:
      A `pathlib.Path`; of a bucket, an `etils.epath.Path`, typed as the local one whose methods are used.

    Raises:
      ValueError: another kind of address, no bucket, or gcsfs is not installed.
    """
    text = os.fspath(name)
    if not text.startswith("gs:/"):
        if "://" in text:
            raise ValueError(
                f"{text}: a directory is a local one or gs://bucket/folder; mount what is elsewhere"
            )
        return pathlib.Path(text)
    inside = text.removeprefix("gs:").strip("/")  # pathlib leaves one of the two strokes
    if not inside:
        raise ValueError(f"{text} names no bucket; say gs://bucket/folder")
    if importlib.util.find_spec("gcsfs") is None:
        raise ValueError(f"{text} is read and written with gcsfs, which is not installed; {REMEDY}")
    # etils would prefer TensorFlow where it is installed.
    os.environ.setdefault("EPATH_USE_TF", "false")
    import fsspec.config
    from etils import epath

    # gcsfs would remember the listing of a folder for as long as the process lives, whatever tensorstore or another
    # process writes there.
    fsspec.config.conf.setdefault("gcs", {})["use_listings_cache"] = False
    return cast(pathlib.Path, epath.Path(f"gs://{inside}"))


def is_remote(path: pathlib.Path) -> bool:
    """Whether a parsed path names objects of a bucket."""
    return not isinstance(path, pathlib.Path)


def absolute(path: pathlib.Path) -> pathlib.Path:
    """The path from the root or from its bucket."""
    return path if is_remote(path) else path.absolute()


def same(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Whether two paths name one folder."""
    if is_remote(one) or is_remote(other):
        return str(one) == str(other)
    return one.resolve() == other.resolve()


def make_folder(path: pathlib.Path) -> None:
    """Make a folder and those above it; a bucket needs none."""
    if not is_remote(path):
        path.mkdir(parents=True, exist_ok=True)


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Write a file, whole or not at all."""
    if is_remote(path):
        path.write_bytes(content)  # an object appears when the last of its bytes has come
        return
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def write_text(path: pathlib.Path, text: str) -> None:
    """Write a file in UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def append_text(path: pathlib.Path, text: str) -> None:
    """Write more at the end of a file; of an object, all of it again."""
    if is_remote(path):
        write_bytes(path, (path.read_bytes() if path.is_file() else b"") + text.encode())
        return
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def write_arrays(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an ``.npz``, whole or not at all."""
    buffer = io.BytesIO()
    named: dict[str, Any] = dict(arrays)
    np.savez(buffer, **named)
    write_bytes(path, buffer.getvalue())


def move(folder: pathlib.Path, target: pathlib.Path) -> None:
    """Move a folder; in a bucket, object by object.

    Raises:
      FileNotFoundError: there is none.
    """
    if not is_remote(folder):
        shutil.move(folder, target)
        return
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there are no objects")
    for path in _objects(folder):
        (target / path.relative_to(folder)).write_bytes(path.read_bytes())
    cast(Any, folder).rmtree()


def copied(path: pathlib.Path, cache: pathlib.Path) -> pathlib.Path:
    """A local path with what a path names: itself, or a copy that is made once.

    Args:
      path: a file or a folder.
      cache: below which objects of buckets are kept, ``<cache>/gs/<bucket>/...``.

    Raises:
      ValueError: there is nothing in the bucket.
    """
    if not is_remote(path):
        return path
    target = cache / "gs" / str(path).removeprefix("gs://")
    if target.exists():
        return target
    if not path.exists():
        raise ValueError(f"there is nothing at {path}")
    make_folder(target.parent)
    own = pathlib.Path(tempfile.mkdtemp(prefix=".copying-", dir=target.parent))
    try:
        whole = own / target.name
        for each in _objects(path) if path.is_dir() else [path]:
            part = whole / each.relative_to(path) if each != path else whole
            make_folder(part.parent)
            with each.open("rb") as source, part.open("wb") as copy:
                shutil.copyfileobj(source, copy)
        try:
            os.rename(whole, target)
        except OSError:
            if not target.exists():  # else another process was first
                raise
    finally:
        shutil.rmtree(own, ignore_errors=True)
    return target


def _objects(folder: pathlib.Path) -> list[pathlib.Path]:
    found = []
    for path in sorted(folder.iterdir()):
        found += _objects(path) if path.is_dir() else [path]
    return found
