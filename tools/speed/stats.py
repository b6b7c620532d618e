# SPDX-License-Identifier: MIT
"""What a set of rounds says: the ratio of medians, how sure that is, and the ratio of the best rounds."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

#: Resamplings for an interval: 2.5 % of 400 are 10 values at each end, which moves the ends by less than we round to.
RESAMPLINGS = 400


class Ratio(NamedTuple):
    """How many times as fast as the standard module. The true ratio lies within low..high 19 times out of 20."""

    middle: float
    low: float
    high: float
    best: float

    @property
    def width(self) -> float:
        """Half of the interval, as a part of the ratio: 0.1 is plus or minus 10 %."""
        return math.sqrt(self.high / self.low) - 1


def median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> Ratio:
    """Compare seconds per operation of rounds taken in turn: theirs[i] and ours[i] were neighbours in time."""
    dice = random.Random(2026)  # the same rounds shall always give the same interval
    count, seen = len(theirs), []
    for _ in range(RESAMPLINGS):
        chosen = dice.choices(range(count), k=count)
        seen.append(median([theirs[i] for i in chosen]) / median([ours[i] for i in chosen]))
    seen.sort()
    cut = RESAMPLINGS // 40
    return Ratio(median(theirs) / median(ours), seen[cut], seen[-1 - cut], min(theirs) / min(ours))
