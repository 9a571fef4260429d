"""Tolerance: how similar the samples of one class are, in closed form. Knows embeddings and labels
only."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcl.metrics.sphere import check_embeddings, check_labels, is_concrete


def tolerance(
    x: Any,
    labels: Any,
    *,
    num_classes: int,
    conditional: bool = True,
    normalize: bool | None = None,
) -> jax.Array:
    """Mean cosine of two samples of the same class; higher is more tolerant to semantically alike
    samples.

    With the class sums ``S_c = sum_{i in c} x_i`` it costs O(n d) and no pair is ever formed::

        conditional:  sum_c (|S_c|^2 - sum_{i in c} |x_i|^2) / sum_c n_c (n_c - 1)
        literal:      the same numerator                     / (n (n - 1))

    The literal form is Eq. 11, an expectation over all pairs, and can therefore not exceed the
    chance of drawing one class twice (0.1 for ten balanced classes). The values the paper tabulates
    (up to 0.61) are conditional means, the default here. A sample is never paired with itself.
    Classes of no or one sample have no pair and count for nothing.

    Args:
        x: ``[n, d]`` embeddings.
        labels: ``[n]`` integers in ``[0, num_classes)``.
        num_classes: number of classes, a Python integer.
        conditional: True: mean over same-class pairs. False: Eq. 11 to the letter.
        normalize: None: rows must have norm 1 already; True: normalise them; False: take them as
            they are.

    Returns:
        Scalar in [-1, 1]. Under ``jit``, where values cannot be checked, NaN when no two samples
        share a class.

    Raises:
        ValueError: no two samples share a class, labels out of range or of another length, rows off
            the sphere.

    Example:
        >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [-1.0, 0.0]])
        >>> print(tolerance(x, jnp.array([0, 0, 1, 1]), num_classes=2))
        0.5
        >>> print(tolerance(x, jnp.array([0, 0, 1, 1]), num_classes=2, conditional=False))
        0.16666667

    References:
        Wang and Liu, "Understanding the Behaviour of Contrastive Loss", CVPR 2021, Eq. 11.
    """
    x = check_embeddings(x, "x", normalize=normalize)
    labels = check_labels(labels, x.shape[0], "labels", num_classes=num_classes)
    similarity, pairs = _pair_sums(x, labels, num_classes)
    if is_concrete(pairs) and not float(jnp.sum(pairs)) > 0:
        raise ValueError(
            "tolerance needs two samples of one class, "
            f"but the {x.shape[0]} labels are all different"
        )
    n = x.shape[0]
    count = jnp.sum(pairs) if conditional else jnp.asarray(float(n) * (n - 1), x.dtype)
    mean = jnp.sum(similarity) / jnp.maximum(count, 1.0)
    return jnp.where(jnp.sum(pairs) > 0, mean, jnp.nan)


def tolerance_per_class(
    x: Any, labels: Any, *, num_classes: int, normalize: bool | None = None
) -> jax.Array:
    """Mean cosine of two different samples of each class.

    Args:
        x: ``[n, d]`` embeddings.
        labels: ``[n]`` integers in ``[0, num_classes)``.
        num_classes: number of classes, a Python integer.
        normalize: None: rows must have norm 1 already; True: normalise them; False: take them as
            they are.

    Returns:
        ``[c]``; NaN for a class of fewer than two samples, which has no pair.

    Raises:
        ValueError: labels out of range or of another length, rows off the sphere.

    Example:
        >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [-1.0, 0.0]])
        >>> tolerance_per_class(x, jnp.array([0, 0, 1, 1]), num_classes=2).tolist()
        [0.0, 1.0]
    """
    x = check_embeddings(x, "x", normalize=normalize)
    labels = check_labels(labels, x.shape[0], "labels", num_classes=num_classes)
    similarity, pairs = _pair_sums(x, labels, num_classes)
    return jnp.where(pairs > 0, similarity / jnp.maximum(pairs, 1.0), jnp.nan)


def _pair_sums(x: jax.Array, labels: jax.Array, num_classes: int) -> tuple[jax.Array, jax.Array]:
    """For each class the sum of similarities over its ordered pairs, and the number of those
    pairs."""
    sums = jax.ops.segment_sum(x, labels, num_segments=num_classes)
    squares = jax.ops.segment_sum(jnp.sum(x * x, axis=1), labels, num_segments=num_classes)
    counts = jax.ops.segment_sum(jnp.ones_like(x[:, 0]), labels, num_segments=num_classes)
    return jnp.sum(sums * sums, axis=1) - squares, counts * (counts - 1.0)
