"""The laboratory of the losses: ``jax.grad`` applied to a loss that is handed in.

``gradients`` differentiates, ``penalties`` says what the result means, ``streamed`` does both where
the similarity matrix does not fit, ``pairs`` measures what decoupling changes, ``closed_form``
holds the formulas of the papers that the gradients must agree with, ``theory`` the
curves that need no model, and ``examination`` the verdict on a loss. None knows a model or a file.
"""

from jaxcl.analysis.examination import PROPERTIES, Examination, Verdict, examine
from jaxcl.analysis.gradients import (
    EmbeddingGradients,
    embedding_gradients,
    similarity_gradients,
    temperature_gradients,
)
from jaxcl.analysis.pairs import PairGradients, pair_gradients
from jaxcl.analysis.penalties import coupling, penalty_entropy, relative_penalties
from jaxcl.analysis.streamed import PenaltyStatistics, penalty_statistics
from jaxcl.analysis.theory import (
    coupling_distribution,
    entropy_curve,
    gap_curves,
    gradient_ratios,
    theory_arrays,
)

__all__ = [
    "PROPERTIES",
    "EmbeddingGradients",
    "Examination",
    "PairGradients",
    "PenaltyStatistics",
    "Verdict",
    "coupling",
    "coupling_distribution",
    "embedding_gradients",
    "entropy_curve",
    "examine",
    "gap_curves",
    "gradient_ratios",
    "pair_gradients",
    "penalty_entropy",
    "penalty_statistics",
    "relative_penalties",
    "similarity_gradients",
    "temperature_gradients",
    "theory_arrays",
]
