"""A bucket that is a folder of this machine, and is as strict as a bucket: no folders, no appending, no renaming."""

import contextlib
import importlib.machinery
import importlib.util
import os
import pathlib
import sys
import types
from collections.abc import Iterator

import pytest

SCHEME = "gs://"


@contextlib.contextmanager
def pretend(root: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pathlib.Path]:
    """``gs://`` is ``root`` within the block."""
    from etils.epath import testing

    gcsfs = types.ModuleType("gcsfs")
    gcsfs.__spec__ = importlib.machinery.ModuleSpec("gcsfs", None)
    monkeypatch.setitem(sys.modules, "gcsfs", gcsfs)

    def local(path) -> str:
        return str(root / os.fspath(path).removeprefix(SCHEME))

    def opened(original, path, mode):
        if not os.fspath(path).startswith(SCHEME):
            return original(path, mode)
        assert mode in ("r", "rb", "w", "wb"), "objects are read or written whole"
        if "w" in mode:
            pathlib.Path(local(path)).parent.mkdir(parents=True, exist_ok=True)
        return original(local(path), mode)

    def globbed(original, path):
        return [SCHEME + str(pathlib.Path(p).relative_to(root)) for p in original(local(path))]

    def refused(original, path, *arguments, **named):
        assert not str(path).startswith(SCHEME), f"a bucket cannot do this: {path}, {arguments}"
        return original(path, *arguments, **named)

    plain = ("exists", "isdir", "listdir", "remove", "rmtree", "stat")
    functions = {name: lambda original, path: original(local(path)) for name in plain}
    refusing = dict.fromkeys(("rename", "replace", "makedirs", "mkdir", "copy"), refused)
    with testing.mock_epath(open=opened, glob=globbed, **functions, **refusing):
        yield root
