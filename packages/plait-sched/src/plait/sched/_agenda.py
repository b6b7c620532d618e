# SPDX-License-Identifier: MIT
# The agenda: which events are pending, and which of them are next.
#
# Theory
#   `pending` (a dict, sequence number -> event) is the truth. An event is pending while it is in there, and whoever
#   pops it out of there, to run it or to cancel it, is the only one who does. Single dict operations: no lock, no
#   matter which thread or signal handler they come from.
#
#   Everything else is an index that may lag behind the truth and is corrected when it is read:
#     `arrivals`   events entered since somebody last looked, unordered;
#     `_ordered`   a list sorted backwards, the next event last: many arrivals at a time go here by one sort, which
#                  Python's merge sort does in nearly linear time, since most of it is in order already;
#     `_heap`      few arrivals at a time go here.
#   Events that are not pending any more are dropped from the index when they come to the front, or all at once when
#   they outnumber the others; the latter costs each cancellation a constant share.
#
#   `upcoming` shows the next events, several at a time if asked, because a look at the index costs more than an event.
#   What it shows is true until something earlier is entered. So whoever works through it looks, between two events,
#   whether there are arrivals, and then whether `drained` has changed. Who sorts arrivals in counts `drained` up first
#   and removes them second. So an arrival is seen in one place or the other.
#
# Whoever does not get the index
#   The index is rearranged under a lock, which is held for no longer than that takes, unless it is held up: by a signal
#   handler that strikes meanwhile, or in the comparison of some exotic time, and there waits for another thread to end
#   (`join`), or runs the scheduler itself for long. So nobody waits for the lock for long.
#     - `cancel` does not wait at all. It says in `_overdue` that there is something to forget, and tries to get the lock
#       second. Who releases it looks at `_overdue` after that. One of the two sees the other.
#     - A look waits for PATIENCE, and then says so in `_given_up`. Until somebody gets the lock no other look waits either.
#     - Who holds the lock already, being such a handler or comparison, must not touch the half-done index.
#   Who thus cannot look at the index looks at the truth: it finds the smallest pending event by comparing all. That takes
#   longer, and rearranges nothing. It is shown one event at a time, so that it need not know what is drained meanwhile:
#   an event that is entered after it has looked is seen when it looks again, or (see _naps.py) ends its sleep.
#
# Interruptions
#   Entering an event (into `pending`, then into `arrivals`) and `take` are safe anywhere. If an exception out of a
#   handler ends a rearrangement, or a fork in another thread freezes it half-done, the index is built anew from the
#   truth the next time.
#
#   A signal handler's exception must not leave the lock held: all would look at the truth for ever. So who holds it after
#   an exception, and did not before, releases it. No `return` leaves what does so: on PyPy (8.0) an exception that strikes
#   at that moment is lost in a TypeError, or the lock is not released. Should `_rearranging` stay set after all, whoever
#   next has the lock knows that nobody is at work.
#
# Without a global lock: every operation above is one operation on one built-in container.

from __future__ import annotations

from heapq import heappop, heappush, heapreplace

from .._thread import RLock, register_after_fork, reset_lock
from ._event import INCOMPARABLE, Event, raised_here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Agenda"]

# A guess, a little above where heap pushes begin to cost more than a sort. Correctness does not depend on it.
MANY = 24

#: Seconds after which who holds the lock passes for held up. A guess: a look takes microseconds, or where there is much to
#: sort, not much longer than it takes to look at all that without the lock. Correctness does not depend on it.
PATIENCE = 0.05


