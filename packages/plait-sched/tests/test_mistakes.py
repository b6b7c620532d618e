# SPDX-License-Identifier: MIT
"""Calls with what they cannot take: refused at once, with a message that says what they take."""

from __future__ import annotations

import asyncio
import datetime
import importlib
import math
import pickle
from decimal import Decimal

import pytest

from plait.sched import Event, RepeatingEvent, SchedulerThread, WallClockEvent, scheduler

MODULE = importlib.import_module(scheduler.__module__)


@pytest.mark.parametrize("wrong", [None, "5", datetime.timedelta(1)])
def test_a_delay_that_cannot_be_added_to_the_time(wrong):
    s = scheduler()
    with pytest.raises(
        TypeError, match=r"delay must be something that can be added to what .*monotonic.* returns \(now \d"
    ):
        s.enter(wrong, 1, print)
    with pytest.raises(TypeError, match="interval must be something that can be added"):
        s.every(wrong, print)
    with pytest.raises(TypeError, match="interval and delay must be something that can be added"):
        s.every(1, print, delay=wrong or "1")
    assert s.empty()


def mine():
    raise TypeError("mine")


@pytest.mark.parametrize(
    ("clock", "complaint"), [(mine, r"^mine$"), (lambda _: 0, "missing 1 required positional")]
)
def test_what_the_timefunc_raises_is_its_own(clock, complaint):
    s = scheduler(clock)
    for call in (
        lambda: s.enter(1, 1, print),
        lambda: s.every(1, print),
        lambda: s.at(datetime.datetime.now(), print),
    ):
        with pytest.raises(TypeError, match=complaint):
            call()


def test_an_interval_that_is_no_number_is_refused_in_every_kind_of_number():
    for nan in (math.nan, Decimal("NaN")):
        kind = type(nan)
        s = scheduler(lambda kind=kind: kind(0), lambda _: None)
        with pytest.raises(ValueError, match="interval must be"):
            s.every(nan, print)
        with pytest.raises(ValueError, match="a delay, if given, finite"):
            s.every(kind(1), print, delay=nan)
        with pytest.raises(ValueError, match="grace must"):
            s.every(kind(1), print, grace=nan)
        with pytest.raises(ValueError, match="recheck must"):
            scheduler(recheck=nan)
        assert s.empty()


def test_a_clock_of_another_kind_has_intervals_of_another_kind():
    now = datetime.datetime(2020, 1, 1)
    s = scheduler(lambda: now, lambda delay: None)
    day = datetime.timedelta(1)
    assert s.enter(day, 1, print).time == now + day
    assert s.every(day, print, grace=day).event.time == now + day
    scheduler(lambda: now, lambda delay: None, recheck=day)


@pytest.mark.parametrize("grace", ["x", [1]])
def test_a_grace_that_cannot_be_compared(grace):
    with pytest.raises(TypeError, match="grace must be something that can be compared with the interval 1"):
        scheduler().every(1, print, grace=grace)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((None,), "the action must be callable, not None"),
        ((print, 3), "argument must be a sequence of what .* is to be called with, not 3"),
        ((print, (), 3), "kwargs must be a mapping of names to what .* is to be called with, not 3"),
    ],
)
def test_what_cannot_be_called_does_not_stand(arguments, complaint):
    s = scheduler()
    with pytest.raises(TypeError, match=complaint):
        s.every(1, *arguments)
    with pytest.raises(TypeError, match=complaint):
        s.at(datetime.datetime.now() + datetime.timedelta(1), *arguments)
    assert s.empty()
    assert s.cancel_all() == 0


@pytest.mark.parametrize("name", ["timefunc", "delayfunc", "wakefunc", "wallclock", "on_error"])
def test_what_is_to_be_called_must_be_callable(name):
    with pytest.raises(TypeError, match=f"{name} must be callable, not 3"):
        scheduler(**{name: 3})


@pytest.mark.parametrize(
    ("recheck", "error"), [("x", TypeError), ([1], TypeError), (-1, ValueError), (math.nan, ValueError)]
)
def test_a_recheck_that_is_no_length_of_time(recheck, error):
    with pytest.raises(error, match="recheck must "):
        scheduler(recheck=recheck)


@pytest.mark.parametrize("recheck", [None, 0, 0.5, math.inf])
def test_a_recheck_that_is_one(recheck):
    assert scheduler(recheck=recheck).recheck is recheck


