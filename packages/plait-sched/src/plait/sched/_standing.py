# SPDX-License-Identifier: MIT
# Standing events: what a scheduler keeps to, although its place on the agenda changes.
#
# A standing event is represented on the agenda by an ordinary Event at a time, whose action is the standing event
# itself. So nothing else need know of it: not the agenda, not the loops that run events. When that Event comes up, the
# standing event decides whether the user's action is to be called, and whether and when the next Event is to come.
#
# It stands as long as it is in a register of its scheduler's (a dictionary). Whoever pops it out of there has ended it:
# `cancel` of it or of its Event, `cancel_all`, or its last call. That is decided by this one operation.
#
# Always true
#   - An Event is entered in this order: it is made pending; it is noted in `_events`; if the standing event has been
#     ended meanwhile, it is taken back. Who ends a standing event pops it first, and takes what is noted second. So
#     however the two interleave, nothing of it stays pending when both have gone through.
#   - The next Event is pending before the action is called: an exception out of the action changes nothing, and an
#     action can end what called it. An exception before that (of a clock, or a signal handler) enters it again: who
#     has called it sees by the numbers in `_events` whether a later one than the Event taken was noted. Therefore those
#     that are gone are dropped after that, not before.
#   - What was changed on the way to an action that an exception has kept from beginning is changed back: a call that
#     was due comes up again.
#   - When it moves on the agenda, the new Event is pending before the old one is taken, so that no run finds the agenda
#     empty. For a moment both are, and both may come up: what is to be called once must see to that by the register.
#   - In the child of a fork, one whose Event had just been taken by another thread comes up anew.

from __future__ import annotations

from .._thread import get_ident
from ._event import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from ._repeating import RepeatingEvent
    from ._scheduler import scheduler
    from ._times_of_day import WallClockEvent

__all__ = ["Standing", "in_hand", "restore"]


class Standing:
    """What `RepeatingEvent` and `WallClockEvent` have in common."""

    __slots__ = ("_busy", "_events", "_register", "_scheduler", "action", "argument", "kwargs", "priority")

    def __init__(
        self,
        scheduler: scheduler,
        register: dict[Any, None],
        priority: Any,
        action: Callable[..., Any],
        argument: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> None:
        if not callable(action):
            raise TypeError(f"the action must be callable, not {action!r}")
        if not hasattr(argument, "__iter__") and not hasattr(argument, "__getitem__"):
            raise TypeError(
                f"argument must be a sequence of what {action!r} is to be called with, not {argument!r}"
            )
        if not hasattr(kwargs, "keys"):
            raise TypeError(
                f"kwargs must be a mapping of names to what {action!r} is to be called with, not {kwargs!r}"
            )
        self._scheduler = scheduler
        self._register = register
        self._events: dict[int, Event] = {}
        # The threads that have an Event that came up and have not entered the next one.
        self._busy: dict[int, None] = {}
        self.priority = priority
        self.action = action
        self.argument = argument
        self.kwargs = kwargs

    @property
    def event(self) -> Event | None:
        """The `Event` that is pending for it at this moment, as `scheduler.queue` shows it, or None.

        Its *action* is this object; cancelling it is cancelling this.
        """
        pending = self._scheduler._agenda_.pending
        return min((event for event in [*self._events.values()] if event.sequence in pending), default=None)

    def cancel(self) -> None:
        """Call the action no more: what `scheduler.cancel` of this does. ValueError if it is over already."""
        self._scheduler.cancel(self)

    def over(self) -> bool:
        """Whether the action will not be called any more: cancelled, or, if it was to be called once, called."""
        return self not in self._register

    def __call__(self, *argument: Any, **kwargs: Any) -> Any:
        """For the scheduler: an Event of it has come up."""
        raise NotImplementedError

    def _stand(self, time: Any) -> None:
        """Begin to stand, with an event at *time*; not if this is struck, for nobody would have it in hand."""
        try:
            self._register[self] = None
            self._enter(time)
            self._stands()
        except BaseException:
            try:
                self._end()
            except BaseException:  # two signals can be pending at once
                self._end()
                raise
            raise

    def _stands(self) -> None:
        """What else is to be done when it begins to stand."""

    def _enter(self, time: Any) -> None:
        """Have it come up at *time*."""
        scheduler, events, busy, me = self._scheduler, self._events, self._busy, get_ident()
        pending = scheduler._agenda_.pending
        event = scheduler._enter_event_(time, self.priority, self, self.argument, self.kwargs)
        events[event.sequence] = event
        busy.pop(me, None)  # its own entry only: another thread may have taken this event already
        if self not in self._register:
            # A run of another thread may have seen it, and sleep for it.
            scheduler._take_and_wake_(event)
        for number in [*events]:
            if number not in pending:
                events.pop(number, None)

    def _move(self, time: Any) -> None:
        """Have it come up at *time* instead of when it would."""
        before = [*self._events.values()]
        self._enter(time)
        for event in before:
            self._scheduler._take_and_wake_(event)

    def _resume(self) -> None:
        """In the child of a fork: if the thread in whose hands its Event was is not here, have it come up anew."""
        me = get_ident()
        for thread in [*self._busy]:
            if thread != me:
                self._busy.pop(thread, None)
        if not self._busy and self.event is None:
            self._enter(self._again() if self._events else self._next_time())

    def _next_time(self) -> Any:
        """When it should come up, as far as is known."""
        raise NotImplementedError

    def _again(self) -> Any:
        """When to come up if an Event of it was taken, and it had not done with that."""
        return self._next_time()

    def _end(self) -> bool:
        """Stand no longer. False if somebody was quicker."""
        try:
            del self._register[self]
        except KeyError:
            return False
        try:
            self._take_events()
        except BaseException:
            try:
                self._take_events()
            except BaseException:  # two signals can be pending at once
                self._take_events()
                raise
            raise
        return True

    def _take_events(self) -> None:
        for event in [*self._events.values()]:
            # Also if it is gone: this may have been struck between the two.
            self._scheduler._agenda_.take(event)
            self._scheduler._wake_from_(event.sequence)

    def _restore(self, event: Event) -> None:
        """If *event* was taken, and struck before a later one was noted, have this come up anew."""
        number, pending = event[2], self._scheduler._agenda_.pending
        if self in self._register and max(self._events, default=None) == number and number not in pending:
            self._enter(self._again())
        self._busy.pop(get_ident(), None)


def in_hand(event: Event) -> Event | RepeatingEvent | WallClockEvent:
    """What the user got when this was entered: if it stands for something, that."""
    entered: Any = event.action if isinstance(event.action, Standing) else event
    return entered  # type: ignore[no-any-return]


def restore(event: Event) -> bool:
    """After an exception out of the call of an event: if that stands, see to it that it comes up again.

    Say whether that is for the same call, because the action had not begun: something else has failed, or was struck.
    """
    standing = event.action
    if not isinstance(standing, Standing):
        return False
    standing._restore(event)
    again = standing.event
    return again is not None and bool(again.time <= event.time)
