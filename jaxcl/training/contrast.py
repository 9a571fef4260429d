"""A comparison of anchors with candidates, as a step hands it to a loss: on the mesh, and a device's rows of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxcl.losses.products import inner_products, precision_of
from jaxcl.sharding import gather, per_device


class Contrast(NamedTuple):
    """A comparison of anchors with candidates. A step has one, or two where streams are compared both ways.

    Attributes:
      anchors: unit vectors ``[n@data, d]``.
      candidates: unit vectors, ``[m@data, d]`` to be gathered, or ``[m, d]`` where every device holds them.
      positives: int32 ``[n@data]``, the column of each anchor's positive.
      exclude: int32 ``[n@data]``, the column that is the anchor itself; None if none is.
      drawn: int32 ``[n@data, k]``, the candidates that are an anchor's k columns; None if all m are, in order.
      everywhere: whether every device holds all candidates already.
    """

    anchors: Array
    candidates: Array
    positives: Array
    exclude: Array | None = None
    drawn: Array | None = None
    everywhere: bool = False


class Rows(NamedTuple):
    """A contrast's rows on one device, with all candidates; the fields are those of `Contrast`."""

    anchors: Array
    candidates: Array
    positives: Array
    exclude: Array | None
    drawn: Array | None

    def similarities(self) -> tuple[Array, Array | None]:
        """Cosines float32 ``[n, k]``, and which of them count (None: all)."""
        if self.drawn is not None:
            own = self.candidates[self.drawn]
            return _inner_products("nd,nkd->nk", self.anchors, own), None
        cosines = inner_products(self.anchors, self.candidates, positives=self.positives)
        if self.exclude is None:
            return cosines, None
        return cosines, jnp.arange(cosines.shape[1])[None, :] != self.exclude[:, None]

    def positive_similarities(self) -> Array:
        """Cosines float32 ``[n]`` of the anchors with their positives."""
        columns = self.positives
        if self.drawn is not None:
            columns = jnp.take_along_axis(self.drawn, columns[:, None], axis=1)[:, 0]
        own = self.candidates[columns]
        return _inner_products("nd,nd->n", self.anchors, own)


def _inner_products(subscripts: str, anchors: Array, candidates: Array) -> Array:
    precision = precision_of(None, anchors, candidates)
    return jnp.einsum(
        subscripts, anchors, candidates, precision=precision, preferred_element_type=jnp.float32
    )


def on_each_device(
    function: Callable[..., Array], contrast: Contrast, mesh: jax.sharding.Mesh, *more: Array
) -> Array:
    """Let every device apply ``function(rows, *more)`` to its rows of a contrast, all candidates gathered.

    Arrays in ``more`` are split by rows, scalars go everywhere.
    """
    *rest, everywhere = contrast
    fields: list[Any] = rest
    if not everywhere:
        fields[1] = gather(fields[1])

    def of_device(*arguments: Any) -> Array:
        return function(Rows(*arguments[:5]), *arguments[5:])

    split = (True, False, True, True, True, *(value.ndim > 0 for value in more))
    return per_device(of_device, mesh, split)(*fields, *more)
