# SPDX-License-Identifier: MIT
"""Semaphores: permits, order, and no wake-up lost to whoever cannot use it."""

from __future__ import annotations

import gc
import inspect
import linecache
import os
import signal
import sys
import threading as standard

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from plait.threading import BoundedSemaphore, Event, Semaphore, Thread


@pytest.fixture(params=[Semaphore, BoundedSemaphore], ids=lambda c: c.__name__)
def kind(request):
    return request.param


def in_line(semaphore):
    return len(semaphore._line) + len(semaphore._front)


def waits_for_its_bell(thread):
    """Before, it looks for a permit once more, and might take one that is for who came earlier."""
    frame = sys._current_frames().get(thread.ident)
    return frame and "bell.acquire(True" in linecache.getline(frame.f_code.co_filename, frame.f_lineno)


def queue_up(semaphore, log, name, timeout=30):
    """A thread that waits for the semaphore; it is in line on return."""
    before = in_line(semaphore)
    thread = Thread(target=lambda: log.append((name, semaphore.acquire(timeout=timeout))), daemon=True)
    thread.start()
    while in_line(semaphore) == before or not waits_for_its_bell(thread):
        thread.join(0.0005)
        assert thread.is_alive()
    return thread


def test_it_refuses_what_makes_no_sense(kind):
    with pytest.raises(ValueError, match=">= 0"):
        kind(-1)
    semaphore = kind(1)
    with pytest.raises(ValueError, match="timeout for non-blocking"):
        semaphore.acquire(False, 1)
    for n in (0, -2):
        with pytest.raises(ValueError, match="one or more"):
            semaphore.release(n)
    assert semaphore._value == 1


@pytest.mark.parametrize("value", [2**31 - 1, sys.maxsize, 2**70, float("inf")])
def test_large_numbers_of_permits_take_no_room(kind, value):
    semaphore = kind(value)
    assert len(semaphore._tokens) < 10_000
    assert semaphore._value == value
    for _ in range(3):
        assert semaphore.acquire(False)
    assert semaphore._value == value - 3
    semaphore.release(2)
    semaphore.release()
    assert semaphore._value == value
    if kind is BoundedSemaphore and value != float("inf"):
        for n in (1, 2):
            with pytest.raises(ValueError, match="too many"):
                semaphore.release(n)
        assert semaphore._value == value


def test_many_permits_are_released_in_one_step(kind):
    semaphore, log = kind(10**12), []
    if kind is Semaphore:
        semaphore = kind(0)
        threads = [queue_up(semaphore, log, n) for n in range(3)]
        semaphore.release(10**12)
        for thread in threads:
            thread.join(10)
        assert sorted(log) == [(n, True) for n in range(3)]
    else:
        for _ in range(3000):
            semaphore.acquire()
        semaphore.release(2997)
        with pytest.raises(ValueError, match="too many"):
            semaphore.release(10**11)
    assert semaphore._value == 10**12 - 3


