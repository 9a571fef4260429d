"""Batches in a reproducible order.

A batch is a function of (seed, step), so nothing about the data has to be checkpointed; and the
global order does not depend on the number of processes or of reading threads.
"""

from collections.abc import Iterator

import grain
import numpy as np

from jaxcl.data.sources import Source

Batch = dict[str, np.ndarray]


class EpochOrder:
    """The positions of every global batch.

    Each epoch is a new permutation; what does not fill a batch is left out. Permutations sort the
    raw output of a counter-based generator, which NumPy promises never to change (it may change
    ``Generator.permutation``), and cost far less than grain's shuffle, which is called for each
    image.
    """

    def __init__(self, num_images: int, batch_size: int, seed: int):
        self.steps_per_epoch = num_images // batch_size
        self._num_images, self._batch_size, self._seed = num_images, batch_size, seed
        self._cached: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def __call__(self, step: int) -> np.ndarray:
        """int64 positions ``[batch_size]`` of the global batch of a step."""
        epoch, position = divmod(step, self.steps_per_epoch)
        start = position * self._batch_size
        return self._permutation(epoch)[start : start + self._batch_size]

    def _permutation(self, epoch: int) -> np.ndarray:
        # Reading threads may meet here. Each sees a whole pair, so that the worst that happens is a
        # permutation computed twice.
        cached_epoch, permutation = self._cached
        if cached_epoch != epoch:
            bits = np.random.Philox(key=[self._seed, epoch]).random_raw(self._num_images)
            permutation = np.argsort(bits, kind="stable")
            self._cached = (epoch, permutation)
        return permutation


def batches(
    source: Source,
    *,
    batch_size: int,
    seed: int,
    start_step: int,
    num_steps: int,
    process_index: int = 0,
    process_count: int = 1,
    prefetch: int = 2,
    num_threads: int = 2,
    with_images: bool = True,
) -> Iterator[tuple[int, Batch]]:
    """Yields ``(step, batch)`` for the steps ``start_step .. num_steps - 1`` of a run.

    Args:
      source: the images.
      batch_size: images in the global batch b; this process gets its ``b / process_count``
        consecutive rows.
      seed: of the order alone; the same order for every number of processes.
      start_step: 0, or the step to go on from.
      num_steps: steps of the whole run (not from ``start_step`` on).
      process_index: this process.
      process_count: all processes.
      prefetch: batches read ahead.
      num_threads: threads that read, each a whole batch.
      with_images: False where the images lie on the devices already; no thread is started then.

    Returns:
      An iterator of steps and ``{"image": uint8 [b/P, h, w, c], "label": int32 [b/P], "index":
      int32 [b/P]}``, or ``{"index": ...}`` alone.

    Raises:
      ValueError: if the batch is larger than the source or does not divide over the processes.
    """
    rows = _own_rows(batch_size, process_index, process_count)
    if batch_size > len(source):
        raise ValueError(
            f"batch_size {batch_size} is larger than {source.name}/{source.split}, which holds "
            f"{len(source)} images"
        )
    if seed < 0:
        raise ValueError(f"seed {seed} must not be negative")
    if not 0 <= start_step <= num_steps:
        raise ValueError(f"start_step {start_step} must lie between 0 and num_steps {num_steps}")
    order = EpochOrder(len(source), batch_size, seed)
    if not with_images:
        indices = ((step, order(step)[rows]) for step in range(start_step, num_steps))
        return ((step, {"index": index.astype(np.int32)}) for step, index in indices)

    def read(step: int) -> tuple[int, Batch]:
        return step, source[order(step)[rows]]

    return _iterate(grain.MapDataset.range(start_step, num_steps).map(read), prefetch, num_threads)


def ordered(
    source: Source,
    *,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
    prefetch: int = 2,
    num_threads: int = 2,
) -> Iterator[Batch]:
    """Yields every image once, in order, in full batches; the last is padded.

    The padding is copies of the last image: whoever uses ``index`` or ``label`` must use ``mask``.

    Args: as :func:`batches`; ``batch_size`` may be larger than the source.

    Returns:
      An iterator of batches as in :func:`batches` with ``"mask"`` float32 ``[b/P]`` beside: 1 for
      an image, 0 for padding.
    """
    rows = _own_rows(batch_size, process_index, process_count)

    def read(step: int) -> Batch:
        positions = step * batch_size + np.arange(batch_size)[rows]
        batch = source[np.minimum(positions, len(source) - 1)]
        return {**batch, "mask": (positions < len(source)).astype(np.float32)}

    steps = -(-len(source) // batch_size)
    return _iterate(grain.MapDataset.range(0, steps).map(read), prefetch, num_threads)


def _own_rows(batch_size: int, process_index: int, process_count: int) -> slice:
    if batch_size < 1:
        raise ValueError(f"batch_size {batch_size} must be at least 1")
    if not 0 <= process_index < process_count:
        raise ValueError(
            f"process_index {process_index} must lie in [0, process_count {process_count})"
        )
    if batch_size % process_count:
        lower = batch_size - batch_size % process_count
        fitting = [str(size) for size in (lower, lower + process_count) if size]
        raise ValueError(
            f"batch_size {batch_size} does not divide over {process_count} processes; "
            f"{' and '.join(fitting)} {'do' if len(fitting) > 1 else 'does'}"
        )
    own = batch_size // process_count
    return slice(process_index * own, (process_index + 1) * own)


def _iterate(steps: grain.MapDataset, prefetch: int, num_threads: int) -> Iterator:
    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=max(1, prefetch))
    return iter(steps.to_iter_dataset(options))
