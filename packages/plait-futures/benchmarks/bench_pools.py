# SPDX-License-Identifier: MIT
"""What plait.futures is timed at, and beside what: pools of threads and of processes, and bare futures.

    python benchmarks/bench_pools.py [part of a name]      the ratio of the medians of nine rounds each, taken in turn

Each function is a workload: `impl.futures` and `impl.multiprocessing` are the modules to use, `n` the number of calls.
What it does between its two `yield`s is timed. Pools are started before and shut down after that, except where that is
the workload. All pools have two workers; those of processes are forked, so that rounds can be short.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import queue
import statistics
import struct
import sys
import tempfile
import threading
import time
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

AREA = "futures"
STANDARD = {"futures": "concurrent.futures", "multiprocessing": "multiprocessing"}
PLAIT = {"futures": "plait.futures", "multiprocessing": "plait.multiprocessing"}

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


# -- threads -----------------------------------------------------------------------------------------------------------


def life_of_a_future(impl, n):
    make = impl.futures.Future
    yield
    for _ in range(n):
        future = make()
        future.set_result(None)
        future.result()
    yield


def threads(impl, workers=WORKERS):
    """A pool whose threads are all there."""
    pool = impl.futures.ThreadPoolExecutor(workers)
    gate = threading.Barrier(workers + 1)
    for _ in range(workers):
        pool.submit(gate.wait)
    gate.wait()
    return pool


def one_by_one(impl, n, start=threads):
    pool = start(impl)
    yield
    for number in range(n):
        pool.submit(echo, number).result()
    yield
    pool.shutdown()


def submit_all(impl, n, start=threads):
    pool = start(impl)
    yield
    for future in [pool.submit(echo, number) for number in range(n)]:
        future.result()
    yield
    pool.shutdown()


def map_all(impl, n, start=threads, **options):
    pool = start(impl)
    yield
    for _ in pool.map(echo, range(n), **options):
        pass
    yield
    pool.shutdown()


def all_as_completed(impl, n):
    pool = threads(impl)
    yield
    for future in impl.futures.as_completed([pool.submit(echo, number) for number in range(n)]):
        future.result()
    yield
    pool.shutdown()


def wait_for_all(impl, n):
    pool = threads(impl)
    yield
    impl.futures.wait([pool.submit(echo, number) for number in range(n)])
    yield
    pool.shutdown()


def thread_pools(impl, n):
    yield
    for _ in range(n):
        with impl.futures.ThreadPoolExecutor(WORKERS) as pool:
            pool.submit(echo).result()
    yield


def bare_threads(_, n):
    """Calls that go through a queue written in C, with no future."""
    calls, values = queue.SimpleQueue(), queue.SimpleQueue()

    def work():
        for call in iter(calls.get, None):
            function, *arguments = call
            values.put(function(*arguments))

    crew = [threading.Thread(target=work) for _ in range(WORKERS)]
    for worker in crew:
        worker.start()
    yield
    for number in range(n):
        calls.put((echo, number))
    for _ in range(n):
        values.get()
    yield
    for _ in crew:
        calls.put(None)
    for worker in crew:
        worker.join()


# -- processes ---------------------------------------------------------------------------------------------------------


def meet(folder):
    """Wait until the other workers are at this call, too; not for ever, should one worker have got two."""
    Path(folder, str(os.getpid())).touch()
    end = time.monotonic() + 2
    while len(os.listdir(folder)) < WORKERS and time.monotonic() < end:
        time.sleep(0.001)


def processes(impl):
    """A pool whose processes are all there, and which has seen a call of `echo`."""
    context = impl.multiprocessing.get_context("fork")
    pool = impl.futures.ProcessPoolExecutor(WORKERS, mp_context=context)
    with tempfile.TemporaryDirectory() as folder:
        for future in [pool.submit(meet, folder) for _ in range(WORKERS)]:
            future.result()
    pool.submit(echo).result()
    return pool


def large_there_and_back(impl, n):
    data = megabyte()
    pool = processes(impl)
    pool.submit(echo, data).result()
    yield
    for _ in range(n):
        pool.submit(echo, data).result()
    yield
    pool.shutdown()


def process_pools(impl, n):
    context = impl.multiprocessing.get_context("fork")
    yield
    for _ in range(n):
        with impl.futures.ProcessPoolExecutor(WORKERS, mp_context=context) as pool:
            pool.submit(echo).result()
    yield


def read_exactly(fd, size):
    """So many bytes, or none at the end of the pipe."""
    data = os.read(fd, size)
    while data and len(data) < size:
        data += os.read(fd, size - len(data))
    return data


def pickles_of(fd):
    while head := read_exactly(fd, 4):
        yield pickle.loads(read_exactly(fd, *struct.unpack("!L", head)))


def send_pickle(fd, content):
    data = pickle.dumps(content, pickle.HIGHEST_PROTOCOL)
    data = memoryview(struct.pack("!L", len(data)) + data)
    while data:
        data = data[os.write(fd, data) :]


def forked(work):
    """A forked child that does work(reading end, writing end): its pid and our two ends."""
    theirs, ours = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(theirs[1])
            os.close(ours[0])
            work(theirs[0], ours[1])
        finally:
            os._exit(0)
    os.close(theirs[0])
    os.close(ours[1])
    return child, ours[0], theirs[1]


def answer_calls(source, target):
    for calls in pickles_of(source):
        send_pickle(target, [function(value) for function, value in calls])


def answer_values(source, target):
    for values in pickles_of(source):
        send_pickle(target, [echo(value) for value in values])


def bare_batches(_, n, answer, pack, size=100):
    """Batches that travel as one pickle each over a pipe per child, two to a child ahead; no futures."""
    crew = [forked(answer) for _ in range(WORKERS)]
    answers = [pickles_of(source) for _, source, _ in crew]
    for number in range(WORKERS):
        send_pickle(crew[number][2], [])
        next(answers[number])
    yield
    sent = read = 0
    for start in range(0, n, size):
        if sent == 2 * WORKERS + read:
            next(answers[read % WORKERS])
            read += 1
        send_pickle(crew[sent % WORKERS][2], pack(start, min(n, start + size)))
        sent += 1
    for number in range(read, sent):
        next(answers[number % WORKERS])
    yield
    disband(crew)


def pack_calls(start, stop):
    return [(echo, number) for number in range(start, stop)]


def pack_values(start, stop):
    return list(range(start, stop))


def answer_bytes(source, target):
    while data := os.read(source, 64):
        os.write(target, data)


def bare_ping_pong(_, n):
    """Eight bytes there and back."""
    crew = [forked(answer_bytes)]
    ((_, source, target),) = crew
    os.write(target, b"!")
    os.read(source, 64)
    yield
    for _ in range(n):
        os.write(target, b"12345678")
        os.read(source, 64)
    yield
    disband(crew)


def disband(crew):
    for _, source, target in crew:
        os.close(source)
        os.close(target)
    for child, _, _ in crew:
        os.waitpid(child, 0)


# -- peers -------------------------------------------------------------------------------------------------------------


def peer(**names):
    """What is in `names`, where workloads look for it."""
    return SimpleNamespace(futures=SimpleNamespace(**names), multiprocessing=import_module("multiprocessing"))


class Adapted:
    """A peer's pool, with the words of the standard one."""

    def __init__(self, pool):
        self.pool = pool

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shutdown()


