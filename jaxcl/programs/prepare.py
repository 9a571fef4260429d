"""Downloads a data set, or selects it from another, and writes it in the form that every other program reads.

TensorFlow Datasets needs TensorFlow to prepare its own sets, once; nothing else in the project does.
"""

import importlib.util
import pathlib

from ml_collections import ConfigDict

from jaxcl import paths
from jaxcl.data import prepared
from jaxcl.data.sources import load_source
from jaxcl.programs import assemble


def run(name: str, data_dir: str | pathlib.Path | None = None) -> pathlib.Path:
    """Prepares a set as array_record.

    Args:
      name: ``name``, ``name/config`` or ``name:version``, as in TensorFlow Datasets; or
        ``imagenet100``, which is selected from a prepared ``imagenet2012``.
      data_dir: where to; TensorFlow Datasets' own folder by default.

    Returns:
      The folder that the set lies in.

    Raises:
      ValueError: for a set that is not known, one that needs no preparation, without the extra
        ``prepare``, or where something must be downloaded by hand first.
    """
    if name == "digits" or name.startswith(("folder:", "npz:")):
        raise ValueError(f"the data set {name!r} needs no preparation; use it as it is")
    where = None if data_dir is None else paths.parse(data_dir).expanduser()
    if where is not None and paths.is_remote(where):
        raise ValueError(
            f"--data_dir={where}: a set is prepared in a local folder; copy it there afterwards with: gcloud storage "
            f"rsync --recursive FOLDER/{name} {where}/{name}"
        )
    if name == "imagenet100":
        return _imagenet100(where)
    import tensorflow_datasets as tfds

    known = tfds.list_builders(with_community_datasets=False)
    if name.partition(":")[0].partition("/")[0] not in known:
        # The error of opening it names the nearest set that there is.
        load_source(name, "train", data_dir=data_dir)
        raise ValueError(f"{name!r} is not one of the sets that TensorFlow Datasets can prepare")
    if importlib.util.find_spec("tensorflow") is None:
        raise ValueError(
            f"preparing {name!r} needs TensorFlow, once and for this step only; install it with: "
            "pip install -e '.[prepare]'"
        )
    folder = None if where is None else str(where)
    try:
        builder = tfds.builder(name, data_dir=folder, file_format="array_record")
    except ValueError as error:
        if "File format is already set" not in str(error):
            raise
        raise ValueError(
            f"a copy of {name!r} in another file format lies in {folder or 'the default folder'}; "
            "name another with --data_dir"
        ) from error
    print(f"preparing {name} in {builder.data_dir}")
    try:
        builder.download_and_prepare()
    except AssertionError as error:  # What TensorFlow Datasets raises where files are missing.
        if not getattr(builder, "MANUAL_DOWNLOAD_INSTRUCTIONS", None):
            raise
        raise ValueError(f"{name!r} needs a download by hand: {error}") from error
    return pathlib.Path(builder.data_dir)


def _imagenet100(where: pathlib.Path | None) -> pathlib.Path:
    from jaxcl.data import imagenet100

    named = ConfigDict({"data": {"data_dir": "" if where is None else str(where)}})
    searched = prepared.places(
        [
            pathlib.Path(folder).expanduser()
            for folder in assemble.data_dirs(named)
            if "://" not in folder
        ]
    )
    source = prepared.find_prepared(imagenet100.SOURCE, searched)
    if source is None:
        raise ValueError(_no_imagenet(searched, where))
    print(f"selecting the 100 classes of imagenet100 from {source}")
    builder = imagenet100.prepare_imagenet100(source, where)
    counts = ", ".join(
        f"{split} {info.num_examples}" for split, info in builder.info.splits.items()
    )
    print(f"imagenet100 is in {builder.data_dir}: {counts} images")
    return pathlib.Path(builder.data_dir)


def _no_imagenet(searched: list[pathlib.Path], where: pathlib.Path | None) -> str:
    target = where or searched[-1]
    option = "" if where is None else f" --data_dir={where}"
    looked = ", ".join(str(folder) for folder in searched)
    return (
        "'imagenet100' is selected from 'imagenet2012', which is not prepared as array_record in any "
        f"of: {looked}. Its images must be downloaded by hand: register at "
        "https://image-net.org/download-images, put ILSVRC2012_img_train.tar and "
        f"ILSVRC2012_img_val.tar into {target / 'downloads' / 'manual'}, and run, with pip install -e "
        f"'.[prepare]': python main.py prepare --dataset=imagenet2012{option}"
    )
