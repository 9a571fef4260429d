"""From embeddings to similarities: the one place where the losses' folder sees a vector."""

import jax
import jax.numpy as jnp

from jaxcl.losses.products import inner_products


def normalize(x: jax.Array, eps: float = 1e-12) -> jax.Array:
    """Scales vectors to length one; a zero vector stays zero, with a finite gradient.

    Args:
        x: [..., d], any floating dtype.
        eps: lower bound of the squared length.

    Returns:
        [..., d], float32 (float64 for float64).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import normalize
        >>> normalize(jnp.array([[3.0, 4.0], [0.0, 0.0]]))
        Array([[0.6, 0.8],
               [0. , 0. ]], dtype=float32)
    """
    x = _widen(x)
    return x * jax.lax.rsqrt(jnp.maximum(_squared_length(x), eps))


def shorten(x: jax.Array, mu: float) -> jax.Array:
    """Scales vectors longer than sqrt(mu) to that length and leaves the others; for `spectral`.

    Args:
        x: [..., d], any floating dtype.
        mu: bound of the squared length, positive.

    Returns:
        [..., d], float32 (float64 for float64).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import shorten
        >>> shorten(jnp.array([[3.0, 4.0], [0.3, 0.4]]), mu=4.0)
        Array([[1.2, 1.6],
               [0.3, 0.4]], dtype=float32)
    """
    if mu <= 0:
        raise ValueError(f"mu {mu} must be positive")
    x = _widen(x)
    squared = _squared_length(x)
    long = squared > mu
    return x * jnp.where(long, jax.lax.rsqrt(jnp.where(long, squared / mu, 1)), 1)


def similarity_matrix(
    anchors: jax.Array,
    candidates: jax.Array,
    *,
    normalize: bool,
    precision: jax.lax.PrecisionLike = None,
    positives: jax.Array | None = None,
) -> jax.Array:
    """The similarities of all anchors with all candidates.

    Args:
        anchors: [n, d].
        candidates: [m, d].
        normalize: whether to scale the embeddings to length one first. No default: inner products
            of embeddings of other lengths are not cosines, and which is meant must be said.
        precision: of the matrix product. None is the highest, unless
            jax_default_matmul_precision is set: what is the default elsewhere rounds float32 to
            bfloat16 on a TPU (and to TF32 on a GPU), and rounded to bfloat16 the embeddings have
            another loss (`jax.lax.Precision.DEFAULT` asks for that).
        positives: int [n], the column of each anchor's positive, if its similarity is to be
            computed by itself, with less rounding than the matrix product has. At a temperature of
            0.01 and below it shows in the gradient.

    Returns:
        [n, m], float32 (float64 for float64), whatever the dtype of the embeddings.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import similarity_matrix
        >>> anchors = jnp.array([[3.0, 4.0]])
        >>> candidates = jnp.array([[1.0, 0.0], [0.0, 2.0]])
        >>> similarity_matrix(anchors, candidates, normalize=True)
        Array([[0.6, 0.8]], dtype=float32)
    """
    anchors, candidates = jnp.asarray(anchors), jnp.asarray(candidates)
    if anchors.ndim != 2 or candidates.ndim != 2 or anchors.shape[1] != candidates.shape[1]:
        raise ValueError(
            f"anchors have shape {anchors.shape} and candidates {candidates.shape}; they must be "
            "[n, d] and [m, d] with the same d"
        )
    if normalize:
        anchors, candidates = _normalize(anchors), _normalize(candidates)
    return inner_products(anchors, candidates, precision, positives)


_normalize = normalize


def _widen(x: jax.Array) -> jax.Array:
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"embeddings have dtype {x.dtype}; they must be floating")
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _squared_length(x: jax.Array) -> jax.Array:
    return jnp.sum(jnp.square(x), axis=-1, keepdims=True)
