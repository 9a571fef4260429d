"""Runs that another version of the programs made: keys that came later, and keys that are gone.

A key that a stored config lacks was added to ``configs/default.py`` after the run; the default there is what the run
did. Needs no jax.
"""

import functools
import pathlib
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from jaxcl import config as configs

DEFAULT = pathlib.Path(__file__).parents[2] / "configs" / "default.py"

# What may change between two programs on one run, because no number of its training does with it.
EVALUATION = ("evaluate.", "data.resident", "train.monitor", "train.tensorboard")


@functools.cache
def defaults() -> Mapping[str, Any]:
    """Every key by its flat name, with its default; none where the package lies without its configs."""
    return dict(configs.flatten(configs.load(str(DEFAULT)))) if DEFAULT.is_file() else {}


def read(text: str, where: str) -> ConfigDict:
    """A stored config with all keys that the programs know; those that came later have their defaults.

    Args:
      text: JSON.
      where: it stands, for the message.

    Raises:
      ValueError: it has a key of the training that this version does not know.
    """
    stored, known = dict(configs.flatten(configs.from_json(text))), defaults()
    gone = [name for name in stored if known and name not in known]
    for name in gone:
        if not name.startswith(EVALUATION):
            raise ValueError(f"{where} has {_gone(name, stored[name])}")
        del stored[name]
    return configs.unflatten(stored | {n: v for n, v in known.items() if n not in stored})


def difference(text: str, config: ConfigDict) -> str:
    """In what a config differs from a stored one besides the evaluation, in words; empty if in nothing."""
    there, here = (dict(configs.flatten(each)) for each in (configs.from_json(text), config))
    later = {n: v for n, v in defaults().items() if n in here and n not in there}
    found = configs.first_difference(configs.unflatten(there | later), config, ignore=EVALUATION)
    if found is None:
        return ""
    name, old, new = found
    if name in later:
        return (
            f"{name} is {new!r} here; the run there was made before there was that key, and did what its default "
            f"{old!r} does"
        )
    if name in there and name not in here and defaults() and name not in defaults():
        return f"config.json there has {_gone(name, old)}"
    return f"{name} is {old!r} there and {new!r} here"


def _gone(name: str, value: Any) -> str:
    return (
        f"{name} = {value!r}, a key that this version of the programs does not have; environment.json of the run "
        "names the version and revision that made it, with which it can be used"
    )
