# SPDX-License-Identifier: MIT
"""Items cross from processes through a multiprocessing queue and from there, by a bridge, to consuming threads."""

from __future__ import annotations

import sys

from plait import multiprocessing
from plait.queue import Queue, ShutDown
from plait.threading import Lock, Thread

PER_PRODUCER = 300


def produce(number: int, items: multiprocessing.Queue) -> None:
    for item in range(PER_PRODUCER):
        items.put((number, item, "x" * (item % 50)))
    items.put(None)


def bridge(items: multiprocessing.Queue, local: Queue, producers: int) -> None:
    while producers:
        item = items.get(timeout=30)
        if item is None:
            producers -= 1
        else:
            local.put(item)
    local.shutdown()


def consume(local: Queue, seen: list, lock: Lock) -> None:
    while True:
        try:
            item = local.get()
        except ShutDown:
            return
        with lock:
            seen.append(item)
        local.task_done()


def main() -> None:
    context = multiprocessing.get_context(sys.argv[1])
    items = context.Queue(8)
    local: Queue = Queue(4)
    seen: list = []
    lock = Lock()
    threads = [Thread(target=bridge, args=(items, local, 2))]
    threads += [Thread(target=consume, args=(local, seen, lock)) for _ in range(3)]
    # The threads run before the processes are made: with fork, these are copies of a process with live threads.
    for thread in threads:
        thread.start()
    producers = [context.Process(target=produce, args=(number, items)) for number in range(2)]
    for producer in producers:
        producer.start()
    for one in [*producers, *threads]:
        one.join(30)
        assert not one.is_alive(), one
    assert [producer.exitcode for producer in producers] == [0, 0]
    assert sorted(seen) == [
        (number, item, "x" * (item % 50)) for number in range(2) for item in range(PER_PRODUCER)
    ]
    for number in range(2):  # what one producer put stays in order as far as one consumer sees it
        assert next(item for n, item, _ in seen if n == number) <= 3
    items.close()
    items.join_thread()
    print("right")


if __name__ == "__main__":
    main()
