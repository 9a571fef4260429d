"""The processes of one run, which watch one another: leave together when one is lost, stop after the same step.

A process that waits in a collective for a dead one hears nothing for minutes, and one that waits for a stopped one
never does. So each process beats in the key-value store of `jax.distributed`, reads the beats of all, and a thread that
touches nothing that can hang judges what was read. It counts its own ticks and not the clock, so that a process that
was itself slow does not blame the others.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, Protocol

TICK = 0.25  # seconds between beats
LOST = 75  # exit code after the loss of another process (EX_TEMPFAIL: the same command may succeed)
FOLDER = "jaxcl/peers/"


class Stop(Protocol):
    """Who tells the training loop to end early."""

    def listening(self, start: int) -> Any:
        """A context in which SIGTERM is a request; ``start`` steps were taken before it."""

    def after(self, done: int) -> bool:
        """Whether to stop after ``done`` steps, the same answer on every process; False commits to one step more."""
        ...

    def requested(self) -> bool:
        """Whether anyone has asked."""
        ...


class Store(Protocol):
    """What is used of the client of `jax.distributed`."""

    def key_value_set(self, key: str, value: str, allow_overwrite: bool = False) -> None:
        """Write."""

    def key_value_dir_get(self, key: str) -> list[tuple[str, str]]:
        """Read everything below a key."""
        ...


class Journal(Protocol):
    """Where the step is noted for whoever outlives this process."""

    def note(self, step: int) -> None:
        """So many steps are taken."""

    def explained(self) -> None:
        """This process has said why it ends."""


class Peers:
    """The processes of a run, seen from one of them.

    Args:
      store: the coordinator's key-value store.
      index: of this process.
      count: of all processes.
      journal: told the step.
      command: what starts the run again, for messages.
      patience: seconds without a beat after which a process is lost.
    """

    def __init__(
        self, store: Store, index: int, count: int, journal: Journal, command: str, patience: float
    ):
        self._store, self._index, self._count = store, index, count
        self._journal, self._command = journal, command
        self._limit = max(2, round(patience / TICK))
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._agreed = threading.Event()  # set once `_target` is known
        self._ended = threading.Event()
        self._wanted = False  # SIGTERM came here
        self._state = "runs"  # or: stops STEP | failed CODE REASON | done
        self._states: dict[int, str] = {}
        self._beats: dict[int, str] = {}
        self._silent = dict.fromkeys(range(count), 0)  # ticks since each was last heard
        self._committed: int | None = None  # the step that this process will certainly take
        self._target: int | None = None
        self._step = 0
        self._unheard = 0  # ticks since the store last answered
        self._failing = 0  # ticks since another process said that it failed

    def start(self) -> None:
        """Begin to beat and to judge."""
        for target in (self._beat, self._judge):
            threading.Thread(target=target, daemon=True, name=f"peers{target.__name__}").start()

    # What the training loop asks.

    @contextmanager
    def listening(self, start: int) -> Iterator[None]:
        """A context in which SIGTERM asks all processes to stop after one and the same step."""

        def handle(number: int, frame: Any) -> None:
            signal.signal(signal.SIGTERM, previous)  # a second request is not delayed
            self._wanted = True

        previous = signal.signal(signal.SIGTERM, handle)
        self._note(start)
        with self._lock:
            self._committed = start + 1
        try:
            yield
        finally:
            with self._lock:
                self._committed = None
            signal.signal(signal.SIGTERM, previous)

    def after(self, done: int) -> bool:
        """Whether to stop after ``done`` steps; waits for the others' answers once anyone has asked."""
        self._note(done)
        with self._lock:
            if not self._state.startswith("stops"):
                self._committed = done + 1
                return False
            if self._committed is not None and done < self._committed:
                return False
        self._agreed.wait()
        assert self._target is not None
        return done >= self._target

    def requested(self) -> bool:
        """Whether anyone has asked to stop."""
        return self._wanted or self._state.startswith("stops")

    def _note(self, step: int) -> None:
        self._step = step
        self._journal.note(step)

    # How a process ends.

    def close(self) -> None:
        """Wait until every process has come so far, then end the watch."""
        self._say("done")
        while any(self._states.get(peer) != "done" for peer in range(self._count)):
            time.sleep(TICK / 5)
        self._ended.set()

    def fail(self, code: int, reason: str) -> NoReturn:
        """Tell the others and end this process, which `sys.exit` would let hang in the others' barriers."""
        self._journal.explained()
        self._say(f"failed {code} {' '.join(reason.split())[:300]}")
        self._exit(code)

    def suspect(self) -> None:
        """A collective failed: give the watch the time to find out whose fault it was; return if nobody's."""
        self._limit = min(self._limit, 6)
        time.sleep((self._limit + 6) * TICK)

    def _say(self, state: str) -> None:
        self._state = state
        self._send()

    def _exit(self, code: int) -> NoReturn:
        if self._index == 0:
            # The coordinator lives in this process; without it the others are aborted before they can speak.
            time.sleep(4 * TICK)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    def _leave(self, code: int, reason: str) -> NoReturn:
        print(
            f"process {self._index}: {reason}, at step {self._step}. The same command resumes from the last "
            f"checkpoint: {self._command}",
            file=sys.stderr,
            flush=True,
        )
        # Not before the line is out: jax may abort this process at any moment, and then the supervisor explains.
        self._journal.explained()
        self._exit(code)

    # The two threads.

    def _beat(self) -> None:
        while not self._ended.wait(TICK):
            try:
                self._send()
                read = self._store.key_value_dir_get(FOLDER)
                self._hear(read)
            except Exception:  # the judge sees that nothing was heard
                continue

    def _hear(self, read: list[tuple[str, str]]) -> None:
        self._unheard = 0
        for key, beat in read:
            peer = int(key.rpartition("/")[2])
            if self._beats.get(peer) != beat:
                self._beats[peer], self._silent[peer] = beat, 0
                self._states[peer] = beat.partition(" ")[2]
        self._agree()

    def _send(self) -> None:
        with self._sending:  # an older state never overwrites a newer one
            beat = f"{time.monotonic_ns()} {self._state}"
            self._store.key_value_set(f"{FOLDER}{self._index}", beat, allow_overwrite=True)

    def _agree(self) -> None:
        """Promise the step that this process is committed to; the last of all promises is where all stop."""
        states = list(self._states.values())
        with self._lock:
            asked = self._wanted or any(state.startswith("stops") for state in states)
            promises = asked and self._state == "runs" and self._committed is not None
            if promises:
                self._state = f"stops {self._committed}"
        if promises:
            self._send()
        steps = [int(state.split()[1]) for state in states if state.startswith("stops")]
        if len(steps) == self._count:
            self._target = max(steps)
            self._agreed.set()

    def _judge(self) -> None:
        while not self._ended.wait(TICK):
            self._unheard += 1
            if self._unheard > self._limit:
                self._leave(LOST, "the coordinator (process 0) does not answer any more")
            for peer in range(self._count):
                self._silent[peer] += 1
                state = self._states.get(peer, "runs")
                if peer == self._index or state == "done":
                    continue
                if state.startswith("failed"):
                    self._failing += 1
                    if self._failing > 3:  # time for this process to meet the same error itself
                        _, code, reason = state.split(" ", 2)
                        self._leave(int(code), f"process {peer} ended ({reason})")
                elif self._silent[peer] > self._limit:
                    self._leave(LOST, f"process {peer} is lost (killed, stopped or unreachable)")
