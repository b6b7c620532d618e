# SPDX-License-Identifier: MIT
"""Events that repeat: no drift, what becomes of missed calls, and how they end."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta
from fractions import Fraction

import pytest

from plait.sched import RepeatingEvent, _standing, scheduler


class Simulation:
    def __init__(self, now=0):
        self.now = now
        self.ran = []
        self.s = scheduler(lambda: self.now, self.delay)

    def delay(self, amount):
        self.now += amount

    def work(self, takes=0):
        self.ran.append(self.now)
        self.now += takes

    def until(self, end):
        self.s.enterabs(end, 99, self.s.stop)
        self.s.run()


@pytest.fixture
def sim():
    return Simulation()


def test_calls_are_one_interval_apart_beginning_after_one(sim):
    sim.s.every(3, sim.work)
    sim.until(10)
    assert sim.ran == [3, 6, 9]


def test_the_first_call_may_come_at_another_time(sim):
    sim.s.every(3, sim.work, delay=0)
    sim.until(7)
    assert sim.ran == [0, 3, 6]


def test_the_action_gets_its_arguments_and_the_priority_counts(sim):
    got = []
    sim.s.every(5, lambda *a, **k: got.append((a, k)), (1,), {"x": 2}, priority=7)
    sim.s.every(5, got.append, ("first",), priority=3)
    assert [event.priority for event in sim.s.queue] == [3, 7]
    sim.until(5)
    assert got == ["first", ((1,), {"x": 2})]


def test_rounding_errors_do_not_add_up():
    sim = Simulation(now=1000.1)
    sim.s.every(0.1, sim.work, misfire="catch_up")
    sim.until(1000.1 + 1000)
    assert len(sim.ran) in (9999, 10000)
    assert all(abs(at - (1000.1 + n * 0.1)) < 1e-9 for n, at in enumerate(sim.ran, 1))


@pytest.mark.parametrize("misfire", ["coalesce", "catch_up", "skip"])
def test_an_action_that_takes_less_than_the_interval_does_not_shift_the_next(sim, misfire):
    sim.s.every(10, sim.work, (7,), misfire=misfire)
    sim.until(35)
    assert sim.ran == [10, 20, 30]


def test_coalesce_makes_one_call_for_all_that_are_due(sim):
    ticking = sim.s.every(10, sim.work)
    sim.until(10)
    sim.now = 45
    sim.until(60)
    assert sim.ran == [10, 45, 50, 60]
    assert ticking.missed == 2


def test_catch_up_makes_every_call(sim):
    ticking = sim.s.every(10, sim.work, misfire="catch_up")
    sim.until(10)
    sim.now = 45
    sim.until(60)
    assert sim.ran == [10, 45, 45, 45, 50, 60]
    assert ticking.missed == 0


def test_skip_makes_no_call_that_is_nearer_to_the_next(sim):
    ticking = sim.s.every(10, sim.work, misfire="skip")
    sim.until(10)
    sim.now = 46
    sim.until(60)
    assert sim.ran == [10, 50, 60]
    assert ticking.missed == 3


def test_skip_makes_a_call_that_is_a_little_late(sim):
    sim.s.every(10, sim.work, misfire="skip")
    sim.now = 34
    sim.until(60)
    assert sim.ran == [34, 40, 50, 60]


@pytest.mark.parametrize(
    ("misfire", "grace", "expected"),
    [
        ("coalesce", 3, [50, 60]),
        ("coalesce", 5, [45, 50, 60]),
        ("catch_up", 3, [50, 60]),
        ("catch_up", 15, [45, 45, 50, 60]),
        ("catch_up", 16, [45, 45, 50, 60]),
        ("catch_up", 1000, [45, 45, 45, 45, 50, 60]),
        ("skip", 5, [45, 50, 60]),
        ("skip", 1000, [45, 50, 60]),
    ],
)
def test_calls_that_are_later_than_the_grace_are_left_out(sim, misfire, grace, expected):
    ticking = sim.s.every(10, sim.work, misfire=misfire, grace=grace)
    sim.now = 45
    sim.until(60)
    assert sim.ran == expected
    assert ticking.missed + len(sim.ran) == 6


@pytest.mark.parametrize("misfire", ["coalesce", "catch_up", "skip"])
def test_an_action_slower_than_its_interval_leaves_the_others_their_turns(sim, misfire):
    others = []
    sim.s.every(10, sim.work, (25,), misfire=misfire)
    for at in range(0, 200, 20):
        sim.s.enterabs(at, 1, others.append, (at,))
    sim.until(200)
    assert others == list(range(0, 200, 20))


def test_any_clock_and_interval_that_can_be_calculated_with():
    start = datetime(2024, 2, 28)
    sim = Simulation(now=start)
    sim.delay = lambda amount: amount and setattr(sim, "now", sim.now + amount)
    sim.s = scheduler(lambda: sim.now, sim.delay)
    sim.s.every(timedelta(days=1), lambda: sim.ran.append(sim.now), misfire="skip")
    sim.until(start + timedelta(days=3))
    assert sim.ran == [start + timedelta(days=n) for n in (1, 2, 3)]
    sim = Simulation(now=Fraction(0))
    sim.s.every(Fraction(1, 3), sim.work)
    sim.until(Fraction(1))
    assert sim.ran == [Fraction(n, 3) for n in (1, 2, 3)]


def test_it_is_cancelled_like_an_event(sim):
    ticking = sim.s.every(3, sim.work)
    assert isinstance(ticking, RepeatingEvent)
    assert not ticking.over()
    assert sim.s.queue == [ticking.event]
    sim.s.cancel(ticking)
    assert sim.s.empty()
    assert ticking.over()
    assert ticking.event is None
    for cancel in (lambda: sim.s.cancel(ticking), ticking.cancel):
        with pytest.raises(ValueError, match="not pending"):
            cancel()


def test_only_its_own_scheduler_can_cancel_it(sim):
    ticking = Simulation().s.every(3, sim.work)
    with pytest.raises(ValueError, match="not pending"):
        sim.s.cancel(ticking)
    assert not ticking.over()


def test_cancelling_the_event_that_is_pending_for_it_ends_it(sim):
    ticking = sim.s.every(3, sim.work)
    sim.until(3)
    for event in sim.s.queue:
        assert event.action is ticking
        sim.s.cancel(event)
    assert ticking.over()
    assert sim.s.run() is None
    assert sim.ran == [3]


def test_its_own_action_can_cancel_it(sim):
    def act():
        sim.work()
        if len(sim.ran) == 2:
            ticking.cancel()

    ticking = sim.s.every(3, act)
    sim.s.run()
    assert sim.ran == [3, 6]
    assert sim.now == 6


def test_an_exception_out_of_its_action_does_not_end_it(sim):
    def act():
        sim.work()
        raise KeyError

    sim.s.every(3, act)
    for _ in range(3):
        with pytest.raises(KeyError):
            sim.s.run()
    assert sim.ran == [3, 6, 9]
    assert len(sim.s.queue) == 1


def test_a_clock_that_goes_back_makes_nothing_happen_twice(sim):
    sim.s.every(10, sim.work)
    sim.until(30)
    sim.now = 5
    sim.until(50)
    assert sim.ran == [10, 20, 30, 40, 50]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"interval": 0}, "positive"),
        ({"interval": -1}, "positive"),
        ({"interval": timedelta(0)}, "positive"),
        ({"interval": float("nan")}, "positive"),
        ({"interval": 1, "misfire": "ignore"}, "'catch_up', 'coalesce', 'skip'"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments, message):
    s = (
        scheduler(lambda: datetime(2020, 1, 1))
        if isinstance(arguments["interval"], timedelta)
        else scheduler()
    )
    with pytest.raises(ValueError, match=message):
        s.every(action=print, **arguments)
    assert s.empty()
    assert not s._repeating_


def test_it_says_what_it_is(sim):
    ticking = sim.s.every(3, sim.work)
    assert "every 3, next at 3" in repr(ticking)
    ticking.cancel()
    assert "over" in repr(ticking)


def test_in_real_time_it_comes_ten_times_a_second():
    s = scheduler()
    ran = []
    started = time.monotonic()
    ticking = s.every(0.05, lambda: ran.append(time.monotonic() - started), misfire="catch_up")
    s.enterabs(ticking.event.time + 9.5 * 0.05, 1, ticking.cancel)
    s.run()
    assert len(ran) == 10
    assert all(at >= n * 0.05 for n, at in enumerate(ran, 1))


def test_cancel_from_other_threads_leaves_nothing_pending():
    # Whichever step of going on to the next call the cancellation meets.
    s = scheduler()
    background = s.run_in_thread()
    deadline = time.monotonic() + 3
    rounds = 0
    while rounds < 21 or (time.monotonic() < deadline and rounds < 1500):
        rounds += 1
        begun = threading.Event()
        ticking = s.every(0.00002, begun.set, delay=0, misfire="catch_up" if rounds % 2 else "coalesce")
        assert begun.wait(10)
        if rounds % 3:
            ticking.cancel()
        else:
            s.cancel_all()
        settled = time.monotonic() + 10
        while not s.empty():  # the call that is going on may be about to take its next event back
            assert time.monotonic() < settled
    background.stop()
    background.join(10)
    assert not background.is_alive()


def test_many_threads_run_repeating_events_and_none_is_lost():
    s = scheduler()
    ran = [[] for _ in range(20)]
    ticking = [s.every(0.002, mine.append, (1,), misfire="catch_up") for mine in ran]
    threads = [s.run_in_thread() for _ in range(4)]
    deadline = time.monotonic() + 60
    while min(map(len, ran)) < 50:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    for one in ticking:
        one.cancel()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert s.empty()
    assert all(one.missed == 0 for one in ticking)


def test_a_run_that_sleeps_for_an_event_which_is_taken_back_is_woken():
    # Cancelled while one thread goes on to the next event, which another thread sees before it is taken back.
    from plait.sched import _naps

    s = scheduler()
    ticking = s.every(60, print)
    naps = []
    enter = s._enter_event_

    def enter_while_another_falls_asleep(*args):
        event = enter(*args)
        naps.append(_naps.ParkedSleep(event))
        s._naps_.append(naps[0])
        del s._repeating_[ticking]
        return event

    s._enter_event_ = enter_while_another_falls_asleep
    ticking._enter(s.timefunc() + 60)
    begun = time.monotonic()
    naps[0].sleep(30)
    assert time.monotonic() - begun < 10
    assert not s._naps_


def test_a_thread_that_has_the_next_event_already_does_not_forget_that_when_the_other_has_entered_it():
    # Its clock fails, and it has to know that the event after that was not entered: no call is missed.
    failing, failed = threading.Event(), []
    first = threading.get_ident()

    def clock():
        if threading.get_ident() != first and not failed:
            reached.set()
            assert failing.wait(10)
            raise OSError("no time")
        return 5

    def enter_while_another_takes_it(*args):
        event = enter(*args)
        if not threads:
            threads.append(threading.Thread(target=run))
            threads[0].start()
            assert reached.wait(10)
        return event

    def run():
        event = agenda.first()
        assert agenda.take(event)
        try:
            event.action(*event.argument)
        except OSError as error:
            failed.append(error)
            _standing.restore(event)

    def action():
        if not ran:
            failing.set()
            threads[0].join(10)
        ran.append(1)

    s = scheduler(lambda: 0, lambda _: None)
    agenda, enter = s._agenda_, s._enter_event_
    ran, threads, reached = [], [], threading.Event()
    ticking = s.every(1, action, misfire="catch_up")
    s.timefunc = clock
    s._enter_event_ = enter_while_another_takes_it
    s.run(blocking=False)
    assert len(failed) == 1
    assert (len(ran), ticking.missed, ticking._busy) == (5, 0, {})


def test_a_clock_that_fails_does_not_end_it(sim):
    failing = []

    def clock():
        if failing and len(failing) < 3:
            failing.append(1)
            if len(failing) == 3:
                raise OSError("no time")
        return sim.now

    sim.s.timefunc = clock
    sim.s.every(3, sim.work)
    sim.now = 3
    failing.append(1)
    with pytest.raises(OSError, match="no time"):
        sim.until(10)
    failing.clear()
    sim.s.run()
    assert sim.ran == [3, 6, 9]


def test_intervals_and_graces_that_make_no_sense_are_refused_at_once():
    s = scheduler()
    for interval in (0, -1, float("nan"), float("inf"), 1e-300):
        with pytest.raises(ValueError, match="interval must be"):
            s.every(interval, print)
    for grace in (-1, float("nan")):
        with pytest.raises(ValueError, match="grace must not be negative"):
            s.every(1, print, grace=grace)
    assert s.every(1, print, misfire="catch_up", grace=float("inf")).grace is None
    s.cancel_all()


@pytest.mark.parametrize("misfire", ["coalesce", "skip"])
@pytest.mark.parametrize("far", [1e9, 1e18, 1e40])
def test_a_clock_that_jumps_far_makes_one_call_of_all_and_the_next_is_later(misfire, far):
    now = 0.0
    ran = []
    s = scheduler(lambda: now, lambda _: None)
    s.every(0.001, lambda: ran.append(now), misfire=misfire)
    now = far
    s.run(blocking=False)
    assert len(ran) <= 1
    assert s.next_due() > far
    if misfire == "coalesce":
        assert ran == [far]


def test_the_first_call_within_a_grace_is_found_however_many_there_are(sim):
    repeating = sim.s.every(1e-3, sim.work, misfire="catch_up", grace=2e-3)
    sim.now = 1e10
    sim.s.run(blocking=False)
    assert len(sim.ran) <= 4
    assert repeating.missed + len(sim.ran) == repeating._number
