"""Weights as safetensors: what is written, and that it makes the same model again."""

import json
import sys

import jax
import numpy as np
import pytest

from jaxcl import config as configs
from jaxcl.programs import assemble, export, frozen, pretrain

CONFIG = {"train.steps": 1, "train.batch_size": 16, "model.batch_norm": True}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    pytest.importorskip("safetensors", reason="safetensors is not installed: extra [export]")
    folder = tmp_path_factory.mktemp("export")
    config = configs.load("configs/digits.py", CONFIG)
    pretrain.run(config, folder / "run")
    return folder, config, export.run(folder / "run", folder / "out" / "encoder.safetensors")


def test_what_is_loaded_is_the_checkpoint_bit_for_bit(exported):
    folder, config, path = exported
    loaded_config, variables = export.load(path)
    assert loaded_config.to_dict() == config.to_dict()
    _, restored = frozen.restore(config, folder / "run", 1, assemble.mesh(), None)
    assert frozen.fingerprint(variables) == frozen.fingerprint(jax.device_get(restored))


def test_names_are_flat_and_metadata_say_the_config_and_the_step(exported):
    from safetensors import safe_open

    with safe_open(exported[2], framework="numpy") as file:
        names, metadata = set(file.keys()), file.metadata()
    assert {name.partition("/")[0] for name in names} == {"params", "batch_stats"}
    assert metadata["step"] == "1"
    assert json.loads(metadata["config"])["train"]["batch_size"] == 16


def test_a_loaded_model_computes(exported):
    config, variables = export.load(exported[2])
    size = config.data.image_size
    outputs, _ = assemble.model(config).apply(
        variables, np.ones((2, size, size, 1), np.float32), train=False
    )
    assert outputs.projection.shape == (2, config.model.dimension)


def test_an_encoder_without_batch_statistics_keeps_the_empty_mapping():
    arrays = {"params/Dense_0/kernel": np.ones((2, 3))}
    nested = export.unflatten(arrays)
    assert nested["batch_stats"] == {}
    assert list(export.flatten(nested)) == list(arrays)


def test_mistakes_say_their_remedy(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"--output=.*weights.npz must end in .safetensors"):
        export.run(tmp_path, tmp_path / "weights.npz")
    with pytest.raises(ValueError, match="there is no such file"):
        export.load(tmp_path / "none.safetensors")
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ValueError, match=r"pip install 'jaxcl\[export\]'"):
        export.run(tmp_path, tmp_path / "encoder.safetensors")
