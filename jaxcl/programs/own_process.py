"""An attempt in a process of its own: a compiler that crashes then takes nothing with it.

The TPU's compiler is no part of this process's business: where it meets a program that it cannot handle it ends with a
signal, and what was being planned is reported instead of lost.
"""

import os
import pathlib
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import threading

from ml_collections import ConfigDict

from jaxcl.programs.attempts import Attempt

# What a compiler of Google's prints when it gets a signal: why, and in which function.
WHY = re.compile(r"\*\*\* (SIG[A-Z]+(?: [A-Z]+)*)[^*]*\*\*\*")
WHERE = re.compile(r"^PC: @\s+0x\w+\s+(?:\(unknown\)\s+)?(\S+)", flags=re.MULTILINE)


class Crash(Exception):
    """The compiler ended with a signal; the text says which, and where."""


def attempt(config: ConfigDict, topology: str, together: int, room: float | None) -> Attempt:
    """As `jaxcl.programs.attempts.attempt`, for the devices of a topology.

    Args:
      config: whose step is compiled.
      topology: as for ``plan``.
      together: cells that step at once.
      room: bytes of a device that may be used; None for what the compiler says.

    Returns:
      The `Attempt`.

    Raises:
      Crash: the compiler ended with a signal.
      RuntimeError: any other error of that process, whose words these are.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = pathlib.Path(folder) / "answer"
        task = pickle.dumps((config.to_dict(), topology, together, room))
        pathlib.Path(folder, "task").write_bytes(task)
        environment = os.environ | {
            "JAX_PLATFORMS": "cpu",  # compilers for others are asked for by name
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        # The child ends when its input does: with this process, however that ends.
        child = subprocess.Popen(
            [sys.executable, "-m", "jaxcl.programs.own_process", folder],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        assert child.stdin is not None and child.stderr is not None
        try:
            text = child.stderr.read()
            code = child.wait()
        finally:
            child.kill()
            child.stdin.close()
            child.stderr.close()
            child.wait()
        if code == 0:
            return pickle.loads(answer.read_bytes())
    if code < 0:
        raise Crash(describe(code, text))
    raise RuntimeError(f"compiling for {topology} failed:\n{text[-2000:]}")


def describe(code: int, text: str) -> str:
    """Signal and function of a crash in a few words.

    Args:
      code: the exit code, minus the signal's number.
      text: what the process wrote.
    """
    why, where = WHY.search(text), WHERE.search(text)
    words = why[1] if why else signal.Signals(-code).name
    return f"{words} in {where[1]}" if where else words


def _serve(folder: pathlib.Path) -> None:
    from jaxcl import sharding
    from jaxcl.programs import attempts, chips, plan

    plain, topology, together, room = pickle.loads((folder / "task").read_bytes())
    config = ConfigDict(plain)
    mesh = sharding.mesh_of_cells(together, chips.target_devices(topology)[0])
    found = attempts.attempt(config, plan.images(config), mesh, room)
    (folder / "answer").write_bytes(pickle.dumps(found))


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _serve(pathlib.Path(sys.argv[1]))
    sys.stderr.flush()
    os._exit(0)  # nothing is left to do, and a compiler's threads may still be there
