"""Any loss of similarities, from embeddings, without ever holding all similarities.

Anchors are streamed in chunks of whole rows past all candidates, so every loss whose rows are
independent works unchanged. The gradient is taken in the forward pass and the backward pass only
scales it: the numbers are those of the dense form, no similarity is computed twice, and what is
kept has the size of the embeddings. Knows no device; `jaxcl.losses.sharded` spreads it over them.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxcl.losses.chunks import differentiate_in_chunks, values_in_chunks
from jaxcl.losses.problem import Differentiable, Plan, Problem, pose, similarity_dtype

# For its gradient the dense form needs room for about this many float32 [n, m]: the similarities,
# what the loss made of them, and their gradient.
DENSE_ARRAYS = 3
# On two cores streaming took no more time from n = m = 512 on, and half of it at 2,048: fresh memory
# is slow to write. Below, one product is the simpler program.
DENSE_LIMIT_BYTES = 2**24


def choose_evaluation(
    n: int, m: int, limit_bytes: int = DENSE_LIMIT_BYTES
) -> Literal["dense", "streamed"]:
    """How to evaluate a loss of n anchors against m candidates.

    Args:
        n: anchors on one device.
        m: candidates.
        limit_bytes: what the dense form may take for its three float32 [n, m]. The default, 16
            MiB, is reached at n = m = 1,182.

    Returns:
        "dense", or "streamed" where the dense form would take more.

    Example:
        >>> from jaxcl.losses import choose_evaluation
        >>> choose_evaluation(512, 512), choose_evaluation(65_536, 65_536)
        ('dense', 'streamed')
    """
    return "dense" if DENSE_ARRAYS * 4 * n * m <= limit_bytes else "streamed"


def streamed_mean(
    loss: Callable[..., jax.Array],
    anchors: jax.Array,
    candidates: jax.Array,
    positives: jax.Array | None,
    *,
    temperature: jax.typing.ArrayLike,
    exclude: jax.Array | None = None,
    anchor_labels: jax.Array | None = None,
    candidate_labels: jax.Array | None = None,
    candidate_where: jax.Array | None = None,
    anchor_weights: jax.Array | None = None,
    per_anchor: Mapping[str, jax.Array] | None = None,
    chunk: int = 256,
    precision: jax.lax.PrecisionLike = None,
    **constants: Any,
) -> jax.Array:
    """The mean of a loss over all anchors, and its gradient, in memory O(chunk * m).

    Value and gradient are those of ``loss(anchors @ candidates.T, ...).mean()``, to rounding.
    Reverse mode only (`jax.grad`, twice too, but then with [n, m]); `jax.vmap` over temperatures
    works.

    Args:
        loss: one of `jaxcl.losses.LOSSES` or your own of the same signature, whose rows are
            independent: its value for an anchor depends on that anchor's row alone.
        anchors: floating [n, d]. Similarities are inner products of these as they come: normalise
            before (`jaxcl.losses.normalize`).
        candidates: floating [m, d]. No time is spent on a gradient by candidates that are not
            differentiated, such as a memory bank.
        positives: int [n], the column of each anchor's positive. None: all candidates with the
            anchor's label, handed to the loss as a mask [n, m], for losses that take several.
        temperature: positive scalar, or [n].
        exclude: int [n], one column an anchor that does not count, such as itself; -1 for none.
        anchor_labels: int [n], with `candidate_labels`: a candidate with the anchor's label is not
            a negative (or is a positive, where `positives` is None).
        candidate_labels: int [m].
        candidate_where: bool [m], the candidates that count for anybody; the others are padding.
        anchor_weights: [n], weights of the mean, 0 for padding. None means all equal.
        per_anchor: arrays [n, ...] that the loss takes by keyword, a chunk at a time. This is the
            route for a loss whose rows are coupled: compute beforehand what couples them. For DCLW,
            ``{"weights": dclw_weights(positive_similarities(...))}``; the gradient flows through
            the weights unless you stop it.
        chunk: anchors at a time; fewer where ``chunk * m`` would be more than 2^24 similarities.
        precision: of the matrix products, as in `jax.lax.dot`; None for the highest, unless
            jax_default_matmul_precision is set.
        **constants: of the loss. Arrays may be traced and differentiated.

    Returns:
        Scalar, float32 (float64 for float64 embeddings).

    Raises:
        TypeError: arrays of a wrong dtype.
        ValueError: shapes that do not match, columns out of range, labels of one side only, a
            temperature that is not positive and finite, a chunk below 1.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxcl.losses import contrastive, normalize, streamed_mean
        >>> z = normalize(jax.random.normal(jax.random.key(0), (512, 32)))
        >>> rows = jnp.arange(512)
        >>> value, gradient = jax.value_and_grad(
        ...     lambda z: streamed_mean(contrastive, z, z, rows ^ 1, temperature=0.5, exclude=rows)
        ... )(z)
        >>> dense = contrastive(z @ z.T, rows ^ 1, temperature=0.5, where=~jnp.eye(512, dtype=bool))
        >>> bool(jnp.allclose(value, dense.mean(), rtol=1e-6)), gradient.shape
        (True, (512, 32))
    """
    return _mean(
        *pose(
            loss,
            anchors,
            candidates,
            positives,
            temperature=temperature,
            exclude=exclude,
            anchor_labels=anchor_labels,
            candidate_labels=candidate_labels,
            candidate_where=candidate_where,
            anchor_weights=anchor_weights,
            per_anchor=per_anchor,
            chunk=chunk,
            precision=precision,
            **constants,
        )
    )


def streamed_values(
    loss: Callable[..., jax.Array],
    anchors: jax.Array,
    candidates: jax.Array,
    positives: jax.Array | None,
    *,
    temperature: jax.typing.ArrayLike,
    **options: Any,
) -> jax.Array:
    """The loss of each anchor, unreduced, in memory O(chunk * m).

    Differentiable by computing each chunk a second time; to train, take `streamed_mean`.

    Args:
        loss: as all arguments, see `streamed_mean`.
        anchors: floating [n, d].
        candidates: floating [m, d].
        positives: int [n], or None.
        temperature: positive scalar, or [n].
        **options: all others but `anchor_weights`, and the constants of the loss.

    Returns:
        [n].

    Raises:
        TypeError, ValueError: as `streamed_mean`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import contrastive, streamed_values
        >>> z = jnp.eye(4)
        >>> loss = streamed_values(contrastive, z, z, jnp.arange(4), temperature=1.0)
        >>> print(jnp.array_str(loss, precision=3))
        [0.744 0.744 0.744 0.744]
    """
    if options.get("anchor_weights") is not None:
        raise ValueError("anchor_weights weight a mean; streamed_values takes none")
    return _values(*pose(loss, anchors, candidates, positives, temperature=temperature, **options))


def positive_similarities(
    anchors: jax.Array, candidates: jax.Array, positives: jax.Array
) -> jax.Array:
    """The inner product of each anchor with its positive, without a matrix.

    Args:
        anchors: floating [n, d].
        candidates: floating [m, d].
        positives: int [n], the column of each anchor's positive.

    Returns:
        [n], float32 (float64 for float64 embeddings).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import positive_similarities
        >>> print(positive_similarities(jnp.eye(2), jnp.eye(2), jnp.array([0, 0])))
        [1. 0.]
    """
    dtype = similarity_dtype(anchors, candidates)
    return jnp.sum(anchors.astype(dtype) * candidates[positives].astype(dtype), axis=1)


def weighted_sum(weights: jax.Array, values: jax.Array) -> jax.Array:
    """Returns the sum; a row without weight does not count, whatever its value."""
    return jnp.sum(jnp.where(weights != 0, weights * values, 0))


def divisor(sum_of_weights: jax.Array) -> jax.Array:
    """Returns what makes a sum a mean; the mean over no anchor is 0."""
    return jnp.where(sum_of_weights != 0, sum_of_weights, 1)


def read_wanted(arguments: Any) -> tuple[Any, Any]:
    """Returns the values of the inputs of a `jax.custom_vjp`, and which are differentiated."""
    values = jax.tree.map(lambda leaf: leaf.value, arguments)
    return values, jax.tree.map(lambda leaf: leaf.perturbed, arguments)


def keep(gradients: Differentiable, wanted: Differentiable, x: Differentiable) -> Any:
    """Returns the residuals of a backward pass that only scales: gradients, and their dtypes."""
    kept = jax.tree.map(lambda is_wanted, g: g if is_wanted else None, wanted, gradients)
    return kept, jax.tree.map(lambda leaf: jnp.zeros((), leaf.dtype), x)


def scale(plan: Any, residuals: Any, cotangent: jax.Array) -> tuple[Any]:
    """The backward pass: the gradients kept, scaled, each in the dtype of its input."""
    del plan
    gradients, like = residuals

    def scaled(gradient: jax.Array | None, like: jax.Array) -> jax.Array | None:
        return None if gradient is None else (gradient * cotangent).astype(like.dtype)

    scaled_gradients = jax.tree.map(scaled, gradients, like, is_leaf=lambda leaf: leaf is None)
    # None stands for the integers, which have no gradient.
    return (Problem(scaled_gradients, None, None),)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _mean_of(plan: Plan, problem: Problem) -> jax.Array:
    weights = problem.x.weights
    return weighted_sum(weights, values_in_chunks(plan, problem)) / divisor(jnp.sum(weights))


def _mean_and_gradients(plan: Plan, arguments: Any) -> tuple[jax.Array, Any]:
    problem, (wanted, _, _) = read_wanted(arguments)
    weights = problem.x.weights
    total = divisor(jnp.sum(weights))
    values, gradients = differentiate_in_chunks(plan, problem, 1 / total, wanted)
    mean = weighted_sum(weights, values) / total
    gradients = gradients._replace(
        candidates=None if gradients.candidates is None else gradients.candidates.T,
        weights=(values - mean) / total,
    )
    return mean, keep(gradients, wanted, problem.x)


_mean_of.defvjp(_mean_and_gradients, scale, symbolic_zeros=True)
_mean = jax.jit(_mean_of, static_argnums=0)
_values = jax.jit(values_in_chunks, static_argnums=0)
