# SPDX-License-Identifier: MIT
"""Timing: one round, how long a round should be, and rounds in turn until the answer is clear or the time is up.

Why it is done this way, bench.py explains.
"""

from __future__ import annotations

import gc
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from . import stats
from .contestants import Contestant
from .workloads import Workload, WorkloadError

#: Seconds that a round should take. The speed of a shared machine changes every few tens of milliseconds: neighbours
#: must be nearer than that. A round of hand-overs must hold several of the 5 ms for which a thread may keep the GIL.
ROUND = 0.005
HAND_OVER_ROUND = 0.02

#: Rounds of each contestant that there are at least: while there is time, and when it is up.
WANTED = 32
FEWEST = 12

#: After so many times the time, what there is has to do.
LAST = 6

#: The ratio is clear when it is known to plus or minus CLEAR. One that is not even known to BLURRED gets time again.
CLEAR = 0.015
BLURRED = 0.06

#: How often the number of operations is corrected.
CALIBRATIONS = 3

#: Seconds per operation in each round of each contestant; the same index was taken at about the same time.
Rounds = dict[str, list[stats.Round]]


def one(contestant: Contestant) -> stats.Round:
    """Run one round; seconds per operation."""
    wall, cpu, queued = 0.0, 0.0, 0.0
    for _ in range(contestant.repeats):
        steps = contestant.run(contestant.implementation, contestant.n)
        try:
            next(steps)
            gc.disable()
            before = queued_for()
            started, busy = time.perf_counter(), time.process_time()
            measured = next(steps)
            busied, ended = time.process_time(), time.perf_counter()
        except StopIteration:
            raise WorkloadError(f"{contestant.run!r} ended before its second yield") from None
        finally:
            gc.enable()
        if measured is not None and not 0 < measured < math.inf:
            raise WorkloadError(f"{contestant.run!r} says that it took {measured} s")
        if measured is None:
            wall += ended - started
            cpu += busied - busy
            queued += queued_for() - before
        else:  # another process's time: how long this one waited for a core says nothing about it
            wall += measured
        for _ in steps:
            pass
    done = contestant.n * contestant.repeats
    return stats.Round(wall / done, cpu / done, queued / done)


def queued_for() -> float:
    """For how many seconds this thread, able to run, has had to wait for a core that others were using."""
    try:
        with open("/proc/thread-self/schedstat", "rb") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0  # not told here; times on a busy machine are those of the wall, then


def calibrate(contestant: Contestant, workload: Workload) -> None:
    """Choose operations per round; what it takes to find out is the warm-up."""
    wanted = HAND_OVER_ROUND if workload.hand_over else ROUND
    most = workload.n or workload.at_most or 1 << 40
    contestant.n = workload.n or 1
    with contestant.present():
        took = one(contestant).undisturbed * contestant.n
        while took < wanted / 2 and contestant.n < most:
            contestant.n = min(most, int(contestant.n * min(20, max(2, wanted / max(took, 1e-9)))))
            took = one(contestant).undisturbed * contestant.n
        # Short rounds flatter nobody, and where an operation costs less among many, a hiccup of the machine just now would
        # give one contestant fewer than the other for good: ask again, with what seems to be right, and believe the best.
        long = took > 2 * wanted and (workload.n is not None or contestant.n == 1)
        for _ in range(0 if long else CALIBRATIONS):
            if workload.n is None:
                contestant.n = max(1, min(most, round(contestant.n * wanted / max(took, 1e-9))))
            took = min(one(contestant).undisturbed for _ in range(2)) * contestant.n
    contestant.repeats = max(1, min(1000, round(wanted / max(took, 1e-9))))


@contextmanager
def on_one_core() -> Iterator[None]:
    """Everything that this thread does or starts meanwhile stays on one core, where the system lets us say so."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure(
    contestants: Sequence[Contestant],
    workload: Workload,
    seconds: float,
    rounds: int | None,
    now: Callable[[str], object],
) -> tuple[Rounds, Rounds]:
    """The rounds. The second ones are of hand-overs that are free to use all cores; other workloads have none."""
    if not workload.hand_over:
        warm_up(contestants, workload, now)
        return in_turn(contestants, seconds, rounds, now, one_thread=workload.one_thread), {}
    with on_one_core():
        warm_up(contestants, workload, now)
        pinned = in_turn(contestants, seconds, rounds, now, one_core=True)
    if hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1:
        return pinned, in_turn(contestants, seconds / 3, rounds, now, patient=False)
    return pinned, {}


def warm_up(contestants: Sequence[Contestant], workload: Workload, now: Callable[[str], object]) -> None:
    """Calibrate everyone, and take what is in memory by then out of the garbage collector's sight."""
    for contestant in contestants:
        now(contestant.label)
        calibrate(contestant, workload)
    gc.collect()
    if hasattr(gc, "freeze"):
        gc.freeze()  # else each collection between rounds looks at everything that was ever imported


def in_turn(
    contestants: Sequence[Contestant],
    seconds: float,
    rounds: int | None,
    now: Callable[[str], object],
    one_core: bool = False,
    one_thread: bool = False,
    patient: bool = True,
) -> Rounds:
    """A B B A A B B A ... with any number of contestants."""
    taken: Rounds = {contestant.label: [] for contestant in contestants}
    first, second = (taken[contestant.label] for contestant in contestants[:2])
    started = time.monotonic()
    order, look = list(contestants), FEWEST
    while True:
        for contestant in [*order, *reversed(order)]:
            now(contestant.label)
            with contestant.present():
                taken[contestant.label].append(one(contestant))
            gc.collect()
        spent, count = time.monotonic() - started, len(first)
        if rounds is not None:
            if count >= rounds:
                return taken
        elif spent > LAST * seconds or (count >= FEWEST and spent > (3 if patient else 1) * seconds):
            return taken
        elif count >= look:
            look = count + count // 8
            width = stats.compare(first, second, one_core, one_thread).width
            if (spent > seconds and width < BLURRED) or (count >= WANTED and width < CLEAR):
                return taken
