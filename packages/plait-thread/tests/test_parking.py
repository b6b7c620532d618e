# SPDX-License-Identifier: MIT
"""Parkers and the lines they stand in: nothing is lost, whatever strikes and whoever is left behind."""

from __future__ import annotations

import gc
import importlib
import os
import random
import signal
import sys
import time
from decimal import Decimal
from fractions import Fraction

import pytest

from plait._thread import (
    TIMEOUT_MAX,
    Parker,
    WaitQueue,
    fork_generation,
    give_way,
    start_joinable_thread,
)

implementation = importlib.import_module(f"{Parker.__module__}._parking")

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

LONG = 20  # seconds that nothing here takes unless it hangs


class Struck(Exception):
    """What the signal handlers of these tests raise."""


@pytest.fixture
def alarm():
    """Arms a handler for SIGALRM, to be called once, when *ready* says of the interrupted frame, and puts everything back.

    On a busy machine the signal may come before the test has come to what is to be struck. And one that comes in the last
    instructions before a thread goes to sleep in C does not wake it (no interpreter looks at it again). So it is repeated
    until the handler was called.
    """
    before = signal.getsignal(signal.SIGALRM)

    def arm(handler, ready=bool):
        def once(number, frame):
            if ready(frame) and armed:
                armed.clear()
                signal.setitimer(signal.ITIMER_REAL, 0)
                handler(number, frame)

        armed = [True]
        signal.signal(signal.SIGALRM, once)
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.05)

    yield arm
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def in_child(work):
    """Fork, run *work* in the child, and return whether it returned True in time."""
    pid = os.fork()
    if not pid:
        signal.alarm(LONG)
        code = 1
        try:
            code = 0 if work() is True else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def strike(*_signal):
    raise Struck


def inside(function):
    """Of a frame, whether it is one of that function, or of what this has called. (Not at the function's first
    instruction, where nothing has happened yet.)"""

    def is_inside(frame):
        while frame is not None:
            if frame.f_code is function.__code__:
                return frame.f_lineno > function.__code__.co_firstlineno
            frame = frame.f_back
        return False

    return is_inside


def until_in_line(queue, n=1):
    deadline = time.monotonic() + LONG
    while len(queue) < n:
        assert time.monotonic() < deadline, queue
        time.sleep(0.001)


SIGNALS = [getattr(signal, name, None) for name in ("SIGUSR1", "SIGUSR2", "SIGTERM")]


