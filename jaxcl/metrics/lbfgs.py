"""L-BFGS for a smooth convex function whose value and gradient come together.

A general optimiser evaluates value and gradient apart, or hides the pair behind transformations. A
readout's gradient falls out of the very pass that computes its value, and that pass reads the whole
training set, so the number of passes is the price: this one makes one pass a step, and one more
only for a step that was too long. Knows vectors only.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

# Armijo's constant; a step that achieves less of the promised decrease is shortened.
_DECREASE = 1e-4
_ATTEMPTS = 20


class Minimum(NamedTuple):
    """Where the search stopped: ``point [p]``, its value, its gradient ``[p]``, steps taken."""

    point: jax.Array
    value: jax.Array
    gradient: jax.Array
    steps: jax.Array


class _State(NamedTuple):
    minimum: Minimum
    moves: jax.Array  # [h, p] differences of points, newest last
    turns: jax.Array  # [h, p] differences of gradients
    stuck: jax.Array


class _Trial(NamedTuple):
    length: jax.Array  # of the next attempt
    point: jax.Array
    value: jax.Array
    gradient: jax.Array
    accepted: jax.Array
    count: jax.Array


def minimize(
    value_and_gradient: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
    start: jax.Array,
    *,
    tolerance: jax.Array | float,
    max_steps: jax.Array | int,
    precondition: Callable[[jax.Array], jax.Array] | None = None,
    history: int = 10,
) -> Minimum:
    """Minimise a smooth convex function until ``max |gradient| <= tolerance``.

    Args:
        value_and_gradient: from a point ``[p]`` to the value and the gradient ``[p]``.
        start: ``[p]``.
        tolerance: of the largest entry of the gradient. The search also ends where rounding lets no
            step descend any more, and after ``max_steps``: compare the returned gradient.
        max_steps: limit of the number of steps.
        precondition: multiplies a vector ``[p]`` by a guess of the inverse curvature at the start,
            positive definite. The better the guess, the fewer the steps.
        history: pairs of differences that the model of the curvature remembers.

    Returns:
        Minimum.

    Example:
        >>> bowl = jnp.array([1.0, 10.0, 100.0])
        >>> quadratic = lambda x: (jnp.sum(bowl * (x - 1) ** 2) / 2, bowl * (x - 1))
        >>> minimum = minimize(quadratic, jnp.zeros(3), tolerance=1e-5, max_steps=50)
        >>> print(minimum.point.round(4))
        [1. 1. 1.]

    References:
        Liu and Nocedal, "On the Limited Memory BFGS Method for Large Scale Optimization",
        Mathematical Programming 1989.
    """
    value, gradient = value_and_gradient(start)
    memory = jnp.zeros((history, *start.shape), start.dtype)
    first = Minimum(start, value, gradient, jnp.zeros((), jnp.int32))

    def unfinished(state: _State) -> jax.Array:
        now = state.minimum
        steep = jnp.max(jnp.abs(now.gradient)) > tolerance
        return steep & ~state.stuck & (now.steps < max_steps)

    def step(state: _State) -> _State:
        now = state.minimum
        direction = -_inverse_curvature(now.gradient, state.moves, state.turns, precondition)
        slope = _dot(direction, now.gradient)
        # Before any curvature is known the first step has length 1 at most.
        bound = jnp.minimum(1.0, jax.lax.rsqrt(_dot(direction, direction)))
        length = jnp.where((now.steps == 0) & (precondition is None), bound, 1.0)
        trial = _search(value_and_gradient, now, direction, slope, length)
        move, turn = trial.point - now.point, trial.gradient - now.gradient
        # Rounding can spoil the curvature of a convex function; such a pair is not remembered.
        curved = _dot(move, turn) > jnp.finfo(move.dtype).eps * _dot(turn, turn)
        remember = trial.accepted & curved
        moves = jnp.where(remember, _push(state.moves, move), state.moves)
        turns = jnp.where(remember, _push(state.turns, turn), state.turns)
        new = Minimum(trial.point, trial.value, trial.gradient, now.steps + 1)
        new = jax.tree.map(lambda a, b: jnp.where(trial.accepted, a, b), new, now)
        return _State(new, moves, turns, ~trial.accepted)

    start_state = _State(first, memory, memory, ~jnp.isfinite(value))
    return jax.lax.while_loop(unfinished, step, start_state).minimum


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.dot(a, b, precision=jax.lax.Precision.HIGHEST)


def _push(memory: jax.Array, newest: jax.Array) -> jax.Array:
    return jnp.concatenate([memory[1:], newest[None]])


def _inverse_curvature(
    gradient: jax.Array,
    moves: jax.Array,
    turns: jax.Array,
    precondition: Callable[[jax.Array], jax.Array] | None,
) -> jax.Array:
    """The two-loop recursion; a pair of zeros, not yet filled, has no effect."""
    products = jnp.sum(moves * turns, axis=1)
    # An unfilled pair has product 0: the inner `where` keeps its quotient finite.
    inverse = jnp.where(products > 0, 1.0 / jnp.where(products > 0, products, 1.0), 0.0)

    def newest_first(direction: jax.Array, pair: tuple[jax.Array, ...]):
        move, turn, weight = pair
        share = weight * _dot(move, direction)
        return direction - share * turn, share

    def oldest_first(direction: jax.Array, pair: tuple[jax.Array, ...]):
        move, turn, weight, share = pair
        return direction + (share - weight * _dot(turn, direction)) * move, None

    pairs = (moves, turns, inverse)
    direction, shares = jax.lax.scan(newest_first, gradient, pairs, reverse=True)
    metric = precondition or (lambda vector: vector)
    newest = _dot(turns[-1], metric(turns[-1]))
    scale = jnp.where(newest > 0, products[-1] / jnp.where(newest > 0, newest, 1.0), 1.0)
    return jax.lax.scan(oldest_first, scale * metric(direction), (*pairs, shares))[0]


def _search(
    value_and_gradient: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
    now: Minimum,
    direction: jax.Array,
    slope: jax.Array,
    length: jax.Array,
) -> _Trial:
    """Shorten the step until the value decreases as the slope promises, up to rounding."""
    rounding = 4 * jnp.finfo(now.value.dtype).eps * jnp.abs(now.value)

    def attempt(trial: _Trial) -> _Trial:
        point = now.point + trial.length * direction
        value, gradient = value_and_gradient(point)
        accepted = value <= now.value + _DECREASE * trial.length * slope + rounding
        # The minimum of the parabola through both values and the slope, kept within a fair range.
        rise = value - now.value - trial.length * slope
        guess = -slope * trial.length**2 / (2.0 * jnp.where(rise > 0, rise, 1.0))
        guess = jnp.where(jnp.isfinite(guess) & (rise > 0), guess, 0.0)
        length = jnp.clip(guess, 0.1 * trial.length, 0.5 * trial.length)
        return _Trial(length, point, value, gradient, accepted, trial.count + 1)

    count = jnp.zeros((), jnp.int32)
    accepted = jnp.zeros((), bool)
    return jax.lax.while_loop(
        lambda trial: ~trial.accepted & (trial.count < _ATTEMPTS),
        attempt,
        _Trial(length, now.point, now.value, now.gradient, accepted, count),
    )
