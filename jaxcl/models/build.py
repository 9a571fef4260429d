"""From plain values to a model, and the two pure functions through which everybody else sees it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from jaxcl.models.head import EncoderAndHead, Head, Outputs
from jaxcl.models.resnet import BasicBlock, Bottleneck, ResNet
from jaxcl.models.small_conv import SmallConv
from jaxcl.models.two_stream import TwoStream


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
        return outputs, updated.get(
            "batch_stats", variables["batch_stats"]
        ) if train else variables["batch_stats"]  # type: ignore[return-value]


def _small_conv(*, width, channels, batch_norm, pool, stem, dtype, groups, remat) -> nn.Module:
    del stem
    if remat:
        raise ValueError("remat computes the blocks of a ResNet again; small_conv has none")
    return SmallConv(tuple(round(c * width) for c in channels), batch_norm, pool, dtype, groups)


def _resnet(block, stages):
    def build(*, width, channels, batch_norm, pool, stem, dtype, groups, remat) -> nn.Module:
        del channels, batch_norm, pool
        return ResNet(block, stages, max(1, round(64 * width)), stem, dtype, groups, remat)

    return build


HEADS = ("linear", "mlp", "none")

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
    batch_norm_groups: int = 1,
    pool: str = "flatten",
    stem: str = "cifar",
    head: str = "linear",
    hidden: int = 512,
    dimension: int = 128,
    dtype: str = "float32",
    streams: int = 1,
    remat: bool = False,
) -> Model:
    """Build an encoder with a projection head, or two of them.

    Args:
      name: a key of `MODELS`.
      width: multiplies the channels of every layer.
      channels: ``small_conv`` only.
      batch_norm: ``small_conv`` only; ResNets always have it.
      batch_norm_groups: in training BatchNorm has the statistics of the whole batch (1), or of each of so many groups
        of consecutive rows.
      pool: ``small_conv`` only: ``flatten`` or ``mean``.
      stem: ResNets only: ``cifar`` or ``imagenet``.
      head: ``linear``, ``mlp`` or ``none``: the projection is the embedding.
      hidden: units of the MLP head.
      dimension: of the projection; with no head, of the embedding of one stream.
      dtype: of the encoder's computation; parameters and outputs are float32.
      remat: ResNets only: whether blocks are computed again for their gradient instead of being kept.
      streams: 1, or 2: the first channel and the others go to encoders of their own (see `TwoStream`).

    Returns:
      The model.

    Raises:
      ValueError: a name, choice or number that does not exist.
    """
    choices = (("model", name, MODELS), ("pool", pool, ("flatten", "mean")))
    choices += (("stem", stem, ("cifar", "imagenet")), ("head", head, HEADS))
    choices += (("dtype", dtype, ("float32", "bfloat16", "float16")),)
    choices += (("streams", streams, (1, 2)),)
    for what, value, known in choices:
        if value not in known:
            raise ValueError(f"unknown {what} {value!r}; there are: {', '.join(map(str, known))}")

    if batch_norm_groups < 1:
        raise ValueError(f"batch_norm_groups must be at least 1, got {batch_norm_groups}")

    def network() -> EncoderAndHead:
        encoder = MODELS[name](
            width=width,
            channels=channels,
            batch_norm=batch_norm,
            pool=pool,
            stem=stem,
            dtype=jnp.dtype(dtype),
            groups=batch_norm_groups,
            remat=remat,
        )
        units = hidden if head == "mlp" else None
        return EncoderAndHead(encoder, None if head == "none" else Head(units, dimension))

    return Model(network() if streams == 1 else TwoStream(network(), network()))


def count_parameters(params: Any) -> int:
    """The number of trained values in a tree."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