def strike_at_once(n):
    """In a handler: be struck by so many signals, all pending when the first one strikes."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    for number in SIGNALS[:n]:
        os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def struck_here(n):
    """Be struck here. (Out of a call that looks for signals itself, the second one would not strike at once.)"""
    signal.signal(signal.SIGALRM, lambda *_: strike_at_once(n))
    signal.setitimer(signal.ITIMER_REAL, 0.0001)
    while True:
        pass


def sheltered(call):
    """Call it, and wait until no signal is left; say how often one has struck."""
    for number in SIGNALS:
        signal.signal(number, strike)
    struck = 0
    # No loop, which would jump back where nothing catches what strikes.
    try:
        try:
            try:
                try:
                    call()
                except Struck:
                    struck += 1
                let_them_strike()
            except Struck:
                struck += 1
            let_them_strike()
        except Struck:
            struck += 1
        let_them_strike()
    except Struck:
        struck += 1
    return struck


def let_them_strike():
    for _ in range(3):
        time.sleep(0.0002)
        signal.pthread_sigmask(signal.SIG_BLOCK, ())  # a call that looks for signals


# Elsewhere they are looked for at every `except`; see _parking.py.
BURSTS = pytest.mark.skipif(
    sys.version_info < (3, 11) or sys.implementation.name == "pypy" or not hasattr(signal, "pthread_sigmask"),
    reason="nothing can be done there",
)


# ------------------------------------------------------------------------------------------------------------- parkers


def test_an_early_unpark_is_remembered_once():
    parker = Parker()
    assert parker.unpark()
    assert parker.unpark()
    assert parker.park()
    assert not parker.park(0.01)


def test_unpark_wakes_a_parked_thread():
    parker, seen = Parker(), []
    sleeper = start_joinable_thread(lambda: seen.append(parker.park(LONG)))
    parker.unpark()
    sleeper.join(LONG)
    assert seen == [True]


@pytest.mark.parametrize("timeout", [0, -1, -TIMEOUT_MAX * 2, 0.0, float("-inf")])
def test_without_time_it_only_looks(timeout):
    parker = Parker()
    assert not parker.park(timeout)
    parker.unpark()
    assert parker.park(timeout)


@pytest.mark.parametrize("timeout", [TIMEOUT_MAX * 3, float("inf"), 1e300])
def test_centuries_end_when_somebody_rings(timeout):
    parker, seen = Parker(), []
    sleeper = start_joinable_thread(lambda: seen.append(parker.park(timeout)))
    parker.unpark()
    sleeper.join(LONG)
    assert seen == [True]


def test_no_number_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="not a number"):
        Parker().park(float("nan"))


def test_a_timeout_is_kept_though_signals_interrupt_it():
    seen = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    started = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
        assert not Parker().park(0.2)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - started >= 0.19
    assert seen


def test_a_handler_may_unpark_the_very_thread_it_interrupts(alarm):
    parker = Parker()
    alarm(lambda *_: parker.unpark())
    assert parker.park(LONG)


def test_an_exception_of_a_handler_ends_park_and_leaves_a_token(alarm):
    parker = Parker()
    with pytest.raises(Struck):
        alarm(strike, inside(Parker.park))
        parker.park(LONG)
    assert parker.park(0)


@BURSTS
@pytest.mark.parametrize("n", [2, 3])
def test_several_exceptions_at_once_leave_a_token_too(alarm, n):
    def work():
        parker = Parker()
        alarm(lambda *_: strike_at_once(n), inside(Parker.park))
        return sheltered(lambda: parker.park(LONG)) > 0 and parker.park(0)

    assert in_child(work)


def test_a_parker_says_in_a_child_that_its_thread_is_not_there():
    parker = Parker()
    sleeper = start_joinable_thread(parker.park)
    assert in_child(lambda: parker.unpark() is False and Parker().unpark() is True)
    assert parker.unpark()
    sleeper.join(LONG)
    assert sleeper.is_done()


def test_a_thread_that_forks_in_a_handler_while_parked_is_woken_in_both_processes(alarm):
    parker, pids, ends = Parker(), [], []

    def after_the_child():
        ends.append(os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]))
        parker.unpark()

    def fork(*_signal):
        pids.append(os.fork())
        if not pids[0]:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(LONG)
        start_joinable_thread(after_the_child if pids[0] else parker.unpark)

    alarm(fork)
    woken = False
    try:
        woken = parker.park(2 * LONG)
    finally:
        if pids == [0]:
            os._exit(0 if woken else 1)
    assert woken
    assert ends == [0]


# --------------------------------------------------------------------------------------------------------------- lines


def test_a_line_is_served_in_order_of_arrival():
    queue, order = WaitQueue(), []
    sleepers = []
    for n in range(5):
        sleepers.append(start_joinable_thread(lambda n=n: (queue.wait(LONG), order.append(n))))
        until_in_line(queue, n + 1)
    for n in range(5):
        assert queue.wake() == 1
        sleepers[n].join(LONG)
    assert order == [0, 1, 2, 3, 4]
    assert queue.wake() == 0


def test_wake_wakes_no_more_than_there_are():
    queue = WaitQueue()
    sleepers = [start_joinable_thread(queue.wait) for _ in range(4)]
    until_in_line(queue, 4)
    assert queue.wake(3) == 3
    assert queue.wake_all() == 1
    assert queue.wake(7) == queue.wake_all() == queue.wake(0) == queue.wake(-1) == 0
    for sleeper in sleepers:
        sleeper.join(LONG)
        assert sleeper.is_done()


def test_what_is_there_already_is_not_waited_for():
    queue = WaitQueue()
    assert queue.wait(unless=lambda: "here")
    assert not queue.wait(0, unless=lambda: None)
    assert not queue.wait(0.01)
    assert len(queue) == 0


def test_an_exception_of_the_condition_leaves_nobody_in_line():
    queue = WaitQueue()
    with pytest.raises(ZeroDivisionError):
        queue.wait(unless=lambda: 1 / 0)
    assert list(queue) == []


def test_a_wake_up_that_comes_with_an_exception_goes_to_the_next():
    queue, seen = WaitQueue(), []

    def woken_then_struck():
        # By now this call stands in line, in front of the other.
        until_in_line(queue, 2)
        assert queue.wake() == 1
        raise Struck

    def first():
        try:
            queue.wait(unless=woken_then_struck)
        except Struck:
            seen.append("struck")

    one = start_joinable_thread(first)
    until_in_line(queue)
    two = start_joinable_thread(lambda: seen.append(queue.wait(LONG)))
    one.join(LONG)
    two.join(LONG)
    assert sorted(map(str, seen)) == ["True", "struck"]


def test_an_exception_of_a_handler_ends_wait_and_leaves_the_line(alarm):
    queue = WaitQueue()
    with pytest.raises(Struck):
        alarm(strike, inside(WaitQueue.wait))
        queue.wait(LONG)
    assert len(queue) == 0


@BURSTS
@pytest.mark.parametrize("n", [2, 3])
def test_several_exceptions_at_once_leave_nobody_in_line(alarm, n):
    def work():
        queue = WaitQueue()
        alarm(lambda *_: strike_at_once(n), inside(WaitQueue.wait))
        return sheltered(lambda: queue.wait(LONG)) > 0 and not len(queue)

    assert in_child(work)


@BURSTS
@pytest.mark.parametrize("n", [2, 3])
def test_several_exceptions_at_once_leave_nobody_unrung_who_has_been_struck_off(n):
    class Bystander(Parker):
        def unpark(self):
            struck_here(n)

    def work():
        queue, parker = WaitQueue(), Bystander()
        queue.enter(parker)
        return sheltered(queue.wake) > 0 and not len(queue) and parker.park(0)

    assert in_child(work)


@BURSTS
@pytest.mark.parametrize("n", [2, 3])
def test_several_exceptions_at_once_pass_a_wake_up_on_that_came_with_them(n):
    def work():
        queue, heir = WaitQueue(), Parker()

        def woken_and_struck():
            queue.enter(heir)
            queue.wake()
            struck_here(n)

        struck = sheltered(lambda: queue.wait(LONG, unless=woken_and_struck))
        return struck > 0 and not len(queue) and heir.park(0)

    assert in_child(work)


# Of every kind that is caught there for another reason: a lock that has been released already, one who is not in line.
class Disguised(OSError, ValueError, RuntimeError, IndexError):
    """What the signal handlers of these tests raise."""


def _unpark():
    Parker().unpark()


def _wake():
    line = WaitQueue()
    line.enter(Parker())
    line.wake()


def _leave():
    line, parker = WaitQueue(), Parker()
    line.enter(parker)
    line.leave(parker)


def _wait():
    WaitQueue().wait(0)


def _wait_and_be_woken():
    line = WaitQueue()
    line.wait(unless=line.wake)


@pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="PyPy looks for signals at nearly every bytecode"
)
@pytest.mark.parametrize("kind", [Disguised, KeyboardInterrupt, StopIteration])
@pytest.mark.parametrize("call", [_unpark, _wake, _leave, _wait, _wait_and_be_woken])
def test_what_a_handler_raises_is_raised_whatever_it_is(kind, call):
    """CPython looks for signals at the head of a function and behind a call of C code. A profile function is called at just
    these places, and may raise in the handler's stead."""
    places = 0
    while True:
        left = [places]

        def strike(frame, event, _, left=left):
            if event in ("call", "c_return") and frame.f_code.co_filename != __file__:
                left[0] -= 1
                if left[0] < 0:
                    sys.setprofile(None)
                    raise kind

        gc.disable()  # what is called in a collection is not what is to be struck
        try:
            sys.setprofile(strike)
            try:
                call()
            finally:
                sys.setprofile(None)
            struck = False
        except kind:
            struck = True
        finally:
            gc.enable()
        assert struck == (left[0] < 0), f"swallowed at place {places}"
        if not struck:
            break
        places += 1
    assert places > 1


