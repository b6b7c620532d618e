# SPDX-License-Identifier: MIT
"""Event schedulers (rows D)."""

from __future__ import annotations

import random
import time

from .scenario import Impl, Wrong, returns, scenario


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
