"""NT-Xent as it is written here and elsewhere, for `numerics.py`, and in float64 to compare with."""

import importlib.metadata
import sys
import unittest.mock
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxcl.losses import (
    contrastive,
    interleaved_positives,
    normalize,
    not_self,
    similarity_matrix,
    streamed_mean,
)

PAIRS, DIMENSION = 64, 128
KINDS = {
    "random": "independent normal vectors: the positive is no nearer than a negative",
    "anisotropic": "the same about a common direction: every cosine is near 0.98",
    "well-aligned": "positives at cosine 0.995 among negatives near 0.7: the loss is nearly zero",
}
# Embeddings [2 * pairs, d], interleaved, and a temperature: loss and gradient by the embeddings.
Evaluate = Callable[[np.ndarray, float], tuple[float, np.ndarray]]


def embeddings(kind: str, seed: int = 0) -> np.ndarray:
    """Interleaved views of PAIRS images, float64 [2 * PAIRS, DIMENSION]."""
    generator = np.random.default_rng(seed)
    first = generator.normal(size=(PAIRS, DIMENSION)) / np.sqrt(DIMENSION)
    second = generator.normal(size=(PAIRS, DIMENSION)) / np.sqrt(DIMENSION)
    common = generator.normal(size=DIMENSION) / np.sqrt(DIMENSION)
    common *= {"random": 0.0, "anisotropic": 7.0, "well-aligned": 1.5}[kind]
    if kind == "well-aligned":
        second = first + 0.18 * second
    return np.stack([first + common, second + common], axis=1).reshape(2 * PAIRS, DIMENSION)


def differentiate(loss: Callable[[jax.Array, jax.Array], jax.Array]) -> Evaluate:
    """Makes a comparable function out of a jax loss of embeddings and temperature."""
    compiled = jax.jit(jax.value_and_grad(loss))

    def evaluate(x: np.ndarray, temperature: float) -> tuple[float, np.ndarray]:
        value, gradient = compiled(jnp.asarray(x), temperature)
        return float(value), np.asarray(gradient, np.float64)

    return evaluate


def ours(x: jax.Array, temperature: jax.Array) -> jax.Array:
    positives, where = interleaved_positives(len(x)), not_self(len(x))
    similarities = similarity_matrix(x, x, normalize=True, positives=positives)
    return contrastive(similarities, positives, temperature=temperature, where=where).mean()


def ours_streamed(x: jax.Array, temperature: jax.Array) -> jax.Array:
    z, rows = normalize(x), jnp.arange(len(x))
    positives = interleaved_positives(len(x))
    return streamed_mean(contrastive, z, z, positives, temperature=temperature, exclude=rows)


def log_softmax(x: jax.Array, temperature: jax.Array) -> jax.Array:
    """The usual dense form, in the dtype of the embeddings throughout."""
    z = x / jnp.linalg.norm(x, axis=1, keepdims=True)
    logits = jnp.where(not_self(len(x)), z @ z.T / temperature.astype(x.dtype), -jnp.inf)
    log_probability = jax.nn.log_softmax(logits)
    return -log_probability[jnp.arange(len(x)), interleaved_positives(len(x))].mean()


def exponentials(x: jax.Array, temperature: jax.Array) -> jax.Array:
    """The formula as it is printed, in the dtype of the embeddings throughout."""
    z = x / jnp.linalg.norm(x, axis=1, keepdims=True)
    mass = jnp.where(not_self(len(x)), jnp.exp(z @ z.T / temperature.astype(x.dtype)), 0)
    positive = mass[jnp.arange(len(x)), interleaved_positives(len(x))]
    return -jnp.log(positive / mass.sum(axis=1)).mean()


def of_similarities(s: np.ndarray, temperature: float) -> tuple[float, np.ndarray]:
    """The loss in float64, and its gradient by the similarities, by the paper's formulas.

    Written with the logarithm of the odds against the positive, so that nothing cancels.
    """
    n = len(s)
    anchors, positives = np.arange(n), np.arange(n) ^ 1
    logits = (s - s[anchors, positives][:, None]) / temperature
    logits[anchors, anchors] = logits[anchors, positives] = -np.inf
    largest = logits.max(axis=1, keepdims=True)
    mass = np.exp(logits - largest)
    odds = largest[:, 0] + np.log(mass.sum(axis=1))
    gradient = mass / mass.sum(axis=1, keepdims=True)
    gradient[anchors, positives] = -1
    gradient *= np.exp(-np.logaddexp(0, -odds))[:, None] / (temperature * n)
    return float(np.logaddexp(0, odds).mean()), gradient


