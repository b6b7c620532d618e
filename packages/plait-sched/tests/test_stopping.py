# SPDX-License-Identifier: MIT
"""Stopping, running in a thread, cancelling all, and what other loops need."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest

from plait.sched import SchedulerThread, _agenda, scheduler


class Simulation:
    def __init__(self):
        self.now = 0
        self.ran = []
        self.s = scheduler(lambda: self.now, self.delay)

    def delay(self, amount):
        self.now += amount


@pytest.fixture
def sim():
    return Simulation()


def test_run_returns_after_the_action_that_stops_it(sim):
    def act():
        sim.s.stop()
        sim.ran.append("to the end")

    sim.s.enterabs(1, 1, act)
    sim.s.enterabs(1, 2, sim.ran.append, ("next",))
    assert sim.s.run() is None
    assert sim.ran == ["to the end"]
    assert len(sim.s.queue) == 1
    sim.s.run()
    assert sim.ran == ["to the end", "next"]


def test_a_stop_when_nothing_runs_is_none(sim):
    sim.s.stop()
    sim.s.enterabs(1, 1, sim.ran.append, (1,))
    sim.s.run()
    assert sim.ran == [1]


def test_a_stop_ends_runs_within_actions_too(sim):
    sim.s.enterabs(1, 1, lambda: (sim.s.run(), sim.ran.append("outer")))
    sim.s.enterabs(2, 1, sim.s.stop)
    sim.s.enterabs(3, 1, sim.ran.append, ("rest",))
    sim.s.run()
    assert sim.ran == ["outer"]


def test_a_run_that_does_not_block_can_be_stopped(sim):
    sim.s.enterabs(0, 1, sim.s.stop)
    sim.s.enterabs(0, 2, sim.ran.append, (1,))
    assert sim.s.run(blocking=False) is None
    assert sim.ran == []
    assert sim.s.run(blocking=False) is None
    assert sim.ran == [1]


def test_stop_ends_every_run():
    s = scheduler()
    s.enter(60, 1, print)
    threads = [threading.Thread(target=s.run) for _ in range(4)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while len(s._naps_) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    s.stop()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_waiting_for_ever_and_not_at_all_is_refused(sim):
    with pytest.raises(ValueError, match="pass one of the two"):
        sim.s.run(blocking=False, forever=True)


def test_cancel_all_ends_what_repeats_too_and_counts(sim):
    for n in range(3):
        sim.s.enter(n, 1, sim.ran.append, (n,))
    ticking = sim.s.every(1, sim.ran.append, (1,))
    assert sim.s.cancel_all() == 4
    assert sim.s.cancel_all() == 0
    assert sim.s.empty()
    assert ticking.over()
    sim.s.run()
    assert sim.ran == []


def test_an_action_may_cancel_all_including_what_called_it(sim):
    ticking = sim.s.every(1, lambda: sim.ran.append(sim.s.cancel_all()))
    sim.s.enter(5, 1, sim.ran.append, ("never",))
    sim.s.run()
    assert sim.ran == [2]
    assert ticking.over()


def test_next_due_is_the_time_of_the_next_event(sim):
    assert sim.s.next_due() is None
    sim.s.enterabs(7, 1, print)
    soon = sim.s.enterabs(3, 1, print)
    assert sim.s.next_due() == 3
    sim.s.cancel(soon)
    assert sim.s.next_due() == 7
    sim.now = 9
    assert sim.s.next_due() == 7


def test_a_thread_runs_what_is_entered_until_it_is_stopped():
    s = scheduler()
    thread = s.run_in_thread(name="the planner")
    assert isinstance(thread, SchedulerThread)
    assert thread.name == "the planner"
    assert thread.daemon
    for _ in range(3):
        done = threading.Event()
        s.enter(0.01, 1, done.set)
        assert done.wait(10)
    assert thread.is_alive()
    s.enter(60, 1, print)
    thread.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert len(s.queue) == 1
    assert not s._runs_


def test_a_stop_that_comes_before_the_thread_has_begun_is_not_in_vain():
    for stop in (lambda s, _: s.stop(), lambda _, thread: thread.stop()):
        for _ in range(50):
            s = scheduler()
            thread = s.run_in_thread()
            stop(s, thread)
            thread.join(10)
            assert not thread.is_alive()


def test_joining_lets_it_finish_what_is_pending_and_no_more():
    s = scheduler()
    ran = []
    thread = s.run_in_thread(daemon=False)
    s.enter(0.02, 1, lambda: s.enter(0.02, 1, ran.append, ("second",)))
    thread.join(10)
    assert not thread.is_alive()
    assert ran == ["second"]


def test_a_thread_need_not_wait_for_new_events():
    s = scheduler()
    ran = []
    s.enter(0.01, 1, ran.append, (1,))
    thread = s.run_in_thread(forever=False)
    deadline = time.monotonic() + 10
    while thread.is_alive():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert ran == [1]


def test_stopping_one_thread_leaves_the_others():
    s = scheduler()
    first, second = s.run_in_thread(), s.run_in_thread()
    first.stop()
    first.join(10)
    assert not first.is_alive()
    done = threading.Event()
    s.enter(0, 1, done.set)
    assert done.wait(10)
    assert second.is_alive()
    second.stop()
    second.join(10)


@pytest.mark.parametrize("wait", ["join", "result"])
def test_its_own_action_cannot_join_it_and_does_not_end_it(wait):
    s = scheduler()
    raised, done = [], threading.Event()
    thread = s.run_in_thread()

    def act():
        try:
            getattr(thread, wait)()
        except RuntimeError as error:
            raised.append((error, thread._course.forever))
        done.set()

    s.enter(0, 1, act)
    assert done.wait(10)
    assert [goes_on for _, goes_on in raised] == [True]
    again = threading.Event()
    s.enter(0, 1, again.set)
    assert again.wait(10)
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("timeout", ["1", float("nan")])
def test_a_join_that_is_refused_ends_nothing(timeout):
    s = scheduler()
    thread = s.run_in_thread()
    with pytest.raises((TypeError, ValueError, OverflowError)):
        thread.join(timeout)
    assert thread._course.forever
    never = SchedulerThread(s, True, None, None)
    with pytest.raises(RuntimeError, match="before it is started"):
        never.join(0)
    assert never._course.forever
    thread.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_an_exception_ends_the_thread_and_can_be_had(monkeypatch):
    from plait import threading as ours

    reported = []
    monkeypatch.setattr(ours, "excepthook", reported.append)
    s = scheduler()
    thread = s.run_in_thread()
    s.enter(0, 1, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        thread.join(10, reraise=True)
    assert len(reported) == 1
    assert not s._runs_


def test_it_is_a_thread_like_others():
    from plait import threading as ours

    s = scheduler()
    thread = s.run_in_thread(name="the planner")
    seen = []
    s.enter(0, 1, lambda: seen.append((ours.current_thread(), threading.current_thread().name)))
    assert thread in ours.enumerate()
    deadline = time.monotonic() + 10
    while "the planner" not in [each.name for each in threading.enumerate()]:
        assert time.monotonic() < deadline  # it tells the standard module itself, when it begins
        time.sleep(0.001)
    thread.join(10)
    assert seen == [(thread, "the planner")]
    assert thread not in ours.enumerate()


def test_where_no_thread_can_be_started_nothing_is_left_behind(monkeypatch):
    from plait.sched import _background

    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_background.Thread, "start", refuse)
    s = scheduler()
    with pytest.raises(RuntimeError, match="can't start"):
        s.run_in_thread()
    assert not s._runs_


def test_a_scheduler_that_nobody_needs_is_freed():
    s = scheduler()
    thread = s.run_in_thread()
    s.every(0.01, int)
    s.stop()
    thread.join(10)
    gone = weakref.ref(s._agenda_)
    del s, thread
    deadline = time.monotonic() + 10
    while gone() is not None and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.001)
    assert gone() is None


@pytest.mark.parametrize("patience", [_agenda.PATIENCE, 0.0])
def test_threads_hammer_it_and_every_event_is_run_or_cancelled_once(patience, monkeypatch):
    # Without patience, whoever does not get the lock of the index looks at all events.
    monkeypatch.setattr(_agenda, "PATIENCE", patience)
    s = scheduler()
    ran, entered, cancelled = [], [], []
    runners = [s.run_in_thread() for _ in range(3)]

    def work(seed):
        for n in range(600):
            name = (seed, n)
            event = s.enter((n * 7 % 11) * 0.0003, n % 3, ran.append, (name,))
            entered.append(name)
            if n % 2:
                try:
                    s.cancel(event)
                    cancelled.append(name)
                except ValueError:
                    pass
            if n % 50 == 0:
                shown = s.queue
                assert shown == sorted(shown)
                s.next_due()
            if n % 97 == 0:
                s.stop()

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        runners = [runner if runner.is_alive() else s.run_in_thread() for runner in runners]
        time.sleep(0.001)
    for worker in workers:
        worker.join()
    for runner in runners:
        runner.join(20)
        assert not runner.is_alive()
    s.run()
    assert sorted(ran + cancelled) == sorted(entered)
    assert len(entered) == 2400
