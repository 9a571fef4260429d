"""Where the images lie changes no bit of a run."""

import numpy as np
import pytest

from jaxcl.config import override
from jaxcl.programs import assemble, pretrain, resident
from jaxcl.training.log import read_lines
from tests.programs.test_resume import final_digest


def test_a_run_fed_by_the_host_is_bit_for_bit_the_one_fed_by_the_devices(
    tiny, finished, tmp_path, console
):
    on_devices = assemble.source(tiny, "train")
    assert resident.on_devices(tiny, on_devices)
    config = override(tiny, {"data.resident": "host"})
    pretrain.run(config, tmp_path, console=console)
    assert "images               read by the host" in console.text
    logged = [
        [row["loss"] for row in read_lines(p / "metrics.jsonl")] for p in (tmp_path, finished)
    ]
    assert logged[0] == logged[1]
    assert final_digest(config, tmp_path, 6) == final_digest(tiny, finished, 6)


@pytest.mark.parametrize(
    ("choice", "limit", "expected"),
    [
        ("auto", 1437 * 64, True),
        ("auto", 1437 * 64 - 1, False),
        ("device", 0, True),
        ("host", 2**30, False),
    ],
)
def test_a_set_lies_on_the_devices_up_to_the_limit(tiny, choice, limit, expected):
    config = override(tiny, {"data.resident": choice, "data.resident_limit": limit})
    source = assemble.source(config, "train")
    assert resident.on_devices(config, source) is expected
    assert not expected or source.images is not None
    assert np.prod(source.image_shape) * len(source) == resident.num_bytes(source)
