# SPDX-License-Identifier: MIT
# The scheduler: looks at the first pending event, waits for it, takes it, calls it.
#
# Always true
#   - an event is called by whoever took it off the agenda, after taking it; so it is called at most once, is not
#     pending while it runs, and an exception out of it leaves the others as they were.
#   - enter and cancel take no lock, so they may come from any thread, any action, any signal handler or finaliser,
#     also one that interrupted run(), enter() or cancel().
#
# Waiting
#   With the default `delayfunc`, time.sleep, run() waits on a lock of its own, its nap, for just as long as it would
#   have slept. To miss nothing it announces the nap and then looks at the agenda once more; enter and cancel change
#   the agenda and then look for naps. Whichever comes second sees the other. A nap is ended early by an event that
#   comes before the one it waits for and by the cancellation of that one; then run() starts over.
#
#   Any other `delayfunc` is a black box that may advance a simulated clock, or run an event loop. It gets just the
#   calls that the standard module makes: the time still to go, then, as the documentation has it, 0 after each
#   action. What is entered or cancelled meanwhile counts when it returns: it cannot be woken by us.
#
#   time.monotonic never goes back, so it need not be asked again while its last answer was late enough for the next
#   event. Any other `timefunc` is asked once for each event and each wait, because asking it may be what makes it
#   move.
#
# Fork
#   In the child the naps of other threads are never slept to the end, and ending one early is harmless.

from __future__ import annotations

import time
from itertools import count

from .._thread import TIMEOUT_MAX, allocate_lock
from ._agenda import Agenda
from ._event import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

__all__ = ["scheduler"]

_make = tuple.__new__
_NONE_GIVEN: Any = object()  # as default for kwargs: each event gets a dict of its own


class Nap:
    """The sleep of one run() until one event is due."""

    __slots__ = ("alarm", "event")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.alarm = allocate_lock()
        self.alarm.acquire()

    def end(self) -> None:
        """Wake the sleeper; ending it twice is harmless."""
        try:
            self.alarm.release()
        except RuntimeError:
            pass  # over already


class scheduler:  # noqa: N801 - the standard module's name
    """Calls events at their times, in the thread that calls `run`.

    *timefunc* tells the time in any unit; *delayfunc* waits for so many of these units, and is called with 0 after
    each action, so that other threads may run.

    Events may be entered and cancelled by any thread, by actions, signal handlers and finalisers. Several threads may
    `run` the same scheduler: each event is called once. Usable in the child of an `os.fork()`.

    Differs from the standard `sched.scheduler`: `cancel` takes constant time; and with the default *delayfunc*,
    `run` does not sleep through an earlier event that is entered meanwhile, nor for one that is cancelled.
    """

    def __init__(
        self,
        timefunc: Callable[[], Any] = time.monotonic,
        delayfunc: Callable[[Any], object] = time.sleep,
    ) -> None:
        self.timefunc = timefunc
        self.delayfunc = delayfunc
        self._agenda = Agenda()
        self._numbers = count()
        self._naps: list[Nap] = []

    def enterabs(
        self,
        time: Any,
        priority: Any,
        action: Callable[..., Any],
        argument: Sequence[Any] = (),
        kwargs: Mapping[str, Any] = _NONE_GIVEN,
    ) -> Event:
        """Have *action* called, as `action(*argument, **kwargs)`, when *timefunc* has reached *time*.

        Of events for the same time the one with the lowest *priority* goes first, then the one entered first.
        Returns the event, which is what `cancel` takes. Never waits; a sleeping `run` wakes if this event is before
        the one it waits for.
        """
        number = next(self._numbers)
        event = _make(
            Event, (time, priority, number, action, argument, {} if kwargs is _NONE_GIVEN else kwargs)
        )
        agenda = self._agenda
        agenda.pending[number] = event
        agenda.arrivals.append(event)
        if self._naps:
            for nap in self._naps.copy():
                if event < nap.event:
                    nap.end()
        return event

    def enter(
        self,
        delay: Any,
        priority: Any,
        action: Callable[..., Any],
        argument: Sequence[Any] = (),
        kwargs: Mapping[str, Any] = _NONE_GIVEN,
    ) -> Event:
        """Have *action* called *delay* units of time from now. All else is as in `enterabs`."""
        return self.enterabs(self.timefunc() + delay, priority, action, argument, kwargs)

    def cancel(self, event: Event) -> None:
        """Have *event* not called. It must be pending: else, if it is being run, has been, or was cancelled,
        `ValueError`.

        Never waits, in whatever thread; wakes a `run` that sleeps until this very event. Takes constant time.
        """
        agenda = self._agenda
        try:
            pending = agenda.pending[event.sequence] == event and agenda.take(event)
        except (AttributeError, KeyError, TypeError):
            pending = False
        if not pending:
            raise ValueError(f"cannot cancel {event!r}: it is not pending in {self!r}")
        if self._naps:
            for nap in self._naps.copy():
                if nap.event.sequence == event.sequence:
                    nap.end()
        agenda.forget()

    def empty(self) -> bool:
        """Whether no event is pending."""
        return not self._agenda.pending

    @property
    def queue(self) -> list[Event]:
        """The pending events, in the order in which they would be called: a new list each time."""
        return sorted(self._agenda.pending.copy().values())

    def run(self, blocking: bool = True) -> Any:
        """Call the pending events at their times, one after another, until none is pending.

        If *blocking* is false, call only those that are due, and return the time still to go until the next one, or
        None.

        Actions may enter and cancel events. An exception out of an action, or of *delayfunc*, goes to the caller; the
        event is not pending any more, respectively still is, and a new `run` goes on where this one ended. Events
        that are late are called, never dropped.
        """
        agenda, timefunc, delayfunc = self._agenda, self.timefunc, self.delayfunc
        steady = timefunc is time.monotonic
        ours = delayfunc is time.sleep
        now: Any = None
        first, pending = agenda.first, agenda.pending
        while True:
            event = first()
            if event is None:
                return None
            at, _, number, action, argument, kwargs = event
            if now is None or not steady or now < at:
                now = timefunc()
                if now < at:
                    to_go = at - now
                    if not blocking:
                        return to_go
                    if ours:
                        self._nap(event, to_go)
                    else:
                        delayfunc(to_go)
                    continue
            if pending.pop(number, None) is not None:  # nobody else has taken it
                if kwargs:
                    action(*argument, **kwargs)
                else:
                    action(*argument)
                delayfunc(0)

    def _nap(self, event: Event, seconds: float) -> None:
        """Sleep until *event* is due or *seconds* are over, unless it stops being the first pending event before."""
        nap = Nap(event)
        try:
            self._naps.append(nap)
            if self._agenda.first() is event:
                nap.alarm.acquire(True, min(seconds, TIMEOUT_MAX))
        finally:
            try:
                self._naps.remove(nap)
            except ValueError:
                pass  # interrupted before it was in
