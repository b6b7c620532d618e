# SPDX-License-Identifier: MIT
"""Starting and joining, and registering for a fork, beside the nearest thing the interpreter has."""

from __future__ import annotations

import _thread
import statistics
import time
from weakref import WeakSet

from plait._thread import allocate_lock, register_after_fork, start_joinable_thread


class Thing:
    pass


def start_and_signal(n: int) -> None:
    for _ in range(n):
        lock = _thread.allocate_lock()
        lock.acquire()
        _thread.start_new_thread(lock.release, ())
        lock.acquire()


def start_and_join(n: int) -> None:
    for _ in range(n):
        start_joinable_thread(allocate_lock).join()


def weak_set(n: int) -> None:
    things = [Thing() for _ in range(n)]
    known: WeakSet[Thing] = WeakSet()
    for thing in things:
        known.add(thing)


def registry(n: int) -> None:
    for thing in [Thing() for _ in range(n)]:
        register_after_fork(thing, id)


def main() -> None:
    for name, theirs, ours, n in (
        ("start and join, against start and a lock", start_and_signal, start_and_join, 300),
        ("register_after_fork, against WeakSet.add", weak_set, registry, 5000),
    ):
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(9):
            for side, run in enumerate((theirs, ours)):
                started = time.perf_counter()
                run(n)
                times[side].append((time.perf_counter() - started) / n * 1e6)
        medians = [statistics.median(side) for side in times]
        print(f"{name:42} {medians[0]:8.2f} us {medians[1]:8.2f} us  ratio {medians[0] / medians[1]:.2f}")


if __name__ == "__main__":
    main()
