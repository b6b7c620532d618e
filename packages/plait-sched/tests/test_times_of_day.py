# SPDX-License-Identifier: MIT
"""Events by the wall clock, on schedulers whose own clock is another, and wall clocks that jump."""

from __future__ import annotations

import os
import random
import threading
import time
from datetime import datetime, timedelta, timezone, tzinfo
from datetime import time as time_of_day

import pytest

from plait.sched import WallClockEvent, boottime, scheduler

NOON = datetime(2024, 3, 10, 12, tzinfo=timezone.utc)


class Simulation:
    """Two clocks that advance together; the wall clock may also be set."""

    def __init__(self):
        self.now = 100.0
        self.set_by = 0.0
        self.ran = []
        self.at_delay = {}
        self.s = scheduler(lambda: self.now, self.delay, wallclock=self.wall)

    def wall(self):
        return NOON.timestamp() + (self.now - 100) + self.set_by

    def delay(self, amount):
        self.now += amount
        self.set_by += self.at_delay.pop(round(self.now - 100), 0)

    def note(self, what="at"):
        self.ran.append((what, round(self.now - 100, 3)))

    def at(self, seconds, what="at"):
        return self.s.at(NOON + timedelta(seconds=seconds), self.note, (what,))


@pytest.fixture
def sim():
    return Simulation()


def test_it_is_called_when_the_wall_clock_shows_the_time(sim):
    event = sim.at(50)
    assert isinstance(event, WallClockEvent)
    assert event.timestamp == NOON.timestamp() + 50
    assert sim.s.next_due() == pytest.approx(150)
    sim.s.enter(20, 1, sim.note, ("before",))
    sim.s.enter(70, 1, sim.note, ("after",))
    sim.s.run()
    assert sim.ran == [("before", 20), ("at", 50), ("after", 70)]
    assert event.over()


def test_what_is_past_is_called_at_once(sim):
    sim.at(-10)
    sim.s.run(blocking=False)
    assert sim.ran == [("at", 0)]


def test_it_can_be_cancelled_like_an_event(sim):
    event = sim.at(50)
    sim.s.cancel(event)
    assert sim.s.empty()
    assert event.over()
    with pytest.raises(ValueError, match="not pending"):
        event.cancel()
    other = sim.at(50)
    sim.s.cancel(sim.s.queue[0])
    assert other.over()
    assert sim.s.run() is None
    assert sim.ran == []


def test_it_comes_sooner_when_the_clock_is_set_ahead(sim):
    sim.at(50)
    sim.s.enter(20, 1, sim.note, ("before",))
    sim.at_delay[20] = 25
    sim.s.run()
    assert sim.ran == [("before", 20), ("at", 25)]
    assert sim.s.empty()


def test_it_comes_later_when_the_clock_is_set_back(sim):
    sim.at(50)
    sim.at_delay[50] = -30
    sim.s.run()
    assert sim.ran == [("at", 80)]


def test_it_is_called_once_however_often_the_clock_jumps(sim):
    for at in (10, 30, 45, 70, 90):
        sim.at(at, at)
    for when in range(5, 100, 5):
        sim.s.enter(when, 1, int)
        sim.at_delay[when] = 7 if when % 2 else -6
    sim.s.run()
    assert sorted(what for what, _ in sim.ran) == [10, 30, 45, 70, 90]
    assert not sim.s._by_wall_clock_
    assert sim.s.empty()


def test_events_entered_before_and_after_a_jump_are_all_right(sim):
    sim.at(50, "first")
    sim.set_by = 20
    sim.at(60, "second")
    assert sim.s.next_due() == pytest.approx(130)
    sim.s.run()
    assert sim.ran == [("first", 30), ("second", 40)]


def test_next_due_and_run_without_blocking_see_the_jump(sim):
    sim.at(50)
    sim.set_by = 20
    assert sim.s.next_due() == pytest.approx(130)
    sim.set_by = 40
    assert sim.s.run(blocking=False) == pytest.approx(10)
    sim.set_by = 60
    assert sim.s.run(blocking=False) is None
    assert sim.ran == [("at", 0)]


def test_a_time_of_day_is_the_next_one(sim):
    for hour, expected in ((13, 3600), (11, 23 * 3600), (12, 24 * 3600)):
        event = sim.s.at(time_of_day(hour, tzinfo=timezone.utc), print)
        assert event.timestamp - NOON.timestamp() == expected


