"""Small image sets that the tests of this folder share."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from jaxcl.data.sources import Source, load_source


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Where the digits are prepared once for this session, away from the user's cache."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def digits(cache_dir: pathlib.Path) -> Source:
    return load_source("digits", "train", cache_dir=cache_dir)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """Two splits; ``test`` lacks the class ``dog``; every image is one flat colour, its number."""
    counts = {"train/cat": 3, "train/dog": 2, "train/eel": 1, "test/cat": 1, "test/eel": 2}
    number = 0
    for part, count in counts.items():
        (tmp_path / part).mkdir(parents=True)
        for position in range(count):
            pixels = np.full((6, 8, 3), number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / part / f"{position}.png")
            number += 10
    return tmp_path
