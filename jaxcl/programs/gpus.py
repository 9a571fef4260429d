"""Compiling for GPUs that are not here, with the compiler of JAX's CUDA plugin.

XLA is told what the device is instead of asking it. It cannot time kernels then, so it takes its first choice of each;
memory is that of the program so compiled.
"""

import importlib.util
from typing import Any

import jax

# As XLA describes an H100 SXM5 (80 GB) to itself.
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 84929347584
  shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 7 }
runtime_version { major: 12 minor: 8 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
TARGETS = {"h100": H100}
ELSEWHERE = (
    "--topology=cpu:N works without it, for counts and collectives; on the GPUs themselves, main.py verify tries the "
    "step"
)


def devices(kind: str, count: str) -> list[Any]:
    """The GPUs of one host to compile for.

    Args:
      kind: of `TARGETS`; ``gpu`` and ``cuda`` are refused with the names that there are.
      count: of devices, in digits.

    Raises:
      ValueError: the chip is not named, the number is none, or the CUDA plugin is missing or of another version.
    """
    if kind not in TARGETS or not count.isdigit() or int(count) < 1:
        raise ValueError(
            f"--topology={kind}:{count} does not say for which GPU, or how many of one host, to compile; there are: "
            f"{', '.join(f'{name}:N' for name in TARGETS)}. {ELSEWHERE}"
        )
    if not any(
        importlib.util.find_spec("jax_plugins") and importlib.util.find_spec(f"jax_plugins.{name}")
        for name in ("xla_cuda12", "xla_cuda13")
    ):
        version = jax.__version__
        raise ValueError(
            f"compiling for a GPU needs the CUDA plugin, though no GPU: pip install jax-cuda12-plugin=={version} "
            f"jax-cuda12-pjrt=={version}. {ELSEWHERE}"
        )
    from jax.experimental import topologies

    try:
        described = topologies.get_topology_desc(
            platform="cuda", target_config=TARGETS[kind], topology=f"1x1x{count}"
        )
    except (jax.errors.JaxRuntimeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"the CUDA plugin refuses --topology={kind}:{count}: {reason}. It must be of jax's version, "
            f"{jax.__version__}. {ELSEWHERE}"
        ) from error
    return list(described.devices)
