# SPDX-License-Identifier: MIT
"""The end of the main module while everything still runs: what is not daemonic is finished, the rest is left."""

from __future__ import annotations

import sys
import time

import work

from plait import multiprocessing
from plait.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from plait.queue import Queue
from plait.sched import scheduler
from plait.threading import Event, Thread


def slow_square(number: int) -> int:
    time.sleep(0.05)
    return number * number


def say(what: str) -> None:
    print(what, flush=True)


def sleep_long() -> None:
    time.sleep(60)


over = Event()  # main has said its last


def finish() -> None:
    over.wait(40)
    time.sleep(0.3)
    say("thread finished")


def squared(future: Future) -> None:
    over.wait(40)
    say(f"process pool {future.result()}")


def main() -> None:
    context = multiprocessing.get_context(sys.argv[1])
    threads = ThreadPoolExecutor(2)
    processes = ProcessPoolExecutor(2, mp_context=context)
    mapped = [processes.submit(slow_square, number) for number in range(10)]
    mapped[-1].add_done_callback(squared)
    threads.submit(finish)
    queue: Queue = Queue()
    Thread(target=queue.get, daemon=True, name="for ever").start()
    Thread(target=Event().wait, daemon=True, name="for ever too").start()
    plan = scheduler(time.monotonic, time.sleep)
    plan.enter(60, 1, say, ("never",))
    Thread(target=plan.run, daemon=True).start()
    soon = scheduler(time.monotonic, time.sleep)
    soon.enter(0.2, 1, say, ("scheduled",))
    Thread(target=lambda: [over.wait(40), soon.run()]).start()
    context.Process(target=sleep_long, daemon=True).start()  # ended at exit, because it is a daemon
    results = context.Queue()
    results.put("x" * 10)  # its feeder thread must not keep anybody
    results.cancel_join_thread()
    assert work.square(2) == 4
    say("main ended")
    over.set()


if __name__ == "__main__":
    main()
