"""ResNet-18 and ResNet-50 (He et al., 2016), with the stem for 32 px images and the one for 224 px.

Paddings, BatchNorm constants and the place of the stride (the 3x3 convolution of a bottleneck) are those of
torchvision, so that weights can be exchanged with it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxcl.models.batch_norm import BatchNorm


def _conv(features: int, size: int, stride: int, dtype: jnp.dtype, name: str | None = None):
    pad = (size - 1) // 2
    return nn.Conv(
        features,
        (size, size),
        (stride, stride),
        ((pad, pad), (pad, pad)),
        use_bias=False,
        dtype=dtype,
        kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
        name=name,
    )


def _norm(train: bool, dtype: jnp.dtype, groups: int) -> Callable[..., Any]:
    kind: Any = BatchNorm  # its constructor is Linen's doing, which type checkers do not see
    return partial(kind, not train, momentum=0.9, epsilon=1e-5, dtype=dtype, groups=groups)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    features: int
    stride: int
    dtype: jnp.dtype
    groups: int = 1

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        norm = _norm(train, self.dtype, self.groups)
        y = nn.relu(norm()(_conv(self.features, 3, self.stride, self.dtype)(x)))
        y = norm()(_conv(self.features, 3, 1, self.dtype)(y))
        if x.shape != y.shape:
            x = norm(name="shortcut_norm")(
                _conv(self.features, 1, self.stride, self.dtype, "shortcut")(x)
            )
        return nn.relu(x + y)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions, four times as many channels out, and a shortcut."""

    features: int
    stride: int
    dtype: jnp.dtype
    groups: int = 1

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        norm = _norm(train, self.dtype, self.groups)
        y = nn.relu(norm()(_conv(self.features, 1, 1, self.dtype)(x)))
        y = nn.relu(norm()(_conv(self.features, 3, self.stride, self.dtype)(y)))
        y = norm()(_conv(4 * self.features, 1, 1, self.dtype)(y))
        if x.shape != y.shape:
            x = norm(name="shortcut_norm")(
                _conv(4 * self.features, 1, self.stride, self.dtype, "shortcut")(x)
            )
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Stem, four stages, average over pixels.

    Attributes:
      block: `BasicBlock` or `Bottleneck`.
      stages: blocks in each stage.
      channels: of the first stage; doubled by each later one.
      stem: ``cifar`` (3x3, stride 1, no pooling) or ``imagenet`` (7x7, stride 2, 3x3 max pooling of stride 2).
      dtype: of the computation.
      groups: of the batch, each with BatchNorm statistics of its own (see `BatchNorm`).
      remat: whether a block is computed again for its gradient instead of being kept.
    """

    block: type[nn.Module]
    stages: Sequence[int]
    channels: int = 64
    stem: str = "cifar"
    dtype: jnp.dtype = jnp.float32
    groups: int = 1
    remat: bool = False

    @nn.compact
    def __call__(self, images: Array, train: bool) -> Array:
        """Images ``[n, h, w, c]`` to embeddings ``[n, d]``."""
        norm = _norm(train, self.dtype, self.groups)
        size, stride = (3, 1) if self.stem == "cifar" else (7, 2)
        x = _conv(self.channels, size, stride, self.dtype)(images.astype(self.dtype))
        x = nn.relu(norm()(x))
        if self.stem == "imagenet":
            x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))  # pyright: ignore[reportArgumentType]
        block: Any = nn.remat(self.block, static_argnums=(2,)) if self.remat else self.block
        strides = [
            (stage, 2 if stage > 0 and index == 0 else 1)
            for stage, blocks in enumerate(self.stages)
            for index in range(blocks)
        ]
        for number, (stage, stride) in enumerate(strides):
            # Named by hand, because Linen would name a block that is computed again otherwise.
            name = f"{self.block.__name__}_{number}"
            width = self.channels * 2**stage
            x = block(width, stride, self.dtype, self.groups, name=name)(x, train)
        return x.mean((1, 2))
