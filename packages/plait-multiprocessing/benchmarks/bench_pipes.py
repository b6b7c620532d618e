# SPDX-License-Identifier: MIT
"""What the pipes, queues and locks of plait.multiprocessing are timed at, and beside what.

    python benchmarks/bench_pipes.py [part of a name]      the ratio of the medians of nine rounds each, taken in turn

Each function is a workload: `impl` is the module to use, `n` the number of operations. What it does between its two
`yield`s is timed. The other process is forked and ready before that: starting processes is timed in bench_processes.py.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import sys
import time
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from types import SimpleNamespace

AREA = "multiprocessing"
STANDARD = "multiprocessing"
PLAIT = "plait.multiprocessing"

MEGABYTE = 1 << 20
LARGE = 64 * MEGABYTE
HAS_NUMPY = importlib.util.find_spec("numpy") is not None


def megabyte():
    """What stands for large data: an array where there is numpy, else bytes."""
    if HAS_NUMPY:
        return import_module("numpy").ones(MEGABYTE // 8)
    return b"x" * MEGABYTE


# -- another process ---------------------------------------------------------------------------------------------------


@contextmanager
def beside(impl, work, *args):
    """A forked child that is about to do work(*args); calling what is handed out lets it begin."""
    ready, begin = os.pipe(), os.pipe()

    def wait_and_work():
        os.write(ready[1], b"!")
        os.read(begin[0], 1)
        work(*args)

    child = impl.get_context("fork").Process(target=wait_and_work)
    child.start()
    os.read(ready[0], 1)
    try:
        yield lambda: os.write(begin[1], b"!")
    finally:
        child.join()
        for fd in (*ready, *begin):
            os.close(fd)


def end(queue):
    """Leave nothing of a queue behind, neither a thread nor a descriptor."""
    for step in ("close", "join_thread"):
        getattr(queue, step, int)()


def put_all(queue, n, item=1):
    for _ in range(n):
        queue.put(item)
    end(queue)


def answer_all(here, there, n):
    for _ in range(n):
        there.put(here.get())
    end(there)


# -- queues ------------------------------------------------------------------------------------------------------------


def queue_between(impl, n, kind="Queue", item=1):
    queue = getattr(impl.get_context("fork"), kind)()
    if item is megabyte:
        item = megabyte()
    with beside(impl, put_all, queue, n, item) as begin:
        yield
        begin()
        for _ in range(n):
            queue.get()
        yield
    end(queue)


def queue_in_one_process(impl, n):
    queue = impl.get_context("fork").Queue()
    queue.put(0)
    queue.get()
    yield
    for number in range(n):
        queue.put(number)
        queue.get()
    yield
    end(queue)


def queue_ping_pong(impl, n):
    context = impl.get_context("fork")
    there, back = context.Queue(), context.Queue()
    with beside(impl, answer_all, there, back, n + 1) as begin:
        begin()
        there.put(0)
        back.get()
        yield
        for number in range(n):
            there.put(number)
            back.get()
        yield
    end(there)
    end(back)


# -- pipes -------------------------------------------------------------------------------------------------------------


def echo_all(connection, n):
    for _ in range(n):
        connection.send(connection.recv())


def pipe_ping_pong(impl, n):
    here, there = impl.Pipe()
    with beside(impl, echo_all, there, n + 1) as begin:
        begin()
        here.send(0)
        here.recv()
        yield
        for number in range(n):
            here.send(number)
            here.recv()
        yield
    here.close()
    there.close()


def send_all(connection, n, item=1):
    for _ in range(n):
        connection.send(item)


def send_all_bytes(connection, n, size):
    data = b"x" * size
    for _ in range(n):
        connection.send_bytes(data)


def pipe_stream(impl, n, item=1):
    source, target = impl.Pipe(duplex=False)
    if item is megabyte:
        item = megabyte()
    with beside(impl, send_all, target, n, item) as begin:
        yield
        begin()
        for _ in range(n):
            source.recv()
        yield
    source.close()
    target.close()


def pipe_bytes(impl, n, size):
    source, target = impl.Pipe(duplex=False)
    with beside(impl, send_all_bytes, target, n, size) as begin:
        yield
        begin()
        for _ in range(n):
            source.recv_bytes()
        yield
    source.close()
    target.close()


# -- what is shared ----------------------------------------------------------------------------------------------------


def lock(impl, n, kind="Lock"):
    lock = getattr(impl.get_context("fork"), kind)()
    yield
    for _ in range(n):
        with lock:
            pass
    yield


def value(impl, n):
    value = impl.get_context("fork").Value("i", 0)
    yield
    for _ in range(n):
        with value.get_lock():
            value.value += 1
    yield


def manager(impl, n):
    with impl.get_context("fork").Manager() as manager:
        proxy = manager.dict(word=1)
        proxy.get("word")
        yield
        for _ in range(n):
            proxy.get("word")
        yield


# -- bounds ------------------------------------------------------------------------------------------------------------


@contextmanager
def descriptors(number):
    """So many pipes, each as (reading end, writing end)."""
    pipes = [os.pipe() for _ in range(number)]
    try:
        yield pipes
    finally:
        for pipe in pipes:
            for fd in pipe:
                os.close(fd)


def write_all(fd, n):
    for _ in range(n):
        os.write(fd, b"12345678")


def raw_stream(impl, n):
    """Eight bytes per write, up to 64 K per read."""
    with descriptors(1) as ((source, target),), beside(impl, write_all, target, n) as begin:
        yield
        begin()
        left = 8 * n
        while left:
            left -= len(os.read(source, 1 << 16))
        yield


def raw_in_one_process(_, n):
    with descriptors(1) as ((source, target),):
        yield
        for _ in range(n):
            os.write(target, b"12345678")
            os.read(source, 8)
        yield


def raw_echo(source, target, n):
    for _ in range(n):
        os.write(target, os.read(source, 8))


def raw_ping_pong(impl, n):
    with (
        descriptors(2) as ((source, theirs), (their_source, target)),
        beside(impl, raw_echo, their_source, theirs, n + 1) as begin,
    ):
        begin()
        os.write(target, b"12345678")
        os.read(source, 8)
        yield
        for _ in range(n):
            os.write(target, b"12345678")
            os.read(source, 8)
        yield


def write_blocks(fd, size):
    block = memoryview(bytes(MEGABYTE))
    while size:
        size -= os.write(fd, block[:size])


def raw_bytes(impl, n, size):
    """Written from one megabyte and read into one megabyte, again and again."""
    with descriptors(1) as ((source, target),), beside(impl, write_blocks, target, n * size) as begin:
        block = bytearray(MEGABYTE)
        yield
        begin()
        left = n * size
        while left:
            left -= os.readv(source, [memoryview(block)[:left]])
        yield


def copy_megabytes(_, n):
    """One copy in memory per item."""
    here, there = memoryview(bytearray(b"x" * MEGABYTE)), memoryview(bytearray(MEGABYTE))
    yield
    for _ in range(n):
        there[:] = here
    yield


# -- peers -------------------------------------------------------------------------------------------------------------


def billiard():
    return import_module("billiard")


def multiprocess():
    return import_module("multiprocess")


def faster_fifo():
    """A queue, and nothing else."""
    kind, standard = import_module("faster_fifo").Queue, import_module("multiprocessing")
    context = SimpleNamespace(
        Queue=lambda: kind(max_size_bytes=8 * MEGABYTE), Process=standard.get_context("fork").Process
    )
    return SimpleNamespace(Queue=kind, get_context=lambda _: context)


PEERS = {"billiard": billiard, "multiprocess": multiprocess, "faster_fifo": faster_fifo}
MODULES = ("billiard", "multiprocess")

ARRAYS = "arrays" if HAS_NUMPY else "bytes"
LARGE_ITEMS = {
    "floor": 2.5,
    "goal": 4.5,
    "bound": ("one copy in memory", copy_megabytes),
    "note": "" if HAS_NUMPY else "numpy is not installed",
}
#: Where another process has a part, there are enough operations for its waking up to count little.
STREAM, TURNS, ITEMS = 1_000, 300, 16
SMALL_STREAM = ("8 bytes per os.write, 64 K per os.read", raw_stream)
SMALL_TURNS = ("os.write and os.read of 8 bytes", raw_ping_pong)

#: Floor and goal: the ratio to the standard module that must, and that should, be reached.
WORKLOADS = [
    {
        "name": "Queue 1p1c small",
        "run": queue_between,
        "n": STREAM,
        "needs": "Queue",
        "floor": 3,
        "goal": 4.5,
        "bound": SMALL_STREAM,
    },
    {
        "name": "Queue put+get in one process",
        "run": queue_in_one_process,
        "needs": "Queue",
        "floor": 6,
        "goal": 9,
        "bound": ("os.write and os.read of 8 bytes", raw_in_one_process),
    },
    {
        "name": "Queue ping-pong",
        "run": queue_ping_pong,
        "n": TURNS,
        "needs": "Queue",
        "floor": 2.5,
        "goal": 4,
        "bound": SMALL_TURNS,
    },
    {
        "name": "SimpleQueue 1p1c",
        "run": partial(queue_between, kind="SimpleQueue"),
        "n": STREAM,
        "needs": "SimpleQueue",
        "bound": SMALL_STREAM,
    },
    {
        "name": "Pipe ping-pong",
        "run": pipe_ping_pong,
        "n": TURNS,
        "needs": "Pipe",
        "floor": 1.8,
        "goal": 2.5,
        "bound": SMALL_TURNS,
    },
    {
        "name": "Pipe stream of ints",
        "run": pipe_stream,
        "n": STREAM,
        "needs": "Pipe",
        "floor": 1.8,
        "goal": 2.5,
        "bound": SMALL_STREAM,
    },
    {
        "name": "Pipe 64 MB bytes",
        "run": partial(pipe_bytes, size=LARGE),
        "needs": "Pipe",
        "floor": 1.2,
        "goal": 2,
        "bound": ("os.write and os.readv by megabytes", partial(raw_bytes, size=LARGE)),
        "n": 1,
    },
    {
        "name": "Pipe 1 MB bytes",
        "run": partial(pipe_bytes, size=MEGABYTE),
        "n": ITEMS,
        "needs": "Pipe",
        "floor": 1.2,
        "goal": 2,
        "bound": ("os.write and os.readv by megabytes", partial(raw_bytes, size=MEGABYTE)),
    },
    {
        "name": f"Queue 1 MB {ARRAYS}",
        "run": partial(queue_between, item=megabyte),
        "n": ITEMS,
        "needs": "Queue",
        **LARGE_ITEMS,
    },
    {
        "name": f"Pipe 1 MB {ARRAYS} one way",
        "run": partial(pipe_stream, item=megabyte),
        "n": ITEMS,
        "needs": "Pipe",
        **LARGE_ITEMS,
    },
    {"name": "Lock acquire+release", "run": lock, "needs": "Lock"},
    {"name": "RLock acquire+release", "run": partial(lock, kind="RLock"), "needs": "RLock"},
    {"name": "Semaphore acquire+release", "run": partial(lock, kind="Semaphore"), "needs": "Semaphore"},
    {"name": "Value += 1 under its lock", "run": value, "needs": "Value"},
    {"name": "Manager round trip", "run": manager, "needs": "Manager", "peers": MODULES},
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
            if not hasattr(ours, workload["needs"]):
                print(f"{workload['name']:40} absent")
                continue
            pairs = [(seconds(run, standard, n), seconds(run, ours, n)) for _ in range(9)]
            theirs, mine = map(statistics.median, zip(*pairs, strict=True))
            print(f"{workload['name']:40} {theirs / mine:6.2f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