def test_to_pass_a_wake_up_on_is_not_tried_for_ever(monkeypatch):
    def fails(*_):
        raise RecursionError

    monkeypatch.setattr(WaitQueue, "wake", fails)
    line = WaitQueue()
    with pytest.raises(RecursionError):
        line.wait(unless=lambda: [line._line.popleft()])
    assert not line


def test_where_emptiness_orders_nothing_lines_are_served_all_the_same(monkeypatch):
    monkeypatch.setattr(implementation, "_UNORDERED", True)
    line = WaitQueue()
    for _ in range(3):
        line.enter(Parker())
    assert line.wake() == 1
    assert line.wake_all() == 2
    assert line.wake() == 0


def test_a_handler_may_wake_the_line_in_which_its_own_thread_stands(alarm):
    queue = WaitQueue()
    alarm(lambda *_: queue.wake(), lambda _frame: len(queue))
    assert queue.wait(LONG)


def test_a_child_does_not_spend_wake_ups_on_those_who_stayed_behind():
    queue = WaitQueue()
    sleepers = [start_joinable_thread(queue.wait) for _ in range(3)]
    until_in_line(queue, 3)

    def child():
        here = start_joinable_thread(queue.wait)
        until_in_line(queue, 4)
        if queue.wake(1) != 1:
            return False
        here.join(LONG)
        return here.is_done() and len(queue) == 0

    assert in_child(child)
    assert queue.wake_all() == 3
    for sleeper in sleepers:
        sleeper.join(LONG)
        assert sleeper.is_done()


