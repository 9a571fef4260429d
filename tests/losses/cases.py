"""Rows to try losses on, and the parts of the family that share a property."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxcl.losses import LOSSES

# One loss under three names.
SOFTMAX = ("contrastive", "nt_xent", "softmax")
# Invariant to a common shift, and to scaling similarities together with the temperature.
LOG_ODDS = (*SOFTMAX, "hard", "dcl", "supcon", "clip", "dual_temperature")
SIZE = 8


def rows(seed: int = 0, *, mask: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Similarities [n, n] in [-1, 1], positives (a permutation) and a mask that spares them."""
    generator = np.random.default_rng(seed)
    similarities = generator.uniform(-1, 1, (SIZE, SIZE))
    positives = generator.permutation(SIZE).astype(np.int32)
    where = generator.random((SIZE, SIZE)) < 0.7 if mask else np.ones((SIZE, SIZE), bool)
    # Two negatives at least, so that every loss has something to choose from.
    for i, positive in enumerate(positives):
        where[i, [(positive + 1) % SIZE, (positive + 2) % SIZE]] = True
    return similarities, positives, where


@functools.cache
def value_and_gradients(name: str, **constants):
    """A compiled function from (similarities, positives, where, temperature) to value and gradients.

    The value is [n]; the gradients are those of its sum, by similarities and by temperature.
    """

    def total(similarities, temperature, positives, where):
        loss = LOSSES[name](
            similarities, positives, temperature=temperature, where=where, **constants
        )
        return jnp.sum(loss), loss

    differentiate = jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))

    def call(similarities, positives, where, temperature):
        (_, loss), gradients = differentiate(
            jnp.asarray(similarities), jnp.asarray(temperature, float), positives, where
        )
        return np.asarray(loss), np.asarray(gradients[0]), np.asarray(gradients[1])

    return call
