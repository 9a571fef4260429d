"""The convolutional encoder of the EECS 442 study, for one view of any size."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxcl.models.batch_norm import BatchNorm
from jaxcl.models.convolve import convolve


class SmallConv(nn.Module):
    """4x4 convolutions of stride 2 and padding 1, a ReLU after each, the last included.

    With ``channels=(12, 24, 48, 24)``, no BatchNorm and flattened output this is the encoder of Figure 3 of Wang,
    Zhang, Chen, Ding, *Effect of Contrastive Loss on Unsupervised Representation Learning* (2020): 384 features of a
    64 px crop. Their text speaks of five layers, their table and code have four.

    Attributes:
      channels: output channels of each convolution.
      batch_norm: BatchNorm between convolution and ReLU (the study has none).
      pool: ``flatten`` or ``mean`` over the remaining pixels.
      dtype: of the computation.
      groups: of the batch, each with BatchNorm statistics of its own (see `BatchNorm`).
    """

    channels: Sequence[int] = (12, 24, 48, 24)
    batch_norm: bool = False
    pool: str = "flatten"
    dtype: jnp.dtype = jnp.float32
    groups: int = 1

    @nn.compact
    def __call__(self, images: Array, train: bool) -> Array:
        """Images ``[n, h, w, c]`` to embeddings ``[n, d]``."""
        x = images.astype(self.dtype)
        for count in self.channels:
            x = nn.Conv(
                count,
                (4, 4),
                (2, 2),
                ((1, 1), (1, 1)),
                dtype=self.dtype,
                conv_general_dilated=convolve,
            )(x)
            if self.batch_norm:
                x = BatchNorm(
                    not train, momentum=0.9, epsilon=1e-5, dtype=self.dtype, groups=self.groups
                )(x)
            x = nn.relu(x)
        if self.pool == "mean":
            return x.mean((1, 2))
        return x.reshape(x.shape[0], -1)
