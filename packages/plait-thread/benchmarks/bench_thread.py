# SPDX-License-Identifier: MIT
"""What plait._thread is timed at, and beside what.

    python benchmarks/bench_thread.py [part of a name]      the ratio of the medians of nine rounds each, taken in turn

Each function is a workload: `impl` is the module to use, `n` the number of operations. What it does between its two
`yield`s is timed. Nearly everything here is the interpreter's own, and must stay as fast as that.
"""

from __future__ import annotations

import statistics
import sys
import time
from functools import partial
from importlib import import_module
from weakref import WeakSet

AREA = "thread"
STANDARD = "_thread"
PLAIT = "plait._thread"


class Thing:
    pass


def acquire_release(impl, n, kind="allocate_lock"):
    lock = getattr(impl, kind)()
    yield
    for _ in range(n):
        lock.acquire()
        lock.release()
    yield


def new_lock(impl, n):
    make = impl.allocate_lock
    yield
    for _ in range(n):
        make()
    yield


def local_attribute(impl, n):
    local = impl._local()
    yield
    for item in range(n):
        local.x = item
        local.x  # noqa: B018
    yield


def get_ident(impl, n):
    ident = impl.get_ident
    yield
    for _ in range(n):
        ident()
    yield


def start_new_thread(impl, n):
    """Start a thread and wait for what it does last, with the functions that every `_thread` has."""
    yield
    for _ in range(n):
        lock = impl.allocate_lock()
        lock.acquire()
        impl.start_new_thread(lock.release, ())
        lock.acquire()
    yield


def start_joinable(impl, n):
    """Start a thread and wait for its end; where the interpreter has no joinable threads, for what it does last."""
    if not hasattr(impl, "start_joinable_thread"):
        yield from start_new_thread(impl, n)
        return
    yield
    for _ in range(n):
        impl.start_joinable_thread(impl.allocate_lock).join()
    yield


def register(impl, n):
    """Remember an object weakly; the standard module has nothing for it, so programs use a WeakSet."""
    things = [Thing() for _ in range(n)]
    remember = (
        partial(impl.register_after_fork, callback=id)
        if hasattr(impl, "register_after_fork")
        else WeakSet().add
    )
    yield
    for thing in things:
        remember(thing)
    yield


# What is the interpreter's own has a ratio of 1, but for noise.
OWN = {"floor": 0.95, "goal": 0.95, "note": "re-export"}
TURNS = {"hand_over": True}

#: Floor and goal: the ratio to the standard module that must, and that should, be reached.
WORKLOADS = [
    {"name": "lock acquire+release", "run": acquire_release, **OWN},
    {"name": "RLock acquire+release", "run": partial(acquire_release, kind="RLock"), **OWN},
    {"name": "allocate_lock()", "run": new_lock, **OWN},
    {"name": "_local set+get", "run": local_attribute, **OWN},
    {"name": "get_ident()", "run": get_ident, **OWN},
    {"name": "start_new_thread + lock", "run": start_new_thread, **OWN, **TURNS},
    {"name": "start_joinable_thread + join", "run": start_joinable, **TURNS},
    {"name": "register_after_fork, against WeakSet.add", "run": register, "at_most": 20_000},
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
            pairs = [
                tuple(seconds(workload["run"], side, 1_000) for side in (standard, ours)) for _ in range(9)
            ]
            theirs, mine = map(statistics.median, zip(*pairs, strict=True))
            print(f"{workload['name']:42} {theirs / mine:6.2f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
