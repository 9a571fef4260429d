"""Linear readout: multinomial logistic regression on frozen features, solved to convergence.

The problem is convex, so its solution belongs to the features and not to a learning rate: the
number that a paper's SGD recipe approaches. Knows features and labels, no model.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcl.metrics.lbfgs import minimize
from jaxcl.metrics.sphere import check_embeddings, check_labels, is_concrete


class Readout(NamedTuple):
    """A fitted linear readout, to be applied to features as they are (not standardised).

    Attributes:
        weights: ``[d, c]``.
        bias: ``[c]``.
        objective: the minimum that was reached, in nats.
        gradient_norm: the largest entry of the objective's gradient there.
        steps: L-BFGS steps taken.
    """

    weights: jax.Array
    bias: jax.Array
    objective: jax.Array
    gradient_norm: jax.Array
    steps: jax.Array


def fit_readout(
    x: Any,
    labels: Any,
    *,
    num_classes: int,
    l2: Any = None,
    standardize: bool = True,
    tolerance: Any = 1e-5,
    max_steps: int = 1000,
    block: int = 2048,
) -> Readout:
    """Minimise ``mean_i cross-entropy(x_i W + b, label_i) + l2/2 |W|^2`` by L-BFGS.

    It is scikit-learn's ``LogisticRegression`` with ``C = 1 / (n * l2)``; with ``standardize`` the
    one behind a ``StandardScaler``. The features are read in blocks of rows, value and gradient in
    the same pass, and are never copied, nor standardised in memory.

    Args:
        x: ``[n, d]`` features of any norm.
        labels: ``[n]`` integers in ``[0, num_classes)``; every class must occur.
        num_classes: number of classes, a Python integer.
        l2: strength of the penalty, >= 0; may be traced. None: ``1 / n``, scikit-learn's ``C=1``.
        standardize: fit on features of mean 0 and variance 1 (so that the penalty is fair to all);
            constant features are only centred. The result applies to the features as they are.
        tolerance: stop when no entry of the gradient exceeds it. In float32 about 1e-6 is the least
            that can be asked for; where rounding stops the search, ``gradient_norm`` says so.
        max_steps: limit of the number of steps.
        block: rows a block; memory beyond the input is O(block * c + d * c).

    Returns:
        Readout.

    Raises:
        ValueError: a class without a sample, labels out of range, ``l2 < 0``, ``tolerance <= 0``,
            features that are not finite.

    Example:
        >>> x = jnp.array([[0.0], [1.0], [2.0], [3.0]])
        >>> readout = fit_readout(x, jnp.array([0, 0, 1, 1]), num_classes=2)
        >>> print(readout_logits(readout, x).argmax(axis=1), readout.gradient_norm < 1e-5)
        [0 0 1 1] True
    """
    x = check_embeddings(x, "x", normalize=False)
    labels = check_labels(labels, x.shape[0], "labels", num_classes=num_classes)
    l2 = 1.0 / x.shape[0] if l2 is None else l2
    if is_concrete(l2) and not l2 >= 0:
        raise ValueError(f"l2 must be at least 0, got {l2}")
    if is_concrete(tolerance) and not tolerance > 0:
        raise ValueError(f"tolerance must be positive, got {tolerance}")
    if is_concrete(labels):
        missing = np.setdiff1d(np.arange(num_classes), np.asarray(labels))
        if missing.size:
            raise ValueError(
                f"every class needs a training sample, but class {missing[0]} of the "
                f"{num_classes} has none; pass the number of classes that occur and relabel"
            )
    readout = _fit(
        x,
        labels,
        l2,
        tolerance,
        num_classes=num_classes,
        standardize=standardize,
        max_steps=max_steps,
        block=min(block, x.shape[0]),
    )
    if is_concrete(readout.objective) and not np.isfinite(readout.objective):
        raise ValueError("the features of a readout must be finite, but x holds NaN or infinity")
    return readout


def readout_logits(readout: Readout, x: Any) -> jax.Array:
    """Logits ``[n, c]`` of features ``[n, d]``.

    Example:
        >>> one = jnp.ones(())
        >>> readout = Readout(jnp.eye(2), jnp.zeros(2), one, one, one)
        >>> readout_logits(readout, jnp.array([[3.0, 4.0]])).tolist()
        [[3.0, 4.0]]
    """
    x = check_embeddings(x, "x", normalize=False)
    weights = readout.weights
    return jnp.matmul(x, weights, precision=jax.lax.Precision.HIGHEST) + readout.bias[None, :]


def readout_accuracy(readout: Readout, x: Any, labels: Any) -> jax.Array:
    """Fraction of features ``[n, d]`` whose largest logit is that of their label ``[n]``.

    Example:
        >>> one = jnp.ones(())
        >>> readout = Readout(jnp.eye(2), jnp.zeros(2), one, one, one)
        >>> print(readout_accuracy(readout, jnp.array([[3.0, 4.0], [1.0, 0.0]]), jnp.array([1, 1])))
        0.5
    """
    logits = readout_logits(readout, x)
    labels = check_labels(labels, logits.shape[0], "labels", num_classes=logits.shape[1])
    return jnp.mean(jnp.argmax(logits, axis=1) == labels)


@functools.partial(jax.jit, static_argnames=("num_classes", "standardize", "max_steps", "block"))
def _fit(
    x: jax.Array,
    labels: jax.Array,
    l2: Any,
    tolerance: Any,
    *,
    num_classes: int,
    standardize: bool,
    max_steps: int,
    block: int,
) -> Readout:
    d = x.shape[1]
    l2 = jnp.asarray(l2, x.dtype)
    mean, scale = _moments(x) if standardize else (jnp.zeros(d, x.dtype), jnp.ones(d, x.dtype))

    def applied(point: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Weights and bias for raw features, from those for standardised ones."""
        weights, bias = point[:-1] / scale[:, None], point[-1]
        return weights, bias - jnp.matmul(mean, weights, precision=jax.lax.Precision.HIGHEST)

    def value_and_gradient(flat: jax.Array) -> tuple[jax.Array, jax.Array]:
        point = flat.reshape(d + 1, num_classes)
        value, slopes, offsets = _cross_entropy(x, labels, *applied(point), block=block)
        slopes = (slopes - mean[:, None] * offsets[None, :]) / scale[:, None] + l2 * point[:-1]
        value = value + 0.5 * l2 * jnp.sum(point[:-1] ** 2)
        return value, jnp.concatenate([slopes, offsets[None]]).reshape(-1)

    inverse = _inverse_curvature((x[_spread(x)] - mean[None, :]) / scale[None, :], l2, num_classes)

    def precondition(flat: jax.Array) -> jax.Array:
        rows = flat.reshape(d + 1, num_classes)
        return jnp.matmul(inverse, rows, precision=jax.lax.Precision.HIGHEST).reshape(-1)

    # XLA for the CPU (jaxlib 0.10.2 to 0.12.0) fuses a reduction into a matrix product, and where an
    # operand of that product is one broadcast number, such as these zeros, reads memory that nobody
    # wrote: NaN or worse. Behind the barrier they are an array like any other.
    start = jax.lax.optimization_barrier(jnp.zeros((d + 1) * num_classes, x.dtype))
    minimum = minimize(
        value_and_gradient,
        start,
        tolerance=tolerance,
        max_steps=max_steps,
        precondition=precondition,
    )
    weights, bias = applied(minimum.point.reshape(d + 1, num_classes))
    return Readout(weights, bias, minimum.value, jnp.max(jnp.abs(minimum.gradient)), minimum.steps)


