# SPDX-License-Identifier: MIT
"""What plait.multiprocessing.shared_memory is timed at, and beside what.

    python benchmarks/bench_shared_memory.py [part of a name]      the ratio of the medians of nine rounds each

Each function is a workload: `impl` is the module to use, `n` the number of operations. What it does between its two
`yield`s is timed.
"""

from __future__ import annotations

import statistics
import sys
import time
from importlib import import_module

AREA = "multiprocessing"
STANDARD = "multiprocessing.shared_memory"
PLAIT = "plait.multiprocessing.shared_memory"


def create(impl, n):
    yield
    for _ in range(n):
        segment = impl.SharedMemory(create=True, size=4096)
        segment.close()
        segment.unlink()
    yield


def attach(impl, n):
    segment = impl.SharedMemory(create=True, size=4096)
    yield
    for _ in range(n):
        impl.SharedMemory(segment.name).close()
    yield
    segment.close()
    segment.unlink()


def multiprocess():
    return import_module("multiprocess.shared_memory")


PEERS = {"multiprocess": multiprocess}

WORKLOADS = [
    {"name": "SharedMemory create+unlink", "run": create, "needs": "SharedMemory"},
    {"name": "SharedMemory attach+close", "run": attach, "needs": "SharedMemory"},
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
    standard = import_module(STANDARD)
    try:
        ours = import_module(PLAIT)
    except ModuleNotFoundError as error:
        print(f"absent: {error}")
        return
    for workload in WORKLOADS:
        if part in workload["name"]:
            run, n = workload["run"], workload.get("n", 100)
            pairs = [(seconds(run, standard, n), seconds(run, ours, n)) for _ in range(9)]
            theirs, mine = map(statistics.median, zip(*pairs, strict=True))
            print(f"{workload['name']:40} {theirs / mine:6.2f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
