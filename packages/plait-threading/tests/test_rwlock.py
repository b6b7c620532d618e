# SPDX-License-Identifier: MIT
"""RWLock: many readers or one writer, in order, and never stuck."""

from __future__ import annotations

import gc
import os
import random
import signal
import sys

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from plait.threading import TIMEOUT_MAX, Condition, Event, RWLock, Thread, debug

# Since 3.11 CPython looks for signals only where a `try` around the place can catch what they raise.
CATCHABLE = sys.version_info >= (3, 11) and sys.implementation.name == "cpython"


class Actor:
    """A thread that does one thing with the lock at a time, as told."""

    def __init__(self):
        self.orders, self.wake, self.done = [], Event(), Event()
        self.thread = Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        while True:
            self.wake.wait()
            self.wake.clear()
            order = self.orders.pop()
            if order is None:
                return
            try:
                self.answer = order()
            except RuntimeError as error:
                self.answer = error
            self.done.set()

    def begin(self, order):
        self.done.clear()
        self.orders.append(order)
        self.wake.set()

    def finish(self):
        assert self.done.wait(60)
        return self.answer

    def do(self, order):
        self.begin(order)
        return self.finish()

    def dismiss(self):
        self.orders.append(None)
        self.wake.set()
        self.thread.join(10)


@pytest.fixture
def actors():
    crowd = [Actor() for _ in range(4)]
    yield crowd
    for actor in crowd:
        actor.dismiss()


def wait_for_queue(lock, length):
    pause = Event()
    while len(lock._latest().queue) != length:
        pause.wait(0.0005)


def test_readers_share_and_a_writer_is_alone(actors):
    lock = RWLock()
    a, b, c, _ = actors
    assert a.do(lock.read.acquire)
    assert b.do(lock.read.acquire)
    assert c.do(lambda: lock.write.acquire(False)) is False
    assert c.do(lambda: lock.write.acquire(timeout=0.01)) is False
    a.do(lock.read.release)
    b.do(lock.read.release)
    assert c.do(lock.write.acquire)
    assert a.do(lambda: lock.read.acquire(timeout=0.01)) is False
    assert a.do(lambda: lock.write.acquire(timeout=0)) is False
    assert (lock.locked(), lock.read.locked(), lock.write.locked()) == (True, False, True)
    c.do(lock.write.release)
    assert not lock.locked()


def test_it_is_had_in_order_of_arrival_neighbouring_readers_together(actors):
    lock, log = RWLock(), []
    lock.write.acquire()
    kinds = ["read", "read", "write", "read"]
    for n, (actor, kind) in enumerate(zip(actors, kinds, strict=True)):
        side = getattr(lock, kind)
        actor.begin(lambda side=side, n=n: side.acquire() and log.append(n))
        wait_for_queue(lock, n + 1)
    lock.write.release()
    actors[0].finish(), actors[1].finish()
    assert sorted(log) == [0, 1]
    actors[0].do(lock.read.release)
    assert sorted(log) == [0, 1]
    actors[1].do(lock.read.release)
    actors[2].finish()
    assert log[2:] == [2]
    actors[2].do(lock.write.release)
    actors[3].finish()
    assert log[2:] == [2, 3]
    actors[3].do(lock.read.release)


