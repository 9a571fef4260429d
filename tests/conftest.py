"""Settings of the whole suite: eight simulated devices, strict numerics, warnings as errors."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
# Collectives can deadlock when there are more devices than cores: the concurrency-optimised scheduler starts several at
# once, and a pool of as many threads as cores has none left for the last device to arrive in.
os.environ["PJRT_NPROC"] = "32"
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 --xla_cpu_enable_concurrency_optimized_scheduler=false"
)

import pathlib

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session")
def prepared_data() -> pathlib.Path:
    """The folder of prepared TFDS sets that JAXCL_DATA_DIR names; tests that need it skip without it."""
    folder = os.environ.get("JAXCL_DATA_DIR", "")
    if not folder or not pathlib.Path(folder).is_dir():
        pytest.skip("JAXCL_DATA_DIR does not name a folder of prepared TFDS data sets")
    return pathlib.Path(folder)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")
    parser.addoption("--hosts", action="store_true", help="also run the tests marked hosts")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for marker in ("slow", "hosts"):
        if config.getoption(f"--{marker}"):
            continue
        for item in items:
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=f"{marker}: run with --{marker}"))
