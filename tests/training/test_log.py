"""Metrics of a run: JSON lines that a resumed run continues, and the same for TensorBoard."""

import json
import sys

import pytest

from jaxcl import config as configs
from jaxcl.programs import pretrain
from jaxcl.training.log import open_metrics

ROWS = [
    {"step": 20, "epoch": 0.5, "loss": 3.0, "multiplier_histogram": [0.25, 0.75]},
    {"step": 40, "epoch": 1.0, "loss": 2.0, "multiplier_histogram": [0.5, 0.5]},
]


def written(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_resumed_run_drops_the_lines_that_it_will_write_again(tmp_path):
    for start in (0, 20):
        with open_metrics(tmp_path, start, tensorboard=False) as metrics:
            for row in ROWS[start // 20 :]:
                metrics.write(row)
    assert written(tmp_path) == ROWS
    assert not (tmp_path / "tensorboard").exists()


def events(folder):
    """(step, name) -> value of every event file, read as TensorBoard reads them."""
    from tensorboardX.proto.event_pb2 import Event

    found, starts = {}, []
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            length = int.from_bytes(
                data[:8], "little"
            )  # then 4 bytes of checksum, before and after
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            if event.HasField("session_log"):
                starts.append(event.step)
            for value in event.summary.value:
                is_scalar = value.HasField("simple_value")
                found[event.step, value.tag] = (
                    value.simple_value if is_scalar else list(value.histo.bucket)
                )
    return found, starts


def test_tensorboard_gets_the_same_numbers_beside_the_lines(tmp_path):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed: extra [tensorboard]")
    with open_metrics(tmp_path, 0, tensorboard=True) as metrics:
        for row in ROWS:
            metrics.write(row)
    assert written(tmp_path) == ROWS
    found, _ = events(tmp_path / "tensorboard")
    assert found == {
        (row["step"], name): pytest.approx(value)
        for row in ROWS
        for name, value in row.items()
        if name != "step"
    }


def test_a_resumed_run_tells_tensorboard_what_to_forget(tmp_path):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed: extra [tensorboard]")
    with open_metrics(tmp_path, 20, tensorboard=True) as metrics:
        metrics.write(ROWS[1])
    assert events(tmp_path / "tensorboard")[1] == [21]


def test_without_the_extra_a_run_stops_before_it_trains(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    config = configs.load("configs/digits.py", {"train.tensorboard": True, "train.steps": 1})
    with pytest.raises(ValueError, match=r"pip install 'jaxcl\[tensorboard\]' brings it"):
        pretrain.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
