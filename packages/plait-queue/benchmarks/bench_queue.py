# SPDX-License-Identifier: MIT
"""How much faster than the standard queue.Queue: prints the ratio of medians and of best rounds for each workload."""

from __future__ import annotations

import argparse
import queue as stdlib_queue
import statistics
import threading
import time

from plait.queue import Queue


def put_get(kind, n=20000):
    q = kind()
    for item in range(n):
        q.put(item)
        q.get()


def fill_drain(kind, n=20000):
    q = kind()
    for item in range(n):
        q.put(item)
    for _ in range(n):
        q.get()


def get_with_timeout(kind, n=20000):
    q = kind()
    for item in range(n):
        q.put(item)
        q.get(timeout=1)


def task_done_join(kind, n=20000):
    q = kind()
    for item in range(n):
        q.put(item)
        q.get()
        q.task_done()
    q.join()


def create(kind, n=5000):
    for _ in range(n):
        kind()


def crowd(kind, pairs, n, bound):
    q = kind(bound)

    def take():
        for _ in range(n):
            q.get()

    def give():
        for item in range(n):
            q.put(item)

    threads = [threading.Thread(target=work) for work in (take, give) for _ in range(pairs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def ping_pong(kind, n=3000):
    there, back = kind(), kind()

    def answer():
        for _ in range(n):
            back.put(there.get())

    thread = threading.Thread(target=answer)
    thread.start()
    for item in range(n):
        there.put(item)
        back.get()
    thread.join()


WORKLOADS = {
    "put+get, one thread": put_get,
    "fill+drain": fill_drain,
    "get(timeout=1), item ready": get_with_timeout,
    "put+get+task_done, join": task_done_join,
    "Queue()": create,
    "1p1c": lambda kind: crowd(kind, 1, 20000, 0),
    "1p1c, maxsize=100": lambda kind: crowd(kind, 1, 20000, 100),
    "1p1c, maxsize=1": lambda kind: crowd(kind, 1, 3000, 1),
    "4p4c": lambda kind: crowd(kind, 4, 4000, 0),
    "4p4c, maxsize=100": lambda kind: crowd(kind, 4, 4000, 100),
    "ping-pong": ping_pong,
}


def seconds(workload, kind):
    started = time.perf_counter()
    workload(kind)
    return time.perf_counter() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("-r", "--rounds", type=int, default=9)
    options = parser.parse_args()
    print(f"{'workload':28} {'medians':>8} {'best':>8}")
    for name, workload in WORKLOADS.items():
        if options.name in name:
            theirs, ours = [], []
            for _ in range(options.rounds):
                theirs.append(seconds(workload, stdlib_queue.Queue))
                ours.append(seconds(workload, Queue))
            medians = statistics.median(theirs) / statistics.median(ours)
            print(f"{name:28} {medians:8.2f} {min(theirs) / min(ours):8.2f}", flush=True)


if __name__ == "__main__":
    main()
