"""What analyze leaves beside its row: the embeddings, and a map of them that the report draws."""

import shutil

import numpy as np
import pytest

from jaxcl.config import override
from jaxcl.programs import analyze, assemble, report


@pytest.mark.slow
def test_the_embeddings_are_those_that_were_measured_and_the_report_maps_them(
    tiny, finished, tmp_path, console, monkeypatch
):
    monkeypatch.setattr(analyze, "MAPPED", 100)
    workdir = shutil.copytree(finished, tmp_path / "run")
    row = analyze.run(override(tiny, {"evaluate.tsne": True}), workdir, console=console)
    with np.load(workdir / "embeddings.npz") as arrays:
        found = dict(arrays)
    shapes = {name: value.shape for name, value in found.items()}
    assert shapes == {
        "embeddings": (128, 1, 16),
        "views": (128, 2, 16),
        "labels": (128,),
        "tsne": (100, 2),
    }
    assert found["embeddings"].dtype == found["views"].dtype == np.float32
    np.testing.assert_array_equal(found["labels"], assemble.source(tiny, "test").labels[:128])
    np.testing.assert_allclose(np.linalg.norm(found["views"], axis=2), 1.0, rtol=1e-5)
    distances = ((found["views"][:, 0] - found["views"][:, 1]) ** 2).sum(1)
    np.testing.assert_allclose(distances.mean(), row["alignment"], rtol=1e-5)
    again = analyze.plane(found["embeddings"][:100].reshape(100, -1))
    np.testing.assert_array_equal(again, found["tsne"])
    report.run(tmp_path)
    assert list((tmp_path / "report" / "figures").glob("map-*.png"))


def test_without_being_asked_nothing_is_mapped(tiny, finished, tmp_path, console):
    workdir = shutil.copytree(finished, tmp_path / "run")
    analyze.run(tiny, workdir, console=console)
    with np.load(workdir / "embeddings.npz") as arrays:
        assert set(arrays) == {"embeddings", "views", "labels"}
