"""The two-way loss of CLIP: each anchor picks its candidate and each candidate its anchor."""

import jax
import jax.numpy as jnp

from jaxcl.losses.inputs import check_positives, concrete_value, read_similarities
from jaxcl.losses.softmax import contrastive


def clip(
    similarities: jax.Array,
    positives: jax.Array,
    *,
    temperature: jax.typing.ArrayLike,
    where: jax.Array | None = None,
) -> jax.Array:
    r"""The mean of the contrastive losses over the rows and over the columns.

    .. math:: L_i = -\frac{1}{2} \log \frac{e^{s_{ii}/\tau}}{\sum_k e^{s_{ik}/\tau}}
        -\frac{1}{2} \log \frac{e^{s_{ii}/\tau}}{\sum_k e^{s_{ki}/\tau}}

    The columns couple the anchors. To evaluate in chunks, take the mean of the contrastive losses
    of anchors against candidates and of candidates against anchors.

    Args:
        similarities: [n, n], cosine in [-1, 1], of two modalities or views.
        positives: int [n], the column of each anchor's positive; a permutation.
        temperature: positive scalar. Published as the logarithm of its inverse, which is learned:
            see `temperature_of_log_scale`.
        where: bool [n, n], the pairs that count; the positive always does.

    Returns:
        [n], nats.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import clip
        >>> similarities = jnp.array([[0.9, 0.1], [0.2, 0.8]])
        >>> loss = clip(similarities, jnp.array([0, 1]), temperature=0.5)
        >>> print(jnp.array_str(loss, precision=3))
        [0.202 0.242]

    References:
        A. Radford et al., Learning Transferable Visual Models From Natural Language Supervision,
        ICML 2021.
    """
    similarities = read_similarities(similarities)
    n, m = similarities.shape
    if n != m:
        raise ValueError(
            f"similarities have shape {similarities.shape}; in the two-way loss each candidate is "
            "an anchor too, so they must be square"
        )
    if jnp.ndim(temperature):
        raise ValueError(
            f"temperature has shape {jnp.shape(temperature)}; rows and columns share it, so it "
            "must be a scalar"
        )
    positives = check_positives(positives, similarities)
    concrete = concrete_value(positives)
    if concrete is not None and len(set(concrete.tolist())) != n:
        raise ValueError("positives must be a permutation: two anchors have the same positive")
    anchors = jnp.argsort(positives)  # The inverse permutation: the anchor of each candidate.
    turned = where if where is None else jnp.asarray(where).T
    rows = contrastive(similarities, positives, temperature=temperature, where=where)
    columns = contrastive(similarities.T, anchors, temperature=temperature, where=turned)
    return 0.5 * (rows + columns[positives])