def test_permits_out_of_a_stock_are_exactly_as_many(kind):
    total, taken, left = 5000, [], []

    def take():
        while semaphore.acquire(False):
            taken.append(None)

    def give_back():
        while taken:
            try:
                taken.pop()
            except IndexError:
                break
            semaphore.release()
            left.append(None)

    semaphore = kind(total)
    for work in (take, give_back):
        threads = [Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        if work is take:
            assert len(taken) == total
            assert semaphore._value == 0
    assert len(left) == semaphore._value == total
    if kind is BoundedSemaphore:
        with pytest.raises(ValueError, match="too many"):
            semaphore.release()


def test_a_bounded_one_refuses_surplus_and_keeps_its_value():
    semaphore = BoundedSemaphore(3)
    for n in (1, 2):
        with pytest.raises(ValueError, match="too many"):
            semaphore.release(n)
        assert semaphore._value == 3
    assert semaphore.acquire()
    with pytest.raises(ValueError, match="too many"):
        semaphore.release(2)
    assert semaphore._value == 2
    semaphore.release()
    assert repr(semaphore).endswith(": value=3/3>")


def test_of_many_surplus_releases_at_once_each_is_refused():
    semaphore, go, refused = BoundedSemaphore(2), Event(), []

    def release():
        go.wait(10)
        for _ in range(200):
            try:
                semaphore.release()
            except ValueError:
                refused.append(True)

    threads = [Thread(target=release) for _ in range(4)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(20)
    assert len(refused) == 800
    assert semaphore._value == 2


def test_waiters_are_woken_in_order_of_arrival(kind):
    semaphore, log = kind(8), []
    for _ in range(8):
        semaphore.acquire()
    threads = [queue_up(semaphore, log, n) for n in range(6)]
    for n in range(6):
        semaphore.release()
        threads[n].join(10)
        assert log == [(m, True) for m in range(n + 1)]
    assert in_line(semaphore) == 0


def test_releasing_many_wakes_as_many(kind):
    semaphore, log = kind(5), []
    for _ in range(5):
        semaphore.acquire()
    threads = [queue_up(semaphore, log, n) for n in range(4)]
    semaphore.release(3)
    for thread in threads[:3]:
        thread.join(10)
    assert sorted(log) == [(0, True), (1, True), (2, True)]
    assert threads[3].is_alive()
    semaphore.release(2)
    threads[3].join(10)
    assert semaphore._value == 1


def test_a_waiter_is_overtaken_at_most_once():
    semaphore, log = Semaphore(0), []
    thread = queue_up(semaphore, log, "waiter")
    switch = sys.getswitchinterval()
    sys.setswitchinterval(30)  # the waiter cannot run until this thread waits
    try:
        semaphore.release()
        overtook = semaphore.acquire(False)
    finally:
        sys.setswitchinterval(switch)
    if overtook:
        while not semaphore._front:  # it looks, finds nothing, and goes to the front
            thread.join(0.0005)
        semaphore.release()
        assert not semaphore.acquire(False)  # handed over: there was never anything to take
    thread.join(10)
    assert log == [("waiter", True)]


def test_it_gives_up_on_time_and_leaves_no_trace(kind):
    semaphore = kind(0)
    for timeout in (0, -1, 0.01):
        assert semaphore.acquire(timeout=timeout) is False
    assert semaphore.acquire(False) is False
    assert in_line(semaphore) == 0


def test_a_waiter_that_times_out_as_it_is_rung_takes_no_permit_with_it():
    # Many short waits against as many releases: in the end the books must balance.
    semaphore, got, stop = Semaphore(0), [], Event()

    def impatient():
        while not stop.is_set():
            if semaphore.acquire(timeout=0.0002):
                got.append(None)

    threads = [Thread(target=impatient) for _ in range(4)]
    for thread in threads:
        thread.start()
    pause = Event()
    for n in range(400):
        semaphore.release()
        if n % 3 == 0:
            pause.wait(0.0002)
    while len(got) + semaphore._value < 400 or semaphore._value:
        pause.wait(0.001)
    stop.set()
    for thread in threads:
        thread.join(10)
    assert len(got) == 400
    assert in_line(semaphore) == 0


class Struck(Exception):
    pass


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_a_waiter_that_is_interrupted_passes_the_permit_on():
    armed, struck, hit = [], [], Event()

    def strike(_number, frame):
        # Not on the way out of it (3.10 looks there, too), when the permit has been had.
        inside = frame.f_code.co_name != "_wait_carefully"
        if armed and inside and frame.f_code.co_filename == inspect.getsourcefile(Semaphore.acquire):
            struck.append(armed.pop())
            hit.set()
            raise Struck
        if armed:
            signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.01)  # not there yet

    semaphore, turn, pause, rounds = Semaphore(0), Semaphore(0), Event(), 150

    def release():
        for n in range(rounds):
            turn.acquire()
            if n % 15:
                pause.wait(0.0003 + n % 5 * 0.0001)
            else:
                hit.wait(20)
            semaphore.release()

    thread = Thread(target=release, daemon=True)
    old = signal.signal(signal.SIGALRM, strike)
    try:
        thread.start()
        for n in range(rounds):
            got = False
            hit.clear()
            turn.release()
            try:
                # Which comes first is open; but in one round of fifteen it is the signal, and in another the permit.
                if n % 15 != 1:
                    armed.append(True)
                    signal.setitimer(signal.ITIMER_REAL, 0.0004 + n % 7 * 0.0001, 0.01)
                got = semaphore._wait(60)  # interrupted while it waits, sometimes just as it is rung
            except Struck:
                pass
            armed.clear()
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert got or semaphore.acquire(timeout=10)
            assert not semaphore.acquire(False)
            assert in_line(semaphore) == 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    thread.join(10)
    assert 5 < len(struck) < rounds


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_a_signal_handler_may_release_and_acquire_what_it_interrupts(kind):
    semaphore, strikes = kind(3), []

    def handler(_number, _frame):
        strikes.append(semaphore.acquire(False))
        if strikes[-1]:
            semaphore.release()

    old = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        while len(strikes) < 100:
            for _ in range(50):
                with semaphore:
                    pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert semaphore._value == 3


def test_a_finaliser_may_release_while_the_thread_waits():
    semaphore = Semaphore(0)

    class Returns:
        def __del__(self):
            semaphore.release()

    a = Returns()
    a.me = a
    del a
    thread = Thread(target=gc.collect)
    thread.start()
    assert semaphore.acquire(timeout=10)
    thread.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_in_a_forked_child_permits_do_not_go_to_threads_of_the_parent():
    semaphore, log = Semaphore(0), []
    threads = [queue_up(semaphore, log, n) for n in range(3)]
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        semaphore.release()
        os._exit(0 if semaphore.acquire(timeout=20) and in_line(semaphore) == 0 else 1)
    assert os.waitpid(child, 0)[1] == 0
    semaphore.release(3)
    for thread in threads:
        thread.join(10)
    assert len(log) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("blocking", [False, True])
def test_in_a_forked_child_a_permit_is_free_that_was_put_aside_for_a_thread_of_the_parent(kind, blocking):
    for _ in range(50):
        semaphore, log = kind(1), []
        semaphore.acquire()
        thread = queue_up(semaphore, log, "waiter")
        switch = sys.getswitchinterval()
        sys.setswitchinterval(30)  # the waiter cannot run until this thread waits
        try:
            semaphore.release()
            if semaphore.acquire(False):
                while not semaphore._front:  # overtaken, it goes there
                    thread.join(0.0005)
                semaphore.release()
            child = os.fork()
            if child == 0:
                signal.alarm(60)
                aside = bool(semaphore._kept)  # otherwise it has got it, for to fork may have been to wait
                os._exit(not aside or 2 + semaphore.acquire(blocking, 20 if blocking else None))
        finally:
            sys.setswitchinterval(switch)
        exitcode = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        thread.join(10)
        assert log == [("waiter", True)]
        if exitcode != 1:
            break
    assert exitcode == 3


def test_nobody_exceeds_the_limit_when_many_fight():
    semaphore, inside, most, done = BoundedSemaphore(3), [], [], []

    def work():
        for _ in range(300):
            with semaphore:
                inside.append(None)
                most.append(len(inside))
                inside.pop()
        done.append(None)

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(done) == 8
    assert max(most) <= 3
    assert semaphore._value == 3
    assert in_line(semaphore) == 0


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("acquire"), st.sampled_from([(False,), (True, 0), (True, -1), (False, 1)])),
        st.tuples(st.just("release"), st.tuples(st.integers(-1, 3))),
    ),
    max_size=30,
)


