"""How exact NT-Xent is at low temperature: ours against other libraries and two plain forms.

    python benchmarks/numerics.py --output=docs/numerics.md

Loss and gradient by the embeddings are compared with a float64 NumPy form of the same rounded
embeddings, as relative errors. Without --output the page is printed. Peers that are not installed
are listed as such: `pip install torch optax lightly pytorch-metric-learning`.
"""

import argparse
import importlib.metadata
import pathlib
import platform
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from numerics_losses import (
    DIMENSION,
    KINDS,
    PAIRS,
    Evaluate,
    embeddings,
    exact,
    jax_losses,
    of_similarities,
    torch_losses,
)

from jaxcl.losses import contrastive, interleaved_positives, not_self

TEMPERATURES = (1.0, 0.5, 0.2, 0.1, 0.07, 0.05, 0.02, 0.01, 0.005)
DTYPES = ("float32", "bfloat16", "float16")
# Of loss and gradient, at temperatures down to 0.01.
BOUNDS = {"float32": 1e-5, "bfloat16": 2e-2, "float16": 2e-2}

# The tables show the first draw of the embeddings, the summary the worst of so many.
DRAWS = 40

# Errors of loss and gradient by (kind, dtype, loss, temperature); None: no such number in the dtype.
Errors = dict[tuple[str, str, str, float], tuple[float, float | None]]


def relative_errors(
    evaluate: Evaluate, x: np.ndarray, temperature: float, expected: tuple[float, np.ndarray]
) -> tuple[float, float]:
    """Errors of loss and gradient; NaN where either is not finite."""
    value, gradient = evaluate(x, temperature)
    loss_error = abs(value - expected[0]) / abs(expected[0])
    gradient_error = np.linalg.norm(gradient - expected[1]) / np.linalg.norm(expected[1])
    return float(loss_error), float(gradient_error)


def representable(gradient: np.ndarray, dtype: str) -> bool:
    """Whether the dtype can hold the largest entries of the gradient to three digits."""
    info = jnp.finfo(dtype)
    # Subnormal numbers are flushed to zero in the dtypes that the processor computes in.
    smallest = info.smallest_subnormal if dtype == "float16" else info.smallest_normal
    return np.abs(gradient).max() > 1000 * float(smallest)


def measure(losses: dict[str, Evaluate], seed: int) -> Errors:
    """Returns the errors on one draw of the embeddings."""
    errors = {}
    for kind in KINDS:
        for dtype in DTYPES:
            x = np.asarray(embeddings(kind, seed), dtype=jnp.dtype(dtype))
            for temperature in TEMPERATURES:
                expected = exact(x, temperature)
                holds = representable(expected[1], dtype)
                for name, evaluate in losses.items():
                    loss, gradient = relative_errors(evaluate, x, temperature, expected)
                    errors[kind, dtype, name, temperature] = (loss, gradient if holds else None)
    return errors


def cell(errors: tuple[float, float | None]) -> str:
    def show(error: float | None) -> str:
        if error is None:
            return "–"
        if not np.isfinite(error):
            return "**NaN**"
        text = f"{error:.0e}".replace("e-0", "e-").replace("e+0", "e+")
        return f"**{text}**" if error > 0.1 else text

    return f"{show(errors[0])} / {show(errors[1])}"


def given_similarities(seed: int) -> dict[tuple[str, float], tuple[float, float]]:
    """Errors of ours in float32, loss / gradient by the similarities, when those are the input."""
    loss = jax.jit(
        jax.value_and_grad(
            lambda s, t: contrastive(
                s, interleaved_positives(len(s)), temperature=t, where=not_self(len(s))
            ).mean()
        )
    )
    errors = {}
    for kind in KINDS:
        x = embeddings(kind, seed)
        z = x / np.linalg.norm(x, axis=1, keepdims=True)
        s = np.asarray(z @ z.T, np.float32)
        for temperature in TEMPERATURES:
            # 0.07 is another number in float32.
            rounded = float(np.float32(temperature))
            expected = of_similarities(s.astype(np.float64), rounded)
            value, gradient = loss(s, np.float32(temperature))
            errors[kind, temperature] = (
                abs(float(value) - expected[0]) / expected[0],
                float(np.linalg.norm(gradient - expected[1]) / np.linalg.norm(expected[1])),
            )
    return errors


