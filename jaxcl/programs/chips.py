"""The machines that a plan can be made for: devices to compile for without having them, and their published rates."""

import importlib.util
import os
from typing import Any, NamedTuple

import jax

from jaxcl.programs import gpus

DOCS = "https://docs.cloud.google.com/tpu/docs/"
NVIDIA = "https://www.nvidia.com/en-us/data-center/"


class Chip(NamedTuple):
    """One device, as its maker publishes it.

    Attributes:
      flops: bfloat16 operations a second. A float32 product takes one bfloat16 pass at JAX's default precision (on GPUs
        a slower one of TF32, so that a step of float32 takes longer than is estimated), and six at the highest.
      memory: bytes of HBM.
      bandwidth: bytes of HBM a second.
      interconnect: bytes a second between chips, both directions together; None where the page does not say.
      source: where the numbers stand.
      settings: what the compiler has to be told besides the topology.
      usable: share of the memory that JAX takes unless it is told otherwise.
    """

    flops: float
    memory: float
    bandwidth: float
    interconnect: float | None
    source: str
    settings: tuple[tuple[str, str], ...] = ()
    usable: float = 1.0


GIB = 2.0**30
CHIPS = {
    "v4": Chip(275e12, 32 * GIB, 1200e9, None, DOCS + "v4", (("chip_config_name", "megacore"),)),
    "v5e": Chip(197e12, 16 * GIB, 819e9, 400e9, DOCS + "v5e"),
    "v5p": Chip(459e12, 95 * GIB, 2765e9, 600e9, DOCS + "v5p"),
    "v6e": Chip(918e12, 32 * GIB, 1638e9, 800e9, DOCS + "v6e"),
    # Without sparsity; the memory as XLA sees it, of which XLA_PYTHON_CLIENT_MEM_FRACTION is 0.75.
    "h100": Chip(989e12, 84_929_347_584, 3352e9, 900e9, NVIDIA + "h100/", usable=0.75),
}
# libtpu asks the cloud who it is unless it is told; the values have to be there and do not matter.
ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-16",
    "TPU_WORKER_HOSTNAMES": "localhost",
    # Otherwise libtpu takes the machine for itself, and a second plan beside the first is refused.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


def target_devices(topology: str) -> tuple[list[Any], Chip | None]:
    """The devices to compile for.

    Args:
      topology: ``v5e:8x8`` and the like, ``h100:8``, or ``cpu:8``.

    Returns:
      The devices, and the chip's rates (None: nobody publishes them).

    Raises:
      ValueError: no such chip or shape, or what is needed to compile for it is not installed.
    """
    kind, _, shape = topology.partition(":")
    if kind == "cpu" and shape.isdigit() and int(shape) > 0:
        have = jax.devices("cpu")
        if len(have) < int(shape):
            raise ValueError(
                f"--topology={topology} needs {shape} simulated devices and there are {len(have)}; "
                f"add --devices={shape}"
            )
        return have[: int(shape)], None
    if kind in ("gpu", "cuda", *gpus.TARGETS):
        return gpus.devices(kind, shape), CHIPS[kind]
    if kind not in CHIPS or not all(size.isdigit() for size in shape.split("x")):
        raise ValueError(
            f"unknown --topology {topology!r}; it is cpu:N, h100:N or CHIP:SHAPE, as v5e:8x8 or v4:2x2x4, with the "
            f"chips "
            f"{', '.join(chip for chip in CHIPS if chip not in gpus.TARGETS)}"
        )
    if importlib.util.find_spec("libtpu") is None:
        raise ValueError(
            "compiling for a TPU needs libtpu, though no TPU: pip install 'jaxcl[plan]' "
            "(--topology=cpu:8 works without)"
        )
    return _tpus(topology, CHIPS[kind]), CHIPS[kind]


def _tpus(topology: str, chip: Chip) -> list[Any]:
    from jax.experimental import topologies

    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        described = topologies.get_topology_desc(
            platform="tpu", topology_name=topology, **dict(chip.settings)
        )
    except (jax.errors.JaxRuntimeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"libtpu refuses --topology {topology!r}: {reason}") from error
    return list(described.devices)
