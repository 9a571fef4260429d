"""Local separation: how far the positive stands above the nearest negatives. Knows embeddings, no
model and no loss."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcl.metrics.nearest import check_k, nearest
from jaxcl.metrics.sphere import check_embeddings, is_concrete


class LocalSeparation(NamedTuple):
    """Cosines of each anchor: ``positive_similarities [n]`` and ``negative_similarities [n, k]``,
    descending."""

    positive_similarities: jax.Array
    negative_similarities: jax.Array


def local_separation(
    anchors: Any,
    positives: Any,
    candidates: Any,
    *,
    k: int = 10,
    exclude: Any = None,
    anchor_labels: Any = None,
    candidate_labels: Any = None,
    normalize: bool | None = None,
    chunk: int = 256,
) -> LocalSeparation:
    """Similarity to the positive and to the ``k`` nearest negatives, exact and streamed over chunks
    of anchors.

    Args:
        anchors: ``[n, d]`` embeddings.
        positives: ``[n, d]`` embeddings, the other view of each anchor's image.
        candidates: ``[m, d]`` embeddings to take the negatives from.
        k: number of nearest negatives, at most m less the columns that ``exclude`` names.
        exclude: int ``[n]`` or ``[n, e]``: columns of ``candidates`` that are no negatives of the
            row, such as the anchor itself and its positive; a negative number excludes nothing.
            When candidates are the anchors' own batch this must be given, or each anchor's nearest
            "negative" is itself.
        anchor_labels: int ``[n]``, with ``candidate_labels``: candidates of the anchor's class are
            no negatives.
        candidate_labels: int ``[m]``.
        normalize: None: rows must have norm 1 already; True: normalise them; False: take them as
            they are.
        chunk: anchors a step; memory is about ``2 * chunk * m`` floats.

    Returns:
        LocalSeparation. Where labels leave fewer than ``k`` negatives the missing similarities are
        -inf.

    Raises:
        ValueError: ``k`` out of range, shapes that do not match, an excluded column ``>= m``, one
            side's labels only, rows off the sphere.

    Example:
        >>> x = jnp.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]])
        >>> positives = x[jnp.array([1, 0, 3, 2])]
        >>> exclude = jnp.array([[0, 1], [1, 0], [2, 3], [3, 2]])
        >>> result = local_separation(x, positives, x, k=1, exclude=exclude)
        >>> print(result.positive_similarities)
        [0.6 0.6 0.  0. ]
        >>> print(result.negative_similarities[:, 0])
        [ 0.   0.8  0.8 -0.6]

    References:
        Wang and Liu, "Understanding the Behaviour of Contrastive Loss", CVPR 2021, Figure 8.
    """
    anchors = check_embeddings(anchors, "anchors", normalize=normalize)
    positives = check_embeddings(positives, "positives", normalize=normalize)
    candidates = check_embeddings(candidates, "candidates", normalize=normalize)
    n, m = anchors.shape[0], candidates.shape[0]
    if positives.shape != anchors.shape or candidates.shape[1] != anchors.shape[1]:
        raise ValueError(
            "anchors [n, d], positives [n, d] and candidates [m, d] must agree, got shapes "
            f"{anchors.shape}, {positives.shape} and {candidates.shape}"
        )
    exclude = _check_exclude(exclude, n, m)
    k = check_k(k, m - (0 if exclude is None else exclude.shape[1]), "negatives of an anchor")
    if (anchor_labels is None) != (candidate_labels is None):
        raise ValueError("anchor_labels and candidate_labels must be given together or not at all")
    negative_similarities, _ = nearest(
        anchors,
        candidates,
        k=k,
        exclude=exclude,
        anchor_labels=_check_length(anchor_labels, n, "anchor_labels"),
        candidate_labels=_check_length(candidate_labels, m, "candidate_labels"),
        chunk=chunk,
    )
    return LocalSeparation(jnp.sum(anchors * positives, axis=1), negative_similarities)


def _check_exclude(exclude: Any, n: int, m: int) -> jax.Array | None:
    if exclude is None:
        return None
    exclude = jnp.asarray(exclude)
    if exclude.ndim == 1:
        exclude = exclude[:, None]
    if exclude.ndim != 2 or exclude.shape[0] != n or not jnp.issubdtype(exclude.dtype, jnp.integer):
        raise ValueError(
            f"exclude must be integers [n] or [n, e] with n = {n}, "
            f"got {exclude.dtype} {exclude.shape}"
        )
    if is_concrete(exclude) and exclude.size and int(np.asarray(exclude).max()) >= m:
        raise ValueError(f"exclude names column {int(np.asarray(exclude).max())} of {m} candidates")
    return exclude


def _check_length(labels: Any, length: int, name: str) -> jax.Array | None:
    if labels is None:
        return None
    labels = jnp.asarray(labels)
    if labels.shape != (length,):
        raise ValueError(f"{name} must have shape ({length},), got {labels.shape}")
    return labels
