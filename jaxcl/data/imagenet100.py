"""ImageNet100: the 100 classes of ImageNet of Wang & Liu, selected from a prepared ``imagenet2012``.

The files of the images are copied as they are: nothing is decoded, and TensorFlow is not needed.
"""

import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

# Wang & Liu, Understanding the Behaviour of Contrastive Loss, CVPR 2021, supplementary material,
# Table 3, in its order: the label of a class is its position here.
SYNSETS = tuple(
    """
    n01558993 n01692333 n01729322 n01735189 n01749939 n01773797 n01820546 n01855672 n01978455 n01980166
    n01983481 n02009229 n02018207 n02085620 n02086240 n02086910 n02087046 n02089867 n02089973 n02090622
    n02091831 n02093428 n02099849 n02100583 n02104029 n02105505 n02106550 n02107142 n02108089 n02109047
    n02113799 n02113978 n02114855 n02116738 n02119022 n02123045 n02138441 n02172182 n02231487 n02259212
    n02326432 n02396427 n02483362 n02488291 n02701002 n02788148 n02804414 n02859443 n02869837 n02877765
    n02974003 n03017168 n03032252 n03062245 n03085013 n03259280 n03379051 n03424325 n03492542 n03494278
    n03530642 n03584829 n03594734 n03637318 n03642806 n03764736 n03775546 n03777754 n03785016 n03787032
    n03794056 n03837869 n03891251 n03903868 n03930630 n03947888 n04026417 n04067472 n04099969 n04111531
    n04127249 n04136333 n04229816 n04238763 n04336792 n04418357 n04429376 n04435653 n04485082 n04493381
    n04517823 n04589890 n04592741 n07714571 n07715103 n07753275 n07831146 n07836838 n13037406 n13040303
    """.split()
)
SOURCE = "imagenet2012"
SPLITS = ("train", "validation")

# Records read at a time: some 30 MB.
_BLOCK = 256


class Imagenet100(tfds.core.GeneratorBasedBuilder):
    """The images of 100 classes, in the train and validation splits of ILSVRC 2012.

    References: Wang and Liu, Understanding the Behaviour of Contrastive Loss, CVPR 2021, section
    5.1 and supplementary Table 3; Russakovsky et al., ImageNet Large Scale Visual Recognition
    Challenge, IJCV 2015.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}

    def __init__(self, *, source: str | os.PathLike[str] | None = None, **settings: Any):
        """``source``: the folder of a prepared ``imagenet2012``; needed to prepare, not to read."""
        self._source = source
        super().__init__(**settings)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="The 100 classes of ImageNet that Wang and Liu (CVPR 2021) chose.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
                    "label": tfds.features.ClassLabel(names=list(SYNSETS)),
                    "file_name": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://image-net.org/",
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # Nothing is downloaded.
        if self._source is None:
            raise ValueError("preparing imagenet100 needs source=..., a prepared imagenet2012")
        builder: Any = tfds.builder_from_directory(os.fspath(self._source))
        labels = _labels(builder.info.features["label"].names, self._source)
        lacking = [split for split in SPLITS if split not in builder.info.splits]
        if lacking:
            raise ValueError(
                f"the {SOURCE} in {self._source} has no split {lacking[0]!r}, only "
                f"{sorted(builder.info.splits)}; prepare it again with both archives, "
                "ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar, in place"
            )
        return {split: self._generate_examples(builder, split, labels) for split in SPLITS}

    def _generate_examples(self, builder, split: str, labels: dict[int, int]):
        # The key is the file's name, which alone decides an image's place in the shuffled set:
        # whoever prepares it gets the same order.
        for record in _read(builder, split, self._source):
            label = labels.get(int(record["label"]))
            if label is not None:
                name = record["file_name"].decode()
                yield name, {"image": record["image"], "label": label, "file_name": name}


def prepare_imagenet100(source: pathlib.Path, data_dir: pathlib.Path | None) -> Imagenet100:
    """Writes the set below ``data_dir`` unless it is there.

    Every record of ``imagenet2012`` is read once, since nothing but a record tells its label.

    Args:
      source: the folder of ``imagenet2012``, prepared as array_record.
      data_dir: where to; TensorFlow Datasets' own folder by default.

    Raises:
      ValueError: if the source lacks a class or a split, or is damaged.
    """
    where = None if data_dir is None else os.fspath(data_dir)
    builder = Imagenet100(source=source, data_dir=where, file_format="array_record")
    builder.download_and_prepare()
    return builder


def _labels(names: list[str], source: str | os.PathLike[str]) -> dict[int, int]:
    """The label in ``imagenet2012`` to that in this set, for the classes of this set."""
    positions = {name: position for position, name in enumerate(names)}
    lacking = [synset for synset in SYNSETS if synset not in positions]
    if lacking:
        raise ValueError(
            f"the {SOURCE} in {source} lacks {len(lacking)} of the 100 classes, {lacking[0]} among "
            f"them; it has {len(names)} classes"
        )
    return {positions[synset]: label for label, synset in enumerate(SYNSETS)}


def _read(builder, split: str, source: Any) -> Iterator[dict[str, Any]]:
    records = builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    for start in range(0, len(records), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(records))).tolist()
        try:
            yield from records.__getitems__(block)
        except RuntimeError as error:  # What array_record raises for a missing or cut file.
            raise ValueError(
                f"cannot read {SOURCE}/{split}: is the copy in {source} complete? ({error})"
            ) from error