def _cross_entropy(
    x: jax.Array, labels: jax.Array, weights: jax.Array, bias: jax.Array, *, block: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Mean cross-entropy and its gradient by weights and bias, in one pass over blocks of rows."""
    n, d = x.shape
    c = bias.shape[0]
    highest = jax.lax.Precision.HIGHEST

    def add_block(carry: tuple[jax.Array, jax.Array, jax.Array], index: jax.Array):
        value, slopes, offsets = carry
        # The last block is moved back to end with the rows; rows counted before have weight 0.
        start = jnp.minimum(index * block, n - block)
        rows = jax.lax.dynamic_slice_in_dim(x, start, block)
        classes = jax.lax.dynamic_slice_in_dim(labels, start, block)
        counts = (start + jnp.arange(block) >= index * block).astype(x.dtype)
        logits = jnp.matmul(rows, weights, precision=highest) + bias[None, :]
        logarithms = jax.nn.log_softmax(logits, axis=1)
        targets = jax.nn.one_hot(classes, c, dtype=x.dtype)
        errors = (jnp.exp(logarithms) - targets) * counts[:, None]
        value = value - jnp.sum(targets * logarithms * counts[:, None])
        slopes = slopes + _sum_of_products(rows, errors)
        return (value, slopes, offsets + jnp.sum(errors, axis=0)), None

    zeros = (jnp.zeros((), x.dtype), jnp.zeros((d, c), x.dtype), jnp.zeros(c, x.dtype))
    totals, _ = jax.lax.scan(add_block, zeros, jnp.arange(-(-n // block)))
    return jax.tree.map(lambda total: total / n, totals)


def _spread(x: jax.Array) -> np.ndarray:
    """Rows, evenly spread: eight for each dimension show the covariance well enough to
    precondition."""
    n, d = x.shape
    return np.linspace(0, n - 1, min(n, 8 * d)).astype(int)


def _inverse_curvature(sample: jax.Array, l2: jax.Array, num_classes: int) -> jax.Array:
    """Inverse ``[d+1, d+1]`` of the objective's curvature at zero weights, as a sample of rows has
    it.

    There the Hessian is ``second moments of (x, 1) / c`` for each class, plus the penalty. Features
    of a network have a steep spectrum, so that without this the steps number hundreds.
    """
    rows = jnp.concatenate([sample, jnp.ones_like(sample[:, :1])], axis=1)
    curvature = jnp.matmul(rows.T, rows, precision=jax.lax.Precision.HIGHEST)
    curvature = curvature / (rows.shape[0] * num_classes)
    penalty = jnp.full(rows.shape[1], l2).at[-1].set(0.0)
    values, vectors = jnp.linalg.eigh(curvature + jnp.diag(penalty))
    # Directions that the sample does not show are not to be trusted with a step of any length.
    values = jnp.maximum(values, 1e-6 * values[-1])
    return jnp.matmul(vectors / values[None, :], vectors.T, precision=jax.lax.Precision.HIGHEST)


def _sum_of_products(rows: jax.Array, errors: jax.Array) -> jax.Array:
    """``rows^T errors``, ``[d, c]``.

    XLA on the CPU first repacks the transposed operand of a product. In groups of 32 rows it stays
    in the cache meanwhile, which makes the whole pass 1.6 times faster.
    """
    highest = jax.lax.Precision.HIGHEST
    if jax.default_backend() != "cpu" or rows.shape[0] % 32:
        return jnp.matmul(rows.T, errors, precision=highest)
    rows, errors = (leaf.reshape(-1, 32, leaf.shape[1]) for leaf in (rows, errors))
    return jnp.sum(jnp.einsum("knd,knc->kdc", rows, errors, precision=highest), axis=0)


def _moments(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation of each feature; 1 for a feature that is constant but for
    rounding."""
    mean = jnp.mean(x, axis=0)
    deviation = jnp.sqrt(jnp.mean((x - mean[None, :]) ** 2, axis=0))
    least = 10 * jnp.finfo(x.dtype).eps * jnp.abs(mean)
    return mean, jnp.where(deviation > least, deviation, 1.0)
