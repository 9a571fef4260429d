"""Time and memory of one case in a process of its own.

The parent starts ``python script.py --case=... `` with `run`; the child measures with `measure` and
prints with `report`. Memory is the growth of the resident set over what it was before the measured
calls, after a first call that compiled and whose memory was given back.
"""

import ctypes
import gc
import json
import pathlib
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

STATUS = pathlib.Path("/proc/self/status")
MARK = "RESULT "


def limit_memory(gigabytes: float) -> None:
    """Lets this process fail when it asks for more, and not the whole machine."""
    size = int(gigabytes * 1e9)
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def measure(call: Callable[[], Any], seconds: float = 3.0, most: int = 25) -> dict[str, Any]:
    """Median time of a call in ms, of the clock and of all cores, and the peak growth in MB."""
    start = time.perf_counter()
    call()
    first = time.perf_counter() - start
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = _resident("VmRSS")
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # Forgets the peak.
    times, processor = [], []
    while not times or (sum(times) < seconds and len(times) < most):
        start, start_processor = time.perf_counter(), time.process_time()
        call()
        processor.append(time.process_time() - start_processor)
        times.append(time.perf_counter() - start)
    return {
        "median_ms": 1e3 * statistics.median(times),
        "cpu_ms": 1e3 * statistics.median(processor),
        "least_ms": 1e3 * min(times),
        "calls": len(times),
        "first_ms": 1e3 * first,
        "growth_mb": (_resident("VmHWM") - before) / 1e6,
    }


def _resident(name: str) -> int:
    """Bytes that Linux says this process holds, or held at most."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise OSError(f"{STATUS} has no {name}")


def report(result: dict[str, Any]) -> None:
    """Hands the result of a child to its parent."""
    print(MARK + json.dumps(result), flush=True)


def run(command: Sequence[str], timeout: float) -> dict[str, Any]:
    """Runs a child; its result, or ``{"failure": why}``."""
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return {"failure": f"not done in {timeout:.0f} s"}
    for line in child.stdout.splitlines():
        if line.startswith(MARK):
            return json.loads(line.removeprefix(MARK))
    return {"failure": _why(child)}


def _why(child: subprocess.CompletedProcess) -> str:
    lines = [line.strip() for line in child.stderr.splitlines() if line.strip()]
    memory = ("allocate memory", "RESOURCE_EXHAUSTED", "bad_alloc", "MemoryError", "out of memory")
    if any(word in line for line in lines for word in memory):
        return "does not fit"
    for line in reversed(lines):
        if "ModuleNotFoundError" in line:
            return f"not installed ({line.split()[-1]})"
    if child.returncode < 0:
        return f"killed by signal {-child.returncode}"
    return lines[-1][:80] if lines else f"exit code {child.returncode}"
