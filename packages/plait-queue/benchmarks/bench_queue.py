# SPDX-License-Identifier: MIT
"""What plait.queue is timed at, and beside what.

    python benchmarks/bench_queue.py [part of a name]      the ratio of the medians of nine rounds each, taken in turn

Each function is a workload: `impl` is the module to use, `n` the number of operations. What it does between its two
`yield`s is timed. Thread switches make single rounds vary by a factor of two; the repository's `nox -s bench` takes
more care of that, shows the spread, and compares with the lists of WORKLOADS and PEERS.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from functools import partial
from importlib import import_module
from types import SimpleNamespace

AREA = "queue"
STANDARD = "queue"
PLAIT = "plait.queue"

CROWD = 4


def put_get(impl, n, kind="Queue", maxsize=0):
    q = getattr(impl, kind)(maxsize)
    yield
    for item in range(n):
        q.put(item)
        q.get()
    yield


def simple_put_get(impl, n):
    q = impl.SimpleQueue()
    yield
    for item in range(n):
        q.put(item)
        q.get()
    yield


def fill_drain(impl, n, kind="Queue"):
    q = getattr(impl, kind)()
    yield
    for item in range(n):
        q.put(item)
    for _ in range(n):
        q.get()
    yield


def get_with_timeout(impl, n):
    q = impl.Queue()
    yield
    for item in range(n):
        q.put(item)
        q.get(timeout=1)
    yield


def task_done_join(impl, n):
    q = impl.Queue()
    yield
    for item in range(n):
        q.put(item)
        q.get()
        q.task_done()
    q.join()
    yield


def create(impl, n):
    make = impl.Queue
    yield
    for _ in range(n):
        make()
    yield


def crowd(impl, n, pairs=1, kind="Queue", maxsize=0):
    """`pairs` threads that put and as many that get; `n` items go through in all."""
    q = getattr(impl, kind)(maxsize)
    gate, share = threading.Event(), -(-n // pairs)

    def take():
        gate.wait()
        for _ in range(share):
            q.get()

    def give():
        gate.wait()
        for item in range(share):
            q.put(item)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(pairs) for work in (take, give)]
    for thread in threads:
        thread.start()
    yield
    gate.set()
    for thread in threads:
        thread.join()
    yield


def ping_pong(impl, n):
    there, back = impl.Queue(), impl.Queue()

    def answer():
        for _ in range(n):
            back.put(there.get())

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield
    for item in range(n):
        there.put(item)
        back.get()
    yield
    thread.join()


BARE = SimpleNamespace(Queue=lambda maxsize=0: import_module(STANDARD).SimpleQueue())


def bare(workload):
    """The same work on an unbounded queue written in C that can do nothing else."""

    def run(impl, n):
        yield from workload(BARE, n)

    return "bare SimpleQueue", run


def culsans():
    kinds = import_module("culsans")
    return SimpleNamespace(
        Queue=lambda maxsize=0: kinds.Queue(maxsize).sync_q,
        LifoQueue=lambda maxsize=0: kinds.LifoQueue(maxsize).sync_q,
        PriorityQueue=lambda maxsize=0: kinds.PriorityQueue(maxsize).sync_q,
    )


def janus():
    kinds = import_module("janus")
    return SimpleNamespace(
        Queue=lambda maxsize=0: kinds.Queue(maxsize).sync_q,
        LifoQueue=lambda maxsize=0: kinds.LifoQueue(maxsize).sync_q,
        PriorityQueue=lambda maxsize=0: kinds.PriorityQueue(maxsize).sync_q,
    )


def aiologic():
    kinds = import_module("aiologic")

    class Bounded:
        """A queue with the standard names; its own are for threads (green) and for asyncio apart."""

        def __init__(self, maxsize=0):
            q = kinds.Queue(maxsize) if maxsize else kinds.SimpleQueue()
            self.put = q.green_put
            self.get = q.green_get

    return SimpleNamespace(Queue=Bounded, SimpleQueue=Bounded)


PEERS = {"culsans": culsans, "janus": janus, "aiologic": aiologic}

UNBOUNDED = {"needs": "Queue", "floor": 2.5, "goal": 7}
BOUNDED = {"needs": "Queue", "floor": 2, "goal": 4}
LIFO = {"needs": "LifoQueue", "floor": 2, "goal": 4}
PRIORITY = {"needs": "PriorityQueue", "floor": 1.7, "goal": 2.2}
TURNS = {"hand_over": True}

#: Floor and goal: the ratio to the standard module that must, and that should, be reached.
WORKLOADS = [
    {"name": "put+get, one thread", "run": put_get, "bound": bare(put_get), **UNBOUNDED},
    {"name": "fill 10k + drain", "run": fill_drain, "n": 10_000, "bound": bare(fill_drain), **UNBOUNDED},
    {"name": "1p1c", "run": crowd, "bound": bare(crowd), **UNBOUNDED, **TURNS},
    {
        "name": "4p4c",
        "run": partial(crowd, pairs=CROWD),
        "bound": bare(partial(crowd, pairs=CROWD)),
        **UNBOUNDED,
        **TURNS,
    },
    {
        "name": "get(timeout=1), item ready",
        "run": get_with_timeout,
        "bound": bare(get_with_timeout),
        **UNBOUNDED,
    },
    {"name": "put+get+task_done, join", "run": task_done_join, **UNBOUNDED, "peers": ("culsans", "janus")},
    {"name": "ping-pong", "run": ping_pong, "bound": bare(ping_pong), "needs": "Queue", **TURNS},
    {"name": "Queue() creation", "run": create, "needs": "Queue"},
    {"name": "put+get, maxsize=100", "run": partial(put_get, maxsize=100), **BOUNDED},
    {"name": "1p1c, maxsize=100", "run": partial(crowd, maxsize=100), **BOUNDED, **TURNS},
    {"name": "4p4c, maxsize=100", "run": partial(crowd, pairs=CROWD, maxsize=100), **BOUNDED, **TURNS},
    {"name": "1p1c, maxsize=1", "run": partial(crowd, maxsize=1), **BOUNDED, **TURNS},
    {"name": "LifoQueue put+get", "run": partial(put_get, kind="LifoQueue"), **LIFO},
    {"name": "LifoQueue 1p1c", "run": partial(crowd, kind="LifoQueue"), **LIFO, **TURNS},
    {"name": "PriorityQueue put+get", "run": partial(put_get, kind="PriorityQueue"), **PRIORITY},
    {
        "name": "PriorityQueue fill 5k + drain",
        "run": partial(fill_drain, kind="PriorityQueue"),
        "n": 5_000,
        **PRIORITY,
    },
    {
        "name": "SimpleQueue put+get",
        "run": simple_put_get,
        "needs": "SimpleQueue",
        "floor": 0.95,
        "goal": 0.95,
        "peers": "aiologic",
        "note": "re-export",
    },
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
        if part in workload["name"] and hasattr(ours, workload["needs"]):
            run, n = workload["run"], workload.get("n", 3_000)
            pairs = [(seconds(run, standard, n), seconds(run, ours, n)) for _ in range(9)]
            theirs, mine = map(statistics.median, zip(*pairs, strict=True))
            print(f"{workload['name']:32} {theirs / mine:6.2f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
