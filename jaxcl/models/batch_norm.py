"""BatchNorm over the whole batch, or over each of several groups of it with statistics of its own."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array, lax


class BatchNorm(nn.BatchNorm):
    """Linen's BatchNorm, whose training statistics may be those of groups of consecutive rows.

    The kept statistics move by the mean over the groups. In evaluation, and with one group, it is Linen's own, and the
    variables have the same names and shapes.

    Attributes:
      groups: 1 for statistics of the whole (global) batch; else they must divide its rows.
    """

    groups: int = 1

    @nn.compact
    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, x: Array, use_running_average: bool | None = None, **unused: Any
    ) -> Array:
        """Images ``[n, h, w, c]`` to the same."""
        if self.groups == 1 or self.use_running_average or use_running_average:
            return super().__call__(x, use_running_average, **unused)
        features = (x.shape[-1],)
        grouped = x.reshape(self.groups, x.shape[0] // self.groups, *x.shape[1:])
        wide = grouped.astype(jnp.float32)  # statistics are float32 whatever the computation is
        axes = tuple(range(1, grouped.ndim - 1))
        mean = wide.mean(axes, keepdims=True)
        # As Linen has it; rounding can make it a little negative.
        variance = jnp.maximum(jnp.square(wide).mean(axes, keepdims=True) - jnp.square(mean), 0.0)
        self._keep(features, mean, variance)
        scale = self.param("scale", self.scale_init, features, self.param_dtype)
        bias = self.param("bias", self.bias_init, features, self.param_dtype)
        ones = (1,) * (grouped.ndim - 1)
        multiplier = lax.rsqrt(variance + self.epsilon) * scale.reshape(*ones, -1)
        y = (wide - mean) * multiplier + bias.reshape(*ones, -1)
        return y.reshape(x.shape).astype(self.dtype or x.dtype)

    def _keep(self, features: tuple[int, ...], mean: Array, variance: Array) -> None:
        """Move the kept statistics by the mean over the groups ``[g, 1, ..., c]``."""
        for name, start, new in (("mean", jnp.zeros, mean), ("var", jnp.ones, variance)):
            kept = self.variable("batch_stats", name, start, features, jnp.float32)
            if not self.is_initializing():
                now = new.reshape(self.groups, -1).mean(0)
                kept.value = self.momentum * kept.value + (1 - self.momentum) * now
