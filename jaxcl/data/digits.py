"""The embedded set: scikit-learn's handwritten digits for TensorFlow Datasets.

Preparing it needs neither TensorFlow nor the network.
"""

import contextlib
import io
import os
import pathlib
import shutil
import tempfile
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

NUM_TRAIN = 1437


class Digits(tfds.core.GeneratorBasedBuilder):
    """1,797 real handwritten digits of 8x8 pixels with 17 gray levels, spread over 0..255.

    The split is by position in scikit-learn's file (train: the first 1,437, test: the last 360),
    because the file is ordered by writer and neighbours are alike.

    References: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, 1998.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Handwritten digits from scikit-learn.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1)),
                    "label": tfds.features.ClassLabel(names=[str(digit) for digit in range(10)]),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # Nothing is downloaded.
        return {
            "train": self._generate_examples(slice(None, NUM_TRAIN)),
            "test": self._generate_examples(slice(NUM_TRAIN, None)),
        }

    def _generate_examples(self, part: slice):
        from sklearn.datasets import load_digits

        digits: Any = load_digits()
        images = np.round(digits.images[part] * (255 / 16)).astype(np.uint8)
        for position, (image, label) in enumerate(zip(images, digits.target[part], strict=True)):
            # An array would need TensorFlow to be encoded; a Pillow image does not.
            yield position, {"image": Image.fromarray(image), "label": int(label)}


def prepare_digits(cache_dir: pathlib.Path) -> pathlib.Path:
    """Writes the set below ``cache_dir`` unless it is there, and returns its folder.

    Several processes may do this at once: each prepares a copy of its own, the first to rename it
    into place wins, and the other copies are dropped.
    """
    final = cache_dir / "digits" / str(Digits.VERSION)
    if (final / "dataset_info.json").is_file():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    own = pathlib.Path(tempfile.mkdtemp(prefix=".preparing-", dir=cache_dir))
    try:
        builder = Digits(data_dir=os.fspath(own), file_format="array_record")
        # Two seconds of work do not need the progress bars that the preparation prints.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            builder.download_and_prepare()
        try:
            os.rename(builder.data_dir, final)
        except OSError:
            if not (final / "dataset_info.json").is_file():
                raise
    finally:
        shutil.rmtree(own, ignore_errors=True)
    return final