def test_a_writer_is_not_starved_by_readers_that_keep_coming():
    lock, stop, pauses = RWLock(), Event(), Event()

    def read():
        while not stop.is_set():
            with lock.read:
                pauses.wait(0.0005)

    readers = [Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(10):
            assert lock.write.acquire(timeout=10)
            lock.write.release()
    finally:
        stop.set()
        for reader in readers:
            reader.join(10)


def test_a_writer_that_gives_up_lets_the_readers_behind_it_in(actors):
    lock = RWLock()
    a, b, c, _ = actors
    a.do(lock.read.acquire)
    pause = Event()
    for patience in (0.1, 1, 10, 30):
        b.begin(lambda patience=patience: lock.write.acquire(timeout=patience))
        while not lock._latest().queue and not b.done.is_set():
            pause.wait(0.0005)
        c.begin(lambda: lock.read.acquire(timeout=50))
        while not (behind := len(lock._latest().queue) == 2) and not c.done.is_set():
            pause.wait(0.0005)
        assert b.finish() is False
        assert c.finish() is True
        c.do(lock.read.release)
        if behind:
            break  # else the writer had given up before the reader came: once more, with a writer of more patience
    assert behind
    a.do(lock.read.release)


def test_who_holds_it_may_take_it_again_even_past_a_waiting_writer(actors):
    lock = RWLock()
    with lock.read:
        actors[0].begin(lock.write.acquire)
        wait_for_queue(lock, 1)
        with lock.read:
            assert lock.read.locked()
    assert actors[0].finish()
    assert actors[0].do(lock.write.acquire)
    assert actors[0].do(lock.read.acquire)
    for side in (lock.write, lock.write):
        actors[0].do(side.release)
    assert actors[1].do(lambda: lock.read.acquire(timeout=10))  # it has become a reader
    actors[0].do(lock.read.release)
    actors[1].do(lock.read.release)
    assert not lock.locked()


def test_an_upgrade_is_refused_at_once_and_clearly():
    lock = RWLock("settings")
    with lock.read:
        with pytest.raises(RuntimeError, match=r"'settings'.*release the reading side"):
            lock.write.acquire()
        assert lock.read.locked()
    assert not lock.locked()


def test_a_downgrade_lets_readers_in_and_no_writer(actors):
    lock = RWLock()
    lock.write.acquire()
    actors[0].begin(lock.read.acquire)
    wait_for_queue(lock, 1)
    actors[1].begin(lock.write.acquire)
    wait_for_queue(lock, 2)
    lock.downgrade()
    assert actors[0].finish()
    assert not lock.write.locked()
    actors[0].do(lock.read.release)
    lock.read.release()
    assert actors[1].finish()
    actors[1].do(lock.write.release)
    with pytest.raises(RuntimeError, match="nothing to downgrade"):
        lock.downgrade()


def test_a_block_for_writing_gives_back_what_a_downgrade_has_made_of_it(actors):
    lock = RWLock()
    with lock.write:
        actors[0].begin(lock.read.acquire)
        wait_for_queue(lock, 1)
        lock.downgrade()
        assert actors[0].finish()
        assert lock._mine() == (1, 0)
    assert lock._mine() == (0, 0)
    actors[0].do(lock.read.release)
    with lock.write, lock.read, lock.write:
        lock.downgrade()
        assert lock._mine() == (3, 0)
    assert not lock.locked()
    # What it does not do: give back what is not there, or a hold for reading in the place of one for writing.
    with pytest.raises(RuntimeError, match="writing"), lock.write:
        lock.downgrade()
        lock.read.release()
    with lock.write, lock.read:
        with lock.write:
            pass
        assert lock._mine() == (1, 1)
    assert not lock.locked()


def test_a_condition_of_the_writing_side_lets_readers_and_writers_in_while_it_waits(actors):
    lock = RWLock("jobs")
    jobs, changed = [], Condition(lock.write)

    def take():
        with changed, lock.read, changed:
            assert lock._mine() == (1, 2)
            assert changed.wait_for(lambda: jobs, 10)
            assert lock._mine() == (1, 2)
            return jobs.pop()

    def put(job):
        with changed:
            jobs.append(job)
            changed.notify()

    for watching in (False, True):
        if watching:
            debug.enable()
        try:
            actors[0].begin(take)
            pause = Event()
            while not changed._bells:
                pause.wait(0.001)
            assert lock._latest().holders == {}
            if watching:
                assert debug.report().threads == ()
            with lock.read:
                actors[1].begin(lambda: put("job"))
                wait_for_queue(lock, 1)
            assert actors[1].finish() is None
            assert actors[0].finish() == "job"
            assert not lock.locked()
            with changed:
                assert not changed.wait(0.01)
                if watching:
                    (me,) = debug.report().threads
                    assert [(held.lock, held.count, held.mode) for held in me.holds] == [
                        ("jobs", 1, "writing")
                    ]
            if watching:
                assert debug.report().threads == ()
        finally:
            debug.disable()
    with pytest.raises(RuntimeError, match="un-acquired"):
        changed.wait()
    with lock.read, pytest.raises(RuntimeError, match="un-acquired"):
        changed.notify()
    with pytest.raises(RuntimeError, match="for writing"):
        lock.write._release_save()


def test_a_condition_of_the_reading_side_is_refused_with_the_remedy():
    lock = RWLock("settings")
    changed = Condition(lock.read)
    for use in (changed.wait, changed.notify, changed.notify_all):
        with pytest.raises(RuntimeError, match=r"'settings'.*give it the writing side"), changed:
            use()
    assert not lock.locked()


# A strike in somebody's gc callback or finaliser is reported by the interpreter, and is not what is tested.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
@pytest.mark.skipif(not CATCHABLE, reason="an exception may strike when a function has done all but return")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it may strike a finaliser
def test_a_wait_of_the_writing_side_that_is_interrupted_ends_with_the_lock(actors):
    class Struck(Exception):
        pass

    armed = False

    def strike(_number, _frame):
        if armed:  # a signal may arrive late, when its timer has long been stopped
            raise Struck

    lock, rng, struck = RWLock(), random.Random(5), 0
    changed, stop = Condition(lock.write), Event()

    def disturb():
        while not stop.is_set():
            with lock.read:
                stop.wait(0.0001)

    actors[0].begin(disturb)
    old = signal.signal(signal.SIGALRM, strike)
    try:
        for _ in range(60):
            with changed, lock.write, lock.read:
                try:
                    armed = True
                    signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.00005, 0.002))
                    for _ in range(20):
                        changed.wait(0.0001)
                    signal.setitimer(signal.ITIMER_REAL, 0)
                    armed = False
                except Struck:
                    armed = False
                    struck += 1
                assert lock._mine() == (1, 2)
            assert lock._mine() == (0, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        stop.set()
        actors[0].finish()
    assert struck > 20


def test_what_is_not_held_cannot_be_released(actors):
    lock = RWLock()
    for side in (lock.read, lock.write):
        with pytest.raises(RuntimeError, match="does not hold it for"):
            side.release()
    actors[0].do(lock.read.acquire)
    with pytest.raises(RuntimeError, match="reading"):
        lock.read.release()
    assert isinstance(actors[0].do(lock.write.release), RuntimeError)
    actors[0].do(lock.read.release)


def test_who_waits_keeps_no_history_alive(actors):
    lock = RWLock()
    lock.read.acquire()
    actors[0].begin(lock.write.acquire)
    wait_for_queue(lock, 1)

    def states():
        return sum(type(each) is type(lock._latest()) for each in gc.get_objects())

    before = states()
    for _ in range(200):
        with lock.read:
            pass
    assert states() < before + 20
    lock.read.release()
    assert actors[0].finish()
    actors[0].do(lock.write.release)


def test_timeouts_are_checked_as_those_of_a_lock():
    lock = RWLock()
    for side in (lock.read, lock.write):
        with pytest.raises(ValueError, match="non-blocking"):
            side.acquire(False, 1)
        with pytest.raises(ValueError, match="non-negative"):
            side.acquire(timeout=-2)
        with pytest.raises(OverflowError, match="too large"):
            side.acquire(timeout=TIMEOUT_MAX * 2)


# A strike in somebody's gc callback or finaliser is reported by the interpreter, and is not what is tested.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_wherever_an_exception_of_a_signal_handler_strikes_the_lock_is_left_free():
    class Struck(Exception):
        pass

    armed = False

    def strike(_number, _frame):
        if armed:  # a signal may arrive late, when its timer has long been stopped
            raise Struck

    lock, rng = RWLock(), random.Random(7)
    me = lock._latest

    def hold():
        for _ in range(50):
            lock.read.acquire()
            lock.read.release()
            lock.write.acquire()
            lock.downgrade()
            lock.read.release()

    old = signal.signal(signal.SIGALRM, strike)
    struck = 0
    try:
        for _ in range(300):
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.00002, 0.0004))
                hold()
                signal.setitimer(signal.ITIMER_REAL, 0)
                armed = False
            except Struck:
                armed = False
                struck += 1
            # Between two calls the lock may rightly be held; what must not be is that it cannot be given back.
            for reads, writes in me().holders.values():
                for _ in range(reads):
                    lock.read.release()
                for _ in range(writes):
                    lock.write.release()
            assert not lock.locked()
            assert not me().queue
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert struck > 50


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_a_signal_handler_may_use_the_lock_it_interrupts():
    lock, times = RWLock(), []

    def read_only(_number, _frame):
        with lock.read:
            times.append("read")

    old = signal.signal(signal.SIGALRM, read_only)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    try:
        while len(times) < 100:
            with lock.read:
                pass
            with lock.write:
                pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert not lock.locked()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_loses_readers_and_waiters_of_the_parent_but_not_its_writer(actors):
    def in_child(check):
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            os._exit(0 if check() else 1)
        assert os.waitpid(child, 0)[1] == 0

    lock = RWLock("shared")
    actors[0].do(lock.read.acquire)
    actors[1].begin(lock.write.acquire)
    wait_for_queue(lock, 1)
    in_child(lambda: lock.read.acquire(False) and (lock.read.release() or lock.write.acquire(False)))
    actors[0].do(lock.read.release)
    actors[1].finish()

    def refused():
        try:
            lock.read.acquire()
        except RuntimeError as error:
            return "parent" in str(error)

    in_child(refused)
    actors[1].do(lock.write.release)


