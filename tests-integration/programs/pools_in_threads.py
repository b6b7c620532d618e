# SPDX-License-Identifier: MIT
"""Several threads, each with a thread pool and a process pool of its own, at the same time."""

from __future__ import annotations

import sys

import work

from plait.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from plait.multiprocessing import active_children, get_context
from plait.queue import SimpleQueue
from plait.threading import Thread, enumerate


def one(number: int, method: str, sums: SimpleQueue) -> None:
    with (
        ThreadPoolExecutor(2) as threads,
        ProcessPoolExecutor(2, mp_context=get_context(method)) as processes,
    ):
        mapped = sum(processes.map(work.square, range(50), chunksize=7))
        futures = [pool.submit(work.square, n) for n in range(50) for pool in (threads, processes)]
        sums.put((number, mapped, sum(future.result() for future in as_completed(futures, timeout=30))))


def main() -> None:
    method = sys.argv[1]
    sums: SimpleQueue = SimpleQueue()
    with work.no_descriptor_left():
        callers = [Thread(target=one, args=(number, method, sums)) for number in range(4)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(40)
            assert not caller.is_alive(), caller
        right = sum(map(work.square, range(50)))
        assert sorted(sums.get(timeout=10) for _ in callers) == [(n, right, 2 * right) for n in range(4)]
        del callers
    assert active_children() == []
    assert len(enumerate()) == 1, enumerate()
    print("right")


if __name__ == "__main__":
    main()
