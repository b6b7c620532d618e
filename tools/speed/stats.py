# SPDX-License-Identifier: MIT
"""What a set of rounds says: the ratio, how sure it is, and the ratio of the best rounds. bench.py says why this way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

#: Standard deviations that 95 of 100 outcomes are within.
SURE = 1.96

#: A round that was at work, or in the queue for a core, for so much of its time was not asleep.
AWAKE = (0.9, 1.1)

#: Of fewer blocks no interval can be sure: the chance that all lie on one side of the true median is above 5 %.
FEWEST = 6

#: How many more rounds of one of two may be short of work, of all of them, before it must have slept there.
DOZED = 0.2

#: By how much more one of two may be off its core, in the middle of rounds taken in turn, before it must have slept.
SLEPT = 1.25

#: By how much the ratios by two clocks may miss each other and still be said to agree.
AGREED = 0.05


class Round(NamedTuple):
    """Seconds per operation by three clocks.

    On the wall, of the processor for this process (0 where the workload has measured its own time), and those that the
    main thread stood in the queue for a core.
    """

    wall: float
    cpu: float
    queued: float = 0.0

    @property
    def undisturbed(self) -> float:
        """About what it would have taken on an idle machine."""
        return max(self.cpu, self.wall - self.queued)


class Ratio(NamedTuple):
    """How many times as fast as the standard module. The true middle lies within low..high 19 times out of 20."""

    middle: float
    low: float
    high: float
    best: float
    of_medians: float
    clock: str
    blocks: int

    @property
    def width(self) -> float:
        """Half of the interval, as a part of the ratio: 0.1 is plus or minus 10 %. Infinite if there are too few blocks."""
        if self.blocks < FEWEST:
            return math.inf
        return math.sqrt(self.high / self.low) - 1


def median(values: Sequence[float]) -> float:
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def compare(
    theirs: Sequence[Round], ours: Sequence[Round], one_core: bool, one_thread: bool = False
) -> Ratio:
    """By processor time where that may stand for the time on the wall, else by the latter.

    *one_thread*: there is certainly only one, so what it stood in the queue can be taken from the time on the wall.
    """
    if one_thread:
        return _ratio(
            [each.undisturbed for each in theirs], [each.undisturbed for each in ours], "without queues"
        )
    wall = _ratio([each.wall for each in theirs], [each.wall for each in ours], "wall")
    if any(each.cpu <= 0 for each in (*theirs, *ours)):
        return wall
    cpu = _ratio([each.cpu for each in theirs], [each.cpu for each in ours], "cpu")
    if not one_core:
        # Whatever else may stop a process (the host took the core) stops neighbours in time alike.
        alike = abs(_dozed(theirs) - _dozed(ours)) <= DOZED
        return cpu if alike and _awake(theirs) and _awake(ours) else wall
    # The queues of several threads overlap, so they cannot be subtracted. But a round that had the core for itself shows
    # whether there is any sleep; and where none had, ratios that agree are no worse for it. One that sleeps in most rounds
    # and not in all is shown by the other, whose rounds in between meet the same crowd.
    shares = [[each.cpu / each.wall for each in side] for side in (theirs, ours)]
    middle = sorted(map(median, shares))
    alone = all(max(share) >= AWAKE[0] for share in shares) and middle[1] <= SLEPT * middle[0]
    agreed = wall.low * (1 - AGREED) <= cpu.middle <= wall.high * (1 + AGREED)
    return cpu if alone or agreed else wall


def _awake(rounds: Sequence[Round]) -> bool:
    """Whether a single thread did nothing but work and stand in a queue for a core."""
    return AWAKE[0] <= median([(each.cpu + each.queued) / each.wall for each in rounds]) <= AWAKE[1]


def _dozed(rounds: Sequence[Round]) -> float:
    """In what part of its rounds a single thread was neither at work nor in a queue for some of the time."""
    return sum(each.cpu + each.queued < AWAKE[0] * each.wall for each in rounds) / len(rounds)


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
        len(blocks),
    )