def test_many_threads_keep_the_rule():
    lock, state, wrong = RWLock(), {"readers": 0, "writers": 0}, []

    def work(seed):
        rng = random.Random(seed)
        for _ in range(150):
            if rng.random() < 0.7:
                with lock.read:
                    wrong.extend([1] * state["writers"])
            else:
                with lock.write:
                    state["writers"] += 1
                    wrong.extend([1] * (state["writers"] - 1))
                    state["writers"] -= 1

    threads = [Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert wrong == []
    assert not lock.locked()


class RWModel(RuleBasedStateMachine):
    """The model: what each of three threads holds, and who waits for what, oldest first."""

    def __init__(self):
        super().__init__()
        self.lock = RWLock()
        self.actors = [Actor() for _ in range(3)]
        self.holds = [[0, 0] for _ in self.actors]
        self.queue = []

    def idle(self, n):
        return all(m != n for m, _ in self.queue)

    def free_for(self, kind):
        return not any(any(h) if kind else h[1] for h in self.holds)

    def promote(self):
        while self.queue and self.free_for(self.queue[0][1]):
            n, kind = self.queue.pop(0)
            assert self.actors[n].finish() is True
            self.holds[n][kind] += 1

    @rule(n=st.integers(0, 2), kind=st.integers(0, 1), wait=st.booleans())
    def acquire(self, n, kind, wait):
        if not self.idle(n):
            return
        side = (self.lock.read, self.lock.write)[kind]
        reads, writes = self.holds[n]
        if kind and reads and not writes:
            assert isinstance(self.actors[n].do(side.acquire), RuntimeError)
        elif reads or writes or (not self.queue and self.free_for(kind)):
            assert self.actors[n].do(side.acquire) is True
            self.holds[n][kind] += 1
        elif wait and len(self.queue) < 2:
            self.actors[n].begin(side.acquire)
            self.queue.append((n, kind))
            wait_for_queue(self.lock, len(self.queue))
        else:
            assert self.actors[n].do(lambda: side.acquire(False)) is False

    @rule(n=st.integers(0, 2), kind=st.integers(0, 1))
    def release(self, n, kind):
        if not self.idle(n):
            return
        answer = self.actors[n].do((self.lock.read, self.lock.write)[kind].release)
        if self.holds[n][kind]:
            assert answer is None
            self.holds[n][kind] -= 1
            self.promote()
        else:
            assert isinstance(answer, RuntimeError)

    @precondition(lambda self: any(h[1] for h in self.holds))
    @rule()
    def downgrade(self):
        n = next(n for n, h in enumerate(self.holds) if h[1])
        assert self.actors[n].do(self.lock.downgrade) is None
        self.holds[n] = [sum(self.holds[n]), 0]
        self.promote()

    @invariant()
    def it_says_what_it_is(self):
        assert self.lock.write.locked() is any(h[1] for h in self.holds)
        assert self.lock.read.locked() is any(h[0] for h in self.holds)

    def teardown(self):
        while any(map(any, self.holds)):
            for n, (reads, writes) in enumerate(self.holds):
                for kind, times in enumerate((reads, writes)):
                    for _ in range(times):
                        self.release(n, kind)
        for actor in self.actors:
            actor.dismiss()


TestRWModel = RWModel.TestCase
TestRWModel.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)


def test_it_is_not_entered_itself():
    lock = RWLock("l")
    with pytest.raises(TypeError, match=r"with lock\.read:.* or .*with lock\.write:"), lock:
        pytest.fail("which way?")
    assert not lock.locked()


@pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="other interpreters collect all in the same way"
)
@pytest.mark.parametrize(
    "call",
    [
        lambda lock: lock.write.release(),
        lambda lock: lock.downgrade(),
        lambda lock: lock.write._release_save(),
        lambda lock: [lock.read.acquire(), lock.write.acquire()],
    ],
)
def test_a_refusal_leaves_no_garbage(call):
    """In a cycle with its own traceback it would keep alive what its callers have, until the next collection."""
    lock = RWLock()
    gc.collect()
    gc.disable()
    try:
        try:
            call(lock)
        except RuntimeError:
            pass
        assert gc.collect() == 0
    finally:
        gc.enable()
