# SPDX-License-Identifier: MIT
"""Event schedulers (rows D)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from .scenario import Impl, Wrong, program, returns, scenario, until


@scenario("D1", "cancelling 20 000 of 20 000 events takes less than 1 s", deadline=20, reproduced=True)
def cancel_all_one_by_one(impl: Impl) -> None:
    plan = impl.sched.scheduler()
    chance = random.Random(20_000)
    events = [plan.enter(3600 + chance.random(), 1, print) for _ in range(20_000)]
    chance.shuffle(events)
    begun = time.monotonic()
    for number, event in enumerate(events):
        plan.cancel(event)
        if time.monotonic() - begun > 1:
            raise Wrong(f"{number + 1} of 20 000 events were cancelled in 1 s")
    if not plan.empty():
        raise Wrong("events are left after all were cancelled")


@scenario("D2", "run() returns within 0.1 s when the only event is cancelled", alone=True, reproduced=True)
def cancelled_while_it_sleeps(impl: Impl) -> None:
    plan = impl.sched.scheduler()
    event = plan.enter(1.5, 1, print)
    cancelled_at: list[float] = []

    def cancel() -> None:
        time.sleep(0.3)
        plan.cancel(event)
        cancelled_at.append(time.monotonic())

    thread = impl.threading.Thread(target=cancel)
    thread.start()
    plan.run()
    late = time.monotonic() - cancelled_at[0]
    thread.join()
    if late > 0.1:
        raise Wrong(f"run() slept on for {late:.2f} s, allowed 0.1 s")


@scenario("D3", "an earlier event, entered while run() sleeps, fires on time", alone=True, reproduced=True)
def earlier_event_while_it_sleeps(impl: Impl) -> None:
    plan = impl.sched.scheduler()
    fired: dict[str, float] = {}

    def fire(what: str) -> None:
        fired[what] = time.monotonic()

    entered_at: list[float] = []

    def enter() -> None:
        time.sleep(0.3)
        entered_at.append(time.monotonic())
        plan.enter(0.2, 1, fire, ("early",))

    begun = time.monotonic()
    plan.enter(1.5, 1, fire, ("late",))
    thread = impl.threading.Thread(target=enter)
    thread.start()
    plan.run()
    thread.join()
    if set(fired) != {"early", "late"}:
        raise Wrong(f"run() returned when only {sorted(fired)} had fired")
    early, late = fired["early"] - entered_at[0], fired["late"] - begun
    if abs(early - 0.2) > 0.05:
        raise Wrong(f"the event due in 0.2 s fired after {early:.2f} s, allowed 0.05 s more or less")
    if abs(late - 1.5) > 0.05:
        raise Wrong(f"the event due in 1.5 s fired after {late:.2f} s, allowed 0.05 s more or less")


@scenario("D4", "cancel() removes exactly the event that it is given, among equal ones")
def cancel_among_equals(impl: Impl) -> None:
    plan = impl.sched.scheduler(time.monotonic, time.sleep)
    due = time.monotonic() + 0.01
    ran: list[int] = []
    events = [plan.enterabs(due, 1, ran.append, (number,)) for number in range(20)]
    for number in (3, 0, 19, 11):
        plan.cancel(events[number])
    kept = [number for number in range(20) if number not in (3, 0, 19, 11)]
    if [event.argument[0] for event in plan.queue] != kept:
        raise Wrong(f"{[event.argument[0] for event in plan.queue]} are left, {kept} should be")
    returns(5, plan.run)
    if ran != kept:
        raise Wrong(f"{ran} ran, {kept} should have, in this order")
    try:
        plan.cancel(events[3])
    except ValueError:
        return
    raise Wrong("cancelling an event twice raised nothing")


def _within(seconds: float, since: float, what: str) -> None:
    late = time.monotonic() - since
    if late > seconds:
        raise Wrong(f"{what} after {late:.2f} s, allowed {seconds} s")


def _asleep_with(impl: Impl, plan: Any) -> Any:
    """Run it in a thread, and give that time to fall asleep."""
    thread = impl.threading.Thread(target=plan.run, daemon=True)
    thread.start()
    time.sleep(0.2)
    return thread


#: What people pass as delayfunc that sleeps, but is not time.sleep.
OWN_DELAYS: dict[str, Callable[[Impl], Callable[[float], object]]] = {
    "lambda s: time.sleep(s)": lambda _: lambda seconds: time.sleep(seconds),
    "Event().wait": lambda impl: impl.threading.Event().wait,
}


@scenario(
    "D2",
    "run() with a sleeping delayfunc of one's own returns when its event is cancelled",
    alone=True,
    deadline=30,
    reproduced=True,
)
def cancelled_while_an_own_function_sleeps(impl: Impl) -> None:
    for name, make in OWN_DELAYS.items():
        plan = impl.sched.scheduler(time.monotonic, make(impl))
        event = plan.enter(1.5, 1, print)
        thread = _asleep_with(impl, plan)
        plan.cancel(event)
        since = time.monotonic()
        thread.join(5)
        _within(0.1, since, f"run() with {name} returned")


@scenario(
    "D2",
    "cancel_all() drops everything and ends a sleeping run()",
    alone=True,
    needs=("sched.scheduler.cancel_all",),
)
def all_cancelled_while_it_sleeps(impl: Impl) -> None:
    plan = impl.sched.scheduler()
    for number in range(1000):
        plan.enter(60 + number, 1, print)
    thread = _asleep_with(impl, plan)
    plan.cancel_all()
    since = time.monotonic()
    thread.join(5)
    _within(0.1, since, "run() returned")
    if not plan.empty():
        raise Wrong(f"{len(plan.queue)} events are left")


@scenario(
    "D3",
    "an earlier event fires on time with a sleeping delayfunc of one's own",
    alone=True,
    deadline=30,
    reproduced=True,
)
def earlier_event_while_an_own_function_sleeps(impl: Impl) -> None:
    for name, make in OWN_DELAYS.items():
        plan = impl.sched.scheduler(time.monotonic, make(impl))
        fired: list[float] = []
        late = plan.enter(1.5, 1, print)
        thread = _asleep_with(impl, plan)
        since = time.monotonic()
        plan.enter(0.2, 1, lambda fired=fired: fired.append(time.monotonic()))
        until(5, "the earlier event did not fire", lambda fired=fired: fired)
        if abs(fired[0] - since - 0.2) > 0.05:
            raise Wrong(
                f"with {name} the event due in 0.2 s fired after {fired[0] - since:.2f} s, allowed 0.05 s more or less"
            )
        if not plan.empty():
            plan.cancel(late)
        thread.join(5)


@scenario("D3", "a simulated clock gets the delays that the standard module gives, whatever wakes a real one")
def delays_of_a_simulation(impl: Impl) -> None:
    now = 0.0
    delays: list[float] = []

    def delay(amount: float) -> None:
        nonlocal now
        delays.append(amount)
        now += amount

    plan = impl.sched.scheduler(lambda: now, delay)
    plan.enter(3600, 1, plan.enter, (5, 1, int))
    plan.enter(10, 1, int)
    returns(5, plan.run)
    if delays != [10, 0, 3590, 0, 5, 0]:
        raise Wrong(f"the delays were {delays}, they should be [10, 0, 3590, 0, 5, 0]")


@scenario(
    "D5",
    "every(0.1, f) fires 10 +- 1 times in 1 s without drift, and stop() returns",
    alone=True,
    needs=("sched.scheduler.every", "sched.scheduler.stop"),
)
def repeats_without_drift(impl: Impl) -> None:
    plan = impl.sched.scheduler()
    fired: list[float] = []

    def fire() -> None:
        fired.append(time.monotonic())
        time.sleep(0.03)  # which must not shift the next

    begun = time.monotonic()
    plan.every(0.1, fire)
    thread = _asleep_with(impl, plan)
    time.sleep(max(0.0, begun + 1.05 - time.monotonic()))
    returns(0.5, plan.stop)
    since = time.monotonic()
    thread.join(5)
    _within(0.1, since, "run() returned")
    if abs(len(fired) - 10) > 1:
        raise Wrong(f"it fired {len(fired)} times in 1 s, 10 +- 1 are allowed")
    off = max(abs(at - begun - 0.1 * number) for number, at in enumerate(fired, 1))
    if off > 0.05:
        raise Wrong(f"it was {off:.2f} s off its time, allowed 0.05 s")


@scenario(
    "D5", "one failing action does not end run(), if that is asked for", needs=("sched.scheduler(on_error)",)
)
def failing_action_is_isolated(impl: Impl) -> None:
    caught: list[BaseException] = []
    ran: list[int] = []
    plan = impl.sched.scheduler(on_error=lambda _, error: caught.append(error))
    plan.enter(0, 1, lambda: 1 / 0)
    plan.enter(0.01, 1, ran.append, (1,))
    returns(5, plan.run)
    if ran != [1] or [type(error) for error in caught] != [ZeroDivisionError]:
        raise Wrong(f"ran {ran}, the hook got {caught}")


@scenario("D5", "an action that fails ends run() by default, and what is left is run by the next")
def failing_action_by_default(impl: Impl) -> None:
    ran: list[int] = []
    plan = impl.sched.scheduler()
    plan.enter(0, 1, lambda: 1 / 0)
    plan.enter(0.01, 1, ran.append, (1,))
    try:
        plan.run()
    except ZeroDivisionError:
        returns(5, plan.run)
    else:
        raise Wrong("the exception did not reach the caller of run()")
    if ran != [1]:
        raise Wrong(f"ran {ran}, should be [1]")


@scenario(
    "D5",
    "calls that were missed are made up for as the misfire policy says",
    needs=("sched.scheduler.every",),
)
def missed_calls(impl: Impl) -> None:
    for misfire, expected in (("coalesce", 1), ("catch_up", 4), ("skip", 0)):
        now = 0.0

        def delay(amount: float) -> None:
            nonlocal now
            now += amount

        plan = impl.sched.scheduler(lambda: now, delay)  # noqa: B023 - used up before it changes
        fired: list[float] = []
        series = plan.every(10, lambda fired=fired: fired.append(1), misfire=misfire)
        now = 47
        plan.run(blocking=False)
        if len(fired) != expected:
            raise Wrong(f"with {misfire} there were {len(fired)} calls of 4 that were due, not {expected}")
        plan.cancel(series)
        if not plan.empty():
            raise Wrong("the repeating event is pending after it was cancelled")


@scenario(
    "D5",
    "a background thread runs what is entered, and the program ends although it waits for more",
    deadline=30,
    needs=("sched.scheduler.run_in_thread",),
)
def runs_in_a_thread(impl: Impl) -> None:
    plan = impl.sched.scheduler()
    thread = plan.run_in_thread()
    fired: list[int] = []
    plan.enter(0.01, 1, fired.append, (1,))
    until(5, "the event did not fire", lambda: fired)
    plan.enter(60, 1, print)
    plan.stop()
    since = time.monotonic()
    thread.join(5)
    _within(0.1, since, "the thread ended")
    for daemon in (True, False):
        code = f"plan = impl.sched.scheduler()\nplan.run_in_thread(daemon={daemon})\n"
        with program(impl, code) as waits:
            if waits.wait(10):
                raise Wrong(f"the program failed: {waits.err[-300:]}")
