"""How good the encoder is while it trains: the accuracy of nearest neighbours, which has nothing to train itself.

Wu et al. (2018, section 3.4) followed their training so, with K = 200 and a vote of exp(cosine / 0.07). The monitor
only reads the state, and nothing random depends on it, so a run with it has the numbers of a run without it.
"""

from collections.abc import Callable

import jax
from ml_collections import ConfigDict

from jaxcl import metrics, sharding
from jaxcl.data import sources
from jaxcl.programs import assemble, labelled
from jaxcl.programs.embed import embed
from jaxcl.training.state import TrainState

Monitor = Callable[[TrainState], dict[str, float]]


def check(config: ConfigDict) -> None:
    """Raise `ValueError` for what would stop the monitor in the middle of a run."""
    every, images = config.train.monitor_every, config.train.monitor_images
    if not every >= 0:
        raise ValueError(
            f"train.monitor_every must be a number of epochs, or 0 for none; got {every}"
        )
    if every and images < 2:
        raise ValueError(f"train.monitor_images must be at least 2, got {images}")
    if every:
        _splits(config)


def steps_between(config: ConfigDict, steps_per_epoch: int) -> int:
    """Steps between two looks; 0 for none."""
    every = config.train.monitor_every
    return max(1, round(every * steps_per_epoch)) if every else 0


def build_monitor(config: ConfigDict, mesh: jax.sharding.Mesh) -> Monitor:
    """From a state to ``{"knn_accuracy": fraction}`` of test images; all processes must call it."""
    train, test = _splits(config)
    one = sharding.make_mesh([jax.local_devices()[0]])

    def look(state: TrainState) -> dict[str, float]:
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        pairs = []
        for split in (train, test):
            embedded = embed(config, split, variables, mesh)
            pairs.append((labelled.features(config, embedded), embedded.labels))
        with jax.set_mesh(one):
            accuracy = metrics.knn_accuracy(
                *pairs[0],
                *pairs[1],
                num_classes=train.num_classes,
                k=labelled.neighbors(config, len(train)),
                temperature=config.evaluate.knn_temperature,
            )
            return {"knn_accuracy": float(accuracy)}

    return look


def _splits(config: ConfigDict) -> tuple[sources.Source, sources.Source]:
    """The images that vote and those that are classified, at most ``monitor_images`` of each."""
    names = (config.evaluate.train_split or config.data.train_split, config.data.test_split)
    splits = [
        sources.thin(assemble.source(config, name), config.train.monitor_images) for name in names
    ]
    for split in splits:
        if split.labels is not None:  # the labels of a set on the disk come only with its images
            labelled.check_labels(split, "train.monitor_every")
    return splits[0], splits[1]