@given(st.sampled_from(["Semaphore", "BoundedSemaphore"]), st.integers(-1, 4), ACTIONS)
@settings(max_examples=60, deadline=None)
def test_one_thread_sees_what_it_sees_of_the_standard_one(name, value, actions):
    def play(module):
        log = []
        try:
            semaphore = getattr(module, name)(value)
        except ValueError:
            return ["refused"]
        for method, args in actions:
            try:
                log.append(getattr(semaphore, method)(*args))
            except ValueError as error:
                log.append(str(error)[:20])
            log.append(semaphore._value)
        return log

    from plait import threading as ours

    assert play(ours) == play(standard)


class SemaphoreModel(RuleBasedStateMachine):
    """The model is a number of permits and a list of waiters, oldest first."""

    def __init__(self):
        super().__init__()
        self.semaphore = Semaphore(0)
        self.permits = 0
        self.waiting = []
        self.log = []
        self.number = 0

    @precondition(lambda self: not self.permits and len(self.waiting) < 5)
    @rule()
    def somebody_waits(self):
        self.number += 1
        self.waiting.append((self.number, queue_up(self.semaphore, self.log, self.number)))

    @rule(n=st.integers(1, 4))
    def release(self, n):
        self.semaphore.release(n)
        woken, self.waiting = self.waiting[:n], self.waiting[n:]
        self.permits += n - len(woken)
        for _, thread in woken:
            thread.join(10)
        assert sorted(self.log) == [(number, True) for number, _ in woken]
        self.log.clear()

    @rule(timeout=st.sampled_from([None, 0, 0.0005]))
    def try_it(self, timeout):
        got = self.semaphore.acquire(timeout is not None, timeout)
        assert got is (self.permits > 0)
        self.permits -= got

    @invariant()
    def the_books_balance(self):
        assert self.semaphore._value == self.permits
        assert in_line(self.semaphore) == len(self.waiting)

    def teardown(self):
        if self.waiting:
            self.release(len(self.waiting))


