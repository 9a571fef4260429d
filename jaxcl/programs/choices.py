"""The names and numbers of a configuration that are wrong whatever the data are."""

import math

from ml_collections import ConfigDict

from jaxcl.config import suggest
from jaxcl.losses import LOSSES
from jaxcl.models import MODELS
from jaxcl.programs import resident
from jaxcl.training.candidates import KINDS
from jaxcl.training.optimizer import OPTIMIZERS, SCHEDULES


def check_names(config: ConfigDict) -> None:
    """Raise `ValueError` for an unknown name or an impossible number, before the data is looked for."""
    known = (
        ("loss.name", LOSSES),
        ("model.name", MODELS),
        ("optimizer.name", OPTIMIZERS),
        ("optimizer.schedule", SCHEDULES),
        ("candidates.kind", KINDS),
        ("evaluate.features", ("backbone", "projection")),
        ("evaluate.solver", ("lbfgs", "sgd", "adam")),
        ("evaluate.readout", ("linear", "mlp")),
        ("candidates.initial", ("random", "encoded")),
        ("data.views", ("crops", "lab")),
        ("data.center", ("resize", "crop")),
        ("loss.normalizer", ("batch", "first")),
    )
    for name, names in known:
        section, leaf = name.split(".")
        value = config[section][leaf]
        if value not in names:
            raise ValueError(f"unknown {name} {value!r}{suggest(value, names)}")
    resident.check_choice(config)
    temperature = config.loss.temperature
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(
            f"loss.temperature must be positive and finite, got {temperature}; it divides the similarities "
            "(0.05 to 1 is usual)"
        )
    rate = config.optimizer.learning_rate
    if not (math.isfinite(rate) and rate >= 0):
        raise ValueError(f"optimizer.learning_rate must be finite and not negative, got {rate}")
    if not config.train.steps and config.train.epochs <= 0:
        raise ValueError(f"train.epochs must be positive, got {config.train.epochs}")
