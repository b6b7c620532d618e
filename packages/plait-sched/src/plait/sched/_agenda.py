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
# Interruptions
#   Entering an event (into `pending`, then into `arrivals`) and `take` are safe anywhere. The index is rearranged
#   under an owner-aware lock. A nested look at it (by a scheduler run from a signal handler, or from the comparison of
#   some exotic time) must not touch the half-done index and finds the smallest pending event by looking at all. If an
#   exception out of a handler ends a rearrangement, or a fork in another thread freezes it half-done, the index is
#   built anew from the truth the next time.
#
#   A signal handler's exception must not leave the lock held: other threads would wait for ever. CPython does not let one
#   strike between the taking of a lock by `with` and its body, except that 3.14 does; so who did not hold the lock
#   before, and holds it after an exception, releases it. The bodies do not return: on PyPy (8.0) an exception that
#   strikes while a `return` leaves a `with` block is lost in a TypeError, or the lock is not released. Should
#   `_rearranging` stay set after all, whoever next has the lock, and had it not before, knows that nobody is at work.
#
# Without a global lock: every operation above is one operation on one built-in container.

from __future__ import annotations

from heapq import heappop, heappush, heapreplace

from .._thread import RLock, register_after_fork, reset_lock
from ._event import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Agenda"]

# A guess, a little above where heap pushes begin to cost more than a sort. Correctness does not depend on it.
MANY = 24


class Agenda:
    """The pending events of one scheduler."""

    __slots__ = (
        "__weakref__",
        "_heap",
        "_lock",
        "_ordered",
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
        # Any: that it can be asked _is_owned(), as a Condition does, is on no list.
        self._lock: Any = RLock()
        register_after_fork(self, _free)

    def take(self, event: Event) -> bool:
        """Make an event not pending. O(1). False if it was not pending: it is for the caller to run only if true."""
        return self.pending.pop(event[2], None) is not None

    def forget(self) -> None:
        """Drop what the index holds of cancelled events if that is most of it, so that it keeps nothing alive for
        long. If somebody is looking at the index, that is left to the next."""
        self._shown = None
        somebody_looks = self._rearranging
        # What _mostly_gone() says, without the call.
        known = len(self._ordered) + len(self._heap) + len(self.arrivals)
        if known > 2 * len(self.pending) + MANY and not somebody_looks:
            nested = self._lock._is_owned()
            try:
                with self._lock:
                    if not (nested and self._rearranging):
                        self._begin()
                        try:
                            self._compact()
                        except BaseException:
                            self._start_over()
                            raise
                        finally:
                            self._rearranging = False
            except BaseException:
                self._let_go(nested)
                raise

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
            except RuntimeError:
                pass  # where there is no global lock: another thread has entered one meanwhile
        nested = self._lock._is_owned()
        try:
            with self._lock:
                if nested and self._rearranging:
                    rest = self.pending.copy().values()
                    events = [min(rest)] if rest else []
                else:
                    self._begin()
                    try:
                        try:
                            events = self._look(most)
                        except TypeError:
                            # Times that cannot be compared: perhaps of an event that is not pending any more.
                            self._start_over()
                            events = self._look(most)
                    except BaseException:
                        self._start_over()
                        raise
                    finally:
                        self._rearranging = False
                drained = self.drained
        except BaseException:
            self._let_go(nested)
            raise
        return events, drained

    def in_order(self) -> list[Event]:
        """All pending events, in the order in which they would be run. Little more than a copy, unless something was
        entered or taken since the last time."""
        nested = self._lock._is_owned()
        try:
            with self._lock:
                if nested and self._rearranging:
                    events = sorted(self.pending.copy().values())
                else:
                    self._begin()
                    try:
                        try:
                            events = self._list()
                        except TypeError:
                            self._start_over()  # likewise
                            events = self._list()
                    except BaseException:
                        self._start_over()
                        raise
                    finally:
                        self._rearranging = False
        except BaseException:
            self._let_go(nested)
            raise
        return events

    def _let_go(self, nested: bool) -> None:
        """After an exception: if the lock is still held, `with` had not got as far as to see to it."""
        while not nested and self._lock._is_owned():
            self._lock.release()

    # ------------------------------------------------------------------- with the lock, and nothing else going on

    def _begin(self) -> None:
        if self._rearranging:  # that was broken off in a way that nothing could catch
            self._start_over()
        self._rearranging = True

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
