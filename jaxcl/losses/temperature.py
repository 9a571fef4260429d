"""Temperatures that change: schedules as functions of the step, and a learned one.

A schedule is any function from a step to a temperature, as in optax; a learned temperature is a
parameter, the logarithm of its inverse. The losses take either as a traced value.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

Schedule = Callable[[jax.typing.ArrayLike], jax.Array]


def constant_temperature(temperature: float) -> Schedule:
    """A temperature that does not change.

    Args:
        temperature: positive.

    Returns:
        A function from a step to the temperature, [].

    Example:
        >>> from jaxcl.losses import constant_temperature
        >>> print(constant_temperature(0.5)(1000))
        0.5
    """
    _check("temperature", temperature)
    return lambda step: jnp.full(jnp.shape(step), temperature, jnp.float32)


def cosine_temperature(
    *, minimum: float = 0.1, maximum: float = 1.0, half_period: float = 200
) -> Schedule:
    r"""A temperature that swings between two values, beginning at the maximum.

    .. math:: \tau(e) = \tau_{min} + \frac{1}{2} (\tau_{max} - \tau_{min}) (1 + \cos(\pi e / T))

    Args:
        minimum: tau at half_period.
        maximum: tau at 0. The published code defaults to 0.5, its paper uses 1.
        half_period: T, from maximum to minimum, in the unit of the argument. It is published as 200
            epochs: for a schedule of steps multiply by the steps an epoch has.

    Returns:
        A function from a step to the temperature, [].

    Example:
        >>> from jaxcl.losses import cosine_temperature
        >>> schedule = cosine_temperature(minimum=0.1, maximum=0.5, half_period=200)
        >>> [round(float(schedule(epoch)), 3) for epoch in (0, 100, 200, 400)]
        [0.5, 0.3, 0.1, 0.5]

    References:
        A. Kukleva et al., Temperature Schedules for Self-Supervised Contrastive Methods on
        Long-Tail Data, ICLR 2023.
    """
    _check("minimum", minimum)
    _check("half_period", half_period)
    if not minimum <= maximum < math.inf:
        raise ValueError(f"maximum {maximum} must be finite and at least the minimum, {minimum}")

    def schedule(step: jax.typing.ArrayLike) -> jax.Array:
        swing = 0.5 * (1 + jnp.cos(math.pi * jnp.asarray(step, jnp.float32) / half_period))
        return minimum + (maximum - minimum) * swing

    return schedule


def log_scale_of_temperature(temperature: float = 0.07) -> jax.Array:
    """The parameter from which a learned temperature begins, log(1 / temperature).

    Args:
        temperature: positive; 0.07 in CLIP, 0.1 in SigLIP.

    Returns:
        float32 [].

    Example:
        >>> from jaxcl.losses import log_scale_of_temperature
        >>> print(f"{log_scale_of_temperature(0.07):.3f}")
        2.659
    """
    _check("temperature", temperature)
    return jnp.asarray(-math.log(temperature), jnp.float32)


def temperature_of_log_scale(log_scale: jax.Array) -> jax.Array:
    """The temperature of a learned parameter, exp(-log_scale), always positive.

    Args:
        log_scale: [], the logarithm of the scale that multiplies similarities.

    Returns:
        [].

    Example:
        >>> from jaxcl.losses import log_scale_of_temperature, temperature_of_log_scale
        >>> print(temperature_of_log_scale(log_scale_of_temperature(0.5)))
        0.5

    References:
        A. Radford et al., Learning Transferable Visual Models From Natural Language Supervision,
        ICML 2021.
    """
    return jnp.exp(-log_scale)


def clamp_log_scale(log_scale: jax.Array, maximum_scale: float = 100.0) -> jax.Array:
    """The parameter kept from scaling similarities by more than 100.

    To be applied to the parameter after each update, as CLIP does. Inside the loss it would stop
    the gradient above the bound, and the temperature would never come back.

    Args:
        log_scale: [].
        maximum_scale: at least 1; 100 keeps the temperature at 0.01 or above.

    Returns:
        [], at most log(maximum_scale).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcl.losses import clamp_log_scale, temperature_of_log_scale
        >>> print(f"{temperature_of_log_scale(clamp_log_scale(jnp.float32(9.0))):.3f}")
        0.010
    """
    if not 1 <= maximum_scale < math.inf:
        raise ValueError(f"maximum_scale {maximum_scale} must be finite and at least 1")
    return jnp.minimum(log_scale, math.log(maximum_scale))


def _check(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} {value} must be positive and finite")
