"""Downloads a data set and writes it in the form that every other program reads.

TensorFlow Datasets needs TensorFlow for this, once; nothing else in the project does.
"""

import importlib.util
import pathlib

from jaxcl.data.sources import load_source


def run(name: str, data_dir: str | pathlib.Path | None = None) -> pathlib.Path:
    """Prepares a set of TensorFlow Datasets as array_record.

    Args:
      name: ``name``, ``name/config`` or ``name:version``, as in TensorFlow Datasets.
      data_dir: where to; TensorFlow Datasets' own folder by default.

    Returns:
      The folder that the set lies in.

    Raises:
      ValueError: for a set that is not known, one that needs no preparation, or without the extra
        ``prepare``.
    """
    if name == "digits" or name.startswith(("folder:", "npz:")):
        raise ValueError(f"the data set {name!r} needs no preparation; use it as it is")
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
    where = None if data_dir is None else str(pathlib.Path(data_dir).expanduser())
    try:
        builder = tfds.builder(name, data_dir=where, file_format="array_record")
    except ValueError as error:
        if "File format is already set" not in str(error):
            raise
        raise ValueError(
            f"a copy of {name!r} in another file format lies in {where or 'the default folder'}; "
            "name another with --data_dir"
        ) from error
    print(f"preparing {name} in {builder.data_dir}")
    builder.download_and_prepare()
    return pathlib.Path(builder.data_dir)
