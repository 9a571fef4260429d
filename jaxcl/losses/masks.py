"""Positives and masks of the usual arrangements: two views a batch, labels, the anchor itself."""

import jax
import jax.numpy as jnp


def interleaved_positives(n: int) -> jax.Array:
    """The positives of a batch whose two views are interleaved: row i and row i XOR 1.

    Args:
        n: number of rows, even.

    Returns:
        int32 [n].

    Example:
        >>> from jaxcl.losses import interleaved_positives
        >>> interleaved_positives(6)
        Array([1, 0, 3, 2, 5, 4], dtype=int32)
    """
    if n < 2 or n % 2:
        raise ValueError(f"n {n} must be even and at least 2: two views of every image")
    return jnp.arange(n, dtype=jnp.int32) ^ 1


def not_self(n: int) -> jax.Array:
    """The mask of candidates that are not the anchor itself, where both are the same rows.

    Args:
        n: number of rows.

    Returns:
        bool [n, n].

    Example:
        >>> from jaxcl.losses import not_self
        >>> not_self(2)
        Array([[False,  True],
               [ True, False]], dtype=bool)
    """
    return ~jnp.eye(n, dtype=bool)


def same_label(anchor_labels: jax.Array, candidate_labels: jax.Array) -> jax.Array:
    """The mask of candidates with the anchor's label.

    As `positives` of `supcon` (less the anchor itself); negated, as a `where` that drops false
    negatives from any loss.

    Args:
        anchor_labels: int [n].
        candidate_labels: int [m].

    Returns:
        bool [n, m].

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import same_label
        >>> same_label(jnp.array([0, 1]), jnp.array([0, 1, 0]))
        Array([[ True, False,  True],
               [False,  True, False]], dtype=bool)
    """
    for name, labels in (("anchor_labels", anchor_labels), ("candidate_labels", candidate_labels)):
        if jnp.ndim(labels) != 1:
            raise ValueError(f"{name} have shape {jnp.shape(labels)}; they must be one-dimensional")
        if not jnp.issubdtype(jnp.result_type(labels), jnp.integer):
            raise TypeError(f"{name} have dtype {jnp.result_type(labels)}; they must be integers")
    return jnp.asarray(anchor_labels)[:, None] == jnp.asarray(candidate_labels)[None, :]
