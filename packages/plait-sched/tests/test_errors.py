# SPDX-License-Identifier: MIT
"""Exceptions out of actions: to the caller, or to a hook."""

from __future__ import annotations

import asyncio
import datetime
import sys

import pytest

from plait.sched import report_error, scheduler


def fail(error=ValueError):
    raise error("broken")


class Simulation:
    def __init__(self, **others):
        self.now = 0
        self.delays = []
        self.ran = []
        self.s = scheduler(lambda: self.now, self.delay, **others)

    def delay(self, amount):
        self.delays.append(amount)
        self.now += amount


def test_by_default_it_goes_to_the_caller_and_the_rest_stays():
    sim = Simulation()
    sim.s.enter(1, 1, fail)
    sim.s.enter(1, 2, sim.ran.append, (1,))
    with pytest.raises(ValueError, match="broken"):
        sim.s.run()
    assert sim.delays == [1]
    assert not sim.s._runs_
    sim.s.run()
    assert sim.ran == [1]


def test_a_hook_gets_event_and_exception_and_the_run_goes_on():
    caught = []
    sim = Simulation(on_error=lambda event, error: caught.append((event, error)))
    event = sim.s.enter(1, 1, fail)
    sim.s.enter(2, 2, sim.ran.append, (1,))
    sim.s.run()
    assert caught[0][0] is event
    assert isinstance(caught[0][1], ValueError)
    assert caught[0][1].__traceback__ is not None
    assert sim.ran == [1]
    assert sim.delays == [1, 0, 1, 0]


def test_the_hook_can_be_set_later_and_taken_away():
    sim = Simulation()
    caught = []
    sim.s.on_error = lambda *both: caught.append(both)
    sim.s.enter(1, 1, fail)
    sim.s.run()
    assert len(caught) == 1
    sim.s.on_error = None
    sim.s.enter(1, 1, fail)
    with pytest.raises(ValueError, match="broken"):
        sim.s.run()


def test_what_the_hook_raises_ends_the_run():
    def hook(event, error):
        raise RuntimeError from error

    sim = Simulation(on_error=hook)
    sim.s.enter(1, 1, fail)
    rest = sim.s.enter(2, 1, print)
    with pytest.raises(RuntimeError) as caught:
        sim.s.run()
    assert isinstance(caught.value.__cause__, ValueError)
    assert sim.s.queue == [rest]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_error_is_not_isolated(error):
    sim = Simulation(on_error=lambda *_: sim.ran.append("hook"))
    sim.s.enter(1, 1, fail, (error,))
    with pytest.raises(error):
        sim.s.run()
    assert sim.ran == []


def test_the_hook_may_cancel_what_failed():
    sim = Simulation()
    sim.s.on_error = lambda event, _: sim.s.cancel(event)
    sim.s.every(1, fail)
    sim.s.run()
    assert sim.now == 1


def the_loop(s):
    return asyncio.run(s.arun())


def the_loop_with_tasks(s):
    return asyncio.run(s.arun(concurrent=True))


async def fail_later():
    fail()


@pytest.mark.parametrize(
    ("run", "action"),
    [(scheduler.run, fail), (the_loop, fail), (the_loop, fail_later), (the_loop_with_tasks, fail_later)],
)
def test_a_hook_gets_what_was_entered_and_not_what_it_is_on_the_agenda(run, action):
    def hook(event, error):
        caught.append((event, event.action))
        if len(caught) == 3:
            s.cancel(ticking)

    s, caught = scheduler(on_error=hook), []
    once = s.enterabs(-1e12, 0, action)
    at = s.at(datetime.datetime(2000, 1, 1), action, priority=1)
    ticking = s.every(0.001, action)
    run(s)
    assert caught == [(once, action), (at, action), (ticking, action)]


def test_a_delay_that_fails_is_not_an_action_that_does():
    def delay(_):
        raise ValueError("delay")

    s = scheduler(lambda: 0, delay, on_error=lambda *_: None)
    event = s.enter(1, 1, print)
    with pytest.raises(ValueError, match="delay"):
        s.run()
    assert s.queue == [event]


def test_there_is_a_hook_that_reports(monkeypatch):
    reported = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)
    sim = Simulation(on_error=report_error)
    sim.s.enter(1, 1, fail)
    sim.s.enter(1, 1, sim.ran.append, (1,))
    sim.s.run()
    assert sim.ran == [1]
    assert isinstance(reported[0].exc_value, ValueError)
    assert reported[0].object is fail
    ticking = sim.s.every(1, lambda: (ticking.cancel(), fail()))
    sim.s.run()
    assert reported[1].object is ticking.action
