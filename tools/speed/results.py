# SPDX-License-Identifier: MIT
"""What came of a workload: the figures behind a row of the table, and what they are called."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from . import stats
from .contestants import PLAIT, SECOND
from .workloads import Workload

#: An interval of plus or minus more than this is too wide to tell anything finer by.
NOISY = 0.10

#: Two copies of the same implementation are the same as far as this instrument can see if they are within this.
SAME = 0.10

MEASURED, ABSENT = "measured", "absent"


@dataclasses.dataclass(frozen=True)
class Row:
    """One workload. Ratios are times as fast as the standard module, or as the first of two copies."""

    area: str
    name: str
    status: str
    reason: str = ""
    said: str = ""  # what a workload that failed wrote: its traceback or its stacks
    note: str = ""
    floor: float | None = None
    goal: float | None = None
    rounds: int = 0
    per_second: float = 0.0
    rival: str = PLAIT
    ratios: Mapping[str, stats.Ratio] = dataclasses.field(default_factory=dict)
    free: stats.Ratio | None = None
    bound: str = ""
    refused: Mapping[str, str] = dataclasses.field(default_factory=dict)
    others: float | None = None
    raw: Mapping[str, Sequence[Sequence[float]]] = dataclasses.field(default_factory=dict)

    @property
    def ratio(self) -> stats.Ratio | None:
        """Of plait, or of the second copy."""
        return self.ratios.get(self.rival)

    @property
    def peers(self) -> dict[str, stats.Ratio]:
        """Fastest first."""
        strangers = {k: v for k, v in self.ratios.items() if k not in (self.rival, self.bound)}
        return dict(sorted(strangers.items(), key=lambda item: -item[1].middle))

    @property
    def noisy(self) -> bool:
        return self.ratio is not None and self.ratio.width > NOISY

    @property
    def verdict(self) -> str:
        """In a word."""
        if self.ratio is None:
            return self.status
        if self.rival == SECOND:
            if 1 - SAME <= self.ratio.middle <= 1 + SAME:
                return "same"
            outside = self.ratio.low > 1 + SAME or self.ratio.high < 1 - SAME
            return "differs" if outside and not self.noisy else "unclear"
        if self.goal is not None and self.ratio.middle >= self.goal:
            return "goal"
        if self.floor is None:
            return "-" if self.goal is None else "below goal"
        return "floor" if self.ratio.middle >= self.floor else "below floor"

    @property
    def remarks(self) -> list[str]:
        """What has to be said beside the figures."""
        said = [self.reason] if self.reason else []
        if self.noisy:
            said.append("noisy")
        if self.rival == PLAIT and self.ratio:
            said += [f"behind {name}" for name, peer in self.peers.items() if peer.middle > self.ratio.middle]
        said += [f"{name}: {reason}" for name, reason in self.refused.items()]
        return [*said, self.note] if self.note and self.rival == PLAIT else said

    def as_json(self) -> dict[str, Any]:
        """The row with everything that follows from it."""
        plain = dataclasses.asdict(self)
        plain["ratios"] = {label: ratio._asdict() for label, ratio in self.ratios.items()}
        plain["free"] = self.free._asdict() if self.free else None
        return {**plain, "verdict": self.verdict, "noisy": self.noisy}


def row(area: str, workload: Workload, answer: Mapping[str, Any], same: bool) -> Row:
    """Make a row of the answer of a child."""
    about: dict[str, Any] = {
        "area": area,
        "name": workload.name,
        "note": workload.note,
        "floor": workload.floor,
        "goal": workload.goal,
        "rival": SECOND if same else PLAIT,
    }
    if answer["status"] != MEASURED:
        return Row(**about, status=answer["status"], reason=answer["reason"], said=answer.get("said", ""))
    taken, free = (
        {label: [stats.Round(*each) for each in rounds] for label, rounds in answer[which].items()}
        for which in ("rounds", "free")
    )
    (_, base), *others = taken.items()
    ours = [*free.values()][:2]
    ratios = {
        label: stats.compare(base, rounds, workload.hand_over, workload.one_thread)
        for label, rounds in others
    }
    by_cpu = ratios[about["rival"]].clock != "wall"
    return Row(
        **about,
        status=MEASURED,
        rounds=len(base),
        per_second=1 / stats.median([each.undisturbed if by_cpu else each.wall for each in base]),
        ratios=ratios,
        free=stats.compare(ours[0], ours[1], False) if ours else None,
        bound=workload.bound[0] if workload.bound else "",
        refused=answer["refused"],
        others=answer["others"],
        raw=answer["rounds"],
    )


def count(rows: Sequence[Row]) -> dict[str, int]:
    """How many rows have which verdict, in the order that matters."""
    order = ("goal", "floor", "below goal", "below floor", "same", "unclear", "differs", "-", ABSENT)
    found = [row.verdict for row in rows]
    known = {verdict: found.count(verdict) for verdict in order if verdict in found}
    return {**known, **{verdict: found.count(verdict) for verdict in found if verdict not in order}}


def summary(rows: Sequence[Row]) -> str:
    """The closing line."""
    named = {"-": "without a goal", "goal": "at the goal", "floor": "at the floor"}
    counts = ", ".join(f"{n} {named.get(verdict, verdict)}" for verdict, n in count(rows).items())
    noisy = sum(row.noisy for row in rows)
    return f"{len(rows)} workloads: {counts}" + (f"; {noisy} of them noisy" if noisy else "")


def failed(rows: Sequence[Row]) -> list[Row]:
    """Those that died or hung."""
    return [row for row in rows if row.status not in (MEASURED, ABSENT)]
