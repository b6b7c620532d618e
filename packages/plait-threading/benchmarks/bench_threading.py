# SPDX-License-Identifier: MIT
"""plait.threading beside the interpreter's threading: ratio of medians of interleaved rounds."""

from __future__ import annotations

import statistics
import threading as standard
import time
from collections.abc import Callable
from typing import Any

from plait import threading as ours

Workload = Callable[[int], None]


def start_and_join(module: Any) -> Workload:
    def run(n: int) -> None:
        for _ in range(n):
            thread = module.Thread(target=int)
            thread.start()
            thread.join()

    return run


def event_cycle(module: Any) -> Workload:
    def run(n: int) -> None:
        event = module.Event()
        for _ in range(n):
            event.set()
            event.wait()
            event.clear()

    return run


def new_event(module: Any) -> Workload:
    def run(n: int) -> None:
        for _ in range(n):
            module.Event()

    return run


def enter_and_notify(module: Any) -> Workload:
    def run(n: int) -> None:
        cond = module.Condition()
        for _ in range(n):
            with cond:
                cond.notify()

    return run


def ping_pong(module: Any) -> Workload:
    def run(n: int) -> None:
        cond, turn = module.Condition(module.Lock()), [0]

        def play(me: int) -> None:
            for _ in range(n // 2):
                with cond:
                    while turn[0] != me:
                        cond.wait()
                    turn[0] = 1 - me
                    cond.notify()

        other = standard.Thread(target=play, args=(1,))
        other.start()
        play(0)
        other.join()

    return run


def who_am_i(module: Any) -> Workload:
    def run(n: int) -> None:
        current_thread = module.current_thread
        for _ in range(n):
            current_thread()

    return run


WORKLOADS = [
    (start_and_join, 300),
    (event_cycle, 10000),
    (new_event, 10000),
    (enter_and_notify, 10000),
    (ping_pong, 2000),
    (who_am_i, 30000),
]


def main() -> None:
    for make, n in WORKLOADS:
        sides = make(standard), make(ours)
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(9):
            for side in (0, 1):
                started = time.perf_counter()
                sides[side](n)
                times[side].append((time.perf_counter() - started) / n * 1e6)
        theirs, mine = (statistics.median(side) for side in times)
        best = min(times[0]) / min(times[1])
        print(
            f"{make.__name__:18} {theirs:8.2f} us {mine:8.2f} us  ratio {theirs / mine:5.2f}  best rounds {best:5.2f}"
        )


if __name__ == "__main__":
    main()