def verdicts(draws: list[Errors], given: list[dict]) -> list[str]:
    """What holds for ours over all draws, a sentence a dtype."""
    lines = []
    for dtype, bound in BOUNDS.items():
        own = [(k[3], v) for draw in draws for k, v in draw.items() if k[1] == dtype]
        within = [v for temperature, v in own if temperature >= 0.01]
        loss = max(v[0] for v in within)
        gradient = max(v[1] for v in within if v[1] is not None)
        finite = all(np.isfinite(e) for _, v in own for e in v if e is not None)
        lines.append(
            f"- {dtype}: down to temperature 0.01 an error of at most {loss:.1e} of the loss "
            f"{compare(loss, bound)} and {gradient:.1e} of the gradient "
            f"{compare(gradient, bound)}; {'never NaN' if finite else '**NaN**'} down to 0.005."
        )
    loss, gradient = (max(v[i] for draw in given for v in draw.values()) for i in (0, 1))
    bound = BOUNDS["float32"]
    lines.append(
        f"- float32, given the similarities: down to 0.005 at most {loss:.1e} of the loss "
        f"{compare(loss, bound)} and {gradient:.1e} of the gradient {compare(gradient, bound)}."
    )
    return lines


def compare(error: float, bound: float) -> str:
    return f"(within {bound:.0e})" if error <= bound else f"(**beyond** {bound:.0e})"


def table(names: list[str], row: Callable[[str, float], tuple[float, float | None]]) -> list[str]:
    lines = ["| | " + " | ".join(f"τ = {t:g}" for t in TEMPERATURES) + " |"]
    lines.append("|---" * (len(TEMPERATURES) + 1) + "|")
    for name in names:
        lines.append(f"| {name} | " + " | ".join(cell(row(name, t)) for t in TEMPERATURES) + " |")
    return [*lines, ""]


def page(losses: dict[str, Evaluate]) -> str:
    """Measures, and returns the results as a page of Markdown."""
    errors = measure(losses, seed=0)
    own = {name: loss for name, loss in losses.items() if name.startswith("jaxcl")}
    draws = [measure(own, seed) for seed in range(DRAWS)]
    given = [given_similarities(seed) for seed in range(DRAWS)]
    lines = [HEADER.format(n=2 * PAIRS, d=DIMENSION, versions=versions())]
    lines += ["## jaxcl, in short", "", f"Over {DRAWS} draws of each kind of embeddings:", ""]
    lines += [*verdicts(draws, given), "", *GIVEN.splitlines(), ""]
    lines += table(list(KINDS), lambda kind, t: given[0][kind, t])
    for kind, meaning in KINDS.items():
        lines += [f"## {kind.capitalize()} embeddings", "", f"{meaning.capitalize()}.", ""]
        for dtype in DTYPES:
            lines += [f"### {dtype}", ""]
            lines += table(list(losses), lambda name, t, k=(kind, dtype): errors[*k, name, t])
    return "\n".join(lines)


HEADER = """# Numerics

Relative errors of NT-Xent (`contrastive` in `LOSSES`), **loss / gradient by the embeddings**, against
float64 with the same rounded inputs: {n} rows of interleaved views, dimension {d}, gradient error in
the Euclidean norm. Errors above 0.1 are bold. A dash: the exact gradient is too small for the dtype,
so that no implementation could return it.

Each implementation gets the embeddings in the dtype named and works as it does by itself; the plain
forms stay in that dtype throughout, as written down without a thought of it. Ours widens to float32
before it normalizes. Differences between libraries at high temperature in float32 are of no
consequence; what matters is where a row turns bold. (lightly asks for torchvision when it is imported;
where that does not load, its loss, which does not use it, is given a stand-in.)

Made by `python benchmarks/numerics.py --output=docs/numerics.md` on a CPU, with {versions}.
"""


GIVEN = """The loss itself adds next to nothing to the error. With float32 similarities as its input, it and its
gradient by them are this far from float64; what is more in the tables below is the rounding of the
matrix product, about 1e-7 of each cosine, which every implementation divides by the temperature:"""


def versions() -> str:
    parts = [f"Python {platform.python_version()}"]
    for package in ("jax", "optax", "torch", "lightly", "pytorch-metric-learning"):
        try:
            parts.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            parts.append(f"{package} not installed")
    return ", ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, help="a file for the page")
    output = parser.parse_args().output
    losses = jax_losses() | torch_losses()
    text = page(losses)
    if output is None:
        print(text)
    else:
        output.write_text(text)


if __name__ == "__main__":
    main()
