# SPDX-License-Identifier: MIT
"""Pipes, queues, locks and process starts, against the interpreter's own module, in turn."""

from __future__ import annotations

import multiprocessing as standard
import statistics
import time

from plait import multiprocessing as plait


def nothing():
    pass


def pipe(mp):
    one, other = mp.Pipe()
    for _ in range(3000):
        one.send(1)
        other.recv()


def pipe_bytes(mp):
    one, other = mp.Pipe()
    data = b"x" * 60_000
    for _ in range(500):
        one.send_bytes(data)
        other.recv_bytes()


def queue(mp):
    q = mp.Queue()
    for _ in range(1000):
        q.put(1)
        q.get()


def lock(mp):
    lock = mp.Lock()
    for _ in range(2000):
        lock.acquire()
        lock.release()


def start(mp, method):
    process = mp.get_context(method).Process(target=nothing)
    process.start()
    process.join()


WORKLOADS = {
    "Pipe send+recv": pipe,
    "Pipe 60 kB": pipe_bytes,
    "Queue put+get": queue,
    "Lock": lock,
    "fork": lambda mp: start(mp, "fork"),
    "spawn": lambda mp: start(mp, "spawn"),
}


def main():
    for name, work in WORKLOADS.items():
        times = {standard: [], plait: []}
        for _ in range(7):
            for mp, taken in times.items():
                begin = time.perf_counter()
                work(mp)
                taken.append(time.perf_counter() - begin)
        ratio = statistics.median(times[standard]) / statistics.median(times[plait])
        print(f"{name:16} {ratio:6.2f}")


if __name__ == "__main__":
    main()
