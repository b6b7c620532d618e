# SPDX-License-Identifier: MIT
"""Pools and futures against the standard module of the same interpreter."""

from __future__ import annotations

import concurrent.futures as stdlib_futures
import multiprocessing as stdlib_multiprocessing
import statistics
import sys
import time

import plait.futures as plait_futures
import plait.multiprocessing as plait_multiprocessing

MODULES = {stdlib_futures: stdlib_multiprocessing, plait_futures: plait_multiprocessing}


def nothing(x=None):
    return x


def processes(module):
    return module.ProcessPoolExecutor(2, mp_context=MODULES[module].get_context("fork"))


def future_life(module, count=20_000):
    for _ in range(count):
        future = module.Future()
        future.set_running_or_notify_cancel()
        future.set_result(1)
        future.result()
    return count


def thread_submit(module, count=20_000):
    with module.ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(nothing) for _ in range(count)]:
            future.result()
    return count


def thread_one_by_one(module, count=3_000):
    with module.ThreadPoolExecutor(2) as pool:
        for _ in range(count):
            pool.submit(nothing).result()
    return count


def thread_map(module, count=20_000):
    with module.ThreadPoolExecutor(2) as pool:
        for _ in pool.map(nothing, range(count)):
            pass
    return count


def as_completed(module, count=10_000):
    futures = [module.Future() for _ in range(count)]
    iterator = module.as_completed(futures)
    for future in futures:
        future.set_result(None)
    for _ in iterator:
        pass
    return count


def wait_for_all(module, count=10_000):
    with module.ThreadPoolExecutor(2) as pool:
        module.wait([pool.submit(nothing) for _ in range(count)])
    return count


def process_submit(module, count=3_000):
    with processes(module) as pool:
        for future in [pool.submit(nothing, n) for n in range(count)]:
            future.result()
    return count


def process_one_by_one(module, count=1_000):
    with processes(module) as pool:
        for n in range(count):
            pool.submit(nothing, n).result()
    return count


def process_map(module, count=3_000):
    with processes(module) as pool:
        for _ in pool.map(nothing, range(count)):
            pass
    return count


def process_map_in_chunks(module, count=50_000):
    with processes(module) as pool:
        for _ in pool.map(nothing, range(count), chunksize=100):
            pass
    return count


def process_pool_start(module, count=5):
    for _ in range(count):
        with processes(module) as pool:
            pool.submit(nothing).result()
    return count


WORKLOADS = [
    future_life,
    thread_submit,
    thread_one_by_one,
    thread_map,
    as_completed,
    wait_for_all,
    process_submit,
    process_one_by_one,
    process_map,
    process_map_in_chunks,
    process_pool_start,
]


def main(rounds=7):
    print(f"{sys.implementation.name} {sys.version.split()[0]}, {rounds} rounds")
    for workload in WORKLOADS:
        seconds = {module: [] for module in MODULES}
        for _ in range(rounds):
            for module, times in seconds.items():
                start = time.perf_counter()
                count = workload(module)
                times.append((time.perf_counter() - start) / count)
        theirs, ours = (statistics.median(times) for times in seconds.values())
        print(f"{workload.__name__:24} {theirs / ours:6.2f}   {ours * 1e6:9.2f} us")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
