# SPDX-License-Identifier: MIT
"""What a set of rounds says: the ratio, how sure it is, and the ratio of the best rounds. bench.py says why this way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

#: Standard deviations that 95 of 100 outcomes are within.
SURE = 1.96

#: A round that was at work, or waiting for a core that others used, for so much of its time was not asleep.
AWAKE = (0.9, 1.1)

#: The ratios by the two clocks must not contradict each other by more than this.
AGREED = 0.05


class Round(NamedTuple):
    """Seconds per operation by three clocks.

    On the wall, of the processor for this process (0 where the workload has measured its own time), and those that the main
    thread stood in the queue for a core.
    """

    wall: float
    cpu: float
    queued: float = 0.0


class Ratio(NamedTuple):
    """How many times as fast as the standard module. The true middle lies within low..high 19 times out of 20."""

    middle: float
    low: float
    high: float
    best: float
    of_medians: float
    clock: str

    @property
    def width(self) -> float:
        """Half of the interval, as a part of the ratio: 0.1 is plus or minus 10 %."""
        return math.sqrt(self.high / self.low) - 1


def median(values: Sequence[float]) -> float:
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def compare(theirs: Sequence[Round], ours: Sequence[Round], one_core: bool) -> Ratio:
    """By processor time where that may stand for the time on the wall, else by the latter."""
    wall = _ratio([each.wall for each in theirs], [each.wall for each in ours], "wall")
    if not all(_never_asleep(side, one_core) for side in (theirs, ours)):
        return wall
    cpu = _ratio([each.cpu for each in theirs], [each.cpu for each in ours], "cpu")
    agreed = wall.low * (1 - AGREED) <= cpu.middle <= wall.high * (1 + AGREED)
    return cpu if agreed else wall


def _never_asleep(rounds: Sequence[Round], one_core: bool) -> bool:
    """On one core the queues of several threads overlap: there, only the agreement of the clocks can tell."""
    if one_core:
        return all(each.cpu > 0 for each in rounds)
    return AWAKE[0] <= median([(each.cpu + each.queued) / each.wall for each in rounds]) <= AWAKE[1]


def _ratio(theirs: Sequence[float], ours: Sequence[float], clock: str) -> Ratio:
    """Rounds were taken as A B B A: theirs[i] and ours[i] are neighbours in time, i and i+1 are a block."""
    blocks = sorted(
        (theirs[i] + theirs[i + 1]) / (ours[i] + ours[i + 1]) for i in range(0, len(theirs) - 1, 2)
    )
    # How many of n values are below their true median is a toss of n coins, whatever the values look like.
    outside = max(0, math.floor((len(blocks) - SURE * math.sqrt(len(blocks))) / 2))
    return Ratio(
        median(blocks),
        blocks[outside],
        blocks[-1 - outside],
        min(theirs) / min(ours),
        median(theirs) / median(ours),
        clock,
    )
