"""Every mistake of a user's gets a clear error before anything compiles, and nothing is lost."""

import json
import math
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from jaxcl.config import override
from jaxcl.programs import pretrain, probe


@pytest.fixture(autouse=True)
def nothing_compiles(request, monkeypatch):
    """Fails the test if a step is built, except where it says that it needs one."""
    if request.node.get_closest_marker("compiles"):
        return

    def refuse(*args, **kwargs):
        raise AssertionError("a step was built before the mistake was found")

    monkeypatch.setattr("jaxcl.programs.assemble.build_step", refuse)


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        (
            {"train.batch_size": 100},
            "train.batch_size 100 does not divide over 8 devices; 96 and 104 do",
        ),
        (
            {"evaluate.batch_size": 4},
            "evaluate.batch_size 4 does not divide over 8 devices; 8 does",
        ),
        ({"train.batch_size": 4096}, "more than the 1437 training images of digits"),
        ({"loss.temperature": 0.0}, "loss.temperature must be positive and finite, got 0.0"),
        ({"loss.temperature": -1.0}, "must be positive and finite, got -1.0"),
        ({"loss.temperature": math.inf}, "must be positive and finite, got inf"),
        ({"optimizer.learning_rate": -1.0}, "learning_rate must be finite and not negative"),
        (
            {"loss.name": "hard", "loss.num_negatives": 127},
            "loss.num_negatives 127 is out of range: each anchor has 126 negatives",
        ),
        ({"loss.name": "hard", "loss.num_negatives": 0}, "loss.num_negatives 0 is out of range"),
        ({"loss.name": "contrastve"}, "unknown loss.name 'contrastve'; did you mean 'contrastive'"),
        ({"model.name": "resnet81"}, "unknown model.name 'resnet81'; did you mean 'resnet18'"),
        ({"optimizer.name": "adm"}, "unknown optimizer.name 'adm'; did you mean 'adam'"),
        ({"optimizer.schedule": "cosin"}, "did you mean 'cosine'"),
        ({"candidates.kind": "bank"}, "unknown candidates.kind 'bank'"),
        ({"candidates.views": "one"}, "unknown candidates.views 'one'"),
        ({"model.head": "mpl"}, "unknown head 'mpl'"),
        ({"data.name": "digts"}, "digits"),
        ({"data.resident": "gpu"}, "unknown data.resident 'gpu'; there are: auto, host, device"),
        ({"data.resident_limit": -1}, "data.resident_limit must be a number of bytes, got -1"),
        ({"train.monitor_every": -1.0}, "train.monitor_every must be a number of epochs.* got -1"),
        (
            {"train.monitor_every": 1.0, "train.monitor_images": 1},
            "train.monitor_images must be at least 2, got 1",
        ),
        ({"evaluate.solver": "sdg"}, "unknown evaluate.solver 'sdg'; did you mean 'sgd'"),
        ({"evaluate.readout": "mlp"}, "'mlp' is not convex .*; choose sgd or adam"),
        ({"evaluate.augment": True}, "evaluate.augment makes new features for each epoch"),
        ({"evaluate.epochs": 0}, "evaluate.epochs must be at least 1, got 0"),
        (
            {
                "evaluate.solver": "sgd",
                "evaluate.augment": True,
                "evaluate.augmentation.flip": 2.0,
            },
            "flip",
        ),
        ({"data.upscale": False}, "size 16 is larger than the images, which are 8x8"),
        ({"augment.jitter": 0.8, "augment.hue": 0.1}, "need colour images"),
        ({"augment.grayscale": 0.2}, "need colour images"),
        ({"data.mean": (0.5, 0.5, 0.5)}, "data.mean has 3 values for images of 1 channels"),
        (
            {"train.microbatches": 3},
            "train.microbatches 3 does not divide the 8 images of each device; 1, 2, 4, 8 do",
        ),
        ({"train.chunk": 0}, "train.chunk must be at least 1, got 0"),
        ({"train.remat": True}, "blocks of a ResNet again; small_conv has none"),
        (
            {"model.batch_norm_groups": 4},
            "model.batch_norm_groups 4 must be 1, or a multiple of the 8 devices",
        ),
        ({"train.steps": 0, "train.epochs": 0.0}, "train.epochs must be positive"),
        ({"optimizer.warmup_epochs": 60.0}, "warm-up of .* does not end within the run"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_a_mistake_in_the_config_is_named(tiny, tmp_path, overrides, match):
    with pytest.raises(ValueError, match=match):
        pretrain.run(override(tiny, overrides), tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_missing_data_set_names_itself_the_places_and_the_command(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("JAXCL_DATA_DIR", str(tmp_path))
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        pretrain.run(override(tiny, {"data.name": "svhn_cropped"}), tmp_path / "run")
    text = str(caught.value)
    assert "svhn_cropped" in text and str(tmp_path) in text
    assert "main.py prepare --dataset=svhn_cropped" in text


def test_a_directory_of_another_run_is_refused_and_left_as_it_is(tiny, finished, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    before = sorted(path.name for path in workdir.rglob("*"))
    with pytest.raises(
        ValueError, match=r"another config: loss\.temperature is 0\.1 there and 0\.7 here"
    ):
        pretrain.run(override(tiny, {"loss.temperature": 0.7}), workdir)
    assert sorted(path.name for path in workdir.rglob("*")) == before


@pytest.mark.compiles
def test_force_moves_the_other_run_aside_and_deletes_nothing(tiny, finished, tmp_path, console):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    pretrain.run(override(tiny, {"loss.temperature": 0.7}), workdir, force=True, console=console)
    old = json.loads((tmp_path / "run.old-1" / "config.json").read_text())
    new = json.loads((workdir / "config.json").read_text())
    assert (old["loss"]["temperature"], new["loss"]["temperature"]) == (0.1, 0.7)
    assert (tmp_path / "run.old-1" / "checkpoints" / "6").is_dir()


def test_a_directory_that_cannot_be_made_is_named(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot write to workdir"):
        pretrain.run(tiny, tmp_path / "file" / "run")


def test_probing_where_no_run_is_says_so(tiny, tmp_path):
    with pytest.raises(
        ValueError, match=r"holds no run \(no config.json\); pretrain one there first"
    ):
        probe.run(tiny, tmp_path)


def test_probing_a_step_that_is_not_there_lists_those_that_are(tiny, finished):
    with pytest.raises(ValueError, match=r"no checkpoint of step 5 .* there are: \[3, 6\]"):
        probe.run(tiny, finished, step=5)


def test_a_class_without_images_is_named(tiny, finished, tmp_path):
    images = tmp_path / "images"
    for split, labels in (("train", (0, 1)), ("test", (0,))):
        for label in labels:
            folder = images / split / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(64):
                Image.fromarray(np.full((8, 8), number, np.uint8)).save(folder / f"{number}.png")
    config = override(tiny, {"data.name": f"folder:{images}"})
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    stored = json.loads((run / "config.json").read_text())
    stored["data"]["name"] = f"folder:{images}"
    (run / "config.json").write_text(json.dumps(stored))
    with pytest.raises(ValueError, match=r"no image of 1 of its 2 classes \(class1\)"):
        probe.run(config, run)


@pytest.mark.compiles
def test_a_loss_that_is_not_finite_stops_and_names_step_and_checkpoint(tiny, tmp_path, console):
    from jaxcl.training.loop import NonFiniteLoss

    config = override(tiny, {"optimizer.name": "sgd", "optimizer.learning_rate": 1e30})
    with pytest.raises(NonFiniteLoss, match=r"at step \d+; last good checkpoint: none"):
        pretrain.run(config, tmp_path / "run", console=console)
    assert not list(pathlib.Path(tmp_path, "run", "checkpoints").glob("[0-9]*"))
