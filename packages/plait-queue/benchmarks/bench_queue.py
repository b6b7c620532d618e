# SPDX-License-Identifier: MIT
"""What plait.queue is timed at, and beside what.

    python benchmarks/bench_queue.py [part of a name]      the ratio of the medians of nine rounds each, taken in turn

Each function is a workload: `impl` is the module to use, `n` the number of operations. What it does between its two
`yield`s is timed. Thread switches make single rounds vary by a factor of two; the repository's `nox -s bench` takes
more care of that, shows the spread, and compares with the lists of WORKLOADS and PEERS.
"""

from __future__ import annotations

import asyncio
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


def poll_empty(impl, n, kind="Queue"):
    """Calls that find nothing and do not wait, in both of their names."""
    q, empty = getattr(impl, kind)(), impl.Empty
    yield
    for _ in range(n // 2):
        try:
            q.get(block=False)
        except empty:
            pass
        try:
            q.get_nowait()
        except empty:
            pass
    yield


def poll_full(impl, n, kind="Queue"):
    q, full = getattr(impl, kind)(1), impl.Full
    q.put(0)
    yield
    for item in range(n // 2):
        try:
            q.put(item, block=False)
        except full:
            pass
        try:
            q.put_nowait(item)
        except full:
            pass
    yield


def put_get_many(impl, n, batch=50):
    """Items that come and go fifty at a time; one by one where the module knows no other way."""
    q, items = impl.Queue(), list(range(batch))
    many, rounds = hasattr(q, "put_many"), -(-n // batch)
    yield
    for _ in range(rounds):
        if many:
            q.put_many(items)
            q.get_many(batch)
        else:
            for item in items:
                q.put(item)
            for _ in items:
                q.get()
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


def faces(impl, maxsize=0):
    """One queue as threads see it and as tasks see it: put and get, aput and aget.

    Where the module has no such thing (the standard library), what people do instead: an asyncio.Queue, to which threads
    put by way of its loop.
    """
    if hasattr(impl, "faces"):
        return impl.faces(maxsize)
    q = impl.Queue(maxsize)
    if hasattr(q, "aget"):
        return q.put, q.get, q.aput, q.aget
    loop, q = asyncio.get_running_loop(), asyncio.Queue(maxsize)
    return partial(loop.call_soon_threadsafe, q.put_nowait), None, q.put, q.get


def timed_in_a_loop(workload, impl, n):
    """Of an async workload, the seconds that it says it took."""
    loop = asyncio.new_event_loop()
    yield
    try:
        yield loop.run_until_complete(workload(impl, n))
    finally:
        loop.close()


async def task_put_get(impl, n):
    _, _, aput, aget = faces(impl)
    started = time.perf_counter()
    for item in range(n):
        await aput(item)
        await aget()
    return time.perf_counter() - started


async def task_to_task(impl, n, maxsize=0):
    _, _, aput, aget = faces(impl, maxsize)

    async def give():
        for item in range(n):
            await aput(item)

    started = time.perf_counter()
    giver = asyncio.ensure_future(give())
    for _ in range(n):
        await aget()
    took = time.perf_counter() - started
    await giver
    return took


async def thread_to_task(impl, n):
    put, _, _, aget = faces(impl)
    gate = threading.Event()

    def give():
        gate.wait()
        for item in range(n):
            put(item)

    thread = threading.Thread(target=give, daemon=True)
    thread.start()
    started = time.perf_counter()
    gate.set()
    for _ in range(n):
        await aget()
    took = time.perf_counter() - started
    thread.join()
    return took


def in_a_loop(workload, **arguments):
    return partial(timed_in_a_loop, partial(workload, **arguments))


BARE = SimpleNamespace(Queue=lambda maxsize=0: import_module(STANDARD).SimpleQueue())


def bare(workload):
    """The same work on an unbounded queue written in C that can do nothing else."""

    def run(impl, n):
        yield from workload(BARE, n)

    return "bare SimpleQueue", run


def both_faces(kinds, maxsize):
    q = kinds.Queue(maxsize)
    return q.sync_q.put, q.sync_q.get, q.async_q.put, q.async_q.get


def culsans():
    kinds = import_module("culsans")
    return SimpleNamespace(
        faces=partial(both_faces, kinds),
        Queue=lambda maxsize=0: kinds.Queue(maxsize).sync_q,
        LifoQueue=lambda maxsize=0: kinds.LifoQueue(maxsize).sync_q,
        PriorityQueue=lambda maxsize=0: kinds.PriorityQueue(maxsize).sync_q,
    )


def janus():
    kinds = import_module("janus")
    return SimpleNamespace(
        faces=partial(both_faces, kinds),
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

    def faces(maxsize):
        q = kinds.Queue(maxsize) if maxsize else kinds.SimpleQueue()
        return q.green_put, q.green_get, q.async_put, q.async_get

    return SimpleNamespace(Queue=Bounded, SimpleQueue=Bounded, faces=faces)


PEERS = {"culsans": culsans, "janus": janus, "aiologic": aiologic}

UNBOUNDED = {"needs": "Queue", "floor": 2.5, "goal": 7}
BOUNDED = {"needs": "Queue", "floor": 2, "goal": 4}
LIFO = {"needs": "LifoQueue", "floor": 2, "goal": 4}
PRIORITY = {"needs": "PriorityQueue", "floor": 1.7, "goal": 2.2}
TURNS = {"hand_over": True}
POLL = {"peers": (), "floor": 1, "goal": 1.5}
POLL_LOCKED = {"peers": (), "floor": 1, "goal": 1.1}
ASYNC = {"needs": "Queue.aget", "note": "beside asyncio.Queue"}
#: What the standard Queue() is made of became cheaper in between.
CREATION = 10 if sys.version_info < (3, 12) else 2

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
    {"name": "put+get, 50 at a time", "run": put_get_many, "needs": "Queue.put_many", "peers": ()},
    # (No bound: a bare SimpleQueue is slower, for it wakes its getter each time.)
    {"name": "ping-pong", "run": ping_pong, "needs": "Queue", "goal": 1.4, **TURNS},
    {"name": "Queue() creation", "run": create, "needs": "Queue", "goal": CREATION},
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
    {"name": "Queue empty, polled", "run": poll_empty, "needs": "Queue", **POLL},
    {"name": "Queue full, polled", "run": poll_full, "needs": "Queue", **POLL},
    {
        "name": "LifoQueue empty, polled",
        "run": partial(poll_empty, kind="LifoQueue"),
        "needs": "LifoQueue",
        **POLL,
    },
    {
        "name": "LifoQueue full, polled",
        "run": partial(poll_full, kind="LifoQueue"),
        "needs": "LifoQueue",
        **POLL,
    },
    {
        "name": "PriorityQueue empty, polled",
        "run": partial(poll_empty, kind="PriorityQueue"),
        "needs": "PriorityQueue",
        **POLL_LOCKED,
    },
    {
        "name": "PriorityQueue full, polled",
        "run": partial(poll_full, kind="PriorityQueue"),
        "needs": "PriorityQueue",
        **POLL_LOCKED,
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
    {"name": "aput+aget, one task", "run": in_a_loop(task_put_get), **ASYNC},
    {"name": "task to task", "run": in_a_loop(task_to_task), **ASYNC},
    {"name": "task to task, maxsize=1", "run": in_a_loop(task_to_task, maxsize=1), **ASYNC},
    {"name": "thread to task", "run": in_a_loop(thread_to_task), **ASYNC, **TURNS},
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
        needs, _, method = workload["needs"].partition(".")
        if part in workload["name"] and hasattr(getattr(ours, needs, None), method or "__init__"):
            run, n = workload["run"], workload.get("n", 3_000)
            pairs = [(seconds(run, standard, n), seconds(run, ours, n)) for _ in range(9)]
            theirs, mine = map(statistics.median, zip(*pairs, strict=True))
            print(f"{workload['name']:32} {theirs / mine:6.2f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