class Counted(Parker):
    """Counts how often any of them was compared with another, or asked for its hash."""

    __slots__ = ()
    looks = 0

    def __eq__(self, other):
        type(self).looks += 1
        return self is other

    def __hash__(self):
        type(self).looks += 1
        return id(self)


def test_waking_many_costs_so_much_for_each_whatever_their_number():
    # Counted in lines of Python and in looks at waiters, not timed. (Empty places that C code passes cannot be counted.)
    queue, steps = WaitQueue(), 0

    def count(_frame, _event, _arg):
        nonlocal steps
        steps += 1
        return count

    costs = []
    for number in (1000, 3000):
        parkers = [Counted() for _ in range(number)]
        for parker in parkers:
            queue.enter(parker)
        Counted.looks = steps = 0
        before = sys.gettrace()
        sys.settrace(count)
        try:
            woken = queue.wake_all()
        finally:
            sys.settrace(before)
        assert woken == number
        assert all(parker.park(0) for parker in parkers)
        costs.append((steps / number, Counted.looks / number))
    assert costs[1][0] < costs[0][0] * 1.1
    assert costs[1][1] <= costs[0][1]


def test_those_who_came_first_find_themselves_at_once_when_they_give_up():
    queue = WaitQueue()
    parkers = [Counted() for _ in range(2000)]
    for parker in parkers:
        queue.enter(parker)
    Counted.looks = 0
    for parker in parkers:
        assert queue.leave(parker)
    assert Counted.looks <= len(parkers)
    assert not queue.leave(parkers[0])
    assert len(queue) == 0


