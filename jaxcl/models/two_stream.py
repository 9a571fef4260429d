"""Two encoders, each of which sees its own channels of an image: contrastive multiview coding."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxcl.models.head import Outputs


class TwoStream(nn.Module):
    """The first channel goes to one network, the others to another of the same kind; no weight is shared.

    With images in CIE L*a*b* these are lightness and colour (Tian, Krishnan and Isola, Contrastive
    Multiview Coding, 2020). The EECS 442 report (Wang, Zhang, Chen, Ding, 2020) prints 588 + 4,632 +
    18,480 + 18,456 = 42,156 parameters for its encoder of four convolutions. The 588 belong to a
    first layer that sees three channels, 12 * (3 * 16 + 1), which neither of its streams does: L has
    12 * (1 * 16 + 1) = 204 there and 41,772 in all, ab 12 * (2 * 16 + 1) = 396 and 41,964.

    Attributes:
      first: network of channel 0.
      second: network of the other channels.
    """

    first: nn.Module
    second: nn.Module

    def __call__(self, images: Array, train: bool) -> Outputs:
        """Images ``[n, h, w, c]``, c > 1."""
        a = self.first(images[..., :1], train)
        b = self.second(images[..., 1:], train)
        projection = jnp.stack([a.projection, b.projection], axis=1)
        return Outputs(
            jnp.concatenate([a.embedding, b.embedding], axis=1),
            projection.reshape(-1, projection.shape[-1]),
        )