def test_a_time_of_day_in_another_zone_is_the_next_one_there(sim):
    east = timezone(timedelta(hours=13))  # it is one o'clock of the next day there
    event = sim.s.at(time_of_day(1, 30, tzinfo=east), print)
    assert event.timestamp - NOON.timestamp() == 1800
    event = sim.s.at(time_of_day(0, 30, tzinfo=east), print)
    assert event.timestamp - NOON.timestamp() == 23.5 * 3600


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="needs a local zone that can be set")
def test_without_a_zone_it_is_local_also_when_the_clocks_change(monkeypatch):
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    try:
        for now, wanted, utc in [
            ((2024, 3, 30, 23), time_of_day(12), (2024, 3, 31, 10)),
            ((2024, 3, 31, 0, 30), time_of_day(2, 30), (2024, 3, 31, 1, 30)),  # left out: later by an hour
            ((2024, 10, 26, 23), time_of_day(2, 30), (2024, 10, 27, 0, 30)),  # comes twice: the first
            ((2024, 10, 26, 23), time_of_day(2, 30, fold=1), (2024, 10, 27, 1, 30)),
        ]:
            then = datetime(*now, tzinfo=timezone.utc).timestamp()
            s = scheduler(lambda: 0.0, lambda _: None, wallclock=lambda then=then: then)
            event = s.at(wanted, print)
            assert datetime.fromtimestamp(event.timestamp, timezone.utc) == datetime(
                *utc, tzinfo=timezone.utc
            )
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("fold", [0, 1])
def test_a_time_of_day_that_is_left_out_is_as_much_later(fold):
    class Spring(tzinfo):  # at midnight before the eleventh it is one o'clock at once
        def utcoffset(self, when):
            after = when.replace(tzinfo=None) >= datetime(2024, 3, 11, 0 if when.fold else 1)
            return timedelta(hours=int(after))

        def dst(self, when):
            return self.utcoffset(when)

        def fromutc(self, when):
            return when + timedelta(hours=int(when.replace(tzinfo=None) >= datetime(2024, 3, 11)))

    event = scheduler(wallclock=NOON.timestamp).at(time_of_day(0, 30, fold=fold, tzinfo=Spring()), print)
    assert datetime.fromtimestamp(event.timestamp, timezone.utc) == NOON.replace(day=11, hour=0, minute=30)


def test_an_action_that_asks_for_the_next_time_of_day_does_not_get_its_own(sim):
    sim.set_by = -5e-7
    event = sim.s.at(time_of_day(12, tzinfo=timezone.utc), print)
    assert event.timestamp == NOON.timestamp() + 24 * 3600


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="needs a local zone that can be set")
def test_what_is_beyond_all_years_is_refused(monkeypatch, sim):
    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    try:
        with pytest.raises(ValueError, match=r"at\(\) cannot tell .*datetime\(9999, 12, 31.*enter nothing"):
            sim.s.at(datetime.max, print)
    finally:
        monkeypatch.undo()
        time.tzset()
    for clock in (float("nan"), float("inf"), 1e20):
        with pytest.raises(ValueError, match=r"at\(\) cannot tell .*wall clock at"):
            scheduler(wallclock=lambda clock=clock: clock).at(time_of_day(12), print)
    assert sim.s.empty()
    assert not sim.s._by_wall_clock_


@pytest.mark.parametrize("seed", range(20))
def test_a_wall_clock_that_jumps_at_random_makes_nothing_early_twice_or_endless(sim, seed):
    def act(what, moment):
        assert sim.wall() >= moment - 1e-6
        sim.ran.append(what)
        if rng.random() < 0.3:
            sim.set_by += rng.choice([-1, 1]) * rng.choice([0.0005, 0.5, 40, 3600])

    def wall():
        looks.append(None)
        assert len(looks) < 20_000
        if rng.random() < 0.02:
            sim.set_by += rng.choice([-1, 1]) * rng.choice([1e-7, 0.0005, 0.5, 40])
        return simple()

    def daily():
        days.append(sim.now)
        if len(days) < 4:
            sim.s.at(time_of_day(12, 30, tzinfo=timezone.utc), daily)

    rng, looks, days = random.Random(seed), [], []
    simple, sim.s.wallclock = sim.wall, wall
    for n in range(60):
        moment = NOON + timedelta(seconds=round(rng.uniform(-50, 5000), rng.randrange(7)))
        sim.s.at(moment, act, (n, moment.timestamp()))
    daily()
    sim.s.run()
    assert sorted(sim.ran) == list(range(60))
    assert len(days) == 4
    assert sim.s.empty()
    assert not sim.s._by_wall_clock_


