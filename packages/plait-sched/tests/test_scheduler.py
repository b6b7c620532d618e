# SPDX-License-Identifier: MIT
"""What a scheduler does. Statements about the documented behaviour are checked on the interpreter's own module
too."""

from __future__ import annotations

import random
import sched as stdlib_sched
import threading
import time
from decimal import Decimal, InvalidOperation

import pytest

from plait.sched import Event, scheduler
from plait.sched._naps import ParkedSleep


@pytest.fixture(params=[scheduler, stdlib_sched.scheduler], ids=["ours", "stdlib"])
def kind(request):
    return request.param


class Simulation:
    """A clock that only delays move, and a record of them."""

    def __init__(self):
        self.now = 0
        self.delays = []
        self.asked = 0

    def time(self):
        self.asked += 1
        return self.now

    def delay(self, amount):
        self.delays.append(amount)
        self.now += amount


@pytest.fixture
def simulation():
    return Simulation()


def test_events_run_by_time_then_priority_then_entry(kind, simulation):
    s = kind(simulation.time, simulation.delay)
    ran = []
    for name, at, priority in [("d", 3, 1), ("b", 1, 2), ("a", 1, 1), ("c", 1, 2), ("e", 3, 1)]:
        s.enterabs(at, priority, ran.append, (name,))
    assert [event.argument[0] for event in s.queue] == ["a", "b", "c", "d", "e"]
    assert s.run() is None
    assert ran == ["a", "b", "c", "d", "e"]
    assert s.empty()
    assert s.queue == []


def test_a_simulation_sees_the_delays_that_the_standard_gives():
    def play(kind):
        simulation = Simulation()
        rng = random.Random(5)
        s = kind(simulation.time, simulation.delay)
        ran = []

        def act(name):
            ran.append((name, simulation.now))
            for _ in range(rng.choice([0, 1, 2])):
                if len(ran) + len(s.queue) < 200:
                    s.enter(rng.randrange(5), rng.randrange(3), act, (rng.random(),))
            if rng.random() < 0.3 and not s.empty():
                s.cancel(rng.choice(s.queue))

        for n in range(20):
            s.enterabs(rng.randrange(30), rng.randrange(3), act, argument=(n,))
        s.run()
        return ran, simulation.delays, simulation.asked

    assert play(scheduler) == play(stdlib_sched.scheduler)


def test_a_clock_that_jumps_ahead_is_asked_as_often_as_by_the_standard():
    def play(kind):
        ticks = iter(range(0, 10000, 3))
        delays = []
        s = kind(lambda: next(ticks), delays.append)
        ran = []
        for n in range(50):
            s.enterabs(n * 2, 1, ran.append, (n,))
        while (answer := s.run(blocking=False)) is not None:
            delays.append(("go", answer))
        return ran, delays

    assert play(scheduler) == play(stdlib_sched.scheduler)


def test_not_blocking_runs_what_is_due_and_tells_the_time_to_go(kind, simulation):
    s = kind(simulation.time, simulation.delay)
    ran = []
    s.enterabs(0, 1, ran.append, ("now",))
    s.enterabs(5, 1, ran.append, ("later",))
    assert s.run(blocking=False) == 5
    assert ran == ["now"]
    assert simulation.delays == [0]
    simulation.now = 5
    assert s.run(False) is None
    assert ran == ["now", "later"]


def test_an_action_gets_its_arguments(kind, simulation):
    s = kind(simulation.time, simulation.delay)
    got = []
    s.enter(0, 1, lambda *args, **kwargs: got.append((args, kwargs)))
    s.enter(0, 2, lambda *args, **kwargs: got.append((args, kwargs)), (1, 2), {"x": 3})
    s.enter(0, 3, lambda *args, **kwargs: got.append((args, kwargs)), argument=[1], kwargs={})
    s.run()
    assert got == [((), {}), ((1, 2), {"x": 3}), ((1,), {})]


def test_an_event_has_the_standard_fields(kind, simulation):
    s = kind(simulation.time, simulation.delay)
    event = s.enterabs(7, 2, print, ("x",), {"end": ""})
    assert event._fields == Event._fields
    assert tuple(event) == (7, 2, event.sequence, print, ("x",), {"end": ""})
    again = s.enterabs(7, 2, print, ("x",), {"end": ""})
    assert event < again
    assert event != again
    assert s.enterabs(7, 2, print).kwargs is not s.enterabs(7, 2, print).kwargs


def test_only_a_pending_event_can_be_cancelled(kind, simulation):
    s, other = kind(simulation.time, simulation.delay), kind(simulation.time, simulation.delay)
    first, second = s.enter(1, 1, list), s.enter(1, 1, list)
    other.enter(2, 2, list)
    other.enter(2, 2, list)
    s.cancel(second)
    assert s.queue == [first]
    for wrong in (second, other.queue[0], None, "event", (1, 1, 0)):
        with pytest.raises(ValueError):
            s.cancel(wrong)
    assert s.queue == [first]
    assert len(other.queue) == 2
    s.run()
    with pytest.raises(ValueError):
        s.cancel(first)


