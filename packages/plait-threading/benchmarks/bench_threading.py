# SPDX-License-Identifier: MIT
"""What plait.threading is timed at, and beside what.

    python benchmarks/bench_threading.py [part of a name]      the ratio of the medians of nine rounds each, taken in turn

Each function is a workload: `impl` is the module to use, `n` the number of operations. What it does between its two
`yield`s is timed. Thread switches make single rounds vary by a factor of two; the repository's `nox -s bench` takes
more care of that, shows the spread, and compares with the lists of WORKLOADS and PEERS. Helper threads are always the
standard module's, so that only one thing differs.
"""

from __future__ import annotations

import _thread
import statistics
import sys
import threading
import time
from functools import partial
from importlib import import_module
from types import SimpleNamespace

AREA = "threading"
STANDARD = "threading"
PLAIT = "plait.threading"

CROWD = 8


def started(*targets):
    threads = [threading.Thread(target=target, daemon=True) for target in targets]
    for thread in threads:
        thread.start()
    return threads


def acquire_release(impl, n, kind="Lock", *given):
    thing = getattr(impl, kind)(*given)
    yield
    for _ in range(n):
        thing.acquire()
        thing.release()
    yield


def semaphore_of_two(impl, n, threads=4):
    """Four threads want one of two permits, again and again."""
    semaphore, gate, share = impl.Semaphore(2), threading.Event(), -(-n // threads)

    def work():
        gate.wait()
        for _ in range(share):
            semaphore.acquire()
            semaphore.release()

    crew = started(*[work] * threads)
    yield
    gate.set()
    for thread in crew:
        thread.join()
    yield


def semaphore_ping_pong(impl, n):
    there, back = impl.Semaphore(0), impl.Semaphore(0)

    def answer():
        for _ in range(n):
            there.acquire()
            back.release()

    (thread,) = started(answer)
    yield
    for _ in range(n):
        there.release()
        back.acquire()
    yield
    thread.join()


def lock_ping_pong(_impl, n):
    """Two bare locks: what is left when nothing but the thread switches is."""
    there, back = _thread.allocate_lock(), _thread.allocate_lock()
    there.acquire()
    back.acquire()

    def answer():
        for _ in range(n):
            there.acquire()
            back.release()

    (thread,) = started(answer)
    yield
    for _ in range(n):
        there.release()
        back.acquire()
    yield
    thread.join()


def enter_notify(impl, n):
    condition = impl.Condition()
    yield
    for _ in range(n):
        with condition:
            condition.notify()
    yield


def condition_ping_pong(impl, n):
    """One operation is a turn there and one back, as in the other ping-pongs."""
    condition, turn = impl.Condition(impl.Lock()), [0]

    def play(me):
        for _ in range(n):
            with condition:
                while turn[0] != me:
                    condition.wait()
                turn[0] = 1 - me
                condition.notify()

    (thread,) = started(partial(play, 1))
    yield
    play(0)
    thread.join()
    yield


def notify_all(impl, n, waiters=CROWD):
    """Everyone waits, all are woken, and everyone waits again."""
    condition, back = impl.Condition(impl.Lock()), threading.Semaphore(0)

    def work():
        for _ in range(n):
            with condition:
                waiting.append(None)
                if len(waiting) == waiters:
                    back.release()
                condition.wait()

    waiting = []
    crew = started(*[work] * waiters)
    back.acquire()
    yield
    for last in range(n, 0, -1):
        with condition:
            waiting.clear()
            condition.notify_all()
        if last > 1:
            back.acquire()
    for thread in crew:
        thread.join()
    yield


def event_cycle(impl, n):
    event = impl.Event()
    yield
    for _ in range(n):
        event.set()
        event.wait()
        event.clear()
    yield


def new_event(impl, n):
    make = impl.Event
    yield
    for _ in range(n):
        make()
    yield


def event_with_waiter(impl, n):
    """A new event each time, which another thread waits for by the time it is set."""
    events, ready, done = [impl.Event() for _ in range(n)], threading.Semaphore(0), []

    def wait_for_all():
        for event in events:
            ready.release()
            event.wait()
        done.append(True)

    (thread,) = started(wait_for_all)
    yield
    for event in events:
        ready.acquire()
        event.set()
    thread.join()
    yield


def barrier_of_four(impl, n, parties=4):
    barrier = impl.Barrier(parties)

    def work():
        for _ in range(n):
            barrier.wait()

    crew = started(*[work] * (parties - 1))
    yield
    work()
    for thread in crew:
        thread.join()
    yield


def start_join(impl, n):
    make = impl.Thread
    yield
    for _ in range(n):
        thread = make(target=int)
        thread.start()
        thread.join()
    yield


def bare_start_join(_impl, n):
    """A thread and a lock that it releases at its end, from the interpreter itself."""
    yield
    for _ in range(n):
        lock = _thread.allocate_lock()
        lock.acquire()
        _thread.start_new_thread(lock.release, ())
        lock.acquire()
    yield


def local_attribute(impl, n):
    local = impl.local()
    yield
    for item in range(n):
        local.x = item
        local.x  # noqa: B018
    yield


def who_am_i(impl, n):
    current_thread = impl.current_thread
    yield
    for _ in range(n):
        current_thread()
    yield


def aiologic():
    kinds = import_module("aiologic")

    def wrapped(kind, acquire, release):
        class Wrapped:
            """With the standard names; its own are for threads (green) and for asyncio apart."""

            def __init__(self, *given):
                inner = getattr(kinds, kind)(*given)
                self.acquire, self.release = getattr(inner, acquire), getattr(inner, release)

        return Wrapped

    return SimpleNamespace(
        Lock=wrapped("Lock", "green_acquire", "green_release"),
        RLock=wrapped("RLock", "green_acquire", "green_release"),
        Semaphore=wrapped("Semaphore", "green_acquire", "green_release"),
        BoundedSemaphore=wrapped("BoundedSemaphore", "green_acquire", "green_release"),
    )


PEERS = {"aiologic": aiologic}

SEMAPHORE = {"needs": "Semaphore", "floor": 2, "goal": 8}
# What is the interpreter's own has a ratio of 1, but for noise.
OWN = {"floor": 0.95, "goal": 0.95, "note": "re-export"}
TURNS = {"hand_over": True}
SWITCH = ("bare lock ping-pong", lock_ping_pong)

#: Floor and goal: the ratio to the standard module that must, and that should, be reached.
WORKLOADS = [
    {"name": "Semaphore acquire+release", "run": partial(acquire_release, kind="Semaphore"), **SEMAPHORE},
    {"name": "Semaphore(2), 4 threads", "run": semaphore_of_two, **SEMAPHORE, **TURNS},
    {
        "name": "Semaphore ping-pong",
        "run": semaphore_ping_pong,
        "needs": "Semaphore",
        "bound": SWITCH,
        **TURNS,
    },
    {
        "name": "BoundedSemaphore acquire+release",
        "run": partial(acquire_release, kind="BoundedSemaphore"),
        "needs": "BoundedSemaphore",
        "floor": 2,
    },
    {
        "name": "Condition enter+notify, none waiting",
        "run": enter_notify,
        "needs": "Condition",
        "floor": 2,
        "goal": 2.2,
    },
    {
        "name": "Condition ping-pong",
        "run": condition_ping_pong,
        "needs": "Condition",
        "floor": 1.1,
        "goal": 1.3,
        "bound": SWITCH,
        **TURNS,
    },
    {"name": "notify_all to 8", "run": notify_all, "needs": "Condition", **TURNS},
    {"name": "Event set+wait+clear", "run": event_cycle, "needs": "Event", "floor": 3.5, "goal": 4.5},
    {
        "name": "Event() creation",
        "run": new_event,
        "needs": "Event",
        "floor": 3,
        "goal": 10 if sys.version_info < (3, 12) else None,
    },
    {
        "name": "Event new+set with 1 waiter",
        "run": event_with_waiter,
        "needs": "Event",
        "at_most": 20_000,
        **TURNS,
    },
    {"name": "Barrier of 4", "run": barrier_of_four, "needs": "Barrier", "floor": 1.5, "goal": 3, **TURNS},
    {
        "name": "Thread start+join",
        "run": start_join,
        "needs": "Thread",
        "floor": 1.3,
        "goal": 1.6,
        "bound": ("bare start and lock", bare_start_join),
        **TURNS,
    },
    {"name": "Lock acquire+release", "run": acquire_release, "needs": "Lock", **OWN},
    {"name": "RLock acquire+release", "run": partial(acquire_release, kind="RLock"), "needs": "RLock", **OWN},
    {"name": "local() set+get", "run": local_attribute, "needs": "local", **OWN},
    {"name": "current_thread()", "run": who_am_i, "needs": "current_thread", "floor": 0.95, "goal": 0.95},
]


def seconds(run, impl, n):
    """One round of a workload."""
    steps = run(impl, n)
    next(steps)
    begun = time.perf_counter()
    measured = next(steps)
    ended = time.perf_counter()
    for _ in steps:
        pass
    return measured or ended - begun


def main(part=""):
    standard, ours = import_module(STANDARD), import_module(PLAIT)
    for workload in WORKLOADS:
        if part in workload["name"] and hasattr(ours, workload["needs"]):
            run, n = workload["run"], workload.get("n", 2_000)
            pairs = [(seconds(run, standard, n), seconds(run, ours, n)) for _ in range(9)]
            theirs, mine = map(statistics.median, zip(*pairs, strict=True))
            print(f"{workload['name']:40} {theirs / mine:6.2f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
