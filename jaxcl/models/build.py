"""From plain values to a model, and the two pure functions through which everybody else sees it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from jaxcl.models.resnet import BasicBlock, Bottleneck, ResNet
from jaxcl.models.small_conv import SmallConv


class Outputs(NamedTuple):
    """What a model makes of images.

    Attributes:
      embedding: encoder output ``[n, e]``, float32: what the probe reads.
      projection: head output ``[n, d]``, float32, not yet normalised: what the loss reads.
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
    """An encoder and the projection head on it."""

    encoder: nn.Module
    head: nn.Module

    def __call__(self, images: Array, train: bool) -> Outputs:
        embedding = self.encoder(images, train).astype(jnp.float32)
        return Outputs(embedding, self.head(embedding))


@dataclass(frozen=True)
class Model:
    """A network as two pure functions; the module stays inside.

    Attributes:
      module: the Linen module; nobody outside `models` looks at it.
    """

    module: nn.Module

    def init(self, key: Array, image_shape: Sequence[int]) -> dict[str, Any]:
        """Variables ``{"params": ..., "batch_stats": ...}`` for images ``(h, w, c)``."""
        variables = self.module.init(key, jnp.zeros((1, *image_shape)), False)
        return {"params": variables["params"], "batch_stats": variables.get("batch_stats", {})}

    def apply(
        self, variables: dict[str, Any], images: Array, *, train: bool
    ) -> tuple[Outputs, dict[str, Any]]:
        """Apply to images ``[n, h, w, c]``, float.

        Args:
          variables: as `init` gives them.
          images: normalised pixels.
          train: whether BatchNorm uses and updates with the statistics of these images. Under `jit` over a split batch
            they are the statistics of the *global* batch.

        Returns:
          The outputs, and the batch statistics to keep.
        """
        outputs, updated = self.module.apply(variables, images, train, mutable=["batch_stats"])
        return outputs, updated.get("batch_stats", variables["batch_stats"]) if train else variables["batch_stats"]  # type: ignore[return-value]


def _small_conv(*, width, channels, batch_norm, pool, stem, dtype) -> nn.Module:
    del stem
    return SmallConv(tuple(round(c * width) for c in channels), batch_norm, pool, dtype)


def _resnet(block, stages):
    def build(*, width, channels, batch_norm, pool, stem, dtype) -> nn.Module:
        del channels, batch_norm, pool
        return ResNet(block, stages, max(1, round(64 * width)), stem, dtype)

    return build


MODELS = {
    "small_conv": _small_conv,
    "resnet18": _resnet(BasicBlock, (2, 2, 2, 2)),
    "resnet50": _resnet(Bottleneck, (3, 4, 6, 3)),
}


def build_model(
    name: str,
    *,
    width: float = 1.0,
    channels: Sequence[int] = (12, 24, 48, 24),
    batch_norm: bool = False,
    pool: str = "flatten",
    stem: str = "cifar",
    head: str = "linear",
    hidden: int = 512,
    dimension: int = 128,
    dtype: str = "float32",
) -> Model:
    """Build an encoder with a projection head.

    Args:
      name: a key of `MODELS`.
      width: multiplies the channels of every layer.
      channels: ``small_conv`` only.
      batch_norm: ``small_conv`` only; ResNets always have it.
      pool: ``small_conv`` only: ``flatten`` or ``mean``.
      stem: ResNets only: ``cifar`` or ``imagenet``.
      head: ``linear`` or ``mlp``.
      hidden: units of the MLP head.
      dimension: of the projection.
      dtype: of the encoder's computation; parameters and outputs are float32.

    Returns:
      The model.

    Raises:
      ValueError: a name or choice that does not exist.
    """
    choices = (("model", name, MODELS), ("pool", pool, ("flatten", "mean")))
    choices += (("stem", stem, ("cifar", "imagenet")), ("head", head, ("linear", "mlp")))
    choices += (("dtype", dtype, ("float32", "bfloat16", "float16")),)
    for what, value, known in choices:
        if value not in known:
            raise ValueError(f"unknown {what} {value!r}; there are: {', '.join(known)}")
    encoder = MODELS[name](
        width=width,
        channels=channels,
        batch_norm=batch_norm,
        pool=pool,
        stem=stem,
        dtype=jnp.dtype(dtype),
    )
    return Model(EncoderAndHead(encoder, Head(hidden if head == "mlp" else None, dimension)))


def count_parameters(params: Any) -> int:
    """The number of trained values in a tree."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