# ------------------------------------------------------------------------------------------------- hunts for lost wakes


@pytest.fixture
def restless():
    """Threads are switched as often as the interpreter can, which is where wake-ups get lost."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Tokens:
    """The plainest thing that can be waited for: so many tokens, each for one taker."""

    def __init__(self):
        self.free = []
        self.waiting = WaitQueue()

    def give(self):
        self.free.append(1)
        self.waiting.wake()

    def take(self, timeout):
        end = time.monotonic() + timeout
        while True:
            try:
                self.free.pop()
            except IndexError:
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self.waiting.wait(left, unless=self.free.__len__)
            else:
                return True


def test_takers_with_short_breath_lose_no_wake_up(restless):
    tokens, seed = Tokens(), random.randrange(2**32)
    end = time.monotonic() + 0.4

    def work(number):
        rng = random.Random(seed + number)
        while time.monotonic() < end:
            # Some give up at the very moment at which they are woken; none may hang though a token is free.
            while not tokens.take(rng.choice((0, 0.0001, 0.0005, LONG))):
                pass
            if rng.random() < 0.2:
                time.sleep(0)
            tokens.give()

    threads = [start_joinable_thread(lambda n=n: work(n)) for n in range(6)]
    tokens.give()
    tokens.give()
    for thread in threads:
        thread.join(LONG)
    assert all(thread.is_done() for thread in threads), f"seed {seed}: {tokens.free} free, {tokens.waiting}"
    assert len(tokens.free) == 2
    assert len(tokens.waiting) == 0


def test_takers_struck_by_signals_lose_no_wake_up(restless):
    """The main thread is struck at random moments of its waiting; the others live on what it leaves them."""
    tokens, struck, over = Tokens(), 0, []

    def work():
        while not over:
            assert tokens.take(LONG)
            tokens.give()

    waits = WaitQueue.wait.__code__

    def strike_if_waiting(_number, frame):
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00002, 0.0005))
        while frame is not None:
            if frame.f_code is waits:
                raise Struck
            frame = frame.f_back

    before = signal.signal(signal.SIGALRM, strike_if_waiting)
    threads = [start_joinable_thread(work) for _ in range(3)]
    tokens.give()
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    end = time.monotonic() + 0.4
    try:
        while time.monotonic() < (end if struck else end + LONG):
            try:
                # It takes no token: what it is woken by has to reach another. If the wait ends well that is up to us,
                # if it ends by the exception it is up to the line.
                woken = 0
                woken += tokens.waiting.wait(0.01)
            except Struck:
                struck += 1
            while woken:
                try:
                    tokens.waiting.wake()
                    woken = 0
                except Struck:
                    struck += 1
    finally:
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        over.append(True)
    for thread in threads:
        thread.join(LONG)
    assert all(thread.is_done() for thread in threads), (
        f"{struck} strikes, {tokens.free} free, {tokens.waiting}"
    )
    assert struck


def test_forks_in_the_midst_of_it_leave_lines_that_work():
    tokens, over = Tokens(), []

    def work():
        while not over:
            if tokens.take(0.01):
                tokens.give()

    threads = [start_joinable_thread(work) for _ in range(3)]
    tokens.give()
    generation = fork_generation()

    def child():
        # The token may be in the hands of a thread that is not here. A new one must reach a new waiter in any case.
        tokens.free.clear()
        mine = []
        taker = start_joinable_thread(lambda: mine.append(tokens.take(LONG)))
        until_in_line(tokens.waiting)
        tokens.give()
        taker.join(LONG)
        return mine == [True] and fork_generation() == generation + 1

    try:
        for _ in range(25):
            assert in_child(child)
    finally:
        over.append(1)
        for thread in threads:
            thread.join(LONG)


class Processor:
    """What `give_way()` asks of the system: the time, and a turn of others that takes *turn* seconds."""

    def __init__(self, monkeypatch):
        self.now, self.turn, self.turns = 0.0, 0.0, 0
        monkeypatch.setattr(implementation, "monotonic", lambda: self.now)
        monkeypatch.setattr(implementation, "_yield_processor", self.give)
        monkeypatch.setattr(implementation, "_paid_off_at", -implementation.BURST)
        monkeypatch.setattr(implementation, "_hope", implementation.MOST_HOPE)

    def give(self):
        self.turns += 1
        self.now += self.turn


def test_who_is_about_to_sleep_gives_way_each_time_while_that_takes_but_a_moment(monkeypatch):
    processor = Processor(monkeypatch)
    processor.turn = implementation.LONG / 3
    for _ in range(1000):
        give_way()
    assert processor.turns == 1000


def test_who_still_waits_gives_way_a_second_time(monkeypatch):
    processor = Processor(monkeypatch)
    give_way(lambda: True)
    assert processor.turns == 2
    give_way(lambda: False)
    assert processor.turns == 3


def test_turns_that_others_make_long_use_up_no_more_than_their_share_of_the_time(monkeypatch):
    processor = Processor(monkeypatch)
    processor.turn = 0.003
    for _ in range(10_000):
        give_way()
        processor.now += 0.00005
    assert processor.turns > 1
    budget = (processor.now + implementation.BURST) / implementation.SELDOM
    assert processor.turns * processor.turn <= budget + processor.turn
    processor.turn, processor.turns = 0.0, 0
    processor.now += 1
    give_way()
    give_way()
    assert processor.turns == 2  # it is quiet again


def test_where_it_is_in_vain_it_is_seldom_tried_until_it_helps_again(monkeypatch):
    processor = Processor(monkeypatch)
    for n in range(10_000):
        give_way(lambda n=n: n % 2)  # every second time
    assert processor.turns < 1500
    processor.turns = 0
    for _ in range(1000):
        give_way(lambda: False)
    assert processor.turns > 1000 - implementation.RARELY - 2


def test_where_the_system_has_no_turns_to_give_nothing_happens(monkeypatch):
    monkeypatch.setattr(implementation, "_yield_processor", None)
    assert give_way() is None


def test_a_parker_that_has_been_unparked_does_not_give_way(monkeypatch):
    processor = Processor(monkeypatch)
    parker = Parker()
    parker.unpark()
    assert parker.park()
    assert processor.turns == 0
    monkeypatch.setattr(implementation, "_yield_processor", parker.unpark)
    assert parker.park()  # nobody has slept


@pytest.mark.parametrize("timeout", [10**400, Decimal("1e999"), Fraction(10**400)])
def test_more_than_any_clock_can_count_is_for_ever(timeout):
    parker, seen = Parker(), []
    sleeper = start_joinable_thread(lambda: seen.append(parker.park(timeout)))
    parker.unpark()
    sleeper.join(LONG)
    assert seen == [True]
    assert not parker.park(-timeout)


@pytest.mark.parametrize("timeout", [Decimal("0.001"), Fraction(1, 1000), True])
def test_any_real_number_is_a_timeout(timeout):
    parker = Parker()
    if timeout is True:
        parker.unpark()
    assert parker.park(timeout) is (timeout is True)


@pytest.mark.parametrize(
    ("timeout", "kind"),
    [(float("nan"), ValueError), (Decimal("NaN"), ValueError), (Decimal("sNaN"), ValueError), ("1", TypeError)],
)  # fmt: skip
def test_a_timeout_that_is_refused_leaves_nothing_behind(timeout, kind):
    parker, line = Parker(), WaitQueue()
    with pytest.raises(kind, match="must be a number of seconds"):
        parker.park(timeout)
    assert not parker.park(0)
    with pytest.raises(kind, match="must be a number of seconds"):
        line.wait(timeout)
    assert not line
