"""What a compiled program communicates, read from the text that XLA prints of it.

A loop's body stands once in the text and runs many times; its trip count is counted in.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "collective-permute", "all-to-all")
BITS = {
    "pred": 8,
    "s8": 8,
    "u8": 8,
    "bf16": 16,
    "f16": 16,
    "s16": 16,
    "u16": 16,
    "s64": 64,
    "u64": 64,
    "f64": 64,
}
_COLLECTIVE = re.compile(rf"= (.*?) ({'|'.join(COLLECTIVES)})(-start)?\(")
_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_CALLED = re.compile(r"(?:calls|to_apply|body|condition|called_computations)=\{?%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_CONDITION = re.compile(r"condition=%?([\w.\-]+)")
# Groups of one device each, listed or counted.
_ALONE = re.compile(r"replica_groups=(?:\{(?:\{\d+\},?)+\}|\[\d+,1\]<=)")
# A TPU's collective that goes on beside other work stands once in each of these pieces of work.
_CHAIN = re.compile(r"channel_id=(\d+).*\bchain_id=\"(\d+)\"")
_LIMIT = re.compile(r"= s32\[\]\S* constant\((\d+)\)")


class Collective(NamedTuple):
    """One kind of communication of the compiled step.

    Attributes:
      kind: as XLA names it.
      count: how many one step executes.
      size: bytes of their results on one device, all together.
    """

    kind: str
    count: int
    size: int


def collectives(text: str) -> list[Collective]:
    """The collectives of a compiled program.

    Args:
      text: of the compiled program, as XLA prints it.
    """
    found: dict[str, list[tuple[int, int]]] = {kind: [] for kind in COLLECTIVES}
    chains = set()
    for line, times in _executed(text):
        match = _COLLECTIVE.search(line)
        # jax 0.12 leaves a sum over a group of one device in the program; it moves nothing.
        if not match or _ALONE.search(line):
            continue
        if chain := _CHAIN.search(line):
            if chain.groups() in chains:
                continue
            chains.add(chain.groups())
        sizes = [_bytes(*shape) for shape in re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", match[1])]
        # The two halves of an asynchronous gather name operand and result; the result is the larger.
        found[match[2]].append((times, max(sizes) if match[3] else sum(sizes)))
    return [
        Collective(kind, sum(times for times, _ in each), sum(times * size for times, size in each))
        for kind, each in found.items()
        if each
    ]


def _executed(text: str) -> Iterator[tuple[str, int]]:
    """Every instruction with the number of times that one run of the program executes it."""
    computations, entry = _computations(text)
    times: Counter[str] = Counter({entry: 1})
    # Callees stand before their callers in the text, so from the end each has been counted when it is met.
    for name in reversed(list(computations)):
        for line in computations[name]:
            repeats = times[name] * _trips(line, computations)
            callees = _CALLED.findall(line)
            for group in _BRANCHES.findall(line):
                callees += re.findall(r"[\w.\-]+", group)
            for callee in callees:
                times[callee] += repeats
    for name, lines in computations.items():
        for line in lines:
            yield line, times[name]


def _trips(line: str, computations: dict[str, list[str]]) -> int:
    """How often an instruction runs what it calls: once, or a loop's trips where they can be seen."""
    noted, condition = _TRIPS.search(line), _CONDITION.search(line)
    if noted or not condition:
        return int(noted[1]) if noted else 1
    # The TPU's compiler notes none; its counted loops compare the counter with the one constant of their condition.
    limits = _LIMIT.findall("\n".join(computations.get(condition[1], [])))
    return int(limits[0]) if len(limits) == 1 else 1


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
    """The lines of each computation, and which is the program; lines outside of any belong to it."""
    lines_of: dict[str, list[str]] = defaultdict(list)
    entry = here = ""
    for line in text.splitlines():
        header = _HEADER.match(line)
        if header and "=" not in line.split("(")[0]:
            here = header[2]
            lines_of[here] = []
            if header[1]:
                entry = here
        else:
            lines_of[here].append(line)
    return lines_of, entry


def _bytes(dtype: str, shape: str) -> int:
    count = math.prod(int(size) for size in shape.split(",") if size)
    return count * BITS.get(dtype, 32) // 8
