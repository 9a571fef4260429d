"""What the gradients of a loss say of embeddings whose similarity matrix does not fit.

The rows of a loss are independent, so each anchor is examined by itself, ``chunk`` of them at a
time: its similarities, the gradient by them, and the few numbers that are kept. Nothing here knows
which loss it is, a model or a device.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcl.analysis.gradients import Loss, check_temperatures, split_constants
from jaxcl.analysis.penalties import penalty_entropy
from jaxcl.losses import DECOUPLED_BY, LOSSES, ROW_COUPLED
from jaxcl.losses import normalize as to_sphere


class PenaltyStatistics(NamedTuple):
    """Of each anchor and temperature, what its gradient by the similarities looks like.

    Attributes:
        positive_gradient: ``[t, n]``, ``|dL/ds_ii|``, the pull on the positive.
        negative_gradient: ``[t, n]``, ``sum_j |dL/ds_ij|``, the push on all negatives.
        entropy: ``[t, n]``, ``H(r_i)`` in nats; NaN for an anchor that pushes no negative.
        top_penalties: ``[t, n, k]``, the largest relative penalties, descending.
    """

    positive_gradient: jax.Array
    negative_gradient: jax.Array
    entropy: jax.Array
    top_penalties: jax.Array


def penalty_statistics(
    loss: Loss,
    anchors: Any,
    candidates: Any,
    positives: Any,
    *,
    temperatures: Any,
    normalize: bool,
    exclude: Any = None,
    anchor_labels: Any = None,
    candidate_labels: Any = None,
    per_anchor: dict[str, Any] | None = None,
    k: int = 10,
    chunk: int = 64,
    **constants: Any,
) -> PenaltyStatistics:
    """Relative penalties of every anchor in summary, exact, in O(chunk * m) memory.

    Args:
        loss: any function of similarities whose rows are independent.
        anchors: ``[n, d]``.
        candidates: ``[m, d]``.
        positives: int ``[n]``, the column of each anchor's positive.
        temperatures: ``[t]``, positive.
        normalize: whether to divide each embedding by its norm first; otherwise inner products are
            taken as they are.
        exclude: int ``[n]``, a column of each row that does not count, such as the anchor itself; a
            negative number excludes nothing.
        anchor_labels: int ``[n]``, with ``candidate_labels``: candidates of the anchor's label are
            no negatives.
        candidate_labels: int ``[m]``.
        per_anchor: arrays ``[n, ...]``, handed to the loss row by row (such as ``weights``, which
            uncouple the rows of ``dclw``).
        k: how many of the largest relative penalties to keep, at most m - 1.
        chunk: anchors at a time.
        **constants: handed to the loss.

    Returns:
        PenaltyStatistics.

    Raises:
        ValueError: a loss of ``jaxcl.losses`` whose rows are coupled, ``k`` out of range, shapes
            that do not match, one side's labels only, a temperature that is not positive.

    Example:
        >>> from jaxcl.losses import contrastive
        >>> x = jnp.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]])
        >>> statistics = penalty_statistics(
        ...     contrastive, x, x, jnp.array([1, 0, 3, 2]), temperatures=[0.5], normalize=False,
        ...     exclude=jnp.arange(4), k=2,
        ... )
        >>> print(jnp.array_str(statistics.top_penalties[0], precision=3))
        [[0.881 0.119]
         [0.943 0.057]
         [0.832 0.168]
         [0.69  0.31 ]]

    References:
        Wang and Liu, "Understanding the Behaviour of Contrastive Loss", CVPR 2021, Eq. 5.
    """
    anchors, candidates = jnp.asarray(anchors), jnp.asarray(candidates)
    positives = jnp.asarray(positives)
    n, m = anchors.shape[0], candidates.shape[0]
    if anchors.ndim != 2 or candidates.ndim != 2 or anchors.shape[1] != candidates.shape[1]:
        raise ValueError(
            "anchors [n, d] and candidates [m, d] must agree in d, got shapes "
            f"{anchors.shape} and {candidates.shape}"
        )
    if positives.shape != (n,) or not jnp.issubdtype(positives.dtype, jnp.integer):
        raise ValueError(
            f"positives must be integers [{n}], got {positives.dtype} {positives.shape}"
        )
    if (anchor_labels is None) != (candidate_labels is None):
        raise ValueError("anchor_labels and candidate_labels must be given together or not at all")
    if not 1 <= k <= m - 1:
        raise ValueError(f"k must lie in [1, m - 1 = {m - 1}], got {k}")
    per_anchor = {name: jnp.asarray(values) for name, values in (per_anchor or {}).items()}
    _refuse_coupled(loss, {*per_anchor, *constants})
    rows = {"anchor": anchors, "positive": positives, "constants": per_anchor}
    if exclude is not None:
        rows["exclude"] = jnp.asarray(exclude)
    if anchor_labels is not None:
        rows["label"] = jnp.asarray(anchor_labels)
    for name, values in {**rows, **per_anchor}.items():
        if name != "constants" and values.shape[0] != n:
            raise ValueError(f"{name} must have {n} rows, one an anchor, got shape {values.shape}")
    fixed, traced = split_constants(constants)
    return _penalty_statistics(
        loss,
        fixed,
        bool(normalize),
        k,
        min(chunk, n),
        rows,
        candidates,
        None if candidate_labels is None else jnp.asarray(candidate_labels),
        check_temperatures(temperatures),
        traced,
    )


def _refuse_coupled(loss: Loss, given: set[str]) -> None:
    for name in ROW_COUPLED:
        remedy = DECOUPLED_BY.get(name)
        if loss is LOSSES[name] and remedy not in given:
            advice = f"; pass {remedy}= computed from all rows" if remedy else ""
            raise ValueError(
                f"the rows of {name} are coupled, so its anchors cannot be examined one by one"
                f"{advice}, or use similarity_gradients on the whole matrix"
            )


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _penalty_statistics(
    loss: Loss,
    fixed: tuple[tuple[str, Any], ...],
    normalize: bool,
    k: int,
    chunk: int,
    rows: dict[str, Any],
    candidates: jax.Array,
    candidate_labels: jax.Array | None,
    temperatures: jax.Array,
    traced: dict[str, jax.Array],
) -> PenaltyStatistics:
    candidates = to_sphere(candidates) if normalize else candidates
    columns = jnp.arange(candidates.shape[0])

    def examine_row(row: dict[str, Any]) -> PenaltyStatistics:
        anchor = to_sphere(row["anchor"]) if normalize else row["anchor"]
        similarities = jnp.matmul(candidates, anchor, precision=jax.lax.Precision.HIGHEST)
        where = jnp.ones(columns.shape, bool)
        if "exclude" in row:
            where = where & (columns != row["exclude"])
        if candidate_labels is not None:
            where = where & (candidate_labels != row["label"])
        of_row = {name: values[None] for name, values in row["constants"].items()}
        constants = {**dict(fixed), **traced, **of_row}

        def value(similarities: jax.Array, temperature: jax.Array) -> jax.Array:
            return loss(
                similarities[None],
                row["positive"][None],
                temperature=temperature,
                where=where[None],
                **constants,
            )[0]

        def summarise(temperature: jax.Array) -> PenaltyStatistics:
            sizes = jnp.abs(jax.grad(value)(similarities, temperature))
            pull = sizes[row["positive"]]
            pushes = jnp.where(columns == row["positive"], 0.0, sizes)
            # No pull, no ratio: the inner `where` keeps the quotient finite.
            penalties = jnp.where(pull > 0, pushes / jnp.where(pull > 0, pull, 1.0), 0.0)
            top = jax.lax.top_k(penalties, k)[0]
            return PenaltyStatistics(pull, jnp.sum(pushes), penalty_entropy(penalties), top)

        # One temperature at a time: the memory of a chunk does not grow with the grid.
        return jax.lax.map(summarise, temperatures)

    statistics = jax.lax.map(examine_row, rows, batch_size=chunk)
    return jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), statistics)