@pytest.mark.parametrize("wrong", [5, 5.0, "12:00", None, timedelta(1), NOON.date()])
def test_other_things_than_times_are_refused(sim, wrong):
    with pytest.raises(TypeError, match=r"datetime.*enter\(\)"):
        sim.s.at(wrong, print)
    assert sim.s.empty()
    assert not sim.s._by_wall_clock_


def test_a_clock_that_does_not_count_seconds_is_refused():
    s = scheduler(lambda: NOON, lambda _: None)
    with pytest.raises(TypeError, match="counts seconds"):
        s.at(NOON, print)
    assert s.empty()


def test_it_says_what_it_is(sim):
    event = sim.at(50)
    assert "pending" in repr(event)
    assert "2024-03-10" in repr(event)
    sim.s.cancel_all()
    assert "over" in repr(event)


@pytest.mark.parametrize("clock", [time.monotonic, time.time, boottime, time.perf_counter])
def test_in_real_time(clock):
    s = scheduler(clock)
    ran = []
    target = time.time() + 0.2
    s.at(datetime.fromtimestamp(target), lambda: ran.append(time.time()))
    s.run()
    assert -0.001 <= ran[0] - target < 20


@pytest.mark.parametrize("told", [False, True], ids=["nobody tells", "the system tells of its own clock"])
def test_a_sleeping_run_notices_one_that_is_entered_and_a_jump(monkeypatch, told):
    from plait.sched import _clocks

    monkeypatch.setattr(_clocks, "LOOK_AGAIN", 0.05)
    monkeypatch.setattr(_clocks, "can_be_told_of_jumps", told and _clocks.can_be_told_of_jumps)
    ahead = [0.0]
    s = scheduler(wallclock=lambda: time.time() + ahead[0])
    ran = []
    s.enter(3600, 1, print)
    thread = s.run_in_thread()
    deadline = time.monotonic() + 20
    while not s._naps_:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    # Later than what it sleeps for: it must sleep otherwise from now on, all the same.
    s.at(datetime.fromtimestamp(time.time() + 7200), ran.append, (1,))
    time.sleep(0.1)
    assert not ran
    ahead[0] = 7201.0
    while not ran:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    thread.stop()
    thread.join(10)
    assert ran == [1]


def test_cancellations_and_jumps_in_many_threads_leave_nothing_pending():
    ahead = [0.0]
    s = scheduler(wallclock=lambda: time.time() + ahead[0])
    stop = threading.Event()
    ran = []

    def jump():
        n = 0
        while not stop.is_set():
            n += 1
            ahead[0] = (n % 3) * 5.0
            s.next_due()

    jumpers = [threading.Thread(target=jump) for _ in range(2)]
    runner = s.run_in_thread()
    for jumper in jumpers:
        jumper.start()
    cancelled = 0
    try:
        for n in range(150):
            event = s.at(datetime.fromtimestamp(time.time() + (20 if n % 2 else 7)), ran.append, (n,))
            if n % 2:
                event.cancel()
                cancelled += 1
        deadline = time.monotonic() + 20
        while len(ran) < 75:
            assert time.monotonic() < deadline, len(ran)
            time.sleep(0.005)
    finally:
        stop.set()
        for jumper in jumpers:
            jumper.join()
    runner.join(20)
    assert not runner.is_alive()
    assert sorted(ran) == list(range(0, 150, 2))
    assert s.empty()
    assert not s._by_wall_clock_


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
def test_waiting_leaves_no_descriptor_behind():
    s = scheduler()
    s.at(datetime.fromtimestamp(time.time() + 0.01), int)
    s.run()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        s.at(datetime.fromtimestamp(time.time() + 0.003), int)
        s.run()
    assert len(os.listdir("/proc/self/fd")) == before
