# SPDX-License-Identifier: MIT
"""What plait.sched is timed at, and beside what.

    python benchmarks/bench_sched.py [part of a name]      the ratio of the medians of nine rounds each, taken in turn

Each function is a workload: `impl` is the module to use, `n` the number of operations. What it does between its two
`yield`s is timed; events entered before are those that are pending.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from functools import partial
from importlib import import_module

AREA = "sched"
STANDARD = "sched"
PLAIT = "plait.sched"


def nothing():
    pass


def filled(impl, n):
    """A scheduler with n events that have been due for long, in no order."""
    dice = random.Random(1)
    s = impl.scheduler()
    return s, [s.enterabs(dice.random(), 1, nothing) for _ in range(n)]


def cancel(impl, n, pending):
    """n of them are cancelled, here and there; the last ones find a few fewer pending."""
    s, events = filled(impl, pending)
    random.Random(2).shuffle(events)
    yield
    for event in events[:n]:
        s.cancel(event)
    yield


def time_outs(impl, n, pending):
    """What a time-out does that does not happen."""
    s, _ = filled(impl, pending)
    yield
    for _ in range(n):
        s.cancel(s.enter(5, 1, nothing))
    yield


def enter_run(impl, n):
    s = impl.scheduler()
    yield
    for _ in range(n):
        s.enter(0, 1, nothing)
    s.run()
    yield


def enterabs(impl, n):
    s, dice = impl.scheduler(), random.Random(1)
    times = [dice.random() for _ in range(n)]
    yield
    for when in times:
        s.enterabs(when, 1, nothing)
    yield


def no_delay(_):
    pass


def run_due(impl, n, delayfunc=time.sleep):
    s, _ = filled(impl, n)
    s.delayfunc = delayfunc
    yield
    s.run()
    yield


def chain(impl, n, delayfunc=time.sleep):
    """Each event enters the next."""
    s = impl.scheduler(time.monotonic, delayfunc)

    def act(left):
        if left:
            s.enter(0, 1, act, (left - 1,))

    s.enter(0, 1, act, (n - 1,))
    yield
    s.run()
    yield


def queue_property(impl, n, pending):
    s, _ = filled(impl, pending)
    yield
    for _ in range(n):
        s.queue  # noqa: B018
    yield


# After each event run() calls time.sleep(0), or another delayfunc; ours leaves out the former while there is one thread.
SLEEPS = {"one_thread": True}

#: Floor and goal: the ratio to the standard module that must, and that should, be reached.
WORKLOADS = [
    {
        "name": "cancel, 1000 pending",
        "run": partial(cancel, pending=1_000),
        "at_most": 200,
        "floor": 50,
    },
    {"name": "cancel, 20k pending", "run": partial(cancel, pending=20_000), "at_most": 500, "goal": 1_000},
    {"name": "enter+cancel, 1000 pending", "run": partial(time_outs, pending=1_000), "floor": 50},
    {"name": "enter+run 1k zero delay", "run": enter_run, "n": 1_000, **SLEEPS, "floor": 1, "goal": 1.5},
    {"name": "enterabs 5k", "run": enterabs, "n": 5_000, "goal": 1.2},
    {"name": "run 1k due", "run": run_due, "n": 1_000, **SLEEPS, "floor": 1, "goal": 1.5},
    {"name": "chain of entering actions", "run": chain, **SLEEPS, "floor": 1, "goal": 1.5},
    {
        "name": "run 1k due, own delayfunc",
        "run": partial(run_due, delayfunc=no_delay),
        "n": 1_000,
        "goal": 1.1,
    },
    {"name": "chain, own delayfunc", "run": partial(chain, delayfunc=no_delay)},
    {"name": "queue property, 1000 pending", "run": partial(queue_property, pending=1_000), "goal": 10},
]


def seconds(run, impl, n):
    """One round of a workload."""
    steps = run(impl, n)
    next(steps)
    started = time.perf_counter()
    measured = next(steps)
    ended = time.perf_counter()
    for _ in steps:
        pass
    return measured or ended - started


def main(part=""):
    standard, ours = import_module(STANDARD), import_module(PLAIT)
    for workload in WORKLOADS:
        if part in workload["name"]:
            run, n = workload["run"], workload.get("n") or workload.get("at_most") or 1_000
            pairs = [(seconds(run, standard, n), seconds(run, ours, n)) for _ in range(9)]
            theirs, mine = map(statistics.median, zip(*pairs, strict=True))
            print(f"{workload['name']:32} {theirs / mine:8.2f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
