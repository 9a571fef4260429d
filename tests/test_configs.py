"""Every config file loads, locks, and its model and step can be shape-evaluated; its grid can be listed."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcl import config as configs
from jaxcl.models import build_model
from jaxcl.programs import pretrain

FOLDER = pathlib.Path(__file__).parent.parent / "configs"
# Files whose get_config takes a scale, with the scales.
SCALES = {
    "cifar10.py": ("paper", "cpu", "study", "views"),
    "cifar100.py": ("paper", "views"),
    "svhn.py": ("paper", "views"),
    "imagenet100.py": ("paper", "views"),
}
OTHER_SCALES = {
    "cmc_losses.py": ("report", "cpu", "cpu64"),
    "decoupled.py": ("resnet18", "resnet50", "cpu"),
}
# Have no model (see tests/programs/test_theory.py), or are no config but what some have in common.
OTHERS = ("theory.py", "wang_liu.py")


def variants() -> list[str]:
    names = []
    for path in sorted(FOLDER.glob("*.py")):
        if path.name in OTHERS:
            continue
        names.append(str(path))
        names += [f"{path}:{scale}" for scale in (SCALES | OTHER_SCALES).get(path.name, ())]
    return names


@pytest.mark.parametrize("name", variants(), ids=lambda name: pathlib.Path(name).name)
def test_a_config_builds_and_every_cell_of_its_grid_is_a_config(name):
    config = configs.load(name)
    assert config.is_locked
    default = dict(configs.flatten(configs.load(str(FOLDER / "default.py"))))
    assert set(dict(configs.flatten(config))) == set(default)
    for cell in configs.load_sweep(name):
        configs.override(config, cell)
    channels = 1 if config.data.name == "digits" else 3
    model = build_model(**config.model)
    side = config.data.image_size

    def forward(key):
        variables = model.init(key, (side, side, channels))
        return model.apply(variables, jnp.zeros((4, side, side, channels)), train=True)[0]

    outputs = jax.eval_shape(forward, jax.random.key(0))
    assert outputs.projection.shape == (4 * config.model.streams, config.model.dimension)


@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize("seeds", [1, 3])
def test_the_papers_grid_has_its_26_cells_for_each_seed(name, seeds):
    cells = configs.load_sweep(str(FOLDER / name) + (f":paper,{seeds}" if seeds > 1 else ""))
    assert len(cells) == 26 * seeds
    assert len({tuple(sorted(cell.items())) for cell in cells}) == 26 * seeds


@pytest.mark.parametrize("name", SCALES)
def test_the_batch_has_the_share_of_hard_negatives_that_the_bank_has(name):
    bank, batch = (configs.load(str(FOLDER / f"{name}:{scale}")) for scale in ("paper", "views"))
    images = {"cifar10": 50_000, "cifar100": 50_000, "svhn_cropped": 73_257, "imagenet100": 126_689}
    share = bank.loss.num_negatives / (images[bank.data.name] - 1)
    negatives = 2 * batch.train.batch_size - 2
    assert abs(batch.loss.num_negatives - share * negatives) <= 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cifar10.py:paper", "cifar100.py:paper", "svhn.py:views"])
def test_a_config_takes_a_step_with_narrow_layers_on_images_of_its_size(name, tmp_path):
    # The fourth, imagenet100, takes its step in tests/data/test_imagenet100.py.
    key = np.random.default_rng(0)
    images = key.integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "random.npz", train_images=images, train_labels=np.arange(64) % 10)
    small = {
        "data.name": f"npz:{tmp_path / 'random.npz'}",
        "model.width": 0.0625,
        "train.monitor_every": 0.0,  # there is no test split to monitor
        "loss.name": "hard",
        "loss.num_negatives": 4,
        "train.batch_size": 2 * jax.device_count(),
        "train.steps": 1,
    }
    config = configs.load(str(FOLDER / name), small)
    assert pretrain.run(config, tmp_path / "run")["step"] == 1


def test_an_unknown_scale_lists_those_that_there_are():
    with pytest.raises(ValueError, match="no scale 'gpu'; there are: paper, cpu, study, views"):
        configs.load(str(FOLDER / "cifar10.py:gpu"))
    with pytest.raises(ValueError, match="after the comma stands the number of seeds, from 1"):
        configs.load_sweep(str(FOLDER / "cifar10.py:paper,0"))
