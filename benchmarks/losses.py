"""Value and gradient of NT-Xent: ours against other libraries, plain forms and the floor.

    python benchmarks/losses.py --peer_python=/path/to/an/environment/with/the/peers/bin/python

N pairs are 2N embeddings of dimension 128, float32, temperature 0.1; every case starts from
embeddings that are not normalised and ends with the gradient by them. Each case runs in a process
of its own with all cores and the same limit of memory, several rounds in turn; the median over all
calls counts, and the memory is the growth while calling. The floor is what nobody can avoid: the
two products of a matrix [2N, 2N] with the embeddings, and one exponential of it, in strips.

The peers (`pip install torch lightly pytorch-metric-learning optax`) may live in an environment of
their own. What is not installed, fails, or does not fit is listed as such.
"""

import argparse
import functools
import importlib.metadata
import os
import pathlib
import statistics
import sys
import unittest.mock
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import isolated  # noqa: E402

DIMENSION, TEMPERATURE = 128, 0.1
PAIRS = (256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768)

# A call that computes value and gradient, and returns the value.
Call = Callable[[], float]


def embeddings(pairs: int) -> np.ndarray:
    """[2 * pairs, d], views interleaved."""
    generator = np.random.default_rng(0)
    return generator.normal(size=(2 * pairs, DIMENSION)).astype(np.float32)


def call_jax(loss: Callable[[Any], Any], x: np.ndarray) -> Call:
    import jax

    compiled = jax.jit(jax.value_and_grad(loss)).lower(x).compile()
    placed = jax.device_put(x)
    return lambda: float(jax.block_until_ready(compiled(placed))[0])


def symmetric(x: np.ndarray) -> Call:
    from jaxcl.losses import normalize, symmetric_mean

    return call_jax(lambda x: symmetric_mean(normalize(x), temperature=TEMPERATURE), x)


def streamed(x: np.ndarray) -> Call:
    from jaxcl.losses import contrastive, interleaved_positives, normalize, streamed_mean

    rows = np.arange(len(x), dtype=np.int32)
    positives = interleaved_positives(len(x))

    def loss(x):
        z = normalize(x)
        return streamed_mean(contrastive, z, z, positives, temperature=TEMPERATURE, exclude=rows)

    return call_jax(loss, x)


def whole(x: np.ndarray) -> Call:
    from jaxcl.losses import contrastive, interleaved_positives, normalize, not_self

    positives = interleaved_positives(len(x))

    def loss(x):
        z = normalize(x)
        where = not_self(len(x))
        return contrastive(z @ z.T, positives, temperature=TEMPERATURE, where=where).mean()

    return call_jax(loss, x)


def plain_jnp(x: np.ndarray) -> Call:
    import jax
    import jax.numpy as jnp

    def loss(x):
        z = x / jnp.linalg.norm(x, axis=1, keepdims=True)
        rows = jnp.arange(len(x))
        logits = z @ z.T / TEMPERATURE
        logits = jnp.where(rows[:, None] == rows[None, :], -jnp.inf, logits)
        return -jax.nn.log_softmax(logits, axis=1)[rows, rows ^ 1].mean()

    return call_jax(loss, x)


def floor(x: np.ndarray) -> Call:
    import jax
    import jax.numpy as jnp

    def products(z):
        strips = z.reshape(-1, 256, DIMENSION)
        return jax.lax.map(lambda strip: jnp.exp(strip @ z.T) @ z, strips)

    z = jax.device_put(x / np.linalg.norm(x, axis=1, keepdims=True))
    compiled = jax.jit(products).lower(z).compile()

    def call():
        jax.block_until_ready(compiled(z))
        return float("nan")

    return call


def optax_ntxent(x: np.ndarray) -> Call:
    import jax.numpy as jnp
    import optax

    labels = jnp.arange(len(x)) // 2
    return call_jax(lambda x: optax.losses.ntxent(x, labels, TEMPERATURE), x)


def call_torch(loss: Callable[[Any], Any], x: np.ndarray) -> Call:
    import torch

    leaf = torch.from_numpy(x).requires_grad_()

    def call():
        leaf.grad = None
        value = loss(leaf)
        value.backward()
        return float(value.detach())

    return call


