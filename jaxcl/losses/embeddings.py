"""From embeddings to similarities: the one place where the losses' folder sees a vector."""

import jax
import jax.numpy as jnp


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
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"embeddings have dtype {x.dtype}; they must be floating")
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    squared = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(squared, eps))