TestSemaphoreModel = SemaphoreModel.TestCase
TestSemaphoreModel.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)


@pytest.mark.parametrize("n", [1.5, float("nan")])
def test_a_release_of_a_number_that_is_not_whole_is_refused_and_changes_nothing(kind, n, capfd):
    semaphore, log = kind(3), []
    for _ in range(3):
        semaphore.acquire()
    threads = [queue_up(semaphore, log, name) for name in "ab"]
    with pytest.raises(TypeError):
        semaphore.release(n)
    assert (semaphore._value, in_line(semaphore), log) == (0, 2, [])
    semaphore.release(2)
    for thread in threads:
        thread.join(10)
    assert log in ([("a", True), ("b", True)], [("b", True), ("a", True)])
    assert capfd.readouterr().err == ""  # of no thread that was to ring, and could not


@pytest.mark.parametrize(
    ("value", "n", "m"),
    [
        *[(5, 1, 1), (5, 1, 2), (5, 2, 1), (5, 2, 2)],
        *[(5000, 1, 2), (5000, 2, 3), (5000, 2000, 3), (5000, 2000, 1500)],
    ],
)
def test_a_release_amid_another_succeeds_if_there_is_room_for_both(value, n, m):
    """At each bytecode of a release of *n*, in turn, another one of *m* comes in, when there is room for one of them."""
    source = BoundedSemaphore.release.__code__.co_filename
    place, told = 0, False
    while True:
        semaphore, done, left = BoundedSemaphore(value), [], [place]
        for _ in range(max(n, m)):
            semaphore.acquire()

        def release(k, semaphore=semaphore, done=done):
            try:
                semaphore.release(k)
                done.append(k)
            except ValueError:
                pass

        def trace(frame, event, _, left=left, release=release):
            if frame.f_code.co_filename == source:
                frame.f_trace_opcodes = True
                if event == "opcode":
                    left[0] -= 1
                    if left[0] < 0:
                        sys.settrace(None)
                        frame.f_trace = None
                        release(m)
                        left[0] = 1 << 60
                return trace
            return None

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            release(n)
        finally:
            sys.settrace(before)
        came_in = left[0] > 1 << 59
        assert len(done) == 1 or not came_in
        assert semaphore._value == value - max(n, m) + sum(done)
        if not came_in:
            if told:
                break
            told = True  # 3.12 tells of opcodes from the second call on
            continue
        place, told = place + 1, True
    assert place > 10


