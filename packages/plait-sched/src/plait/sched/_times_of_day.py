# SPDX-License-Identifier: MIT
# Events at times that the wall clock tells, on a scheduler whose own clock is another.
#
# The moment is fixed when the event is entered, as seconds since the epoch. How long that is from now is an estimate,
# true as long as nobody sets the wall clock and the machine is not suspended. So
#   - when the event comes up, it asks the wall clock, and if that is not there yet, comes up again later;
#   - the difference of the two clocks is remembered, and a run looks before each sleep, and when told of a jump
#     (see _naps.py), whether it is still the same; if not, all these events move on the agenda.
#
# A time of day without a zone is one of the local zone. In the hour that is repeated in autumn it is the first one,
# unless its `fold` is 1; one that is left out in spring is as much later as was left out, whatever its `fold`. But for that
# this is what the `datetime` module does (PEP 495), and it is what becomes of a `datetime` in any case.

from __future__ import annotations

from .._thread import get_ident
from ._standing import Standing

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from ._scheduler import scheduler

__all__ = ["WallClockEvent", "moment"]

#: Seconds by which the clocks may differ otherwise than before without anything being moved.
TOLERANCE = 0.001

#: So much before the moment is at the moment: floats that count from the epoch are hardly more precise.
MICROSECOND = 1e-6


class WallClockEvent(Standing):
    """What `scheduler.at` returns: an action that is called once, when the wall clock has reached a moment.

    Hand it to `scheduler.cancel`, or call its `cancel()`. `timestamp` is the moment, in seconds since the epoch.
    """

    __slots__ = ("timestamp",)

    def __init__(
        self,
        scheduler: scheduler,
        timestamp: float,
        priority: Any,
        action: Callable[..., Any],
        argument: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> None:
        super().__init__(scheduler, scheduler._by_wall_clock_, priority, action, argument, kwargs)
        self.timestamp = timestamp

    def __repr__(self) -> str:
        import datetime

        try:
            when = datetime.datetime.fromtimestamp(self.timestamp).astimezone().isoformat(" ")
        except (ValueError, OverflowError, OSError):  # no year that it knows
            when = f"{self.timestamp} seconds since the epoch"
        state = "over" if self.over() else "pending"
        return f"<{type(self).__name__} of {self.action!r} at {when}, {state}>"

    def __call__(self, *argument: Any, **kwargs: Any) -> Any:
        """For the scheduler: it has come up."""
        if self not in self._register:
            return None  # cancelled when it had been taken off the agenda already
        try:
            self._busy[get_ident()] = None
            if self._to_go() > MICROSECOND:
                self._enter(self._next_time())
                return None
            self._take_events()  # those that were entered when it moved, while it moves
        except BaseException:
            if self.event is None:
                self._enter(self._last_time())  # it will ask again
            raise
        try:
            del self._register[self]  # no call: from here to the action no signal can strike
        except KeyError:
            return None
        try:
            return self.action(*argument, **kwargs)
        finally:
            self._take_events()  # it may have moved in another thread at the last moment

    def _stands(self) -> None:
        self._scheduler._wake_all_()  # these need naps of another kind

    def _next_time(self) -> Any:
        return self._scheduler.timefunc() + self._to_go()

    def _last_time(self) -> Any:
        """When it came up last. For who must not fail, as clocks may."""
        return self._events[max(self._events)].time

    def _again(self) -> Any:
        return self._last_time()

    def _to_go(self) -> float:
        return self.timestamp - self._scheduler.wallclock()

    def _set_right(self) -> None:
        self._move(self._next_time())


def moment(when: datetime.datetime | datetime.time, now: float) -> float:
    """The seconds since the epoch at *when*; for a time of day, at the first such time after *now*."""
    import datetime

    if not isinstance(when, (datetime.datetime, datetime.time)):
        raise TypeError(
            f"at() takes a datetime.datetime or a datetime.time, not {when!r}; for a delay or a time of the "
            "scheduler's own clock use enter() or enterabs()"
        )
    try:
        if isinstance(when, datetime.datetime):
            return when.timestamp()
        day = datetime.datetime.fromtimestamp(now, when.tzinfo).date()
        while True:
            found = _on(day, when)
            # What is now has come up already, perhaps: its action may ask for the next.
            if found - now > MICROSECOND:
                return found
            day += datetime.timedelta(days=1)
    except (ValueError, OverflowError, OSError) as problem:
        raise ValueError(
            f"at() cannot tell how many seconds since the epoch {when!r} is, with the wall clock at {now!r}: {problem}; "
            "for what is never to come, enter nothing"
        ) from problem


def _on(day: datetime.date, when: datetime.time) -> float:
    import datetime

    there = datetime.datetime.combine(day, when)
    found = there.timestamp()
    if there.fold:
        shown = datetime.datetime.fromtimestamp(found, when.tzinfo)
        if shown.replace(tzinfo=None) != there.replace(tzinfo=None):
            # Left out on that day, where the `datetime` module takes a fold for "as much earlier".
            return there.replace(fold=0).timestamp()
    return found
