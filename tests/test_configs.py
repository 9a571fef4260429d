"""Every config file loads, locks, and its model and step can be shape-evaluated; its grid can be listed."""

import pathlib

import jax
import jax.numpy as jnp
import pytest

from jaxcl import config as configs
from jaxcl.models import build_model

FOLDER = pathlib.Path(__file__).parent.parent / "configs"
# Files whose get_config takes a scale, with the scales.
SCALES = {"cifar10.py": ("paper", "cpu", "views")}


def variants() -> list[str]:
    names = []
    for path in sorted(FOLDER.glob("*.py")):
        if path.name == "theory.py":  # has no model; see tests/programs/test_theory.py
            continue
        names.append(str(path))
        names += [f"{path}:{scale}" for scale in SCALES.get(path.name, ())]
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
    assert outputs.projection.shape == (4, config.model.dimension)


def test_the_papers_grid_has_its_26_cells():
    cells = configs.load_sweep(str(FOLDER / "cifar10.py:paper"))
    assert len(cells) == 26
    assert len({tuple(sorted(cell.items())) for cell in cells}) == 26


def test_an_unknown_scale_lists_those_that_there_are():
    with pytest.raises(ValueError, match="no scale 'gpu'; there are: paper, cpu, views"):
        configs.load(str(FOLDER / "cifar10.py:gpu"))
