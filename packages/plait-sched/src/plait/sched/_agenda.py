# SPDX-License-Identifier: MIT
# The agenda: which events are pending, and which of them is next.
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
#   they outnumber the others.
#
# Interruptions
#   Entering an event (into `pending`, then into `arrivals`) and `take` are safe anywhere. `first` rearranges the index
#   under an owner-aware lock. If it is interrupted by a nested `first` (a scheduler run from a signal handler, or from
#   the comparison of some exotic time), that one must not touch the half-done index and finds the smallest pending
#   event by looking at all. If an exception out of a handler ends it, or a fork in another thread freezes it half-done,
#   the index is built anew from the truth the next time.

from __future__ import annotations

from heapq import heappop, heappush

from .._thread import RLock, register_after_fork, reset_lock
from ._event import Event

__all__ = ["Agenda"]

# A guess, a little above where heap pushes begin to cost more than a sort. Correctness does not depend on it.
MANY = 24


class Agenda:
    """The pending events of one scheduler."""

    __slots__ = ("__weakref__", "_heap", "_lock", "_ordered", "_rearranging", "arrivals", "pending")

    def __init__(self) -> None:
        self.pending: dict[int, Event] = {}
        self.arrivals: list[Event] = []
        self._ordered: list[Event] = []
        self._heap: list[Event] = []
        self._rearranging = False
        self._lock = RLock()
        register_after_fork(self, _free)

    def take(self, event: Event) -> bool:
        """Make an event not pending. O(1). False if it was not pending: it is for the caller to run only if true."""
        return self.pending.pop(event.sequence, None) is not None

    def forget(self) -> None:
        """Drop what the index holds of cancelled events if that is most of it, so that it keeps nothing alive for
        long."""
        if self._mostly_gone() and self._lock.acquire(blocking=False):
            try:
                if not self._rearranging:
                    self._rearranging = True
                    try:
                        self.rebuild()
                    except TypeError:
                        # Some times cannot be compared. That is for run() to say, not for who cancels another event.
                        self._start_over()
                    except BaseException:
                        self._start_over()
                        raise
                    finally:
                        self._rearranging = False
            finally:
                self._lock.release()

    def first(self) -> Event | None:
        """The pending event that is next, or None. It stays pending. O(log n), or less, averaged over all events."""
        with self._lock:
            if self._rearranging:
                return min(self.pending.copy().values(), default=None)
            self._rearranging = True
            try:
                arrivals, heap = self.arrivals, self._heap
                if arrivals:
                    if len(arrivals) > MANY:
                        self._take_in()
                        heap = self._heap
                    else:
                        while arrivals:
                            heappush(heap, arrivals.pop())
                ordered, pending = self._ordered, self.pending
                while ordered and ordered[-1][2] not in pending:
                    ordered.pop()
                while heap and heap[0][2] not in pending:
                    heappop(heap)
                if heap and (not ordered or heap[0] < ordered[-1]):
                    return heap[0]
                if ordered:
                    return ordered[-1]
                if not pending:
                    return None
                # An interruption came between the two steps of entering an event, or in the middle of _take_in().
                self.rebuild()
                return self._ordered[-1] if self._ordered else None
            except BaseException:
                self._start_over()
                raise
            finally:
                self._rearranging = False

    def _mostly_gone(self) -> bool:
        return len(self._ordered) + len(self._heap) + len(self.arrivals) > 2 * len(self.pending) + MANY

    def _start_over(self) -> None:
        self._ordered = []
        self._heap = []
        self.arrivals.extend(self.pending.copy().values())

    def _take_in(self) -> None:
        if self._mostly_gone():
            self.rebuild()
            return
        arrived = self.arrivals[:]
        del self.arrivals[: len(arrived)]
        if len(arrived) <= MANY + len(self._ordered) // 8:
            for event in arrived:
                heappush(self._heap, event)
        else:
            arrived += self._heap
            self._heap = []
            self._ordered += arrived
            self._ordered.sort(reverse=True)

    def rebuild(self) -> None:
        # In this order: an event that arrives meanwhile is in the arrivals, or in the copy, or in both. Twice does
        # no harm, for it is pending once.
        self.arrivals.clear()
        ordered = list(self.pending.copy().values())
        ordered.sort(reverse=True)
        self._ordered = ordered
        self._heap = []


def _free(agenda: Agenda) -> None:
    """In the child of a fork: the thread that held the lock is not here, unless it is this one."""
    try:
        agenda._lock.release()
    except RuntimeError:
        reset_lock(agenda._lock)
        if agenda._rearranging:
            agenda.rebuild()
            agenda._rearranging = False
    else:
        agenda._lock.acquire()
