"""The watch of a run's processes, with a store in memory and no process but this."""

import os
import signal
import threading
import time

import pytest

from jaxcl.training import peers as module
from jaxcl.training.peers import Peers


class Memory:
    """A key-value store that can be made silent."""

    def __init__(self):
        self.values, self.silent = {}, False

    def key_value_set(self, key, value, allow_overwrite=False):
        if self.silent:
            raise TimeoutError
        self.values[key] = value

    def key_value_dir_get(self, key):
        if self.silent:
            raise TimeoutError
        return list(self.values.items())


class Notes:
    def note(self, step):
        self.step = step

    def explained(self):
        pass


class Left(BaseException):
    """Stands for `os._exit`."""


@pytest.fixture
def watch(monkeypatch):
    """Make peers on one store, their threads stepped by hand: ``turn()`` is one tick of every watch."""
    left: dict[int, tuple[int, str]] = {}
    store, made = Memory(), []

    def leave(self, code, reason):
        left[self._index] = (code, reason)
        raise Left

    monkeypatch.setattr(Peers, "_leave", leave)

    class Ticks:
        """An event whose wait gives up after one tick."""

        def __init__(self):
            self.count = 0

        def wait(self, seconds):
            self.count += 1
            return self.count > 1

        def set(self):
            pass

    def make(count, patience=1.0):
        made.extend(Peers(store, i, count, Notes(), "again", patience) for i in range(count))
        return made

    def turn(alive=None):
        for each in made:
            if each._index in left or (alive is not None and each._index not in alive):
                continue
            for thread in (each._beat, each._judge):
                each._ended = Ticks()
                try:
                    thread()
                except Left:
                    pass

    return make, turn, store, left


def test_nobody_leaves_while_all_beat(watch):
    make, turn, _, left = watch
    make(3)
    for _ in range(20):
        turn()
    assert not left


def test_a_process_that_falls_silent_is_named_by_all_others_within_its_patience(watch):
    make, turn, _, left = watch
    make(3, patience=1.0)
    turn()
    for _ in range(3):
        turn(alive={0, 2})
    assert not left
    for _ in range(3):
        turn(alive={0, 2})
    assert set(left) == {0, 2}
    assert all(code == module.LOST and "process 1 is lost" in why for code, why in left.values())


def test_a_coordinator_that_does_not_answer_is_left(watch):
    make, turn, store, left = watch
    make(2)
    turn()
    store.silent = True
    for _ in range(6):
        turn()
    assert {why for _, why in left.values()} == {
        "the coordinator (process 0) does not answer any more"
    }


def test_the_others_end_with_the_code_and_the_reason_of_the_one_that_failed(watch):
    make, turn, _, left = watch
    first, second = make(2)
    turn()
    second._say("failed 2 batch_size 100 does not divide")
    for _ in range(6):
        turn(alive={0})
    assert left == {0: (2, "process 1 ended (batch_size 100 does not divide)")}


def test_all_stop_after_the_same_step_which_each_is_still_to_take(watch):
    make, turn, _, _ = watch
    made = make(3)
    for each, done in zip(made, (4, 6, 5), strict=True):
        each._committed = 1
        assert not each.after(done)  # commits to one step more
    turn()
    made[2]._wanted = True
    for _ in range(3):
        turn()
    assert [each._target for each in made] == [7, 7, 7]
    assert [each.after(6) for each in made] == [False, False, False]
    assert [each.after(7) for each in made] == [True, True, True]
    assert all(each.requested() for each in made)


def test_a_process_at_its_promise_waits_for_the_others_answer(watch):
    make, turn, _, _ = watch
    one, two = make(2)
    one._committed = two._committed = 1
    one._wanted = True
    turn(alive={0})
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(one.after(1)))
    waiting.start()
    assert not two.after(1)  # has not heard yet; commits to step 2
    assert not answers
    for _ in range(3):
        turn()
    waiting.join(timeout=10)
    assert answers == [False] and one._target == 2


def test_sigterm_is_a_request_within_the_loop_only():
    one = Peers(Memory(), 0, 1, Notes(), "again", 1.0)
    before = signal.getsignal(signal.SIGTERM)
    with one.listening(0):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)
        assert one.requested()
        assert signal.getsignal(signal.SIGTERM) is before
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_end_counts_as_explained_only_once_the_line_is_out(monkeypatch, capsys):
    """JAX may abort the process between the two, and then it is the supervisor who has to speak."""
    seen = []

    class Journal(Notes):
        def explained(self):
            seen.append(capsys.readouterr().err)

    monkeypatch.setattr(Peers, "_exit", lambda self, code: seen.append(code))
    Peers(Memory(), 1, 2, Journal(), "again", 1.0)._leave(module.LOST, "process 0 is lost")
    assert seen[1] == module.LOST
    assert "process 1: process 0 is lost, at step 0" in seen[0] and "checkpoint: again" in seen[0]