def _cross_entropy(x):
    import torch

    z = torch.nn.functional.normalize(x, dim=1)
    logits = z @ z.T / TEMPERATURE
    logits.fill_diagonal_(-torch.inf)
    return torch.nn.functional.cross_entropy(logits, torch.arange(len(x)) ^ 1)


def plain_torch(x: np.ndarray) -> Call:
    return call_torch(_cross_entropy, x)


def compiled_torch(x: np.ndarray) -> Call:
    import torch

    return call_torch(torch.compile(_cross_entropy), x)


def lightly(x: np.ndarray) -> Call:
    import torch

    # Its package imports torchvision, which the loss does not use.
    parts = ("", ".ops", ".transforms", ".transforms.functional", ".models", ".io", ".datasets")
    parts += (".datasets.folder", ".datasets.vision")
    stand_ins = {f"torchvision{part}": unittest.mock.MagicMock() for part in parts}
    try:
        from lightly.loss import NTXentLoss
    except ModuleNotFoundError as error:
        if error.name != "torchvision":
            raise
        for name in [name for name in sys.modules if name.startswith("lightly")]:
            del sys.modules[name]
        with unittest.mock.patch.dict(sys.modules, stand_ins):
            from lightly.loss import NTXentLoss
    del torch
    criterion = NTXentLoss(temperature=TEMPERATURE)
    return call_torch(lambda x: criterion(x[0::2], x[1::2]), x)


def metric_learning(x: np.ndarray) -> Call:
    import torch
    from pytorch_metric_learning.losses import NTXentLoss

    labels = torch.arange(len(x)) // 2
    criterion = NTXentLoss(temperature=TEMPERATURE)
    return call_torch(lambda x: criterion(x, labels), x)


# Name -> what it is, the function, and the distribution whose version to print.
CASES: Mapping[str, tuple[str, Callable[[np.ndarray], Call], str]] = {
    "symmetric": ("jaxcl symmetric_mean", symmetric, "jaxcl"),
    "streamed": ("jaxcl streamed_mean", streamed, "jaxcl"),
    "whole": ("jaxcl contrastive, whole matrix", whole, "jaxcl"),
    "jnp": ("plain jax.numpy", plain_jnp, "jax"),
    "torch": ("torch cross_entropy", plain_torch, "torch"),
    "torch_compile": ("torch cross_entropy, compiled", compiled_torch, "torch"),
    "lightly": ("lightly NTXentLoss", lightly, "lightly"),
    "metric_learning": (
        "pytorch-metric-learning NTXentLoss",
        metric_learning,
        "pytorch-metric-learning",
    ),
    "optax": ("optax ntxent", optax_ntxent, "optax"),
    "floor": ("floor: two products, one exp", floor, "jax"),
}
PEERS = ("torch", "torch_compile", "lightly", "metric_learning", "optax")

# Case, quantity, pairs, and by how much ours is to be better: what the project aims at.
AIMS = (
    ("jnp", 8192, 2.0),
    ("torch", 8192, 4.0),
    ("lightly", 8192, 8.0),
)


def run_case(name: str, pairs: int, memory_limit: float) -> None:
    """In the child: measures one case and reports."""
    isolated.limit_memory(memory_limit)
    _, build, distribution = CASES[name]
    call = build(embeddings(pairs))
    value = call()
    result = isolated.measure(call)
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        version = ""
    isolated.report({**result, "value": value, "version": version})