def paused(call, place):
    """A thread that makes the call and stops before a bytecode of the semaphore's. Goes on when told; then it is joined."""
    source = BoundedSemaphore.release.__code__.co_filename
    there, go_on, left, done = Event(), Event(), [place], []

    def trace(frame, event, _):
        if frame.f_code.co_filename != source:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left[0] -= 1
            if left[0] == -1:
                there.set()
                go_on.wait(30)
        return trace

    def run():
        sys.settrace(trace)
        try:
            call()
            done.append(True)
        except ValueError:
            done.append(False)
        finally:
            sys.settrace(None)
            there.set()

    def finish():
        go_on.set()
        thread.join(30)
        return done[0], left[0] < 0

    thread = Thread(target=run)
    thread.start()
    assert there.wait(30)
    return finish


def test_a_release_of_several_is_not_refused_for_the_sake_of_one_that_is_refused_itself():
    place, came, refusals = 0, True, 0
    while came or place < 2:  # 3.12 tells of opcodes from the second call on
        semaphore = BoundedSemaphore(5)
        for _ in range(2):
            semaphore.acquire()
        first = paused(semaphore.release, place)
        try:
            semaphore.release(2)
            both = True
        except ValueError:
            both = False
            try:
                semaphore.release()
            except ValueError:
                pass
        second = paused(semaphore.release, place)
        one, came = first()
        second()
        assert both is not one
        assert semaphore._value == 5
        refusals += not both
        place += 1
    assert refusals
    assert place > 10


@pytest.mark.skipif(
    not hasattr(sys, "monitoring"), reason="nobody can say where a signal might strike before Python 3.12"
)
@pytest.mark.parametrize("n", [1, 2])
def test_a_release_too_many_adds_nothing_wherever_it_is_struck(n):
    source, events, place = BoundedSemaphore.release.__code__.co_filename, sys.monitoring.events, 0

    def strike(code, *_):
        nonlocal left
        if code.co_filename == source:
            left -= 1
            if left == 0:
                raise Struck

    sys.monitoring.use_tool_id(4, "struck")
    try:
        for event in (events.PY_START, events.C_RETURN):
            sys.monitoring.register_callback(4, event, strike)
        left = -1
        while left <= 0:
            place += 1
            semaphore, left = BoundedSemaphore(5), place
            sys.monitoring.set_events(4, events.PY_START | events.CALL)
            with pytest.raises((ValueError, Struck)):
                semaphore.release(n)
            sys.monitoring.set_events(4, 0)
            assert semaphore._value == 5
        assert place > 2
    finally:
        sys.monitoring.free_tool_id(4)


def test_who_gives_back_what_a_waiter_has_not_got_yet_is_refused():
    class Overtaken(BoundedSemaphore):
        def _take(self, slip, tokens):
            took = super()._take(slip, tokens)
            if took:  # a handler, which gives back what nobody has, and raises
                with pytest.raises(ValueError, match="too many"):
                    self.release()
                raise Struck
            return took

    semaphore = Overtaken(1)
    with pytest.raises(Struck):
        semaphore._wait_carefully(30)
    assert semaphore._value == 1


def test_of_several_releases_of_more_than_one_at_once_as_many_succeed_as_there_is_room_for():
    semaphore, done = BoundedSemaphore(8), []
    barrier = standard.Barrier(3)

    def release():
        for _ in range(100):
            barrier.wait(20)
            try:
                semaphore.release(3)
                done.append(True)
            except ValueError:
                pass
            barrier.wait(20)

    threads = [Thread(target=release) for _ in range(2)]
    for thread in threads:
        thread.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for turn in range(100):
            for _ in range(3 if turn else 5):
                assert semaphore.acquire(False)
            assert semaphore._value == 3
            barrier.wait(20)
            barrier.wait(20)
            assert semaphore._value == 6
            assert len(done) == turn + 1
    finally:
        sys.setswitchinterval(interval)
        for thread in threads:
            thread.join(20)
