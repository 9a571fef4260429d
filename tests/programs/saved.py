"""What a checkpoint holds, read by orbax without jaxcl."""

import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np


def trees(workdir: pathlib.Path, step: int) -> Iterator[dict[str, Any]]:
    """What the model is, then what training adds to it, on one device."""
    import orbax.checkpoint as ocp

    one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    for item in ("model", "training"):
        path = workdir / "checkpoints" / str(step) / item
        with ocp.StandardCheckpointer() as reader:
            meta = reader.metadata(path).item_metadata.tree
            abstract = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=one), meta
            )
            yield reader.restore(path, abstract)


def arrays(workdir: pathlib.Path, step: int) -> list[np.ndarray]:
    """Every array, optimizer and all."""
    return [np.asarray(leaf) for leaf in jax.tree.leaves(list(trees(workdir, step)))]


def named_arrays(workdir: pathlib.Path, step: int) -> dict[str, np.ndarray]:
    """Parameters, statistics and bank, by their path."""
    found = {}
    for tree in trees(workdir, step):
        tree.pop("opt_state", None)
        for key, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
            found["/".join(str(part.key) for part in key)] = np.asarray(leaf)
    return found
