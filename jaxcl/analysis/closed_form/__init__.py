"""The formulas of the papers, as printed, each with its equation number.

They predict what ``jax.grad`` of the losses gives, and the tests hold the two against each other.
They are written for reading, not for speed, and know no loss of this library. ``contrastive`` has
those of the contrastive loss, ``relatives`` those of the losses that vary it.

Every function takes ``similarities [n, m]`` (cosines), ``positives`` int ``[n]``, a ``temperature``
and ``where`` bool ``[n, m]``, the candidates that count (the positive always does).

References:
    [WL] F. Wang and H. Liu, "Understanding the Behaviour of Contrastive Loss", CVPR 2021.
    [DCL] C.-H. Yeh et al., "Decoupled Contrastive Learning", ECCV 2022.
"""

from jaxcl.analysis.closed_form.contrastive import (
    contrastive_gradients,
    contrastive_hessian,
    contrastive_temperature_gradient,
    entropy_temperature_gradient,
    large_temperature_limit,
    probabilities,
    relative_penalties,
    small_temperature_limit,
)
from jaxcl.analysis.closed_form.relatives import (
    contrastive_embedding_gradients,
    coupling_multiplier,
    dcl_gradients,
    dclw_weights,
    hard_gradients,
    hard_relative_penalties,
    simple_gradients,
)

__all__ = [
    "contrastive_embedding_gradients",
    "contrastive_gradients",
    "contrastive_hessian",
    "contrastive_temperature_gradient",
    "coupling_multiplier",
    "dcl_gradients",
    "dclw_weights",
    "entropy_temperature_gradient",
    "hard_gradients",
    "hard_relative_penalties",
    "large_temperature_limit",
    "probabilities",
    "relative_penalties",
    "simple_gradients",
    "small_temperature_limit",
]
