"""The curves of the theory: what the losses say by themselves, without a model or data.

Each function returns plain arrays, ready to be saved and drawn. Nothing here knows a file or a
figure.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcl.analysis.gradients import Loss, check_temperatures
from jaxcl.analysis.interview import quick_compilation
from jaxcl.analysis.penalties import coupling, penalty_entropy, relative_penalties
from jaxcl.losses import LOSSES, contrastive

# Those of Wang & Liu's tables.
TEMPERATURES = (0.05, 0.07, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def gradient_ratios(temperatures: Any = TEMPERATURES, *, points: int = 201) -> dict[str, Any]:
    """Relative penalty versus similarity, one curve a temperature (Wang & Liu, Figure 3).

    The negatives of one anchor are spread evenly over [-1, 1].

    Args:
        temperatures: ``[t]``.
        points: number of negatives, k.

    Returns:
        ``similarity [k]``, ``temperatures [t]``, ``relative_penalty [t, k]`` (each row sums to 1).

    Example:
        >>> curves = gradient_ratios((0.1, 1.0), points=5)
        >>> curves["similarity"].tolist()
        [-1.0, -0.5, 0.0, 0.5, 1.0]
        >>> print(curves["relative_penalty"].sum(axis=1).round(5))
        [1. 1.]

    References:
        Wang and Liu, "Understanding the Behaviour of Contrastive Loss", CVPR 2021, Figure 3.
    """
    similarity = np.linspace(-1.0, 1.0, points)
    row = jnp.asarray(np.concatenate([[1.0], similarity])[None], jnp.float32)
    # The decoupled loss has the same ratios, and they survive where the positive is certain.
    penalties = relative_penalties(
        LOSSES["dcl"], row, jnp.zeros(1, jnp.int32), temperatures=temperatures
    )
    return {
        "similarity": similarity,
        "temperatures": np.asarray(temperatures, float),
        "relative_penalty": np.asarray(penalties[:, 0, 1:]),
    }


def entropy_curve(temperatures: Any = None, *, points: int = 201) -> dict[str, Any]:
    """Entropy of the relative penalties versus temperature, negatives spread evenly over [-1, 1].

    Args:
        temperatures: ``[u]``; None: 60 of them, evenly spread in the logarithm over [0.01, 10].
        points: number of negatives, k; the entropy tends to ``log k``.

    Returns:
        ``entropy_temperatures [u]``, ``entropy [u]`` in nats.

    Example:
        >>> curve = entropy_curve((0.1, 1.0, 100.0), points=10)
        >>> print(curve["entropy"].round(3), np.log(10).round(3))
        [0.385 2.121 2.303] 2.303
    """
    temperatures = np.geomspace(0.01, 10.0, 60) if temperatures is None else temperatures
    penalties = gradient_ratios(temperatures, points=points)["relative_penalty"]
    return {
        "entropy_temperatures": np.asarray(temperatures, float),
        "entropy": np.asarray(penalty_entropy(penalties)),
    }


def gap_curves(
    losses: Mapping[str, Loss] | None = None,
    *,
    temperature: float = 0.2,
    points: int = 101,
    num_negatives: int = 64,
    constants: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Loss and pull on the positive versus the gap to the nearest negative, one curve a loss.

    One anchor: its negatives are spread evenly over [-1, 0], so that the nearest is orthogonal, and
    its positive moves over [-1, 1]; the gap is the positive's similarity. A loss whose rows are
    coupled sees a batch of this one row; ``clip``, whose anchors are candidates too, has no curve.

    Args:
        losses: functions by name; None: all of ``LOSSES`` but for second names of one function.
        temperature: of those that have one.
        points: number of gaps, g.
        num_negatives: of the anchor.
        constants: by name of the loss, keywords for it. None: ``num_negatives=8`` for the hard
            losses, which otherwise keep all of so few negatives.

    Returns:
        ``losses`` (names, l), ``gap [g]``, ``loss_values [l, g]``, ``loss_gradients [l, g]``: the
        derivative by the positive's similarity; negative where the positive is pulled.

    Example:
        >>> curves = gap_curves({"contrastive": contrastive}, points=3, num_negatives=1)
        >>> print(curves["gap"], curves["loss_values"].round(3))
        [-1.  0.  1.] [[5.007 0.693 0.007]]
    """
    losses = distinct_losses() if losses is None else losses
    constants = HARD_CONSTANTS if constants is None else constants
    losses = {name: loss for name, loss in losses.items() if loss not in _NEED_SQUARE}
    gap = np.linspace(-1.0, 1.0, points)
    negatives = np.linspace(0.0, -1.0, num_negatives)
    curves = [
        _gap_curve(loss, constants.get(name, {}), gap, negatives, temperature)
        for name, loss in losses.items()
    ]
    return {
        "losses": np.asarray(list(losses)),
        "gap": gap,
        "loss_values": np.stack([np.asarray(values) for values, _ in curves]),
        "loss_gradients": np.stack([np.asarray(gradients) for _, gradients in curves]),
    }


# In the two-way loss each candidate is an anchor, too: one anchor by itself has no curve.
_NEED_SQUARE = (LOSSES["clip"],)

# With the 64 negatives of the curves, the default of 4095 would drop none.
HARD_CONSTANTS: Mapping[str, Mapping[str, Any]] = {
    "hard": {"num_negatives": 8},
    "hard_simple": {"num_negatives": 8},
}


