"""What decoupling changes, measured on embeddings: the gradient that each pair gets inside a batch.

The contrastive loss scales all gradients of an anchor by q_B, which is small where the positive is
easy, the negatives are easy, or the batch is small; the decoupled loss does not.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcl.losses import coupling, interleaved_positives, not_self


class PairGradients(NamedTuple):
    """Each anchor inside its batch.

    Attributes:
        positive_similarities: ``[k]``, cosines.
        nearest_negative_similarities: ``[k]``, cosines.
        multipliers: q_B, ``[k]``.
        decoupled_norms: ``[k]``, norm of the decoupled loss's gradient by the anchor; that of the
            contrastive loss is ``multipliers`` times it.
    """

    positive_similarities: jax.Array
    nearest_negative_similarities: jax.Array
    multipliers: jax.Array
    decoupled_norms: jax.Array


def pair_gradients(views: Any, *, temperature: Any, batch_size: int) -> PairGradients:
    r"""Gradients by the anchors, as vectors that may move freely, of pairs in batches of one size.

    .. math:: \left\| \frac{\partial L_i}{\partial z_i} \right\| = \frac{q_{B,i}}{\tau}
        \left\| z_i^+ - \sum_{j} p_{ij} z_j \right\|

    Args:
        views: ``[n, 2, d]``, unit vectors, two views of each image. What does not fill a batch is
            left out.
        temperature: positive.
        batch_size: images of a batch, at most n; an anchor has twice as many negatives, less two.

    Returns:
        PairGradients of ``k = 2 * batch_size * (n // batch_size)`` anchors.

    Raises:
        ValueError: a batch that is smaller than 2 or larger than n.

    Example:
        >>> views = jnp.array([[[1.0, 0.0], [0.6, 0.8]], [[0.0, 1.0], [0.0, 1.0]]])
        >>> pairs = pair_gradients(views, temperature=0.5, batch_size=2)
        >>> print(jnp.array_str(pairs.multipliers, precision=2))
        [0.38 0.75 0.45 0.45]
        >>> print(jnp.array_str(pairs.decoupled_norms, precision=2))
        [1.26 2.83 1.49 1.49]

    References:
        Yeh et al., "Decoupled Contrastive Learning", ECCV 2022, section 3.
    """
    views = jnp.asarray(views)
    n, both, d = views.shape
    if both != 2:
        raise ValueError(f"views {views.shape} must be [n, 2, d]: two views of each image")
    if not 2 <= batch_size <= n:
        raise ValueError(f"batch_size {batch_size} must lie in 2 to the {n} images of views")
    groups = n // batch_size
    rows = views[: groups * batch_size].reshape(groups, 2 * batch_size, d)
    found = _of_batches(rows, jnp.asarray(temperature, views.dtype))
    return PairGradients(*(values.reshape(-1) for values in found))


@jax.jit
def _of_batches(rows: jax.Array, temperature: jax.Array) -> PairGradients:
    positives, where = interleaved_positives(rows.shape[1]), not_self(rows.shape[1])

    def of_batch(z: jax.Array) -> PairGradients:
        s = jnp.matmul(z, z.T, precision=jax.lax.Precision.HIGHEST)
        is_positive = jnp.arange(len(z))[None, :] == positives[:, None]
        negatives = where & ~is_positive
        p = jax.nn.softmax(jnp.where(negatives, s / temperature, -jnp.inf), axis=1)
        pulled = z[positives] - jnp.matmul(p, z, precision=jax.lax.Precision.HIGHEST)
        return PairGradients(
            jnp.take_along_axis(s, positives[:, None], axis=1)[:, 0],
            jnp.max(jnp.where(negatives, s, -jnp.inf), axis=1),
            coupling(s, positives, temperature=temperature, where=where),
            jnp.linalg.norm(pulled, axis=1) / temperature,
        )

    return jax.lax.map(of_batch, rows)  # one batch after another: [2b, 2b] at a time
