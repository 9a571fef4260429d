"""Split expressions such as ``train[:10%]+test``, for sets that TensorFlow Datasets does not read.

They mean what they mean there.
"""

import re
from collections.abc import Mapping

import numpy as np

_PART = re.compile(r"(?P<name>[\w.\-]+)(\[(?P<start>-?\d+%?)?:(?P<stop>-?\d+%?)?\])?")


def split_names(split: str) -> tuple[str, ...]:
    """The splits that an expression names, without their slices.

    >>> split_names("train[:10%]+test")
    ('train', 'test')
    """
    return tuple(_match(part)["name"] for part in split.split("+"))


def split_indices(split: str, sizes: Mapping[str, int]) -> list[tuple[str, np.ndarray]]:
    """The positions that an expression selects.

    Args:
      split: names joined by ``+``, each with an optional slice of positions (``[10:20]``,
        ``[-10:]``) or percent (``[:10%]``, rounded to the nearest position).
      sizes: the number of images in each split.

    Returns:
      For each part of the expression, its split and int64 positions in it.

    Raises:
      ValueError: if the expression cannot be read or names an unknown split.

    >>> split_indices("train[:50%]", {"train": 4})
    [('train', array([0, 1]))]
    """
    selected = []
    for part in split.split("+"):
        match = _match(part)
        name = match["name"]
        if name not in sizes:
            raise ValueError(f"unknown split {name!r} in {split!r}; there are {sorted(sizes)}")
        start = _boundary(match["start"], sizes[name], 0)
        stop = _boundary(match["stop"], sizes[name], sizes[name])
        selected.append((name, np.arange(start, stop)))
    return selected


def _match(part: str) -> re.Match[str]:
    match = _PART.fullmatch(part.strip())
    if match is None:
        raise ValueError(
            f"cannot read the split {part.strip()!r}; write 'train', 'train[:10%]', "
            "'train[100:200]' or a sum of such parts"
        )
    return match


def _boundary(text: str | None, size: int, default: int) -> int:
    if text is None:
        return default
    if text.endswith("%"):
        position = round(int(text[:-1]) * size / 100)
    else:
        position = int(text)
    return min(max(position + size if position < 0 else position, 0), size)
