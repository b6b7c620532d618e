# SPDX-License-Identifier: MIT
# Events that repeat, without drift, and what becomes of those that are missed.
#
# The n-th call is due at start + n * interval. The number n is counted, not the time, so that errors of rounding do not
# add up, and an action that takes long, or a late wake-up, does not shift those to come.
#
# Calls are missed while an action takes longer than the interval, nothing runs the scheduler, or the machine is
# suspended. The words for what to do then, misfire, coalesce and grace, are those of APScheduler; `catch_up`,
# `coalesce` and `skip` correspond to Burst, Skip and (with a grace) to nothing in tokio's MissedTickBehavior. In terms of
# the calls that are due at this moment, oldest first:
#
#   1. those that are late by more than the grace are dropped;
#   2. of what is left, `coalesce` and `skip` drop all but the newest, `catch_up` none;
#   3. the oldest that is left is called, and the next event is the one after it.
#
# Without a grace rule 1 drops nothing; `skip` always has one, by default half an interval: its calls are never nearer to
# another call's time than to their own.

from __future__ import annotations

from .._thread import get_ident
from ._standing import Standing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Literal

    from ._scheduler import scheduler

    Misfire = Literal["catch_up", "coalesce", "skip"]

__all__ = ["POLICIES", "RepeatingEvent"]

UNLIMITED = float("inf")
POLICIES = ("catch_up", "coalesce", "skip")


class RepeatingEvent(Standing):
    """What `scheduler.every` returns: an action that is called at regular times until it is cancelled.

    Hand it to `scheduler.cancel`, or call its `cancel()`, in any thread, signal handler, finaliser, or the action itself.
    `interval`, `misfire` and `grace` are what it was made with, and not to be changed. `missed` counts the calls that were
    left out because they were late; a coalesced call counts for itself and not for the others for which it stands.
    """

    __slots__ = ("_number", "_start", "grace", "interval", "misfire", "missed")

    def __init__(
        self,
        scheduler: scheduler,
        interval: Any,
        priority: Any,
        action: Callable[..., Any],
        argument: Sequence[Any],
        kwargs: Mapping[str, Any],
        start: Any,
        misfire: Misfire,
        grace: Any,
    ) -> None:
        try:
            passes = interval > interval - interval and start + interval > start
        except ArithmeticError:
            passes = False  # Decimal("NaN")
        if not passes:
            raise ValueError(
                "interval must be positive, finite, and such that the clock can tell it (and a delay, if given, finite), "
                f"not {interval!r}, first at {start!r}"
            )
        if misfire not in POLICIES:
            raise ValueError(f"misfire must be one of {', '.join(map(repr, POLICIES))}, not {misfire!r}")
        try:
            in_time = grace is None or grace >= interval - interval
        except TypeError as problem:
            raise TypeError(
                f"grace must be something that can be compared with the interval {interval!r}, or None, not {grace!r}"
            ) from problem
        except ArithmeticError:
            in_time = False
        if not in_time:
            raise ValueError(f"grace must not be negative, not {grace!r}; without one, no call is too late")
        super().__init__(scheduler, scheduler._repeating_, priority, action, argument, kwargs)
        self.interval = interval
        self.misfire: Misfire = misfire
        if grace is None and misfire == "skip":
            grace = interval / 2
        self.grace = None if grace == UNLIMITED else grace
        self.missed = 0
        self._start = start
        self._number = 0

    def __repr__(self) -> str:
        event = self.event
        when = "over" if self.over() else "being called" if event is None else f"next at {event.time!r}"
        return f"<{type(self).__name__} of {self.action!r} every {self.interval!r}, {when}>"

    def __call__(self, *argument: Any, **kwargs: Any) -> Any:
        """For the scheduler: it has come up."""
        if self not in self._register:
            return None  # cancelled when it had been taken off the agenda already
        me, number, missed = get_ident(), self._number, self.missed
        try:
            self._busy[me] = None
            on_time = self._advance(self._scheduler.timefunc())
            self._enter(self._next_time())
        except BaseException:
            if me in self._busy:  # the next one was not entered
                self._number, self.missed = number, missed
                if self.event is None:
                    self._enter(self._next_time())
            else:
                self._go_back(number, missed)
            raise
        return self.action(*argument, **kwargs) if on_time else None

    def _go_back(self, number: int, missed: int) -> None:
        """Struck when the next event was entered, and before the action has begun: have the same call come up again.

        Unless another thread that runs the scheduler has that next event already; then this call is one that was missed.
        """
        if self.event is None:
            self.missed += 1
        else:
            self._number, self.missed = number, missed
            self._move(self._next_time())

    def _advance(self, now: Any) -> bool:
        """Whether a call is to be made now; and set the number of the next."""
        number, newest = self._number, self._newest(now)
        if self.misfire == "catch_up":
            called = number if self.grace is None else max(number, self._first_within_grace(now, newest))
        else:
            called = newest
        if self.grace is not None and now - self._due(called) > self.grace:
            called += 1
            on_time = False
        else:
            on_time = True
        self.missed += called - number
        self._number = called + on_time
        return on_time

    def _next_time(self) -> Any:
        return self._due(self._number)

    def _due(self, number: int) -> Any:
        return self._start + number * self.interval

    def _newest(self, now: Any) -> int:
        """The number of the last call that is due."""
        number = self._number
        try:
            newest = max(number, int((now - self._start) // self.interval))
        except (ValueError, ArithmeticError) as problem:
            raise ValueError(
                f"{self!r} cannot go on: {self._scheduler.timefunc!r} has returned {now!r}, from where no times can be "
                "counted"
            ) from problem
        # Division and multiplication round differently; far from the start, by more than one.
        step = 1
        while newest > number and self._due(newest) > now:
            newest -= step
            step *= 2
        return _last(lambda n: self._due(n) <= now, max(newest, number))

    def _first_within_grace(self, now: Any, newest: int) -> int:
        """The number of the first call that is late by no more than the grace; the newest if none is."""
        number = max(self._number, newest - int(self.grace // self.interval) - 1)
        if number < newest and now - self._due(number) > self.grace:
            number = min(newest, _last(lambda n: now - self._due(n) > self.grace, number) + 1)
        return number


def _last(holds: Callable[[int], bool], number: int) -> int:
    """The last number from *number* on for which it *holds*, where it does for none behind one for which it does not.

    By steps that double, and then halve: as far from its start as a clock can jump, a billion numbers may have one time.
    """
    step = 1
    while holds(number + step):
        number += step
        step *= 2
    while step > 1:
        step //= 2
        if holds(number + step):
            number += step
    return number
