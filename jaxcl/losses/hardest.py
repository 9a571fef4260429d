"""The K largest similarities of each row, exactly K of them, as a mask.

Equal similarities are told apart by their column (the lower one is taken), so that ties never add
entries, as they would with a test against the K-th value. The choice has no gradient.
"""

import jax
import jax.numpy as jnp


def keep_hardest(similarities: jax.Array, where: jax.Array, count: jax.Array) -> jax.Array:
    """Marks the `count` largest of the similarities that `where` allows, in each row.

    Bisection over the bits of the floating-point numbers, which are ordered as integers: at most 32
    (64 for float64) passes that compare and count, fewer when all rows are settled, and nothing is
    sorted or copied.

    Args:
        similarities: [n, m].
        where: bool [n, m], the candidates to choose from.
        count: int32 [n], at least 0; a row with fewer candidates keeps all of them.

    Returns:
        bool [n, m], without gradient. NaN counts as the largest, so that it shows.
    """
    ranks = jnp.where(where, ordered_bits(jax.lax.stop_gradient(similarities)), 0)
    count = jnp.minimum(count, jnp.sum(where, axis=1, dtype=count.dtype))
    threshold, reached = _bisect_threshold(ranks, count)
    last = _bisect_last_column(ranks, threshold, reached, count)
    return _at_least(ranks, threshold, last) & where


def ordered_bits(x: jax.Array) -> jax.Array:
    """Maps floats to unsigned integers of the same size and order, all above 0; NaN comes last."""
    unsigned = jnp.dtype(f"uint{8 * x.dtype.itemsize}")
    sign = jnp.asarray(1 << (8 * x.dtype.itemsize - 1), unsigned)
    bits = jax.lax.bitcast_convert_type(x, unsigned)
    bits = jnp.where(bits == sign, 0, bits)  # -0.0 and 0.0 are a tie.
    ordered = jnp.where(bits >= sign, ~bits, bits | sign)
    last = jnp.asarray(jnp.iinfo(unsigned).max - 1, unsigned)
    return jnp.where(jnp.isnan(x), last, ordered)


def _at_least(ranks: jax.Array, threshold: jax.Array, last: jax.Array) -> jax.Array:
    """Marks the ranks above the threshold [n], and those equal to it up to the column last [n]."""
    columns = jax.lax.broadcasted_iota(last.dtype, ranks.shape, 1)
    tied = (ranks == threshold[:, None]) & (columns <= last[:, None])
    return (ranks > threshold[:, None]) | tied


def _bisect_threshold(ranks: jax.Array, count: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns a threshold [n] that `count` ranks reach, or the last that more do; and how many."""

    def unsettled(state: tuple[jax.Array, ...]) -> jax.Array:
        low, high, reached = state
        return jnp.any((high - low > 1) & (reached != count))

    def halve(state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        low, high, reached = state
        middle = low + (high - low) // 2
        at_middle = jnp.sum(ranks >= middle[:, None], axis=1, dtype=count.dtype)
        enough = at_middle >= count
        settled = reached == count
        return (
            jnp.where(enough & ~settled, middle, low),
            jnp.where(enough | settled, high, middle),
            jnp.where(enough & ~settled, at_middle, reached),
        )

    # All ranks reach the least of them; none reaches one more than the greatest.
    low, high = jnp.min(ranks, axis=1), jnp.max(ranks, axis=1) + 1
    reached = jnp.sum(ranks >= low[:, None], axis=1, dtype=count.dtype)
    low, _, reached = jax.lax.while_loop(unsettled, halve, (low, high, reached))
    return low, reached


def _bisect_last_column(
    ranks: jax.Array, threshold: jax.Array, reached: jax.Array, count: jax.Array
) -> jax.Array:
    """Returns the last column [n] at which a rank equal to the threshold is still needed."""

    def unsettled(state: tuple[jax.Array, jax.Array]) -> jax.Array:
        low, high = state
        return jnp.any(low < high)

    def halve(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = state
        middle = low + (high - low) // 2
        kept = jnp.sum(_at_least(ranks, threshold, middle), axis=1, dtype=count.dtype)
        enough = kept >= count
        return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

    end = jnp.full_like(reached, ranks.shape[1] - 1)
    # Without ties that matter nothing is left to find, and the loop does not run.
    return jax.lax.while_loop(unsettled, halve, (jnp.where(reached > count, -1, end), end))[0]
