"""Configurations as plain values: load a config file, override keys by name, compare, write and read back.

A config file has ``get_config([argument])`` and, where it describes a grid, ``sweep([argument])``. This module knows
nothing of what the keys mean.
"""

import ast
import difflib
import importlib.util
import inspect
import json
import math
import pathlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

Overrides = Mapping[str, Any]


def load(path: str, overrides: Overrides | None = None) -> ConfigDict:
    """Load a config file and override single keys.

    Args:
      path: ``configs/x.py`` or ``configs/x.py:argument``; the argument is handed to ``get_config``.
      overrides: flat names to values, ``{"loss.temperature": 0.1}``.

    Returns:
      The locked configuration.

    Raises:
      ValueError: the file has no ``get_config``, or an override names a key that does not exist.
      FileNotFoundError: there is no such file.
    """
    return override(_call(path, "get_config"), overrides or {})


def load_sweep(path: str) -> list[dict[str, Any]]:
    """The cells of the config file's grid as flat overrides; one empty cell if it has no ``sweep()``."""
    module = _module(path.partition(":")[0])
    if not hasattr(module, "sweep"):
        return [{}]
    return [dict(cell) for cell in _call(path, "sweep")]


def override(config: ConfigDict, overrides: Overrides) -> ConfigDict:
    """A locked copy of ``config`` with flat ``overrides``; values are coerced to the type that stands there."""
    config = config.copy_and_resolve_references()
    known = dict(flatten(config))
    for name, value in overrides.items():
        if name not in known:
            raise ValueError(f"config has no key {name!r}{suggest(name, known)}")
        parent, _, leaf = name.rpartition(".")
        node = _node(config, parent)
        with node.unlocked():
            node[leaf] = _coerce(name, value, known[name])
    return config.lock()


def parse_overrides(config: ConfigDict, texts: Mapping[str, str]) -> dict[str, Any]:
    """Overrides as typed on a command line, read as the type that stands in ``config``."""
    known = dict(flatten(config))
    values: dict[str, Any] = {}
    for name, text in texts.items():
        if isinstance(known.get(name), str):
            values[name] = text
            continue
        try:
            values[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            values[name] = {"true": True, "false": False}.get(text.lower(), text)
    return values


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All leaves of a nested configuration as ``("loss.temperature", 0.1)``, in the file's order."""
    for name, value in config.items():
        if isinstance(value, Mapping | ConfigDict):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def unflatten(leaves: Mapping[str, Any]) -> ConfigDict:
    """The inverse of `flatten`, locked."""
    whole: dict[str, Any] = {}
    for name, value in leaves.items():
        *sections, leaf = name.split(".")
        place = whole
        for section in sections:
            place = place.setdefault(section, {})
        place[leaf] = value
    return ConfigDict(whole).lock()


def to_json(config: ConfigDict) -> str:
    """The resolved configuration as indented JSON."""
    return json.dumps(config.to_dict(), indent=2) + "\n"


def from_json(text: str) -> ConfigDict:
    """The inverse of `to_json` (tuples come back as tuples)."""
    return ConfigDict(_tuples(json.loads(text))).lock()


def first_difference(
    old: ConfigDict, new: ConfigDict, ignore: tuple[str, ...] = ()
) -> tuple[str, Any, Any] | None:
    """The first key, with both values, in which two configurations differ; None if they agree.

    Args:
      old: a configuration.
      new: another one.
      ignore: leading parts of names that may differ, ``("evaluate.",)``.
    """
    before, after = dict(flatten(old)), dict(flatten(new))
    for name in list(after) + [name for name in before if name not in after]:
        if name.startswith(ignore):
            continue
        a, b = before.get(name, "(absent)"), after.get(name, "(absent)")
        if _tuples(a) != _tuples(b):
            return name, a, b
    return None


def suggest(name: str, known: Any) -> str:
    """``; did you mean 'x'?`` with the nearest known name, or the list of them where none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    last = [other for other in names if other.rpartition(".")[2] == name.rpartition(".")[2]]
    if last:
        return f"; did you mean {last[0]!r}?"
    return f"; there are: {', '.join(names)}" if len(names) <= 40 else ""


def _node(config: ConfigDict, parent: str) -> ConfigDict:
    for part in parent.split(".") if parent else ():
        config = config[part]
    return config


def _coerce(name: str, value: Any, old: Any) -> Any:
    value = _tuples(value)
    if isinstance(old, bool) or old is None or value is None:
        accepted = isinstance(value, bool) or not isinstance(old, bool)
    elif isinstance(old, float):
        accepted = isinstance(value, int | float) and not isinstance(value, bool)
        value = float(value) if accepted else value
    elif isinstance(old, int):
        accepted = isinstance(value, int) and not isinstance(value, bool)
    else:
        accepted = isinstance(value, type(old))
    if not accepted:
        raise ValueError(
            f"config.{name} is {type(old).__name__} (now {old!r}); got {value!r} of type {type(value).__name__}"
        )
    if isinstance(value, float) and math.isnan(value):
        raise ValueError(f"config.{name} must not be NaN")
    return value


def _tuples(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {name: _tuples(item) for name, item in value.items()}
    return value


def _call(path: str, function: str) -> Any:
    file, colon, argument = path.partition(":")
    module = _module(file)
    if not hasattr(module, function):
        raise ValueError(f"{file} has no {function}()")
    target = getattr(module, function)
    if not colon:
        return target()
    if not inspect.signature(target).parameters:
        raise ValueError(f"{function}() of {file} takes no argument; got {argument!r}")
    return target(argument)


def _module(file: str) -> Any:
    path = pathlib.Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"no config file {file}")
    spec = importlib.util.spec_from_file_location(f"jaxcl_config_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A config starts from another by `from configs import default`, whatever directory the program was started in.
    root = str(path.resolve().parent.parent)
    sys.path.insert(0, root)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(root)
    return module
