# SPDX-License-Identifier: MIT
"""Barriers: all go on together, or all hear that it is broken."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.threading import Barrier, BrokenBarrierError, Event, Lock, Thread
from plait.threading._barrier import _Claim


def crowd(n, work):
    """Run ``work(k)`` in n threads; return what each returned or raised."""
    threads = [Thread(target=answer, args=(work, k), daemon=True) for k in range(n)]
    for thread in threads:
        thread.start()
    return [thread.result(20) for thread in threads]


def answer(work, *args):
    try:
        return work(*args)
    except (BrokenBarrierError, LookupError) as error:
        return type(error)


def wait_for(count, barrier):
    pause = Event()
    while barrier.n_waiting != count:
        pause.wait(0.0005)


@pytest.mark.parametrize("parties", [1, 2, 5])
def test_each_gets_a_number_of_its_own_round_after_round(parties):
    barrier, rounds = Barrier(parties), [[] for _ in range(20)]

    def pass_through(_k):
        for numbers in rounds:
            numbers.append(barrier.wait(20))

    assert crowd(parties, pass_through) == [None] * parties
    assert [sorted(numbers) for numbers in rounds] == [list(range(parties))] * 20
    assert barrier.n_waiting == 0
    assert barrier.parties == parties
    assert not barrier.broken


def test_nobody_passes_before_the_last_has_come():
    barrier, came, lock = Barrier(4), [0], Lock()

    def pass_through(_k):
        for n in range(50):
            with lock:
                came[0] += 1
            barrier.wait(20)
            assert came[0] >= 4 * (n + 1)

    assert crowd(4, pass_through) == [None] * 4


def test_the_action_runs_once_a_round_before_anybody_goes_on():
    ran = []
    barrier = Barrier(3, action=lambda: ran.append(barrier.n_waiting))

    def pass_through(_k):
        for n in range(5):
            barrier.wait(20)
            assert len(ran) >= n + 1

    assert crowd(3, pass_through) == [None] * 3
    assert ran == [3] * 5


def test_a_failing_action_breaks_it_for_all():
    barrier = Barrier(3, action=lambda: {}["x"])
    answers = crowd(3, lambda _k: barrier.wait(20))
    assert sorted(answers, key=str) == [KeyError, BrokenBarrierError, BrokenBarrierError]
    assert barrier.broken
    with pytest.raises(BrokenBarrierError, match="reset"):
        barrier.wait()
    assert repr(barrier).endswith(": broken>")


def test_a_failing_action_also_breaks_it_for_those_who_came_early_for_the_next_round():
    inside, go = Event(), Event()

    def action():
        inside.set()
        go.wait(10)
        raise LookupError

    barrier = Barrier(2, action)
    first = [Thread(target=answer, args=(barrier.wait, 10)) for _ in range(2)]
    for thread in first:
        thread.start()
    assert inside.wait(10)
    early = Thread(target=answer, args=(barrier.wait, 10))
    early.start()
    wait_for(1, barrier)
    go.set()
    assert sorted((t.result(10) for t in first), key=str) == [LookupError, BrokenBarrierError]
    assert early.result(10) is BrokenBarrierError
    assert barrier.broken


def test_a_timeout_breaks_it_for_all_and_reset_mends_it():
    barrier = Barrier(3)
    answers = crowd(2, lambda k: barrier.wait(0.05 if k else None))
    assert answers == [BrokenBarrierError] * 2
    assert barrier.broken
    for _ in range(5):  # more often than there are places
        with pytest.raises(BrokenBarrierError):
            barrier.wait(10)
    barrier.reset()
    assert not barrier.broken
    assert sorted(crowd(3, lambda _k: barrier.wait(10))) == [0, 1, 2]


def test_the_barriers_own_timeout_is_the_default():
    barrier = Barrier(2, timeout=0.02)
    with pytest.raises(BrokenBarrierError):
        barrier.wait()
    for timeout in (0, -1):
        barrier.reset()
        with pytest.raises(BrokenBarrierError):
            barrier.wait(timeout)


@pytest.mark.parametrize("how", ["abort", "reset"])
def test_abort_and_reset_free_those_who_wait(how):
    barrier = Barrier(3)
    threads = [Thread(target=answer, args=(barrier.wait, 20)) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_for(2, barrier)
    getattr(barrier, how)()
    assert [thread.result(10) for thread in threads] == [BrokenBarrierError] * 2
    assert barrier.broken is (how == "abort")
    barrier.reset()
    barrier.reset()
    assert sorted(crowd(3, lambda _k: barrier.wait(10))) == [0, 1, 2]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_a_waiter_that_is_interrupted_leaves_its_place_to_another():
    class Struck(Exception):
        pass

    def strike(_number, _frame):
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise Struck

    barrier = Barrier(2)
    old = signal.signal(signal.SIGALRM, strike)
    try:
        for _ in range(3):
            with pytest.raises(Struck):
                # Repeated, for in the last instructions before a thread goes to sleep in C it does not wake it.
                signal.setitimer(signal.ITIMER_REAL, 0.02, 0.05)
                barrier.wait(20)
            assert barrier.n_waiting == 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert sorted(crowd(2, lambda _k: barrier.wait(10))) == [0, 1]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_a_signal_handler_may_abort_what_its_thread_waits_for():
    barrier = Barrier(2)
    old = signal.signal(signal.SIGALRM, lambda _number, _frame: barrier.abort())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.05)
        with pytest.raises(BrokenBarrierError):
            barrier.wait(20)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_can_reset_it():
    barrier = Barrier(2)
    thread = Thread(target=barrier.wait, args=(80,), daemon=True)
    thread.start()
    wait_for(1, barrier)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        barrier.reset()
        good = sorted(crowd(2, lambda _k: barrier.wait(20))) == [0, 1]
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
    barrier.wait(10)
    thread.join(10)


def test_a_large_one_takes_no_room_until_they_come():
    assert len(Barrier(2**31)._round.seats) == 0
    barrier = Barrier(2000)
    taken = [barrier._sit_down(_Claim(barrier._round)) for _ in range(2000)]
    assert all(current is barrier._round for current in taken)
    assert barrier._sit_down(_Claim(barrier._round)) is not taken[0]


def test_it_needs_at_least_one_party():
    for parties in (0, -1):
        with pytest.raises(ValueError, match=">= 1"):
            Barrier(parties)


@given(
    st.integers(1, 4), st.lists(st.sampled_from(["fill", "time out", "abort", "reset", "look"]), max_size=12)
)
@settings(max_examples=25, deadline=None)
def test_it_is_broken_when_the_model_is(parties, steps):
    barrier, broken = Barrier(parties), False
    for step in steps:
        if step == "fill":
            answers = crowd(parties, lambda _k: barrier.wait(10))
            assert sorted(answers, key=str) == (
                [BrokenBarrierError] * parties if broken else [*range(parties)]
            )
        elif step == "time out" and parties > 1:
            assert answer(barrier.wait, 0.001) is BrokenBarrierError
            broken = True
        elif step == "abort":
            barrier.abort()
            broken = True
        elif step == "reset":
            barrier.reset()
            broken = False
        assert barrier.broken is broken
        assert barrier.n_waiting == 0


def test_timeouts_that_race_with_the_last_comer_leave_all_agreed():
    # Whatever wins, either all of a round pass or nobody does.
    for n in range(60):
        barrier = Barrier(3)
        answers = crowd(3, lambda k, n=n, barrier=barrier: barrier.wait(0.0004 * (n % 5) if k == 0 else 10))
        assert sorted(answers, key=str) in ([0, 1, 2], [BrokenBarrierError] * 3)
        assert barrier.broken is (BrokenBarrierError in answers)


@pytest.mark.parametrize("given", ["to the barrier", "to wait()"])
def test_the_error_names_the_timeout_that_broke_it(given):
    barrier = Barrier(3, timeout=0.05 if given == "to the barrier" else None)
    early, told = Event(), []

    def wait_for_ever():
        early.set()
        with pytest.raises(BrokenBarrierError) as raised:
            barrier.wait(1000)
        told.append(str(raised.value))

    other = Thread(target=wait_for_ever)
    other.start()
    early.wait(10)
    while not barrier.n_waiting:
        pass
    with pytest.raises(BrokenBarrierError, match=r"broken while .* did not come within 0\.05 s"):
        barrier.wait(*([] if given == "to the barrier" else [0.05]))
    other.join(10)
    assert "did not come within 0.05 s" in told[0]
    with pytest.raises(BrokenBarrierError, match=r"within 0.05 s; call reset\(\)"):
        barrier.wait()
    barrier.abort()
    barrier.reset()
    barrier.abort()
    with pytest.raises(BrokenBarrierError) as raised:
        barrier.wait()
    assert "within" not in str(raised.value)


def test_who_is_struck_while_the_round_passes_does_not_break_it_for_the_others():
    class Struck(BaseException):
        pass

    class Striking(dict):
        armed = True

        def __iter__(self):
            if Striking.armed and sum(bool(claim.seat) for claim in self.keys()) == 2:
                Striking.armed = False
                raise Struck
            return super().__iter__()

    barrier = Barrier(2)
    barrier._claims = Striking()
    other = Thread(target=barrier.wait, args=(20,), daemon=True)
    other.start()
    wait_for(1, barrier)
    with pytest.raises(Struck):
        barrier.wait(20)
    assert other.result(20) in (0, 1)
    assert not barrier.broken
    assert sorted(crowd(2, lambda _k: barrier.wait(20))) == [0, 1]
