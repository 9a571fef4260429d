"""The K largest similarities of each row, exactly K of them, as a mask.

Equal similarities are told apart by their column (the lower one is taken), so that ties never add
entries, as they would with a test against the K-th value. There is no gradient through the choice.
"""

import jax
import jax.numpy as jnp


def keep_hardest(similarities: jax.Array, where: jax.Array, count: jax.Array) -> jax.Array:
    """Marks the `count` largest of the similarities that `where` allows, in each row.

    Bisection over the bits of the floating-point numbers, which order as integers: at most 32 (64
    for float64) passes that only compare and count, fewer as soon as every row is settled. It
    touches no sorted copy of the matrix.

    Args:
        similarities: [n, m].
        where: bool [n, m], the candidates to choose from.
        count: int32 [n], at least 0; rows with fewer candidates keep all of them.

    Returns:
        bool [n, m], without gradient.
    """
    ranks = jnp.where(where, ordered_bits(jax.lax.stop_gradient(similarities)), 0)
    count = jnp.minimum(count, jnp.sum(where, axis=1, dtype=count.dtype))
    threshold = _largest_threshold(ranks, count)
    at_least = ranks >= threshold[:, None]
    last = _last_tied_column(ranks, threshold, count)
    columns = jax.lax.broadcasted_iota(jnp.int32, ranks.shape, 1)
    kept = at_least & ((ranks > threshold[:, None]) | (columns <= last[:, None]))
    return kept & where


def ordered_bits(x: jax.Array) -> jax.Array:
    """Maps floats to unsigned integers of the same size and order; all of them above 0."""
    unsigned = jnp.uint64 if x.dtype == jnp.float64 else jnp.uint32
    x = jnp.where(x == 0, 0, x)  # -0.0 and 0.0 are a tie.
    bits = jax.lax.bitcast_convert_type(x, unsigned)
    sign = jnp.asarray(1 << (8 * x.dtype.itemsize - 1), unsigned)
    return jnp.where(bits >= sign, ~bits, bits | sign)


def _largest_threshold(ranks: jax.Array, count: jax.Array) -> jax.Array:
    """Returns the largest threshold [n] that at least `count` ranks reach."""

    def unsettled(state: tuple[jax.Array, ...]) -> jax.Array:
        low, high, reached = state
        return jnp.any((high - low > 1) & (reached != count))

    def halve(state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        low, high, reached = state
        middle = low + (high - low) // 2
        at_middle = jnp.sum(ranks >= middle[:, None], axis=1, dtype=count.dtype)
        # A settled row stays where it is: its threshold already parts `count` from the rest.
        enough = (at_middle >= count) & (reached != count)
        low = jnp.where(enough, middle, low)
        reached, high = jnp.where(enough, at_middle, reached), jnp.where(enough, high, middle)
        return low, high, reached

    # Reached by all: the least rank. Reached by none: one above the greatest.
    low, high = jnp.min(ranks, axis=1), jnp.max(ranks, axis=1) + 1
    reached = jnp.sum(ranks >= low[:, None], axis=1, dtype=count.dtype)
    return jax.lax.while_loop(unsettled, halve, (low, high, reached))[0]


def _last_tied_column(ranks: jax.Array, threshold: jax.Array, count: jax.Array) -> jax.Array:
    """Returns the last column [n] at which a rank equal to the threshold is still kept."""
    tied = ranks == threshold[:, None]
    columns = jax.lax.broadcasted_iota(jnp.int32, ranks.shape, 1)
    above = jnp.sum(ranks > threshold[:, None], axis=1, dtype=count.dtype)

    def kept(last: jax.Array) -> jax.Array:
        return above + jnp.sum(tied & (columns <= last[:, None]), axis=1, dtype=count.dtype)

    def unsettled(state: tuple[jax.Array, jax.Array]) -> jax.Array:
        low, high = state
        return jnp.any(low < high)

    def halve(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = state
        middle = (low + high) // 2
        enough = kept(middle) >= count
        return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

    # Rows without a tie that matters are settled from the start: any column will do.
    end = jnp.where(tied[:, 0], 0, 0) + ranks.shape[1] - 1
    matters = kept(end) > count
    return jax.lax.while_loop(unsettled, halve, (jnp.where(matters, 0, end), end))[0]