def combine(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """One result of several rounds: the median time of them, the largest growth."""
    good = [r for r in rounds if "failure" not in r]
    if not good:
        return rounds[0]
    medians = [r["median_ms"] for r in good]
    return {
        **good[0],
        "median_ms": statistics.median(medians),
        "least_ms": min(r["least_ms"] for r in good),
        "cpu_ms": statistics.median(r["cpu_ms"] for r in good),
        "growth_mb": max(r["growth_mb"] for r in good),
    }


def run_all(options: argparse.Namespace, pairs: int) -> dict[str, dict[str, Any]]:
    """All cases of one size, in turn, as many rounds as asked for."""
    results: dict[str, list[dict[str, Any]]] = {}
    for _ in range(options.rounds):
        for name in options.cases:
            before = results.setdefault(name, [])
            if before and "failure" in before[-1]:
                continue
            python = options.peer_python if name in PEERS else sys.executable
            command = [python, __file__, f"--case={name}", f"--pairs={pairs}"]
            command.append(f"--memory_limit={options.memory_limit}")
            before.append(isolated.run(command, options.timeout))
    return {name: combine(rounds) for name, rounds in results.items()}


def show(pairs: int, results: dict[str, dict[str, Any]]) -> None:
    """Prints the table of one size; times also as multiples of ours."""
    ours = results.get("symmetric", {}).get("median_ms")
    value = results.get("symmetric", {}).get("value")
    print(
        f"\nN = {pairs:,} pairs\n\n| case | ms (median) | of ours | ms of all cores | MB | remark |"
    )
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    for name, result in results.items():
        label = CASES[name][0]
        if "failure" in result:
            print(f"| {label} | – | – | – | – | {result['failure']} |")
            continue
        relative = f"{result['median_ms'] / ours:.2f}" if ours else "–"
        remark = result["version"]
        if value and not abs(result["value"] - value) <= 1e-4 * abs(value) and name != "floor":
            remark += f" another value: {result['value']:.5f}, ours {value:.5f}"
        print(
            f"| {label} | {result['median_ms']:.4g} | {relative} | {result['cpu_ms']:.4g} "
            f"| {result['growth_mb']:.0f} | {remark} |"
        )
    sys.stdout.flush()


def judge(results: dict[int, dict[str, dict[str, Any]]]) -> None:
    """Prints each aim beside what was measured."""

    def number(pairs: int, name: str, quantity: str) -> float | None:
        return results.get(pairs, {}).get(name, {}).get(quantity)

    def line(what: str, measured: float | None, aim: float, at_least: bool, unit: str) -> None:
        if measured is None:
            print(f"| {what} | {aim:g}{unit} | not measured | |")
            return
        met = measured >= aim if at_least else measured <= aim
        bound = "at least" if at_least else "at most"
        print(
            f"| {what} | {bound} {aim:g}{unit} | {measured:.3g}{unit} | {'yes' if met else 'no'} |"
        )

    def ratio(pairs: int, slower: str, faster: str) -> float | None:
        a, b = number(pairs, slower, "median_ms"), number(pairs, faster, "median_ms")
        return a / b if a and b else None

    print("\n| aim | bound | measured | met |\n| --- | --- | --- | --- |")
    for name, pairs, factor in AIMS:
        what = f"N = {pairs:,}: {CASES[name][0]} over ours"
        line(what, ratio(pairs, name, "symmetric"), factor, True, "x")
    line("N = 8,192: ours over the floor", ratio(8192, "symmetric", "floor"), 2, False, "x")
    line("N = 8,192: memory", number(8192, "symmetric", "growth_mb"), 150, False, " MB")
    line("N = 32,768: memory", number(32_768, "symmetric", "growth_mb"), 400, False, " MB")
    line("N = 8,192: whole matrix over streamed", ratio(8192, "whole", "streamed"), 1.4, True, "x")
    for pairs, cases in results.items():
        others = [n for n in cases if n in ("jnp", *PEERS) and "failure" not in cases[n]]
        if "symmetric" in cases and others:
            fastest = min(others, key=lambda n: cases[n]["median_ms"])
            what = f"N = {pairs:,}: the fastest other, {CASES[fastest][0]}, over ours"
            line(what, ratio(pairs, fastest, "symmetric"), 1, True, "x")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    listed = functools.partial(str.split, sep=",")
    parser.add_argument("--pairs", type=lambda text: [int(x) for x in listed(text)], default=PAIRS)
    parser.add_argument("--cases", type=listed, default=list(CASES), help="names, by commas")
    parser.add_argument("--peer_python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for one case")
    half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2e9
    parser.add_argument("--memory_limit", type=float, default=round(half, 1), help="GB a process")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = parse()
    if options.case:
        run_case(options.case, options.pairs[0], options.memory_limit)
        return
    print(f"{os.cpu_count()} cores, {options.memory_limit:g} GB a process, rounds {options.rounds}")
    results = {}
    for pairs in options.pairs:
        results[pairs] = run_all(options, pairs)
        show(pairs, results[pairs])
    judge(results)


if __name__ == "__main__":
    main()
