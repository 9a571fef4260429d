"""An encoder's weights as one safetensors file, for whoever has neither this library nor its checkpoints; and back.

Names are flat, ``params/...`` and ``batch_stats/...``; the file's metadata hold the run's config as JSON and its step.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from jaxcl import paths
from jaxcl.programs import assemble, frozen, hosts, older
from jaxcl.programs.workdir import load_config


def run(
    workdir: str | pathlib.Path, output: str | pathlib.Path, *, step: int | None = None
) -> pathlib.Path:
    """Write the weights of a checkpoint.

    Args:
      workdir: the run directory.
      output: the file, ``*.safetensors``; replaced if it is there.
      step: of the checkpoint; None for the last.

    Returns:
      The file.

    Raises:
      ValueError: no such run or checkpoint, another ending, or the extra is not installed.
    """
    workdir, output = paths.parse(workdir), paths.parse(output)
    if output.suffix != ".safetensors":
        raise ValueError(f"--output={output} must end in .safetensors, the form that is written")
    save = _safetensors().save
    config = load_config(workdir)
    mesh = assemble.mesh()
    source = assemble.source(config, config.data.test_split)
    step, variables = frozen.restore(config, workdir, source.image_shape[2], mesh, step)
    if hosts.first():
        paths.make_folder(output.parent)
        metadata = {"config": json.dumps(config.to_dict()), "step": str(step)}
        paths.write_bytes(output, save(flatten(jax.device_get(variables)), metadata))
    return output


def load(path: str | pathlib.Path) -> tuple[ConfigDict, dict[str, Any]]:
    """Read what `run` wrote.

    Args:
      path: of the file.

    Returns:
      The config of the run, and ``{"params": ..., "batch_stats": ...}`` of NumPy arrays, as
      ``assemble.model(config).apply`` takes them.

    Raises:
      ValueError: no such file, not one of ours, or of a run with keys that are gone.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    _safetensors()
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        arrays = {name: file.get_tensor(name) for name in file.keys()}
    if "config" not in metadata:
        raise ValueError(f"{path} has no config in its metadata; main.py export writes one")
    return older.read(metadata["config"], str(path)), unflatten(arrays)


def flatten(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """``{"params/Conv_0/kernel": array}`` of nested mappings; arrays in C order."""
    return {
        "/".join(key.key for key in path): np.ascontiguousarray(leaf)
        for path, leaf in jax.tree.leaves_with_path(variables)
    }


def unflatten(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The nested mappings of flat names; ``batch_stats`` is there even if it is empty."""
    nested: dict[str, Any] = {"params": {}, "batch_stats": {}}
    for name, value in arrays.items():
        *folders, last = name.split("/")
        place = nested
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = value
    return nested


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise ValueError(
            "safetensors is not installed; pip install 'jaxcl[export]' brings it"
        ) from None
    return safetensors.numpy
