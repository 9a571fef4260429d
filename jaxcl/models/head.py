"""Projection heads, and what a model makes of images."""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import Array


class Outputs(NamedTuple):
    """What a model makes of images.

    Attributes:
      embedding: encoder output ``[n, e]``, float32: what the probe reads. Of two streams, both side by side.
      projection: head output ``[n, d]``, float32, not yet normalised: what the loss reads. Of two streams ``[2n, d]``:
        row 2i is the first stream of image i, row 2i + 1 the second.
    """

    embedding: Array
    projection: Array


class Head(nn.Module):
    """One linear layer, or two with a ReLU between."""

    hidden: int | None
    dimension: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        if self.hidden is not None:
            x = nn.relu(nn.Dense(self.hidden)(x))
        return nn.Dense(self.dimension)(x)


class EncoderAndHead(nn.Module):
    """An encoder and the projection head on it; without a head, the projection is the embedding."""

    encoder: nn.Module
    head: nn.Module | None

    def __call__(self, images: Array, train: bool) -> Outputs:
        embedding = self.encoder(images, train).astype(jnp.float32)
        return Outputs(embedding, embedding if self.head is None else self.head(embedding))
