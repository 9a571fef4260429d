"""Contrastive losses as pure functions of similarities.

Every loss is called alike, knows no embedding, device, model or configuration, and returns one
value for each anchor::

    loss(similarities, positives, *, temperature, where=None, **constants) -> [n]

so that ``jax.grad`` of a loss by its similarities is what the papers analyse. ``LOSSES`` names all.
"""

from collections.abc import Callable, Mapping

import jax

from jaxcl.losses.alignment_uniformity import alignment_uniformity, uniformity_log_potential
from jaxcl.losses.debiased import debiased, hcl
from jaxcl.losses.decoupled import dcl, dclw, dclw_weights
from jaxcl.losses.dual_temperature import dual_temperature
from jaxcl.losses.embeddings import normalize, shorten, similarity_matrix
from jaxcl.losses.fixed_entropy import entropy_temperature, fixed_entropy
from jaxcl.losses.hard import hard, hard_simple
from jaxcl.losses.hardest import keep_hardest
from jaxcl.losses.limit import zero_temperature
from jaxcl.losses.margin import spring, triplet
from jaxcl.losses.masks import interleaved_positives, not_self, same_label
from jaxcl.losses.nce import nce, nce_log_normalizer
from jaxcl.losses.pairwise import (
    choose_evaluation,
    positive_similarities,
    streamed_mean,
    streamed_values,
)
from jaxcl.losses.ring import ring_mean
from jaxcl.losses.sharded import sharded_mean
from jaxcl.losses.sigmoid import sigmoid
from jaxcl.losses.simple import simple
from jaxcl.losses.softmax import contrastive, coupling, nt_xent, softmax
from jaxcl.losses.spectral import spectral
from jaxcl.losses.supervised import supcon
from jaxcl.losses.symmetric import LOSS_OF_ODDS, symmetric_mean
from jaxcl.losses.temperature import (
    clamp_log_scale,
    constant_temperature,
    cosine_temperature,
    log_scale_of_temperature,
    temperature_of_log_scale,
)
from jaxcl.losses.two_way import clip

Loss = Callable[..., jax.Array]

LOSSES: Mapping[str, Loss] = {
    # Wang & Liu, and the two other names of the contrastive loss.
    "contrastive": contrastive,
    "nt_xent": nt_xent,
    "softmax": softmax,
    "simple": simple,
    "hard": hard,
    "hard_simple": hard_simple,
    "zero_temperature": zero_temperature,
    "fixed_entropy": fixed_entropy,
    # Decoupled contrastive learning.
    "dcl": dcl,
    "dclw": dclw,
    # The comparison on two colour streams; its softmax is above.
    "spring": spring,
    "triplet": triplet,
    "nce": nce,
    # Relatives.
    "clip": clip,
    "sigmoid": sigmoid,
    "supcon": supcon,
    "debiased": debiased,
    "hcl": hcl,
    "alignment_uniformity": alignment_uniformity,
    "spectral": spectral,
    "dual_temperature": dual_temperature,
}

# The value of an anchor depends on other anchors' rows too, so these cannot be summed over chunks.
ROW_COUPLED: frozenset[str] = frozenset({"dclw", "nce", "clip", "alignment_uniformity"})

# What the rows share, computed beforehand and passed by this keyword, makes them independent.
DECOUPLED_BY: Mapping[str, str] = {
    "dclw": "weights",
    "nce": "log_normalizer",
    "alignment_uniformity": "log_potential",
}

# These check the temperature that they are given and do not use it.
TEMPERATURE_FREE: frozenset[str] = frozenset(
    {
        "simple",
        "hard_simple",
        "zero_temperature",
        "fixed_entropy",
        "spring",
        "triplet",
        "alignment_uniformity",
        "spectral",
    }
)

# These also take positives as a mask, bool [n, m].
TAKES_MASK: frozenset[str] = frozenset({"supcon", "sigmoid"})

__all__ = [
    "DECOUPLED_BY",
    "LOSSES",
    "LOSS_OF_ODDS",
    "ROW_COUPLED",
    "TAKES_MASK",
    "TEMPERATURE_FREE",
    "Loss",
    "alignment_uniformity",
    "choose_evaluation",
    "clamp_log_scale",
    "clip",
    "constant_temperature",
    "contrastive",
    "cosine_temperature",
    "coupling",
    "dcl",
    "dclw",
    "dclw_weights",
    "debiased",
    "dual_temperature",
    "entropy_temperature",
    "fixed_entropy",
    "hard",
    "hard_simple",
    "hcl",
    "interleaved_positives",
    "keep_hardest",
    "log_scale_of_temperature",
    "nce",
    "nce_log_normalizer",
    "normalize",
    "not_self",
    "nt_xent",
    "positive_similarities",
    "ring_mean",
    "same_label",
    "sharded_mean",
    "shorten",
    "sigmoid",
    "similarity_matrix",
    "simple",
    "softmax",
    "spectral",
    "spring",
    "streamed_mean",
    "streamed_values",
    "supcon",
    "symmetric_mean",
    "temperature_of_log_scale",
    "triplet",
    "uniformity_log_potential",
    "zero_temperature",
]
