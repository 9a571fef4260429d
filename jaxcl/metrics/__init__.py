"""Metrics of a representation: pure functions of embeddings ``[n, d]`` and labels ``[n]``.

They know no model, no data set, no device and no file. Similarities are cosines, entropies are in
nats, accuracies are fractions in [0, 1]. Whether embeddings lie on the unit sphere is always an
explicit decision (``normalize=``).
"""

from jaxcl.metrics.alignment import alignment
from jaxcl.metrics.knn import knn_accuracy, knn_predictions
from jaxcl.metrics.nearest import nearest
from jaxcl.metrics.rank import effective_rank, rank_me
from jaxcl.metrics.readout import Readout, fit_readout, readout_accuracy, readout_logits
from jaxcl.metrics.separation import LocalSeparation, local_separation
from jaxcl.metrics.tolerance import tolerance, tolerance_per_class
from jaxcl.metrics.uniformity import uniformity, uniformity_per_class

__all__ = [
    "LocalSeparation",
    "Readout",
    "alignment",
    "effective_rank",
    "fit_readout",
    "knn_accuracy",
    "knn_predictions",
    "local_separation",
    "nearest",
    "rank_me",
    "readout_accuracy",
    "readout_logits",
    "tolerance",
    "tolerance_per_class",
    "uniformity",
    "uniformity_per_class",
]
