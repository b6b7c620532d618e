# SPDX-License-Identifier: MIT
"""How much faster than the standard sched: prints the ratio of medians and of best rounds for each workload."""

from __future__ import annotations

import argparse
import random
import sched as stdlib_sched
import statistics
import time

from plait.sched import scheduler


def nothing():
    pass


def filled(kind, n):
    rng = random.Random(1)
    s = kind()
    return s, [s.enterabs(rng.random(), 1, nothing) for _ in range(n)]


def enter_run(kind):
    s = kind()
    started = time.perf_counter()
    for _ in range(20000):
        s.enter(0, 1, nothing)
    s.run()
    return time.perf_counter() - started


def enterabs(kind):
    started = time.perf_counter()
    filled(kind, 20000)
    return time.perf_counter() - started


def run_due(kind):
    s, _ = filled(kind, 20000)
    started = time.perf_counter()
    s.run()
    return time.perf_counter() - started


def chain(kind):
    s = kind()

    def act(left):
        if left:
            s.enter(0, 1, act, (left - 1,))

    s.enter(0, 1, act, (10000,))
    started = time.perf_counter()
    s.run()
    return time.perf_counter() - started


def cancel_many(kind):
    s, events = filled(kind, 20000)
    random.Random(2).shuffle(events)
    started = time.perf_counter()
    for event in events[:100]:
        s.cancel(event)
    return time.perf_counter() - started


def timeouts(kind):
    s, _ = filled(kind, 1000)
    started = time.perf_counter()
    for _ in range(1000):
        s.cancel(s.enter(5, 1, nothing))
    return time.perf_counter() - started


def queue_property(kind):
    s, _ = filled(kind, 1000)
    started = time.perf_counter()
    for _ in range(20):
        s.queue  # noqa: B018
    return time.perf_counter() - started


WORKLOADS = {
    "enter+run, no delay": enter_run,
    "enterabs": enterabs,
    "run 20k due": run_due,
    "chain of entering actions": chain,
    "cancel, 20k pending": cancel_many,
    "enter+cancel, 1000 pending": timeouts,
    "queue, 1000 pending": queue_property,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("-r", "--rounds", type=int, default=7)
    options = parser.parse_args()
    print(f"{'workload':28} {'medians':>8} {'best':>8}")
    for name, workload in WORKLOADS.items():
        if options.name in name:
            theirs, ours = [], []
            for _ in range(options.rounds):
                theirs.append(workload(stdlib_sched.scheduler))
                ours.append(workload(scheduler))
            medians = statistics.median(theirs) / statistics.median(ours)
            print(f"{name:28} {medians:8.2f} {min(theirs) / min(ours):8.2f}", flush=True)


if __name__ == "__main__":
    main()