class OfPebble(Adapted):
    def submit(self, function, *arguments):
        return self.pool.schedule(function, args=arguments)

    def map(self, function, *iterables, chunksize=1):
        return self.pool.map(function, *iterables, chunksize=chunksize).result()

    def shutdown(self):
        self.pool.close()
        self.pool.join()


def pebble():
    kinds, standard = import_module("pebble"), import_module("concurrent.futures")
    return peer(
        ThreadPoolExecutor=lambda workers: OfPebble(kinds.ThreadPool(workers)),
        ProcessPoolExecutor=lambda workers, mp_context: OfPebble(
            kinds.ProcessPool(workers, context=mp_context)
        ),
        as_completed=standard.as_completed,
        wait=standard.wait,
    )


def gevent():
    # Its futures are of its own kind: neither its own nor the standard functions wait for many of them.
    return peer(ThreadPoolExecutor=import_module("gevent.threadpool").ThreadPoolExecutor)


def loky():
    kinds = import_module("loky")
    # It starts processes in a way of its own; of ours it would take fork only in part.
    return peer(ProcessPoolExecutor=lambda workers, mp_context: kinds.ProcessPoolExecutor(workers))


def deadpool():
    return peer(ProcessPoolExecutor=import_module("deadpool").Deadpool)


class OfMpire(Adapted):
    def submit(self, function, *arguments):
        answer = self.pool.apply_async(function, arguments)
        answer.result = answer.get
        return answer

    def map(self, function, iterable, chunksize=1):
        return self.pool.imap(function, iterable, iterable_len=len(iterable), chunk_size=chunksize)

    def shutdown(self):
        self.pool.stop_and_join()


def mpire():
    kinds = import_module("mpire")
    return peer(
        ProcessPoolExecutor=lambda workers, mp_context: OfMpire(
            kinds.WorkerPool(workers, start_method="fork", keep_alive=True)
        )
    )


class OfJoblib(Adapted):
    def submit(self, function, *arguments):
        (value,) = self.pool([(function, arguments, {})])
        return SimpleNamespace(result=lambda: value)

    def map(self, function, iterable, chunksize="auto"):
        self.pool.batch_size = chunksize
        return self.pool([(function, (item,), {}) for item in iterable])

    def shutdown(self):
        import_module("joblib.externals.loky").get_reusable_executor().shutdown(wait=True)