class Agenda:
    """The pending events of one scheduler."""

    __slots__ = (
        "__weakref__",
        "_given_up",
        "_heap",
        "_lock",
        "_ordered",
        "_overdue",
        "_rearranging",
        "_shown",
        "arrivals",
        "drained",
        "pending",
    )

    def __init__(self) -> None:
        self.pending: dict[int, Event] = {}
        self.arrivals: list[Event] = []
        self._ordered: list[Event] = []
        self._heap: list[Event] = []
        # What was pending when in_order() was last asked and `_ordered` was just that; None as soon as the index changes or
        # an event is cancelled: it should keep nothing alive.
        self._shown: dict[int, Event] | None = None
        self.drained = 0
        self._rearranging = False
        # To forget what was cancelled: perhaps who wanted to did not get the lock.
        self._overdue = False
        # To wait for the lock: until somebody gets it.
        self._given_up = False
        # Any: that it can be asked _is_owned(), as a Condition does, is on no list.
        self._lock: Any = RLock()
        register_after_fork(self, _free)

    def take(self, event: Event) -> bool:
        """Make an event not pending. O(1). False if it was not pending: it is for the caller to run only if true."""
        return self.pending.pop(event[2], None) is not None

    def forget(self) -> None:
        """Drop what the index holds of cancelled events if that is most of it, so that it keeps nothing alive for
        long. If somebody is looking at the index, that is left to who does. Never waits."""
        self._shown = None
        # What _mostly_gone() says, without the call.
        if len(self._ordered) + len(self._heap) + len(self.arrivals) > 2 * len(self.pending) + MANY:
            self._overdue = True
            self._consult(0.0, self._compact)

    def first(self) -> Event | None:
        """The pending event that is next, or None. It stays pending."""
        events, _ = self.upcoming(1)
        return events[0] if events else None

    def upcoming(self, most: int) -> tuple[list[Event], int]:
        """The events that are next, in order, at most that many, at least one unless none is pending; and what
        `drained` was then. They stay pending, and all but the first may have been taken before. O(log n), or less,
        averaged over all events."""
        if len(self.pending) == 1 and len(self.arrivals) <= MANY:
            # As where each event enters the next: then the truth shows the order, and the index can wait.
            pending = self.pending
            try:
                for event in pending.values():
                    # No event comes back: so if this one is pending after the count, it was the only one.
                    if len(pending) == 1 and event[2] in pending:
                        return [event], self.drained
                    break
            except (
                RuntimeError
            ) as error:  # where there is no global lock: another thread has entered one meanwhile
                if not raised_here(error):
                    raise
        events, drained = self._consult(PATIENCE, self._look, most)
        if events is None:
            rest = self.pending.copy().values()
            events = [min(rest)] if rest else []
        return events, drained

    def in_order(self) -> list[Event]:
        """All pending events, in the order in which they would be run. Little more than a copy, unless something was
        entered or taken since the last time."""
        events, _ = self._consult(PATIENCE, self._list)
        return sorted(self.pending.copy().values()) if events is None else events

    def _consult(
        self, patience: float, look: Callable[..., list[Event] | None], *args: int
    ) -> tuple[list[Event] | None, int]:
        """What a look at the index shows, and what `drained` was then; or None if somebody else is at it."""
        lock, events, drained = self._lock, None, self.drained
        if lock._is_owned():
            return None, drained
        try:
            if lock.acquire(False) or (patience and self._wait_for_turn(patience)):
                try:
                    self._given_up = False
                    if self._rearranging:  # that was broken off in a way that nothing could catch
                        self._start_over()
                    self._rearranging = True
                    try:
                        try:
                            events = look(*args)
                        except INCOMPARABLE:
                            # Perhaps the time of an event that is not pending any more.
                            self._start_over()
                            events = look(*args)
                    except BaseException:
                        self._start_over()
                        raise
                    finally:
                        self._rearranging = False
                    drained = self.drained
                finally:
                    lock.release()
                if self._overdue:
                    self._overdue = False
                    self.forget()
        except BaseException:
            while lock._is_owned():  # it struck before the `try`, or in the `finally`
                lock.release()
            raise
        return events, drained

    def _wait_for_turn(self, patience: float) -> bool:
        """Get the lock, unless who has it seems to be held up, or is known to be."""
        if not self._given_up:
            if self._lock.acquire(True, patience):
                return True
            self._given_up = True
        return False

    # ------------------------------------------------------------------- with the lock, and nothing else going on

    def _look(self, most: int) -> list[Event]:
        self._shown = None
        pending, arrivals, heap = self.pending, self.arrivals, self._heap
        if arrivals:
            self.drained += 1
            if len(arrivals) > MANY:
                self._take_in()
                heap = self._heap
            else:
                while arrivals:
                    if heap and heap[0][2] not in pending:
                        heapreplace(heap, arrivals.pop())
                    else:
                        heappush(heap, arrivals.pop())
        ordered = self._ordered
        while ordered and ordered[-1][2] not in pending:
            ordered.pop()
        if heap:
            while heap and heap[0][2] not in pending:
                heappop(heap)
            if heap:
                newcomer = heap[0]
                if not ordered or newcomer < ordered[-1]:
                    return [newcomer]
                # "or equal", because the newcomer may be in both: see _rebuild().
                # "or the newcomer", because a time that is no number is neither before nor after another.
                return [event for event in ordered[: -most - 1 : -1] if event <= newcomer] or [newcomer]
        if ordered:
            return ordered[: -most - 1 : -1]
        if not pending:
            return []
        # An interruption came in the middle of _take_in(), or another thread is half-way through entering.
        self._rebuild()
        return self._ordered[-1:]

    def _list(self) -> list[Event]:
        arrived = self.arrivals[:]
        if arrived or self._heap:
            self._shown = None
            self.drained += 1
            del self.arrivals[: len(arrived)]
            self._sort_in(arrived)
        # The copy says which are pending, at one moment; the index only in which order.
        pending = self.pending.copy()
        if pending == self._shown:
            return self._ordered[::-1]
        left = pending.copy()
        events = [event for event in reversed(self._ordered) if left.pop(event[2], None) is not None]
        if left:
            events += left.values()
            events.sort()
        self._ordered = events[::-1]
        self._shown = pending
        return events

    def _mostly_gone(self) -> bool:
        return len(self._ordered) + len(self._heap) + len(self.arrivals) > 2 * len(self.pending) + MANY

    def _start_over(self) -> None:
        self._ordered = []
        self._heap = []
        known = len(self.arrivals)
        self.arrivals[:known] = self.pending.copy().values()

    def _compact(self) -> None:
        self._overdue = False  # first: who cancels meanwhile says so again
        # No times are compared here: that some cannot be is for run() to say, not for who cancels another event.
        pending, arrivals = self.pending, self.arrivals
        self._ordered = [event for event in self._ordered if event[2] in pending]
        known = len(arrivals)
        arrivals[:known] = [event for event in arrivals[:known] if event[2] in pending]
        # With gaps the heap would be none.
        arrivals += [event for event in self._heap if event[2] in pending]
        self._heap = []

    def _take_in(self) -> None:
        if self._mostly_gone():
            self._compact()
        arrived = self.arrivals[:]
        del self.arrivals[: len(arrived)]
        if len(arrived) <= MANY + len(self._ordered) // 8:
            for event in arrived:
                heappush(self._heap, event)
        else:
            self._sort_in(arrived)

    def _sort_in(self, arrived: list[Event]) -> None:
        arrived += self._heap
        self._heap = []
        self._ordered += arrived
        self._ordered.sort(reverse=True)

    def _rebuild(self) -> None:
        # In this order: an event that arrives meanwhile is in the arrivals, or in the copy, or in both. Twice does
        # no harm, for it is pending once.
        self.drained += 1
        self.arrivals.clear()
        ordered = list(self.pending.copy().values())
        ordered.sort(reverse=True)
        self._ordered = ordered
        self._heap = []


def _free(agenda: Agenda) -> None:
    """In the child of a fork: a thread that held the lock, or was half-way through entering, is not here, unless it is
    this one."""
    try:
        agenda._lock.release()
    except RuntimeError:
        reset_lock(agenda._lock)
        agenda._rearranging = False
        agenda._start_over()
    else:
        agenda._lock.acquire()