def distinct_losses() -> dict[str, Loss]:
    """``LOSSES`` without the second names of one function.

    Example:
        >>> "contrastive" in distinct_losses(), "nt_xent" in distinct_losses()
        (True, False)
    """
    kept: dict[str, Loss] = {}
    for name, loss in LOSSES.items():
        if not any(loss is other for other in kept.values()):
            kept[name] = loss
    return kept


def coupling_distribution(
    batch_sizes: Sequence[int] = (8, 16, 32, 64, 128, 256, 512, 1024),
    spreads: Sequence[float] = (0.05, 0.1, 0.2),
    *,
    temperature: float = 0.1,
    positive: float = 0.8,
    anchors: int = 256,
    seed: int = 0,
) -> dict[str, Any]:
    """Distribution of the coupling ``q_B`` versus batch size, at several spreads of similarity.

    A batch of b images gives each anchor 2b - 2 negatives. Their cosines are drawn from a normal
    law around 0 with the given standard deviation, clipped to [-1, 1]; d-dimensional embeddings
    that cover the sphere evenly have the spread ``1 / sqrt(d)``. The positive is fixed.

    Args:
        batch_sizes: images a batch, ``[p]``.
        spreads: standard deviations of the negatives' cosines, ``[q]``.
        temperature: of the softmax.
        positive: cosine of the positive.
        anchors: draws for each cell.
        seed: of the draws.

    Returns:
        ``coupling_batch_sizes [p]``, ``coupling_spreads [q]``, ``coupling_levels [5]`` (which
        quantiles), ``coupling_quantiles [q, p, 5]``, ``coupling_mean [q, p]``,
        ``coupling_temperature`` and ``coupling_positive``.

    Example:
        >>> result = coupling_distribution((8, 512), (0.1,), anchors=64)
        >>> bool(result["coupling_mean"][0, 0] < result["coupling_mean"][0, 1])
        True

    References:
        Yeh et al., "Decoupled Contrastive Learning", ECCV 2022: q_B is small in small batches.
    """
    m = 2 * max(batch_sizes) - 2
    draws = np.random.default_rng(seed).standard_normal((anchors, m))
    columns = np.arange(m + 1)[None, :]
    couplings = np.zeros((len(spreads), len(batch_sizes), anchors))
    for row, spread in enumerate(spreads):
        negatives = np.clip(spread * draws, -1.0, 1.0)
        first = np.full((anchors, 1), positive)
        similarities = jnp.asarray(np.concatenate([first, negatives], axis=1), jnp.float32)
        for column, batch_size in enumerate(batch_sizes):
            # One shape, so one compilation: a smaller batch masks the negatives it does not have.
            where = np.broadcast_to(columns <= 2 * batch_size - 2, similarities.shape)
            couplings[row, column] = coupling(
                contrastive,
                similarities,
                jnp.zeros(anchors, jnp.int32),
                temperatures=[temperature],
                where=jnp.asarray(where),
            )[0]
    return {
        "coupling_batch_sizes": np.asarray(batch_sizes),
        "coupling_spreads": np.asarray(spreads, float),
        "coupling_levels": np.asarray(QUANTILES),
        "coupling_quantiles": np.moveaxis(np.quantile(couplings, QUANTILES, axis=2), 0, 2),
        "coupling_mean": couplings.mean(axis=2),
        "coupling_temperature": np.asarray(temperature),
        "coupling_positive": np.asarray(positive),
    }


def theory_arrays(
    temperatures: Any = TEMPERATURES,
    *,
    temperature: float = 0.2,
    losses: Mapping[str, Loss] | None = None,
) -> dict[str, Any]:
    """All curves of this module in one dictionary of arrays.

    Args:
        temperatures: ``[t]``, of the gradient ratios.
        temperature: of the curves versus the gap.
        losses: of the curves versus the gap, by name; None: the whole family.

    Returns:
        The union of what :func:`gradient_ratios`, :func:`entropy_curve`, :func:`gap_curves` and
        :func:`coupling_distribution` return, with ``gap_temperature``.

    Example:
        >>> arrays = theory_arrays((0.1, 1.0), losses={"contrastive": contrastive})
        >>> arrays["relative_penalty"].shape, arrays["loss_values"].shape
        ((2, 201), (1, 101))
    """
    check_temperatures(temperatures)
    return {
        **gradient_ratios(temperatures),
        **entropy_curve(),
        **gap_curves(losses, temperature=temperature),
        "gap_temperature": np.asarray(temperature),
        **coupling_distribution(),
    }


def _gap_curve(
    loss: Loss,
    constants: Mapping[str, Any],
    gap: np.ndarray,
    negatives: np.ndarray,
    temperature: float,
) -> tuple[jax.Array, jax.Array]:
    """Values and slopes ``[g]`` of one loss."""
    tail = jnp.asarray(negatives, jnp.float32)

    def value(positive: jax.Array) -> jax.Array:
        row = jnp.concatenate([positive[None], tail])[None]
        return loss(row, jnp.zeros(1, jnp.int32), temperature=temperature, **constants)[0]

    # One row at a time: a loss that couples rows must not couple the points of a curve.
    curve = jax.vmap(jax.value_and_grad(value))
    return jax.jit(curve, compiler_options=quick_compilation())(jnp.asarray(gap, jnp.float32))
