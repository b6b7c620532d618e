# SPDX-License-Identifier: MIT
# Naps: how a run waits for an event, so that others can end the wait.
#
# A nap is one wait. It is made, then announced in the scheduler's list of naps, then the sleeper looks once more at
# all that it depends on (the agenda, a stop, the wall clock), then it sleeps. Whoever changes one of these makes the
# change first and looks at the announced naps second. Whichever comes second sees the other; no lock is held.
#
# Guarantees
#   - end() before sleep() is remembered: sleep() then returns at once.
#   - end() never blocks and raises nothing, however often it is called, in any thread or signal handler, also one that
#     interrupts the sleeper, and also when the sleeper has left long ago.
#   - sleep() may return early. Who sleeps looks again, with a nap of its own each time: one end() is all that a nap needs.
#
# A thread sleeps on a Parker (`ParkedSleep`). A `ClockSleep` is for events of clocks that move while the monotonic one
# stands still: it sleeps in poll() on up to three descriptors, one to ring, one that becomes readable when the time has
# come, and one when the wall clock jumps. None of them is ever read: each serves one nap. They are closed when the nap is
# freed and not when the sleeper leaves, for somebody may be about to ring, and the number might be another file's by
# then; where there are such descriptors (CPython on Linux) things are freed at once. In the child of a fork they are
# closed by `abandon`. A `Delay` is a user's own delayfunc that can be ended by the user's own wakefunc. Tasks of event
# loops have naps of their own kinds, in _async.py.

from __future__ import annotations

import os
import time
from functools import partial
from itertools import starmap

from .._thread import Parker, get_ident
from . import _clocks
from ._event import Event, raised_here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["ClockSleep", "Delay", "Nap", "ParkedSleep", "Sleep", "sleep_for"]

# Of a timer that is only there to be cancelled: in the year 2255, which Python can represent in nanoseconds.
FAR_AWAY = 9e9


class Nap:
    """A wait until *event* is due, or, if that is None, until some event is entered."""

    __slots__ = ("event", "thread")

    def __init__(self, event: Event | None) -> None:
        self.event = event
        self.thread = get_ident()

    def end(self) -> None:
        """Wake the sleeper."""
        raise NotImplementedError

    def abandon(self) -> None:
        """In the child of a fork, where the sleeper is not: let go what it holds."""


class Sleep(Nap):
    """A wait that a thread sleeps through."""

    __slots__ = ()

    def sleep(self, seconds: Any) -> None:
        """Sleep so long, or (None) until `end()`."""
        raise NotImplementedError


class ParkedSleep(Sleep):
    """The ordinary one."""

    __slots__ = ("_parker",)

    def __init__(self, event: Event | None) -> None:
        super().__init__(event)
        self._parker = Parker()

    def sleep(self, seconds: float | None) -> None:
        self._parker.park(seconds)

    def end(self) -> None:
        self._parker.unpark()


class ClockSleep(Sleep):
    """One that also ends when the wall clock jumps, and, with *boot*, whose seconds go on during suspend.

    OSError if the system gives no descriptors.
    """

    __slots__ = ("_bell", "_timers")

    def __init__(self, event: Event | None, boot: bool, wall: bool) -> None:
        self._timers: list[int] = []
        self._bell: int | None = None
        super().__init__(event)
        timers = self._timers
        # Made and stored with no place between at which an exception of a signal handler could strike: the steps of a
        # `for`, and what is added to a list, are no calls.
        for self._bell in starmap(os.eventfd, ((0, os.EFD_CLOEXEC | os.EFD_NONBLOCK),)):
            break
        timers += map(_timer(), (time.CLOCK_BOOTTIME if boot else time.CLOCK_MONOTONIC,))
        if wall:
            timers += map(_timer(), (time.CLOCK_REALTIME,))
            os.timerfd_settime(  # type: ignore[attr-defined, unused-ignore]
                timers[1],
                flags=os.TFD_TIMER_ABSTIME | os.TFD_TIMER_CANCEL_ON_SET,  # type: ignore[attr-defined, unused-ignore]
                initial=FAR_AWAY,
            )

    def sleep(self, seconds: float | None) -> None:
        from select import POLLIN, poll  # only here is it needed

        if self._bell is None:
            return
        if seconds is not None:
            # Zero would disarm it.
            os.timerfd_settime(self._timers[0], initial=min(max(seconds, 1e-9), FAR_AWAY))  # type: ignore[attr-defined, unused-ignore]
        waiting = poll()
        for descriptor in (self._bell, *self._timers):
            waiting.register(descriptor, POLLIN)
        waiting.poll()

    def end(self) -> None:
        bell = self._bell
        if bell is not None:
            try:
                os.eventfd_write(bell, 1)
            except OSError as error:  # so often rung that it cannot count further; in any case it is readable
                if not raised_here(error):
                    raise

    def abandon(self) -> None:
        # It may have been struck before it had any.
        bell, timers = getattr(self, "_bell", None), getattr(self, "_timers", ())
        self._bell, self._timers = None, []
        for descriptor in (*timers, bell):
            if descriptor is not None:
                os.close(descriptor)

    __del__ = abandon


class Delay(Sleep):
    """A user's delayfunc, and the function that ends it."""

    __slots__ = ("_delayfunc", "_wakefunc")

    def __init__(
        self, event: Event | None, delayfunc: Callable[[Any], object], wakefunc: Callable[[], object]
    ) -> None:
        super().__init__(event)
        self._delayfunc = delayfunc
        self._wakefunc = wakefunc

    def sleep(self, seconds: Any) -> None:
        self._delayfunc(seconds)

    def end(self) -> None:
        self._wakefunc()


def sleep_for(event: Event | None, boot: bool, wall: bool, told: bool) -> tuple[Sleep, float | None]:
    """A nap for an event of such clocks, and how many seconds it may sleep at most before it has to look again.

    *told* says whether the system's wall clock is the only one that matters.
    """
    if not (boot or wall):
        return ParkedSleep(event), None
    if _clocks.can_be_told_of_jumps:
        try:
            return ClockSleep(event, boot, wall), None if told else _clocks.LOOK_AGAIN
        except OSError as error:
            if error.errno is None:  # a signal handler's TimeoutError, say
                raise
            # Out of descriptors, or forbidden: then as on other systems.
    return ParkedSleep(event), _clocks.LOOK_AGAIN


def _timer() -> Callable[[int], int]:
    """What makes one of a clock."""
    return partial(os.timerfd_create, flags=os.TFD_CLOEXEC | os.TFD_NONBLOCK)  # type: ignore[attr-defined, unused-ignore]