def test_an_action_cannot_cancel_itself_but_any_other(kind, simulation):
    s = kind(simulation.time, simulation.delay)
    outcome = []

    def act():
        s.cancel(other)
        try:
            s.cancel(me)
        except ValueError:
            outcome.append("not pending")

    me = s.enter(1, 1, act)
    other = s.enter(1, 2, outcome.append, ("other",))
    s.run()
    assert outcome == ["not pending"]


def test_an_action_may_enter_an_event_that_is_due_before_all_others(kind, simulation):
    s = kind(simulation.time, simulation.delay)
    ran = []

    def act():
        ran.append("first")
        s.enterabs(0, 0, ran.append, ("urgent",))

    s.enterabs(1, 1, act)
    s.enterabs(1, 2, ran.append, ("second",))
    s.run()
    assert ran == ["first", "urgent", "second"]


def test_an_exception_leaves_the_others_pending(kind, simulation):
    s = kind(simulation.time, simulation.delay)
    ran = []
    s.enter(1, 1, lambda: 1 / 0)
    s.enter(2, 1, ran.append, ("rest",))
    with pytest.raises(ZeroDivisionError):
        s.run()
    assert [event.argument for event in s.queue] == [("rest",)]
    s.run()
    assert ran == ["rest"]


def test_an_exception_out_of_the_delay_leaves_the_event_pending(kind):
    def delay(amount):
        raise InterruptedError

    s = kind(lambda: 0, delay)
    event = s.enter(1, 1, list)
    with pytest.raises(InterruptedError):
        s.run()
    assert s.queue == [event]


def test_the_clock_may_tell_any_comparable_time(kind):
    from datetime import datetime, timedelta

    class Clock:
        now = datetime(2020, 1, 1)

    def delay(amount):
        if amount:
            Clock.now += amount

    s = kind(lambda: Clock.now, delay)
    ran = []
    s.enter(timedelta(days=2), 1, ran.append, ("second",))
    s.enter(timedelta(days=1), 1, ran.append, ("first",))
    s.run()
    assert ran == ["first", "second"]
    assert Clock.now == datetime(2020, 1, 3)


def test_real_delays_are_kept(kind):
    s = kind()
    ran = []
    started = time.monotonic()
    for delay in (0.06, 0.02, 0.04):
        s.enter(delay, 1, lambda delay=delay: ran.append((delay, time.monotonic() - started)))
    s.run()
    assert [delay for delay, _ in ran] == [0.02, 0.04, 0.06]
    for delay, at in ran:
        assert delay <= at < delay + 20


def run_in_thread(s):
    ended = []
    thread = threading.Thread(target=lambda: (s.run(), ended.append(time.monotonic())))
    thread.start()
    return thread, ended


def asleep(s):
    deadline = time.monotonic() + 10
    while not s._naps_:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_sleeping_run_wakes_for_an_earlier_event():
    s = scheduler()
    ran = []
    late = s.enter(3600, 1, ran.append, ("late",))
    thread, _ = run_in_thread(s)
    asleep(s)
    started = time.monotonic()
    s.enter(0.1, 1, lambda: ran.append(time.monotonic() - started))
    deadline = started + 20
    while not ran:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert 0.1 <= ran[0] < 20
    s.cancel(late)
    thread.join(10)
    assert not thread.is_alive()
    assert len(ran) == 1


def test_a_sleeping_run_returns_when_the_last_event_is_cancelled():
    s = scheduler(time.time)
    events = [s.enter(3600 + n, 1, print) for n in range(3)]
    thread, _ = run_in_thread(s)
    asleep(s)
    for event in events:
        s.cancel(event)
    thread.join(10)
    assert not thread.is_alive()


def test_a_sleeping_run_is_not_woken_for_a_later_event(monkeypatch):
    s = scheduler()
    soon = s.enter(3600, 1, print)
    thread, _ = run_in_thread(s)
    asleep(s)
    (nap,) = s._naps_
    ended = []
    end = type(nap).end
    monkeypatch.setattr(type(nap), "end", lambda nap: (ended.append(nap), end(nap)))
    later = s.enter(7200, 1, print)
    s.cancel(later)
    assert s._naps_ == [nap]
    assert not ended
    s.cancel(soon)
    thread.join(10)


