# SPDX-License-Identifier: MIT
"""Timing: one round, how long a round should be, and rounds in turn until the answer is clear or the time is up."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence

from . import stats
from .contestants import Contestant
from .workloads import Workload

#: Seconds that a round should take: long against the clock and a timer tick, short against what else goes on.
ROUND = 0.03

#: Rounds of each contestant that there are at least, time or no time.
FEWEST = 8

#: Clear enough: the ratio is known to plus or minus this part of it.
CLEAR = 0.02


def one(contestant: Contestant) -> float:
    """Run one round; seconds per operation."""
    total = 0.0
    for _ in range(contestant.repeats):
        steps = contestant.run(contestant.implementation, contestant.n)
        next(steps)
        gc.disable()
        started = time.perf_counter()
        measured = next(steps)
        ended = time.perf_counter()
        gc.enable()
        total += ended - started if measured is None else measured
        for _ in steps:
            pass
    return total / (contestant.n * contestant.repeats)


def calibrate(contestant: Contestant, workload: Workload) -> None:
    """Choose operations per round; what it takes to find out is the warm-up."""
    with contestant.present():
        contestant.n = workload.n or 1
        most = workload.n or workload.at_most or 1 << 40
        one(contestant)
        while (took := one(contestant) * contestant.n) < ROUND / 2 and contestant.n < most:
            contestant.n = min(most, int(contestant.n * min(20, max(2, ROUND / max(took, 1e-9)))))
        if workload.n is None:
            contestant.n = max(1, min(most, round(contestant.n * ROUND / max(took, 1e-9))))
        contestant.repeats = max(1, min(1000, round(ROUND / max(one(contestant) * contestant.n, 1e-9))))


def measure(
    contestants: Sequence[Contestant],
    workload: Workload,
    seconds: float,
    rounds: int | None,
    now: Callable[[str], None],
) -> dict[str, list[float]]:
    """Seconds per operation in each round of each contestant; the same index was taken at about the same time."""
    for contestant in contestants:
        now(contestant.label)
        calibrate(contestant, workload)
    gc.collect()
    if hasattr(gc, "freeze"):
        gc.freeze()  # what is there already need not be looked at again between rounds
    taken: dict[str, list[float]] = {contestant.label: [] for contestant in contestants}
    first, second = (taken[contestant.label] for contestant in contestants[:2])
    started = time.monotonic()
    order = list(contestants)
    while True:
        for contestant in order:
            now(contestant.label)
            with contestant.present():
                taken[contestant.label].append(one(contestant))
            gc.collect()
        order.reverse()
        if len(first) % 2:
            continue  # every order has its reverse
        if len(first) >= rounds if rounds else enough(first, second, time.monotonic() - started > seconds):
            return taken


def enough(theirs: Sequence[float], ours: Sequence[float], late: bool) -> bool:
    """Whether more rounds would tell no more, or may not be taken."""
    return len(theirs) >= FEWEST and (late or stats.ratio(theirs, ours).width < CLEAR)
