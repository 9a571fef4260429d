"""Optimizers and schedules from plain values, with the peak learning rate left out.

The peak rate is a traced input of the step, so that cells of a grid that differ in it share one compilation: every
update rule here is linear in the learning rate, so it multiplies the finished update.
"""

from collections.abc import Sequence

import optax

SCHEDULES = ("constant", "step", "cosine")
OPTIMIZERS = ("sgd", "adam", "adamw", "lars")


def build_schedule(
    name: str,
    *,
    total_steps: int,
    warmup_steps: int = 0,
    boundaries: Sequence[int] = (),
    factor: float = 0.1,
) -> optax.Schedule:
    """The share of the peak learning rate at each step.

    Args:
      name: one of `SCHEDULES`.
      total_steps: length of the run.
      warmup_steps: linear from zero.
      boundaries: ``step``: from these steps on, the rate is multiplied by ``factor``, once each.
      factor: see ``boundaries``.

    Returns:
      A function from step to a share in [0, 1].

    Raises:
      ValueError: unknown name, or a warm-up as long as the run.
    """
    if name not in SCHEDULES:
        raise ValueError(f"unknown schedule {name!r}; there are: {', '.join(SCHEDULES)}")
    if warmup_steps and warmup_steps >= total_steps:
        raise ValueError(
            f"warm-up of {warmup_steps} steps does not end within the run of {total_steps} steps"
        )
    if name == "constant":
        main = optax.constant_schedule(1.0)
    elif name == "step":
        shifted = {step - warmup_steps: factor for step in boundaries}
        main = optax.piecewise_constant_schedule(1.0, shifted)
    else:
        main = optax.cosine_decay_schedule(1.0, max(1, total_steps - warmup_steps))
    if not warmup_steps:
        return main
    return optax.join_schedules(
        [optax.linear_schedule(0.0, 1.0, warmup_steps), main], [warmup_steps]
    )


def build_optimizer(
    name: str,
    schedule: optax.Schedule,
    *,
    momentum: float = 0.9,
    betas: Sequence[float] = (0.9, 0.999),
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """An optimizer of unit peak learning rate.

    Args:
      name: ``sgd`` and ``adam`` add the weight decay to the gradient (as PyTorch's SGD and Adam do), ``adamw`` decays
        the parameters themselves, ``lars`` as optax has it.
      schedule: from `build_schedule`.
      momentum: ``sgd`` (not Nesterov) and ``lars``.
      betas: ``adam`` and ``adamw``.
      weight_decay: applied to all parameters.

    Returns:
      The transformation; multiply its updates by the peak learning rate.

    Raises:
      ValueError: unknown name.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {name!r}; there are: {', '.join(OPTIMIZERS)}")
    coupled = optax.add_decayed_weights(weight_decay) if weight_decay else optax.identity()
    if name == "sgd":
        return optax.chain(coupled, optax.sgd(schedule, momentum=momentum or None))
    if name == "adam":
        return optax.chain(coupled, optax.adam(schedule, b1=betas[0], b2=betas[1]))
    if name == "adamw":
        return optax.adamw(schedule, b1=betas[0], b2=betas[1], weight_decay=weight_decay)
    return optax.lars(schedule, weight_decay=weight_decay, momentum=momentum)
