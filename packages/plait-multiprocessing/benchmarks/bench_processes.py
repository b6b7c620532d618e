# SPDX-License-Identifier: MIT
"""What starting processes costs in plait.multiprocessing, and what its Pool is timed at, and beside what.

    python benchmarks/bench_processes.py [part of a name]      the ratio of the medians of nine rounds, taken in turn

Each function is a workload: `impl` is the module to use, `n` the number of operations. What it does between its two
`yield`s is timed. Pools have two workers, are forked, and are started before that, except where starting is the workload.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import sys
import time
from functools import partial
from importlib import import_module
from operator import attrgetter

AREA = "multiprocessing"
STANDARD = "multiprocessing"
PLAIT = "plait.multiprocessing"

WORKERS = 2
MEGABYTE = 1 << 20
HAS_NUMPY = importlib.util.find_spec("numpy") is not None


def echo(x=None):
    """The call that does nothing; workers find it by its name."""
    return x


def megabyte():
    """What stands for large data: an array where there is numpy, else bytes."""
    if HAS_NUMPY:
        return import_module("numpy").ones(MEGABYTE // 8)
    return b"x" * MEGABYTE


# -- processes ---------------------------------------------------------------------------------------------------------


def start_and_join(impl, n, method):
    """What the children do is written in C: they need not find this file."""
    make = impl.get_context(method).Process
    if method == "forkserver":
        # The server starts with the first process; it is left for the next rounds, and ends with us.
        first = make(target=os.getpid)
        first.start()
        first.join()
    yield
    for _ in range(n):
        process = make(target=os.getpid)
        process.start()
        process.join()
    yield


def bare_fork(_, n):
    yield
    for _ in range(n):
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
    yield


def bare_interpreter(_, n):
    """An interpreter that starts and ends, with `site` but without a program."""
    yield
    for _ in range(n):
        child = os.posix_spawn(sys.executable, [sys.executable, "-c", "pass"], os.environ)
        os.waitpid(child, 0)
    yield


# -- Pool --------------------------------------------------------------------------------------------------------------


def pool_of(impl):
    """A pool whose workers are all there."""
    pool = impl.get_context("fork").Pool(WORKERS)
    pool.map(echo, range(10 * WORKERS), 1)
    return pool


def end(pool):
    pool.close()
    pool.join()


def pool_map(impl, n, chunksize=None):
    pool = pool_of(impl)
    numbers = range(n)
    yield
    pool.map(echo, numbers, chunksize)
    yield
    end(pool)


def pool_imap_unordered(impl, n):
    pool = pool_of(impl)
    yield
    for _ in pool.imap_unordered(echo, range(n)):
        pass
    yield
    end(pool)


def pool_apply(impl, n):
    pool = pool_of(impl)
    yield
    for number in range(n):
        pool.apply(echo, (number,))
    yield
    end(pool)


def pool_map_large(impl, n):
    pool = pool_of(impl)
    items = [megabyte()] * n
    yield
    pool.map(echo, items, 1)
    yield
    end(pool)


def pools(impl, n):
    context = impl.get_context("fork")
    yield
    for _ in range(n):
        end(context.Pool(WORKERS))
    yield


# -- peers -------------------------------------------------------------------------------------------------------------


def billiard():
    return import_module("billiard")


def multiprocess():
    return import_module("multiprocess")


PEERS = {"billiard": billiard, "multiprocess": multiprocess}

#: Floor and goal: the ratio to the standard module that must, and that should, be reached.
POOL = {"needs": ("Pool",), "deadline": 120}
WORKLOADS = [
    {
        "name": "Process start+join, fork",
        "run": partial(start_and_join, method="fork"),
        "needs": ("Process", "context.ForkContext"),
        "floor": 1.1,
        "goal": 1.5,
        "bound": ("os.fork and os.waitpid", bare_fork),
    },
    {
        "name": "Process start+join, forkserver",
        "run": partial(start_and_join, method="forkserver"),
        "needs": ("Process", "context.ForkServerContext"),
        "floor": 1.5,
        "goal": 2,
        "bound": ("os.fork and os.waitpid", bare_fork),
    },
    {
        "name": "Process start+join, spawn",
        "run": partial(start_and_join, method="spawn"),
        "needs": ("Process", "context.SpawnContext"),
        "floor": 1.1,
        "goal": 1.4,
        "bound": ("an interpreter that starts and ends", bare_interpreter),
    },
    {"name": "Pool.map 100k", "run": pool_map, "n": 100_000, "floor": 1.0, "goal": 1.2, **POOL},
    {
        "name": "Pool.map chunksize=1",
        "run": partial(pool_map, chunksize=1),
        "n": 2_000,
        "floor": 15,
        "goal": 22,
        **POOL,
    },
    {
        "name": "Pool.imap_unordered chunk 1",
        "run": pool_imap_unordered,
        "n": 2_000,
        "floor": 15,
        "goal": 25,
        **POOL,
    },
    {"name": "Pool.apply round trip", "run": pool_apply, "n": 100, "floor": 2, "goal": 3, **POOL},
    {
        "name": f"Pool.map of 1 MB {'arrays' if HAS_NUMPY else 'bytes'}",
        "run": pool_map_large,
        "n": 16,
        "floor": 2.5,
        "goal": 4.5,
        "note": "" if HAS_NUMPY else "numpy is not installed",
        **POOL,
    },
    {"name": "Pool(2) start+close+join", "run": pools, **POOL},
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
            run, n = workload["run"], workload.get("n", 100)
            try:
                attrgetter(*workload["needs"])(ours)
            except AttributeError as error:
                print(f"{workload['name']:40} absent: {error}")
                continue
            pairs = [(seconds(run, standard, n), seconds(run, ours, n)) for _ in range(9)]
            theirs, mine = map(statistics.median, zip(*pairs, strict=True))
            print(f"{workload['name']:40} {theirs / mine:6.2f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
