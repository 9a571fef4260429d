"""Rows to try losses on, and the parts of the family that share a property."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxcl.losses import LOSSES

SIZE = 8
# One loss under three names.
SOFTMAX = ("contrastive", "nt_xent", "softmax")
# A share of positives so small that the debiased mass stays above its floor on these rows.
UNCLAMPED = {"debiased": {"tau_plus": 0.01}, "hcl": {"tau_plus": 0.01}}

# Halves the time to compile, which is most of the time of these tests.
UNOPTIMIZED = {"xla_backend_optimization_level": 0}
Evaluate = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]


def rows(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Similarities [n, n] in [-1, 1], positives (a permutation) and a mask."""
    generator = np.random.default_rng(seed)
    similarities = generator.uniform(-1, 1, (SIZE, SIZE))
    positives = generator.permutation(SIZE).astype(np.int32)
    where = generator.random((SIZE, SIZE)) < 0.7
    # Two negatives at least, so that every loss has something to choose from.
    for i, positive in enumerate(positives):
        where[i, [(positive + 1) % SIZE, (positive + 2) % SIZE]] = True
    return similarities, positives, where


def negatives_of(positives: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The mask of negatives, bool [n, m]."""
    negatives = where.copy()
    negatives[np.arange(len(positives)), positives] = False
    return negatives


def value_and_gradients(name: str, *, fast: bool = True, **constants: object) -> Evaluate:
    """A compiled function of (similarities, positives, where, temperature): value and gradients.

    The value is [n]; the gradients are those of its sum, by similarities [n, m] and by temperature.
    `fast` compiles without optimization; tests of rounding errors do with it.
    """
    return _compile(LOSSES[name], fast, **constants)


@functools.cache
def _compile(loss: Callable[..., jax.Array], fast: bool, **constants: object) -> Evaluate:
    def total(similarities, temperature, positives, where):
        values = loss(similarities, positives, temperature=temperature, where=where, **constants)
        return jnp.sum(values), values

    differentiate = jax.jit(
        jax.value_and_grad(total, argnums=(0, 1), has_aux=True),
        compiler_options=UNOPTIMIZED if fast else None,
    )

    def evaluate(similarities, positives, where, temperature):
        (_, values), gradients = differentiate(
            jnp.asarray(similarities), jnp.asarray(temperature, float), positives, where
        )
        return np.asarray(values), np.asarray(gradients[0]), np.asarray(gradients[1])

    return evaluate


def evaluate64(name: str, *arguments: object, **constants: object):
    """Value and gradients in float64."""
    with jax.enable_x64(True):
        return value_and_gradients(name, **constants)(*arguments)
