"""Loading, overriding, comparing configurations."""

import pathlib

import pytest
from ml_collections import ConfigDict

from jaxcl import config as configs

DEFAULT = str(pathlib.Path(__file__).parent.parent / "configs" / "default.py")


@pytest.fixture(scope="module")
def default() -> ConfigDict:
    return configs.load(DEFAULT)


def test_an_override_changes_one_key_and_leaves_the_original(default):
    changed = configs.override(default, {"loss.temperature": 0.5})
    assert changed.loss.temperature == 0.5
    assert configs.first_difference(default, changed) == (
        "loss.temperature",
        default.loss.temperature,
        0.5,
    )


def test_an_unknown_key_names_the_near_one(default):
    with pytest.raises(
        ValueError, match=r"no key 'loss\.temprature'; did you mean 'loss\.temperature'"
    ):
        configs.override(default, {"loss.temprature": 0.5})


def test_a_key_of_the_wrong_section_names_the_right_one(default):
    with pytest.raises(ValueError, match=r"did you mean 'loss\.temperature'"):
        configs.override(default, {"temperature": 0.5})


@pytest.mark.parametrize(
    ("name", "value"), [("train.batch_size", 0.5), ("loss.name", 3), ("data.upscale", 1)]
)
def test_a_value_of_the_wrong_type_is_refused(default, name, value):
    with pytest.raises(ValueError, match=f"config.{name} is"):
        configs.override(default, {name: value})


def test_an_integer_serves_as_a_float(default):
    assert isinstance(configs.override(default, {"loss.temperature": 1}).loss.temperature, float)


def test_nan_is_refused(default):
    with pytest.raises(ValueError, match="must not be NaN"):
        configs.override(default, {"loss.temperature": float("nan")})


def test_texts_are_read_as_the_type_that_stands_there(default):
    texts = {
        "loss.name": "1",
        "seed": "3",
        "augment.crop_scale": "(0.1, 1.0)",
        "data.upscale": "false",
    }
    parsed = configs.parse_overrides(default, texts)
    assert parsed == {
        "loss.name": "1",
        "seed": 3,
        "augment.crop_scale": (0.1, 1.0),
        "data.upscale": False,
    }


def test_json_round_trip_is_exact(default):
    again = configs.from_json(configs.to_json(default))
    assert configs.first_difference(default, again) is None
    assert again.augment.crop_scale == default.augment.crop_scale


def test_ignored_sections_do_not_differ(default):
    changed = configs.override(default, {"evaluate.penalty": 1.0})
    assert configs.first_difference(default, changed, ignore=("evaluate.",)) is None
    assert configs.first_difference(default, changed) is not None


def test_a_config_is_locked(default):
    with pytest.raises(AttributeError):
        default.loss.tau = 1.0


def test_a_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"no config file configs/nothing\.py"):
        configs.load("configs/nothing.py")


def test_an_argument_that_is_not_taken_is_refused():
    with pytest.raises(ValueError, match="takes no argument"):
        configs.load(DEFAULT + ":cpu")


def test_a_config_without_a_grid_is_one_cell():
    assert configs.load_sweep(DEFAULT) == [{}]
