"""What would fit in place of a step that does not: the largest batch, and the switches that save memory."""

import math
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from jaxcl.config import override
from jaxcl.programs.attempts import Attempt

CLOSE = 0.1  # the search for the largest batch ends when it is known to this fraction
TRIES = 5  # compilations that the search may take
FEWEST = 16  # anchors at a time, below which streaming is all overhead

Compile = Callable[[ConfigDict], Attempt]


def largest_batch(
    config: ConfigDict, least: int, first: Attempt, compile_step: Compile
) -> dict[str, Any]:
    """The largest batch that compiles, to within some percent, and the smallest that was seen not to.

    Args:
      config: with the batch that does not fit.
      least: the devices over which a batch is split.
      first: what the compiler said of that.
      compile_step: for other batches.

    Returns:
      ``fits`` (None if nothing did), ``fails``, and ``crashed`` where the compiler crashed on that one, which tells
      nothing about memory.
    """
    fails, fits = config.train.batch_size, 0
    seen = [(fails, first)]
    for _ in range(TRIES):
        guess = _guess(seen, fits, fails) // least * least
        guess = min(max(guess, fits + least), fails - least)
        if guess <= fits or fails - fits <= CLOSE * fails:
            break
        tried = compile_step(override(config, {"train.batch_size": guess}))
        seen.append((guess, tried))
        fits, fails = (guess, fails) if tried.fits else (fits, guess)
    found = {"fits": fits or None, "fails": fails}
    return found | ({"crashed": True} if dict(seen)[fails].crashed else {})


def _guess(seen: list[tuple[int, Attempt]], fits: int, fails: int) -> int:
    """The batch to try next: where the line through the last two that were tried meets the limit, or the middle.

    A compiler packs what nearly fits, so that near the limit the line is flat and would creep: no step from a batch
    that fits is smaller than a tenth of it, and steps grow while it fits.
    """
    limit = next((tried.limit for _, tried in reversed(seen) if tried.limit), None)
    (batch, last), before = seen[-1], seen[-2:-1]
    middle = round((fits * fails) ** 0.5) if fits else fails // 2
    if not (limit and last.used):
        return middle
    aim = limit * (
        1 + CLOSE / 3 if last.fits else 1 - CLOSE / 3
    )  # just beyond it, so as to enclose it
    slope = last.used / batch
    if before and before[0][1].used and before[0][1].used != last.used:
        slope = (last.used - before[0][1].used) / (batch - before[0][0])
    line = int(batch + (aim - last.used) / slope) if slope > 0 else middle
    in_a_row = next((n for n, (_, tried) in enumerate(reversed(seen)) if not tried.fits), len(seen))
    return max(line, round(fits * (1 + CLOSE) ** (2 ** max(in_a_row - 1, 0))))


def remedies(
    config: ConfigDict, devices: int, candidates: int, first: Attempt, compile_step: Compile
) -> list[dict[str, Any]]:
    """Switches tried one by one at the batch that does not fit, the mildest first, until one is enough.

    Args:
      config: with the batch that does not fit.
      devices: over which it is split.
      candidates: of each anchor.
      first: what the compiler said of that.
      compile_step: with other switches.
    """
    found = []
    for overrides in remedy_overrides(config, devices, candidates, first):
        tried = compile_step(override(config, overrides))
        found.append({"overrides": overrides, "fits": tried.fits, "total": tried.used})
        found[-1] |= {"crashed": True} if tried.crashed else {}
        if tried.fits:
            break
    return found


def remedy_overrides(
    config: ConfigDict, devices: int, candidates: int, first: Attempt
) -> list[dict[str, Any]]:
    """What may make a step fit: fewer similarities at a time, lower precision, blocks computed again, smaller parts."""
    found: list[dict[str, Any]] = []
    similarities = 4 * config.train.chunk * candidates  # streamed, bytes at a time
    if first.limit and similarities > CLOSE / 2 * first.limit and config.train.chunk > FEWEST:
        found.append({"train.chunk": max(config.train.chunk // 8, FEWEST)})
    if config.model.dtype == "float32":
        found.append({"model.dtype": "bfloat16"})
    if config.model.name.startswith("resnet") and not config.train.remat:
        found.append({"train.remat": True})
    images = config.train.batch_size // devices
    over = first.used / first.limit if first.limit else 2.0
    least = config.train.microbatches * 2 ** math.ceil(math.log2(max(over, 1.01)))
    parts = dict.fromkeys((least, 4 * least, images))
    legal = [k for k in parts if config.train.microbatches < k <= images and images % k == 0]
    found += [{"train.microbatches": k} for k in legal]
    return found
