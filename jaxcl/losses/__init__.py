"""Contrastive losses as pure functions of similarities.

Every loss is called alike, knows no embedding, device, model or configuration, and returns one
value an anchor::

    loss(similarities, positives, *, temperature, where=None, **constants) -> [n]

so that ``jax.grad`` of a loss by its similarities is what the papers analyse. ``LOSSES`` names them
all.
"""

from collections.abc import Callable, Mapping

import jax

from jaxcl.losses.decoupled import dcl, dclw, dclw_weights
from jaxcl.losses.embeddings import normalize
from jaxcl.losses.hard import hard, hard_simple
from jaxcl.losses.simple import simple
from jaxcl.losses.softmax import contrastive, coupling, nt_xent, softmax

Loss = Callable[..., jax.Array]

LOSSES: Mapping[str, Loss] = {
    "contrastive": contrastive,
    "nt_xent": nt_xent,
    "softmax": softmax,
    "simple": simple,
    "hard": hard,
    "hard_simple": hard_simple,
    "dcl": dcl,
    "dclw": dclw,
}

# Losses whose value for one anchor depends on the other anchors' rows. The keyword, where there is
# one, takes what the rows share, computed beforehand, and makes them independent.
ROW_COUPLED: frozenset[str] = frozenset({"dclw"})

__all__ = [
    "LOSSES",
    "ROW_COUPLED",
    "Loss",
    "contrastive",
    "coupling",
    "dcl",
    "dclw",
    "dclw_weights",
    "hard",
    "hard_simple",
    "normalize",
    "nt_xent",
    "simple",
    "softmax",
]
