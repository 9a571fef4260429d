"""Start processes: ``python -m jaxcl.launch --processes 4 --devices-per-process 2 -- main.py pretrain ...``.

Each is a real host to JAX, with simulated CPU devices, so that what a pod will do can be seen on a laptop. And
`supervise`, which every process of a multi-host run has above it: JAX's runtime aborts a process whose coordinator is
gone, in C++, before Python can say a word, and then it is the supervisor who names the step and the way back. Must not
import jax.
"""

import argparse
import contextlib
import ctypes
import mmap
import os
import re
import shlex
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import IO, Any

LOST = 75  # exit code after the loss of another process, as in `jaxcl.training.peers`
RESTART = "JAXCL_RESTART"  # in the environment: the command that starts the whole run again
GRACE = 8.0  # seconds that the others have to leave by themselves once one has died
# Lines of JAX's runtime (glog, with the stack of an abort) and of grpc.
NOISE = re.compile(
    r"^([IWEF]\d{4} |WARNING: All log messages|\*\*\* |    @ |PC: @|terminate called)"
)


class Journal:
    """The step, and whether the end was explained, in memory that a supervisor and its process share."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 16)

    def note(self, step: int) -> None:
        """So many steps are taken."""
        struct.pack_into("q", self._memory, 0, step)

    def explained(self) -> None:
        """The process has said why it ends."""
        self._memory[8] = 1

    @property
    def step(self) -> int:
        """Steps taken."""
        return struct.unpack_from("q", self._memory, 0)[0]

    @property
    def is_explained(self) -> bool:
        """Whether the process has said why it ends."""
        return bool(self._memory[8])


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent dies (Linux; elsewhere nothing)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def restart_command() -> str:
    """What the user typed, or what the launcher says."""
    return os.environ.get(RESTART) or shlex.join([os.path.basename(sys.executable), *sys.argv])


def supervise(run: Callable[[Journal], int]) -> int:
    """Run in a child process; explain its end if it could not do so itself. Before any thread is started.

    Args:
      run: told where to note the step; returns an exit code.

    Returns:
      The exit code; 75 where JAX's runtime aborted the process because the coordinator was gone, 128 + the number of
      the signal where another signal ended it.
    """
    journal = Journal()
    child = os.fork()
    if child == 0:
        die_with_parent()
        sys.exit(run(journal))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: _send(child, number))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return code
    name = signal.Signals(-code).name
    if not journal.is_explained:
        why = ", most likely because process 0 is gone" if name == "SIGABRT" else ""
        print(
            f"this process was ended by {name} at step {journal.step}{why}. The same command resumes from the last "
            f"checkpoint: {restart_command()}",
            file=sys.stderr,
        )
    return LOST if name == "SIGABRT" else 128 - code


def launch(command: list[str], *, processes: int, devices: int, verbose: bool = False) -> int:
    """Start local processes of one run and stop all when one dies.

    Args:
      command: of one process, without the flags that tell it who it is.
      processes: how many.
      devices: simulated CPU devices of each.
      verbose: also show the lines of JAX's runtime.

    Returns:
      0, or the exit code of the process that was the first to fail.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    started = [sys.executable, "-m", "jaxcl.launch", f"--processes={processes}"]
    restart = shlex.join([*started, f"--devices-per-process={devices}", "--", *command])
    environment = {RESTART: restart, **os.environ, "JAX_PLATFORMS": "cpu", "PYTHONUNBUFFERED": "1"}
    who = [
        "--multihost",
        f"--coordinator={coordinator}",
        f"--processes={processes}",
        f"--devices={devices}",
    ]
    running, readers = [], []
    for number in range(processes):
        process = subprocess.Popen(
            [sys.executable, *command, *who, f"--process-id={number}"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        running.append(process)
        prefix = f"[{number}] " if processes > 1 else ""
        for source, sink in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
            reader = threading.Thread(
                target=_copy, args=(source, sink, prefix, verbose), daemon=True
            )
            reader.start()
            readers.append(reader)
    with _forwarding(running):
        code = _wait(running)
    for reader in readers:
        reader.join(timeout=2)
    return code


def _wait(running: list[subprocess.Popen]) -> int:
    """The code of the first failure, once all have ended."""
    first, deadline = 0, float("inf")
    while any(process.poll() is None for process in running):
        for process in running:
            code = process.poll()
            if code and not first:
                first, deadline = code, time.monotonic() + GRACE
        if time.monotonic() > deadline:
            for process in running:
                if process.poll() is None:
                    _send(process.pid, signal.SIGKILL)
        time.sleep(0.05)
    first = first or next((p.returncode for p in running if p.returncode), 0)
    return first if first >= 0 else 128 - first


@contextlib.contextmanager
def _forwarding(running: list[subprocess.Popen]) -> Iterator[None]:
    """Hand SIGTERM and SIGINT on to every process."""

    def forward(number: int, frame: Any) -> None:
        for process in running:
            _send(process.pid, number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _copy(source: IO[str] | None, sink: IO[str], prefix: str, verbose: bool) -> None:
    """Copy lines, each with its process's number before it, without the runtime's."""
    assert source is not None
    with source:
        for line in source:
            if verbose or not NOISE.match(line):
                sink.write(prefix + line)
                sink.flush()


def main(argv: list[str]) -> int:
    """Parse and launch; the exit code."""
    split = argv.index("--") if "--" in argv else len(argv)
    parser = argparse.ArgumentParser(
        "python -m jaxcl.launch", description="Start local processes that are one multi-host run."
    )
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="of the run")
    parser.add_argument(
        "--devices-per-process", type=int, default=1, metavar="N", help="simulated CPU devices"
    )
    parser.add_argument("--verbose", action="store_true", help="also lines of JAX's runtime")
    parser.add_argument("command", nargs="*", help="after --: main.py PROGRAM ...")
    arguments = parser.parse_args(argv[:split])
    command = arguments.command + argv[split + 1 :]
    if not command:
        parser.error(
            "no command; give it after --, as in: -- main.py pretrain --config=FILE --workdir=DIRECTORY"
        )
    for name in ("processes", "devices_per_process"):
        if getattr(arguments, name) < 1:
            parser.error(
                f"--{name.replace('_', '-')} must be at least 1, got {getattr(arguments, name)}"
            )
    return launch(
        command,
        processes=arguments.processes,
        devices=arguments.devices_per_process,
        verbose=arguments.verbose,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
