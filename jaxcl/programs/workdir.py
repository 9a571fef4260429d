"""The run directory: who owns it, what was run in it, and the rows that programs append."""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
from typing import Any

import jax
from ml_collections import ConfigDict

from jaxcl import config as configs
from jaxcl import paths
from jaxcl.programs import hosts, older
from jaxcl.training.log import read_lines


def open_for_training(workdir: pathlib.Path, config: ConfigDict, force: bool = False) -> bool:
    """Claim a directory for a run of this config, before anything compiles.

    With several processes the first one claims it, and the others see that they share it.

    Args:
      workdir: made if absent.
      config: of the run.
      force: if the directory holds a run of another config, move that run aside (to ``<workdir>.old-N``) instead of
        refusing. Nothing is deleted.

    Returns:
      Whether the directory already holds this run, so that it is resumed.

    Raises:
      ValueError: it holds a run of another config, cannot be written, is not the same on every process, or is in a
        bucket where the config asks for TensorBoard's files.
    """
    if config.train.tensorboard and paths.is_remote(workdir):
        raise ValueError(
            f"train.tensorboard writes event files, which cannot grow in {workdir}; "
            "--config.train.tensorboard=False does without, metrics.jsonl has the same numbers"
        )
    resumes = _claim(workdir, config, force) if hosts.first() else False
    resumes = bool(hosts.from_first(resumes))
    if jax.process_count() > 1:
        _check_shared(workdir)
    return resumes


def _check_shared(workdir: pathlib.Path) -> None:
    """Raise `ValueError` if this process does not see the file that the first one leaves."""
    token = workdir / f".shared-{hosts.from_first(os.getpid())}"
    if hosts.first():
        paths.write_bytes(token, b"")
    hosts.from_first(0)
    seen = token.is_file()
    hosts.from_first(0)
    if hosts.first():
        token.unlink()
    if not seen:
        raise ValueError(
            f"process {jax.process_index()} does not see what process 0 writes into {workdir}; --workdir must name a "
            "directory that all hosts share"
        )


def _claim(workdir: pathlib.Path, config: ConfigDict, force: bool) -> bool:
    try:
        paths.make_folder(workdir)
        probe = workdir / ".writable"
        paths.write_bytes(probe, b"")
        probe.unlink()
    except Exception as error:
        # Of a bucket, any type: no such bucket, no rights, no network.
        if not (isinstance(error, OSError) or paths.is_remote(workdir)):
            raise
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:300]
        if paths.is_remote(workdir) and isinstance(error, FileNotFoundError):
            reason = "there is no such bucket"  # gcsfs names an address only
        raise ValueError(f"cannot write to workdir {workdir}: {reason}") from None
    path = workdir / "config.json"
    if not path.is_file():
        write_json(workdir / "environment.json", environment())
        paths.write_text(path, configs.to_json(config))
        return False
    difference = older.difference(path.read_text(), config)
    if not difference:
        return True
    if not force:
        raise ValueError(
            f"{workdir} holds a run of another config: {difference}; choose another --workdir, or --force to move "
            "that run aside"
        )
    aside = next(
        p
        for p in (workdir.with_name(f"{workdir.name}.old-{i}") for i in range(1, 1000))
        if not p.exists()
    )
    paths.move(workdir, aside)
    return _claim(workdir, config, force)


def load_config(workdir: pathlib.Path) -> ConfigDict:
    """The configuration of the run in a directory; keys that came after the run have their defaults.

    Raises:
      ValueError: there is no run, or it has keys that are gone.
    """
    return older.read(_stored(workdir), f"config.json in {workdir}")


def check_same_run(workdir: pathlib.Path, config: ConfigDict) -> None:
    """Raise `ValueError` if a config differs from the run's in more than its evaluation."""
    if difference := older.difference(_stored(workdir), config):
        raise ValueError(f"{workdir} holds another run: {difference}")


def _stored(workdir: pathlib.Path) -> str:
    path = workdir / "config.json"
    if not path.is_file():
        raise ValueError(f"{workdir} holds no run (no config.json); pretrain one there first")
    return path.read_text()


def environment() -> dict[str, Any]:
    """What a run depends on besides its config: versions, revision, devices."""
    packages = ("jaxcl", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    device = jax.devices()[0]
    return {
        **versions,
        "python": platform.python_version(),
        "revision": _revision(),
        "device_kind": device.device_kind,
        "device_count": jax.device_count(),
        "process_count": jax.process_count(),
        "cores": os.cpu_count(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def append_rows(workdir: pathlib.Path, rows: list[dict[str, Any]]) -> None:
    """Append rows to ``rows.jsonl``; the first process does."""
    if not hosts.first():
        return
    paths.append_text(workdir / "rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def read_rows(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """The rows that programs appended; [] if none."""
    return read_lines(workdir / "rows.jsonl")


def write_json(path: pathlib.Path, value: Any) -> None:
    """Write indented JSON, whole or not at all."""
    paths.write_text(path, json.dumps(value, indent=2) + "\n")


def _revision() -> str:
    folder = pathlib.Path(__file__).resolve().parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"