def joblib():
    kinds = import_module("joblib")
    return peer(ProcessPoolExecutor=lambda workers, mp_context: OfJoblib(kinds.Parallel(workers)))


PEERS = {
    "pebble": pebble,
    "gevent": gevent,
    "loky": loky,
    "deadpool": deadpool,
    "mpire": mpire,
    "joblib": joblib,
}
THREADED = ("pebble", "gevent")
FORKING = ("pebble", "loky", "deadpool", "mpire")

# -- what is measured --------------------------------------------------------------------------------------------------

THREADS = {"needs": "futures.ThreadPoolExecutor", "peers": THREADED}
PROCESSES = {"needs": "futures.ProcessPoolExecutor", "peers": FORKING, "deadline": 120}
BARE_QUEUE = ("bare SimpleQueue, no futures", bare_threads)
BARE_CALLS = (
    "pickles of 100 calls through pipes, no futures",
    partial(bare_batches, answer=answer_calls, pack=pack_calls),
)
BARE_VALUES = (
    "pickles of 100 values through pipes, no futures",
    partial(bare_batches, answer=answer_values, pack=pack_values),
)
#: Processes need some batches of calls before the cost of one is what it is later; a round takes up to half a second.
MANY = 2_000

#: Floor and goal: the ratio to the standard module that must, and that should, be reached.
WORKLOADS = [
    {
        "name": "Future create+set_result+result",
        "run": life_of_a_future,
        "needs": "futures.Future",
        "peers": (),
    },
    {"name": "threads: submit+result one by one", "run": one_by_one, "hand_over": True, **THREADS},
    {
        "name": "threads: submit all, then results, 2 workers",
        "run": submit_all,
        "floor": 4,
        "goal": 5.5,
        "bound": BARE_QUEUE,
        "at_most": 50_000,
        **THREADS,
    },
    {
        "name": "threads: submit all, then results, 8 workers",
        "run": partial(submit_all, start=partial(threads, workers=8)),
        "floor": 4,
        "goal": 5.5,
        "bound": BARE_QUEUE,
        "at_most": 50_000,
        **THREADS,
    },
    {"name": "threads: map", "run": map_all, "floor": 15, "goal": 30, "at_most": 50_000, **THREADS},
    {
        "name": "threads: as_completed",
        "run": all_as_completed,
        "floor": 3,
        "goal": 4,
        "at_most": 20_000,
        **THREADS | {"needs": ("futures.ThreadPoolExecutor", "futures.as_completed")},
    },
    {
        "name": "threads: wait",
        "run": wait_for_all,
        "floor": 4,
        "goal": 5,
        "at_most": 20_000,
        **THREADS | {"needs": ("futures.ThreadPoolExecutor", "futures.wait")},
    },
    {"name": "threads: pool start-up+shutdown", "run": thread_pools, **THREADS},
    {
        "name": "processes: submit no-op, unchunked",
        "run": partial(submit_all, start=processes),
        "floor": 15,
        "goal": 25,
        "n": MANY,
        "bound": BARE_CALLS,
        **PROCESSES,
    },
    {
        "name": "processes: submit+result one by one",
        "run": partial(one_by_one, start=processes),
        "n": 100,
        "floor": 2,
        "goal": 2.6,
        "bound": ("8 bytes there and back through pipes", bare_ping_pong),
        **PROCESSES,
    },
    {
        "name": "processes: map chunksize=1",
        "run": partial(map_all, start=processes),
        "floor": 50,
        "goal": 100,
        "n": MANY,
        "bound": BARE_VALUES,
        **PROCESSES | {"peers": (*FORKING, "joblib")},
    },
    {
        "name": "processes: map chunksize=100",
        "run": partial(map_all, start=processes, chunksize=100),
        "floor": 3,
        "goal": 5,
        "n": 20_000,
        "bound": BARE_VALUES,
        **PROCESSES | {"peers": (*FORKING, "joblib")},
    },
    {
        "name": "processes: 1 MB numpy round trip" if HAS_NUMPY else "processes: 1 MB bytes round trip",
        "run": large_there_and_back,
        "n": 10,
        "floor": 2.5,
        "goal": 4.5,
        "note": "" if HAS_NUMPY else "numpy is not installed",
        **PROCESSES,
    },
    {"name": "processes: start-up+1 task+shutdown", "run": process_pools, **PROCESSES},
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
    standard, ours = (
        SimpleNamespace(**{role: import_module(name) for role, name in names.items()})
        for names in (STANDARD, PLAIT)
    )
    for workload in WORKLOADS:
        if part in workload["name"]:
            run, n = workload["run"], workload.get("n", 500)
            pairs = [(seconds(run, standard, n), seconds(run, ours, n)) for _ in range(9)]
            theirs, mine = map(statistics.median, zip(*pairs, strict=True))
            print(f"{workload['name']:48} {theirs / mine:6.2f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
