"""What main.py arranges for the process before jax starts."""

import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture
def main(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    import main

    return main


def test_simulated_devices_come_with_what_keeps_their_collectives_from_deadlock(main, monkeypatch):
    for name in ("XLA_FLAGS", "PJRT_NPROC"):
        monkeypatch.delenv(name, raising=False)
    main.use_devices(4)
    flags = os.environ["XLA_FLAGS"].split()
    assert "--xla_force_host_platform_device_count=4" in flags
    assert "--xla_cpu_enable_concurrency_optimized_scheduler=false" in flags
    assert int(os.environ["PJRT_NPROC"]) >= 4 * 4


def test_what_the_user_set_stands(main, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=3")
    monkeypatch.setenv("PJRT_NPROC", "5")
    main.use_devices(None)
    assert "--xla_force_host_platform_device_count=3" in os.environ["XLA_FLAGS"].split()
    assert os.environ["PJRT_NPROC"] == "5"