def test_names_of_a_subclass_do_not_collide_with_those_inside():
    class Counting(scheduler):
        def __init__(self):
            super().__init__()
            self._runs = self._naps = self._agenda = 0

        def _wake(self):
            raise AssertionError

        _wait = _wake_all = _go_on = _wake

    s, ran = Counting(), []
    s.enter(0, 1, ran.append, (1,))
    s.enter(0.01, 1, ran.append, (2,))
    s.run()
    assert ran == [1, 2]
    inside = {name for name in dir(s) if name[0] == "_" and not name.startswith("__")}
    assert {name for name in inside if name[-1] != "_"} == {
        *("_runs", "_naps", "_agenda", "_wake", "_wait", "_wake_all", "_go_on")
    }


@pytest.mark.parametrize("cls", [Event, RepeatingEvent, SchedulerThread, WallClockEvent, scheduler])
def test_a_class_says_where_it_is_to_be_had(cls):
    assert cls.__module__ == MODULE.__name__
    assert pickle.loads(pickle.dumps(cls)) is cls


@pytest.mark.parametrize("now", [math.inf, -math.inf, math.nan, Decimal("Infinity"), Decimal("NaN")], ids=str)
def test_nothing_repeats_from_where_no_time_can_be_counted_and_the_clock_is_named(now):
    def clock():
        return now

    s = scheduler(clock, lambda _: None)
    with pytest.raises(
        ValueError, match=rf"^<function .*clock.*> has returned .*{now}.*, from where"
    ) as refused:
        s.every(type(now)(1), print)
    assert refused.type is ValueError
    assert s.empty()


@pytest.mark.parametrize("misfire", ["catch_up", "coalesce", "skip"])
@pytest.mark.parametrize("how", ["run", "arun"])
@pytest.mark.parametrize("number", [float, Decimal])
def test_a_clock_that_comes_to_infinity_ends_the_run_and_not_what_repeats(misfire, how, number):
    times, ran, told = [number(0)], [], []
    s = scheduler(lambda: times[0], lambda _: None, on_error=lambda *what: told.append(what))
    ticking = s.every(number(1), ran.append, (1,), misfire=misfire)
    times[0] = number("inf")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"cannot go on: .* has returned .*[iI]nf") as refused:
            s.run() if how == "run" else asyncio.run(s.arun())
        assert refused.type is ValueError
        assert (len(s.queue), ticking.missed, told, ran) == (1, 0, [], [])
    times[0] = number(1)
    assert s.run(blocking=False) == 1
    assert (ran, told) == ([1], [])


@pytest.mark.parametrize("hook", [None, lambda *_: None])
@pytest.mark.parametrize("fails", range(1, 8))
def test_what_is_to_come_at_a_time_of_day_is_not_lost_however_often_a_clock_fails(fails, hook):
    left, behind, ran = [0], [0], []

    def clock():
        if left[0]:
            left[0] -= 1
            raise LookupError("no clock")
        return 100.0

    def wallclock():
        if behind[0]:  # it is not yet time; and now it begins to fail
            left[0] = fails
        return 1000.0 - behind[0]

    s = scheduler(clock, lambda _: None, wallclock=wallclock, on_error=hook)
    s.at(datetime.datetime.fromtimestamp(1000), ran.append, (1,))
    behind[0] = 5
    with pytest.raises(LookupError, match="no clock"):
        s.run()
    assert (len(s.queue), ran) == (1, [])
    left[0] = behind[0] = 0
    s.run()
    assert (s.queue, ran) == ([], [1])


def test_events_that_a_failing_clock_has_kept_from_moving_are_moved_later():
    fails, wall = [], [1000.0]

    def clock():
        if fails and not fails.pop():
            raise LookupError("no clock")
        return 0.0

    s = scheduler(clock, lambda _: None, wallclock=lambda: wall[0])
    some = [s.at(datetime.datetime.fromtimestamp(when), print) for when in (2000, 3000)]
    assert [event.event.time for event in some] == [1000, 2000]
    wall[0] = 1900.0
    fails += (
        False,
        True,
        True,
    )  # from the right: one for the run, one for the difference, and then as the first moves
    with pytest.raises(LookupError):
        s.run(blocking=False)
    del fails[:]
    assert s.run(blocking=False) == 100
    assert [event.event.time for event in some] == [100, 1100]