def test_several_threads_may_run_it_and_each_event_is_called_once():
    s = scheduler()
    ran = []
    for n in range(2000):
        s.enter(random.random() * 0.05, 1, ran.append, (n,))
    threads = [threading.Thread(target=s.run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(ran) == list(range(2000))


def test_many_threads_may_enter_and_cancel_while_it_runs():
    s = scheduler()
    stop = s.enter(3600, 1, print)
    thread, _ = run_in_thread(s)
    ran, entered, cancelled = [], [], []

    def work(seed):
        rng = random.Random(seed)
        for n in range(400):
            event = s.enter(rng.random() * 0.02, 1, ran.append, ((seed, n),))
            entered.append((seed, n))
            if rng.random() < 0.5:
                try:
                    s.cancel(event)
                    cancelled.append((seed, n))
                except ValueError:
                    pass  # ran already

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    deadline = time.monotonic() + 30
    while len(s.queue) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    s.cancel(stop)
    thread.join(10)
    assert sorted(ran + cancelled) == sorted(entered)


def test_cancelling_twenty_thousand_of_twenty_thousand_takes_no_time():
    s = scheduler()
    events = [s.enter(random.random(), 1, print) for _ in range(20000)]
    random.shuffle(events)
    started = time.thread_time()  # others' does not count
    for event in events:
        s.cancel(event)
    assert time.thread_time() - started < 5  # looking for each among all takes much longer
    assert s.empty()
    assert s.run() is None


def test_cancelled_events_are_forgotten():
    import gc
    import weakref

    class Load:
        def __call__(self):
            pass

    s = scheduler()
    keep = s.enter(5, 1, print)
    loads = [Load() for _ in range(500)]
    gone = [weakref.ref(load) for load in loads]
    events = [s.enter(10, 1, load) for load in loads]
    s.run(blocking=False)  # takes them into the index
    for event in events:
        s.cancel(event)
    del loads, events, event
    gc.collect()
    assert sum(ref() is not None for ref in gone) < 100
    assert s.queue == [keep]


def test_a_run_inside_an_action_goes_on_with_the_rest(kind, simulation):
    s = kind(simulation.time, simulation.delay)
    ran = []
    s.enter(1, 1, lambda: (ran.append("outer"), s.run(), ran.append("outer ends")))
    s.enter(2, 1, ran.append, ("inner",))
    s.run()
    assert ran == ["outer", "inner", "outer ends"]


def test_cancel_does_not_complain_of_other_events_that_cannot_be_compared():
    s = scheduler(lambda: 0, lambda _: None)
    events = [s.enterabs(number, 1, print) for number in range(200)]
    odd = s.enterabs("tomorrow", 1, print)
    for event in events[:190]:
        s.cancel(event)
    with pytest.raises(TypeError):
        s.run()
    with pytest.raises(TypeError):
        s.queue  # noqa: B018
    s.cancel(odd)
    assert s.queue == events[190:]
    for kept in (1, 30):
        # Wherever in the index it is when it is cancelled, it does no harm afterwards.
        odd = s.enterabs("tomorrow", 1, print)
        if kept == 1:
            with pytest.raises(TypeError):
                s.next_due()
        s.cancel(odd)
        events += [s.enterabs(1000 + kept, 1, print) for _ in range(kept)]
        assert s.next_due() == 190
    for event in events[190:]:
        s.cancel(event)
    assert s.empty()


def test_a_time_that_cannot_be_compared_is_for_run_to_complain_of():
    now = [Decimal(0)]
    s = scheduler(lambda: now[0], lambda delay: now.__setitem__(0, now[0] + delay), recheck=Decimal(100))
    ran = []
    wait = s._wait_

    def enter_while_it_sleeps(*args):
        if not entered:
            s._naps_.append(ParkedSleep(soon))
            entered.append(s.enterabs(Decimal("NaN"), 1, print))
        wait(*args)

    entered, soon = [], s.enterabs(Decimal(1), 1, ran.append, (1,))
    s._wait_ = enter_while_it_sleeps
    for _ in range(2):
        with pytest.raises(InvalidOperation):
            s.run()
    assert not s._naps_
    # Cancelled where the next look at the index would compare it.
    s.cancel(entered[0])
    s.run()
    assert ran == [1]
    for n in range(5):
        s.enterabs(Decimal(n), 1, ran.append, (n,))
    odd = s.enterabs(Decimal("sNaN"), 1, print)
    agenda = s._agenda_
    agenda._heap, agenda.arrivals[:] = [odd], [event for event in agenda.arrivals if event is not odd]
    s.enterabs(Decimal(5), 1, ran.append, (5,))
    s.enterabs(Decimal(6), 1, ran.append, (6,))
    s.cancel(odd)
    agenda.arrivals.append(odd)  # as if it had been on the way there
    s.run()
    assert ran == [1, *range(7)]


def test_a_time_that_is_no_number_keeps_nothing_from_being_called():
    ran = []
    s = scheduler()
    for n in range(30):
        s.enterabs(1 + n / 1e9, 0, ran.append, (n,))
    assert len(s.queue) == 30
    s.enterabs(float("nan"), 0, ran.append, ("nan",))
    s.run()
    assert sorted(map(str, ran)) == sorted(["nan", *map(str, range(30))])
    assert s.empty()
