"""Embeddings to evaluate losses from, and the dense form in float64 to compare with."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcl.losses import (
    DECOUPLED_BY,
    LOSSES,
    dclw_weights,
    nce_log_normalizer,
    uniformity_log_potential,
)
from tests.losses.cases import UNOPTIMIZED

SIZE, DIMENSION = 48, 16
ROWS = np.arange(SIZE, dtype=np.int32)
POSITIVES = ROWS ^ 1
NOT_SELF = ~np.eye(SIZE, dtype=bool)
TEMPERATURES = (0.5, 0.07, 0.01)
# How far an exact evaluation may be from the dense form in float64, relatively.
BOUNDS = {"float64": 1e-12, "float32": 1e-5, "bfloat16": 2e-2}
CONSTANTS = {"hard": {"num_negatives": 5}, "hard_simple": {"num_negatives": 5}}

# A function of several names once; and not the loss that is evaluated as two others.
STREAMABLE = [
    name for name in {loss: name for name, loss in LOSSES.items()}.values() if name != "clip"
]

# The same for tests of many compilations: a few of each kind, the others only with --slow.
WITH_SLOW = [
    pytest.param(name, marks=() if name in ("softmax", "hard", "sigmoid") else pytest.mark.slow)
    for name in STREAMABLE
]

# (anchors, candidates, temperature, what couples the rows) -> the value and the gradients by the
# first three, all as arrays of NumPy.
Differentiated = Callable[..., tuple[np.ndarray, ...]]


def embeddings(dtype: str = "float32", size: int = SIZE) -> np.ndarray:
    """Unit vectors [n, d], interleaved; two views of an image are alike."""
    generator = np.random.default_rng(size)
    images = np.repeat(generator.normal(size=((size + 1) // 2, DIMENSION)), 2, axis=0)[:size]
    x = images + generator.normal(size=images.shape)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(jnp.dtype(dtype))


def dense(loss, anchors, candidates, positives, *, temperature, where=NOT_SELF, **constants):
    """The losses [n] by the whole matrix."""
    similarities = jnp.matmul(anchors, candidates.T)
    return loss(similarities, positives, temperature=temperature, where=where, **constants)


def differentiated(mean: Callable[..., jax.Array]) -> Differentiated:
    """Compiles (anchors, candidates, temperature, ...) -> value, and its gradients by those."""
    compiled = jax.jit(jax.value_and_grad(mean, argnums=(0, 1, 2)), compiler_options=UNOPTIMIZED)

    def evaluate(anchors, candidates, temperature, *more):
        dtype = jnp.promote_types(anchors.dtype, jnp.float32)
        value, gradients = compiled(anchors, candidates, jnp.asarray(temperature, dtype), *more)
        return tuple(np.asarray(x) for x in (value, *gradients))

    return evaluate


@functools.cache
def coupling(name: str, temperature: float) -> dict[str, np.ndarray]:
    """What the rows of a coupled loss share, by the keyword that takes it; taken as given."""
    if name not in DECOUPLED_BY:
        return {}
    with jax.enable_x64(True):
        z = jnp.asarray(embeddings("float64"))
        s = z @ z.T
        shared = {
            "dclw": lambda: dclw_weights(s[ROWS, POSITIVES]),
            "nce": lambda: nce_log_normalizer(s, POSITIVES, temperature=temperature),
            "alignment_uniformity": lambda: uniformity_log_potential(s, POSITIVES),
        }[name]()
        return {DECOUPLED_BY[name]: np.asarray(shared)}


@functools.cache
def reference(name: str, dtype: str) -> list[tuple[np.ndarray, ...]]:
    """Value and gradients at each temperature, densely in float64, at embeddings of a dtype."""

    def mean(anchors, candidates, temperature, shared):
        constants = {**shared, **CONSTANTS.get(name, {})}
        arguments = LOSSES[name], anchors, candidates, POSITIVES
        return dense(*arguments, temperature=temperature, **constants).mean()

    with jax.enable_x64(True):
        z = embeddings(dtype).astype(np.float64)
        evaluate = differentiated(mean)
        return [evaluate(z, z, t, coupling(name, t)) for t in TEMPERATURES]


def check_against_reference(name: str, dtype: str, evaluate: Differentiated) -> None:
    """Asserts that an evaluation has the value and the gradients of the reference, in its dtype."""
    z = jnp.asarray(embeddings(dtype))
    wide = np.promote_types(np.float32, dtype) if dtype != "bfloat16" else np.dtype("float32")
    for temperature, expected in zip(TEMPERATURES, reference(name, dtype), strict=True):
        shared = {k: v.astype(wide) for k, v in coupling(name, temperature).items()}
        result = evaluate(z, z, temperature, shared)
        assert [str(x.dtype) for x in result] == [wide, dtype, dtype, wide], name
        for actual, exact, what in zip(result, expected, PARTS, strict=True):
            assert relative_error(actual, exact) <= BOUNDS[dtype], (name, temperature, what)


PARTS = ("value", "by anchors", "by candidates", "by temperature")


def relative_error(actual: np.ndarray, exact: np.ndarray) -> float:
    """The norm of the difference by the norm of what is exact."""
    difference = np.linalg.norm(np.asarray(actual, np.float64) - exact)
    return float(difference / (np.linalg.norm(exact) or 1))
