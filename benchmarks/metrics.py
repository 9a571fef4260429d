"""The metrics at full size against the library that one would otherwise use.

    python benchmarks/metrics.py [--repeats=5] [--cases=uniformity,nearest] [--peer-python=PATH]

Each case runs in its own process: inputs are made, what can be compiled or built beforehand is,
then the resident memory is noted, the operation runs once (its peak above that note is the growth)
and `repeats` more times (whose median is the time). The results are compared, and a ratio above 1
says that ours is faster. Peers are an extra (`pip install -e .[bench]`) and may live in another
environment, whose interpreter is `--peer-python`; one that is missing is listed as missing, one
that would not fit into the memory at hand as not fitting.

- uniformity: 50,000 x 128, all 1.25e9 pairs, t = 2; `torch.pdist` as in the published form.
- nearest: exact top 10 of 5,000 anchors among 50,000 candidates, 128 dimensions; faiss-cpu's flat
  inner-product index.
- readout: multinomial logistic regression 50,000 x 512 -> 10, C = 1, to a largest gradient of 1e-4,
  by scikit-learn's lbfgs. Once on isotropic features and once on features whose spectrum falls by
  two decades, as that of a network's does. The objective that each reaches is printed.
"""

import argparse
import ctypes
import json
import pathlib
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Of each case: the peer, what it needs at its peak, and what ours is to reach.
CASES = {
    "uniformity": ("torch", 11_000, {"ratio": 8.0, "growth": 50}),
    "nearest": ("faiss", 500, {"ratio": 2.0, "growth": 150}),
    "readout": ("sklearn", 1_000, {"ratio": 3.0, "growth": None}),
    "readout-steep": ("sklearn", 1_000, {"ratio": 3.0, "growth": None}),
}

# An operation, ready to run, and what to report of its result.
Prepared = tuple[Callable[[], object], Callable[[object], float]]


def sphere(n: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((n, 128), np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def labelled(steep: bool) -> tuple[np.ndarray, np.ndarray]:
    """Features ``[50,000, 512]`` of unit mean variance, and noisy linear labels of 10 classes."""
    draw = np.random.default_rng(0)
    x = draw.standard_normal((50_000, 512), np.float32)
    if steep:
        basis = np.linalg.qr(draw.standard_normal((512, 512)))[0].astype(np.float32)
        scales = 10.0 ** -np.linspace(0, 2, 512)
        x = (x * (scales / np.sqrt(np.mean(scales**2))).astype(np.float32)) @ basis
    weights = draw.standard_normal((512, 10)).astype(np.float32) * 2 / np.sqrt(512)
    noise = draw.gumbel(size=(50_000, 10)).astype(np.float32)
    return x, np.argmax(x @ weights + noise, axis=1)


def objective(x: np.ndarray, y: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> float:
    """Of the readout, in float64, block by block."""
    total = 0.5 * np.sum(weights.astype(np.float64) ** 2)
    for start in range(0, len(x), 5_000):
        logits = x[start : start + 5_000].astype(np.float64) @ weights + bias
        highest = logits.max(axis=1)
        own = logits[np.arange(len(logits)), y[start : start + 5_000]]
        total += np.sum(np.log(np.sum(np.exp(logits - highest[:, None]), axis=1)) + highest - own)
    return total / len(x)


def prepare_ours(case: str) -> Prepared:
    import jax
    import jax.numpy as jnp

    from jaxcl.metrics import fit_readout, nearest, uniformity

    def compiled(function: Callable, *arrays: jax.Array) -> Callable[[], object]:
        ready = jax.jit(function).lower(*arrays).compile()
        return lambda: jax.block_until_ready(ready(*arrays))

    if case == "uniformity":
        return compiled(uniformity, jnp.asarray(sphere(50_000, 0))), float
    if case == "nearest":
        anchors, candidates = jnp.asarray(sphere(5_000, 1)), jnp.asarray(sphere(50_000, 0))
        run = compiled(lambda a, c: nearest(a, c, k=10), anchors, candidates)
        return run, lambda result: float(np.mean(result[0], dtype=np.float64))
    x, y = labelled(case == "readout-steep")
    run = compiled(
        lambda x, y: fit_readout(x, y, num_classes=10, standardize=False, tolerance=1e-4),
        jnp.asarray(x),
        jnp.asarray(y),
    )
    return run, lambda r: objective(x, y, np.asarray(r.weights), np.asarray(r.bias))


def prepare_peer(case: str) -> Prepared:
    if case == "uniformity":
        import torch

        points = torch.from_numpy(sphere(50_000, 0))
        return lambda: torch.pdist(points).pow_(2).mul_(-2).exp_().mean().log(), float
    if case == "nearest":
        import faiss

        anchors = sphere(5_000, 1)
        index = faiss.IndexFlatIP(128)
        index.add(sphere(50_000, 0))
        return lambda: index.search(anchors, 10), lambda r: float(np.mean(r[0], dtype=np.float64))
    from sklearn.linear_model import LogisticRegression

    x, y = labelled(case == "readout-steep")
    model = LogisticRegression(C=1.0, tol=1e-4, max_iter=10_000)
    return lambda: model.fit(x, y), lambda m: objective(x, y, m.coef_.T, m.intercept_)


def resident(field: str) -> float:
    """MB of this process: VmRSS now, or VmHWM at its highest."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


def measure(case: str, ours: bool, repeats: int) -> dict[str, float]:
    run, summarize = (prepare_ours if ours else prepare_peer)(case)
    # What preparing left behind is given back, or the operation would grow into it unseen.
    ctypes.CDLL(None).malloc_trim(0)
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    result = run()
    growth = resident("VmHWM") - before
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
    return {"seconds": statistics.median(times), "growth": growth, "value": summarize(result)}


def available_memory() -> float:
    """MB that a new process can have."""
    text = pathlib.Path("/proc/meminfo").read_text()
    return int(text.split("MemAvailable:")[1].split()[0]) / 1024


def in_own_process(case: str, ours: bool, repeats: int, python: str) -> dict | str:
    peer, needed, _ = CASES[case]
    if not ours and available_memory() < needed:
        return f"does not fit: needs {needed} MB, {available_memory():.0f} MB are free"
    command = [python, __file__, "--child", case, str(int(ours)), str(repeats)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    last = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
    return f"missing: {peer}" if "ModuleNotFoundError" in last else f"failed: {last}"


def describe(found: dict | str) -> str:
    if isinstance(found, str):
        return found
    return f"{found['seconds']:>9.3f} {found['growth']:>9.0f}  {found['value']:.7f}"


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        sys.path.insert(0, str(ROOT))
        case, ours, repeats = sys.argv[2:]
        print(json.dumps(measure(case, bool(int(ours)), int(repeats))))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--peer-python", default=sys.executable)
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    print(f"{'case':<14} {'library':<8} {'median s':>9} {'growth MB':>9}  result")
    for case in options.cases.split(","):
        peer, _, aim = CASES[case]
        python = sys.executable if peer == "sklearn" else options.peer_python
        found = []
        for name, interpreter in (("jaxcl", sys.executable), (peer, python)):
            found.append(in_own_process(case, name == "jaxcl", options.repeats, interpreter))
            print(f"{case:<14} {name:<8} {describe(found[-1])}", flush=True)
        ours, theirs = found
        if not isinstance(ours, str) and not isinstance(theirs, str):
            ratio = theirs["seconds"] / ours["seconds"]
            limit = f", at most {aim['growth']} MB" if aim["growth"] else ""
            print(f"{case:<14} ratio {ratio:.1f} (aim: at least {aim['ratio']:.0f}{limit})")


if __name__ == "__main__":
    main()