def exact(x: np.ndarray, temperature: float) -> tuple[float, np.ndarray]:
    """The loss in float64, and its gradient by the embeddings."""
    z = x.astype(np.float64)
    length = np.linalg.norm(z, axis=1, keepdims=True)
    z = z / length
    loss, by_similarity = of_similarities(z @ z.T, temperature)
    by_direction = (by_similarity + by_similarity.T) @ z
    tangent = by_direction - np.sum(by_direction * z, axis=1, keepdims=True) * z
    return loss, tangent / length


def jax_losses() -> dict[str, Evaluate]:
    losses = {
        "jaxcl": differentiate(ours),
        "jaxcl, streamed": differentiate(ours_streamed),
        "jnp log_softmax": differentiate(lambda x, t: log_softmax(x, jnp.asarray(t))),
        "jnp exponentials": differentiate(lambda x, t: exponentials(x, jnp.asarray(t))),
    }
    try:
        import optax
    except ModuleNotFoundError:
        return losses
    labels = jnp.arange(2 * PAIRS) // 2
    losses["optax ntxent"] = differentiate(lambda x, t: optax.losses.ntxent(x, labels, t))
    return losses


def torch_losses() -> dict[str, Evaluate]:
    """The peers that need torch, as far as they are installed."""
    try:
        import torch
    except ModuleNotFoundError:
        return {}

    def differentiate_torch(loss) -> Evaluate:
        def evaluate(x: np.ndarray, temperature: float) -> tuple[float, np.ndarray]:
            # Through float32, which holds the narrow dtypes: torch does not read NumPy's bfloat16.
            wide = torch.from_numpy(np.array(x, np.float32))
            leaf = wide.to(getattr(torch, str(x.dtype))).requires_grad_()
            value = loss(leaf, temperature)
            value.backward()
            return float(value.detach().double()), leaf.grad.double().numpy()

        return evaluate

    positives = torch.arange(2 * PAIRS) ^ 1
    diagonal = torch.eye(2 * PAIRS, dtype=torch.bool)

    def cross_entropy(x, temperature):
        z = torch.nn.functional.normalize(x)
        logits = (z @ z.T / temperature).masked_fill(diagonal, -torch.inf)
        return torch.nn.functional.cross_entropy(logits, positives)

    losses = {"torch cross_entropy": differentiate_torch(cross_entropy)}
    lightly = lightly_loss()
    if lightly is not None:
        losses["lightly NTXentLoss"] = differentiate_torch(
            lambda x, t: lightly(temperature=t)(x[::2], x[1::2])
        )
    try:
        from pytorch_metric_learning.losses import NTXentLoss
    except ModuleNotFoundError:
        return losses
    labels = torch.arange(2 * PAIRS) // 2
    losses["pytorch-metric-learning NTXentLoss"] = differentiate_torch(
        lambda x, t: NTXentLoss(temperature=t)(x, labels)
    )
    return losses


def lightly_loss():
    """The class, or None. Its package imports torchvision, which the loss does not use."""
    try:
        importlib.metadata.version("lightly")
    except importlib.metadata.PackageNotFoundError:
        return None
    try:
        import torchvision  # noqa: F401
    except (ModuleNotFoundError, RuntimeError):  # Absent, or built for another torch.
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        stand_in = unittest.mock.MagicMock()
        parts = ("", ".models", ".models.vision_transformer", ".ops", ".transforms")
        names = [f"torchvision{part}" for part in parts]
        with unittest.mock.patch.dict(sys.modules, dict.fromkeys(names, stand_in)):
            from lightly.loss.ntx_ent_loss import NTXentLoss
        return NTXentLoss
    from lightly.loss.ntx_ent_loss import NTXentLoss

    return NTXentLoss
