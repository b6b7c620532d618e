# SPDX-License-Identifier: MIT
# ruff: noqa: B007 - a `for` that ends at once is how steps are taken here
#
# How queues work: the rules of the whole. What all kinds of queue have in common is a stock of items, two counters,
# and, once somebody has to wait, an owner-aware lock and three lines of waiting calls.
#
# The parts, each of which says at its top how it works
#   _waiting.py   waiting calls, and where an interruption can strike: read this first
#   _surely.py    what has to be done on the way out of a call although another exception strikes there
#   _ways.py      the stock, the ways in and out of it, and the two modes: without the mutex, and with it
#   _hooks.py     the methods `_put`, `_get` and `_qsize` of subclasses
#   _serving.py   who is woken, and what is handed over
#   _fork.py      the child of a fork
#   _engine.py    who waits, and the repair of what was interrupted
#   _bound.py     `maxsize`
#   _blocking.py  calls of threads that have to wait, or would have to
#   _async.py     calls of tasks that have to wait
#   _by_hand.py   what users look at: the mutex, the container, the Conditions (_doorbell.py)
#   _fifo.py      the public class and its short ways; _lifo.py and _priority.py derive the other kinds from it
#   Of the classes Ways, Hooked, Serving and Engine each is derived from the one before; Blocking, Bounded and ByHand from
#   Engine; and from those three Queue. (Each step on the way from Queue to object makes a queue a little dearer.)
#
# Always true when the mutex is free
#   - nobody waits in vain: no getter waits while there is stock, no putter while there is room, no joiner while
#     every task is done, and nobody but joiners after shutdown. `_settle_` makes this true; every change of the state
#     ends with it.
#   - each line is served longest-waiting first (a call nested in a blocked call of the same thread goes before it,
#     because the outer one cannot go on before the inner one does).
#   - `unfinished_tasks` is the number of items put less the number of `task_done` calls, whatever happens to the
#     items.
#
# Who waits, who wakes whom
#   A call that has to wait lets others run before it stands in line (_blocking.py); often nobody has to be woken then.
#   It looks at the stock once more when it stands there. Whoever adds to the stock, or takes from it, looks for waiting
#   calls behind that, and serves them before it wakes them.
#
# What if it is interrupted here
#   - by a nested operation: the mutex lets the same thread in again. No value read before a piece is written back after
#     it, and what was found true before a piece is either looked at again as part of it or harmless when stale (nested
#     puts may overfill a bounded queue that is locked, by the depth of nesting). A nested call that has to wait
#     settles the queue first, for it may wait for somebody whom the interrupted operation has served and not rung; and it
#     lets go of the mutex at all its levels. What other threads do meanwhile is, for the interrupted operation, no
#     different from nested operations. That is why a waiter's `gone` is looked at as part of the piece that serves it.
#   - by an exception out of a handler, while waiting: the call leaves its line, and what it was handed goes back to its
#     place (_ways.py). Where a second exception leaves that to another thread, the ways are closed until it is done: who
#     comes meanwhile takes a long way, and does it first. So nothing put or taken after the call has ended overtakes the
#     item.
#   - by an exception out of a handler, elsewhere: whatever was done stays done, and `_settle_` runs before the
#     exception goes on. A put(), a get() or a change of `maxsize` that ends so has happened or not, never half. This is
#     exact on CPython; on PyPy a few bytecodes remain in which an exception loses what the stack holds, or the mutex.
#
# Subclasses and meddlers
#   Whatever else than `_init`, `_put`, `_get`, `_qsize` and `_peek` is ours in a queue has a name that ends with an
#   underscore, which no subclass takes by chance. `queue` may be read, changed or replaced under `mutex`. Who meddles
#   with a queue makes it take the long way round; a queue nobody meddled with never sees it.

from __future__ import annotations

from itertools import compress, islice, starmap

from ._platform import struck_by_handler
from ._serving import Serving
from ._surely import OVERDUE, catch_up, elsewhere, surely
from ._waiting import NOTHING, ONCE, TICKETS, enlist_nested, steps_of, strike, take_out
from ._ways import of_this_frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable
    from typing import Any

    from ._waiting import Waiter

__all__ = ["Engine"]


class Engine(Serving):
    """The inner workings of a queue; its face is in the classes derived from it."""

    # Of the Full that polling raises, once there was one: it names the bound.
    _full_message_: str | None = None

    # -- who waits (the protocol is in _waiting.py) --------------------------------------------------------------------

    def _ask_(self, waiter: Waiter) -> None:
        if not self._furnished_:
            self._furnish_()
        held = None
        try:
            for held in self._enters_:
                break
            line = waiter.line = self._getters_
            if line and waiter.nests:
                enlist_nested(line, waiter)
            else:
                line.append(waiter)
            # Looked at again, now that we stand in line. What is in a container of a subclass, settling finds out; and
            # whether the task_done() that we may have interrupted was the last.
            if (
                self._hooked_
                or self._stock_
                or self._putters_
                or self._shut_
                or self._returned_
                or self._joiners_
            ):
                self._settle_()
        finally:
            try:
                if held:
                    self._lock_.release()
            finally:
                pass

    def _offer_(self, waiter: Waiter) -> None:
        if not self._furnished_:
            self._furnish_()
        held = None
        try:
            for held in self._enters_:
                break
            line = waiter.line = self._putters_
            if line and waiter.nests:
                enlist_nested(line, waiter)
            else:
                line.append(waiter)
            # Looked at again, now that we stand in line.
            if self._getters_ or not self._swift_in_ or not 0 < self._maxsize_ <= len(self._stock_):
                self._settle_()
        finally:
            try:
                if held:
                    self._lock_.release()
            finally:
                pass

    def _attend_(self, waiter: Waiter) -> None:
        held = None
        try:
            for held in self._entering_:
                break
            line = waiter.line = self._joiners_
            line.append(waiter)
            self._settle_()
        finally:
            try:
                if held:
                    self._lock_.release()
            finally:
                pass

    def _leave_(self, waiter: Waiter) -> None:
        held = None
        try:
            for held in self._entering_:
                break
            if waiter.nudged:
                self._settle_()  # as it was to do, but its time was up
            waiter.gone = True
            strike(waiter.line, waiter)
        finally:
            try:
                if held:
                    self._lock_.release()
            finally:
                pass

    def _abandon_(self, waiter: Waiter) -> None:
        surely(self._locked_, self._abandon_now_, waiter)

    def _abandon_now_(self, waiter: Waiter) -> None:
        waiter.gone = True
        strike(waiter.line, waiter)
        had_items = False
        if not waiter.gives:
            had_items = bool(waiter.box)
            self._put_back_(waiter.ticket, waiter.box, waiter.later)
            if self._behind_:
                self._catch_on_()
            self._tune_()
        self._settle_()
        if had_items:
            self._ring_all_("not_empty")

    # -- changes, and the repair after an interruption -----------------------------------------------------------------

    def _change_(self, call: Callable[..., Any], *args: Any) -> Any:
        """`call(*args)` under the mutex, which may change whom is to be woken. It ends with `_settle_`; if an exception
        keeps it from that, this does it in its stead."""
        if OVERDUE:
            catch_up(self)
        settled = False
        try:
            result = self._locked_(call, *args)
            settled = True
            return result
        finally:
            try:
                if not settled:
                    self._resettle_([])
            except BaseException:
                if not settled:
                    OVERDUE[:0] = ((self._locked_, (self._resettle_now_, [])),)
                    try:
                        for _ in elsewhere:
                            break
                    except RuntimeError:
                        pass  # no thread can be started
                raise

    def _resettle_(self, box: list[Any], ticket: int | None = None) -> None:
        """After an interruption of a short way: give back what was taken, and see that nobody waits in vain."""
        if not self._furnished_ and not self._is_made_():
            return
        surely(self._locked_, self._resettle_now_, box, ticket)

    def _resettle_now_(self, box: list[Any], ticket: int | None = None) -> None:
        if box:
            # Behind whatever was taken before, ahead of what was later.
            self._put_back_(next(TICKETS) if ticket is None else ticket, box)
        if self._behind_:
            self._catch_on_()
        self._tune_()
        self._settle_()
        # Whom it should have notified is not known any more; who is notified for nothing waits again.
        for name in tuple(self._doorbells_):
            self._ring_all_(name)

    def _heed_(self, line: deque[Waiter], most: int) -> None:
        """Somebody has changed the queue by hand and says so to *most* of those who stand in *line*. Or will change it, as
        long as the mutex is held: who is not served now is woken to settle the queue when it can have the mutex."""
        before = len(line)
        self._settle_()
        most -= before - len(line)
        for waiter in tuple(line):
            if most <= 0:
                break
            if waiter.nudge(self):
                most -= 1

    def _look_after_(self, item: Any = NOTHING) -> None:
        """What is left to do after a short way found that somebody waits, or that its time is over."""
        held = None
        try:
            for held in self._enters_:
                break
            if item is not NOTHING and (self._shut_ or not self._free_):
                self._look_after_late_(item)
            if self._putters_ or not self._serve_first_() or self._getters_ or self._joiners_:
                self._settle_()
        finally:
            try:
                if held:
                    for _ in self._leaves_:
                        break
            finally:
                pass

    def _look_after_late_(self, item: Any) -> None:
        # Only somebody who traces us ever sees this, see _close_.
        stock = self._stock_
        if self._shut_ and not self._hooked_:
            for place in range(len(stock) - 1, -1, -1):
                # One piece: a nested get() may shift what we have found, but not between this look and the deletion.
                if place < len(stock) and take_out(stock, place, item):
                    next(self._dones_)
                    raise self._refusal_()
        self._announce_("not_empty")

    # -- emptying, and shutdown ----------------------------------------------------------------------------------------

    def _drop_all_(self) -> int:
        """Drop every item and count it as done; return how many there were."""
        # The items outlive this: a finaliser, which may use the queue, finds it in order.
        dropped: list[Any] = []
        for source in (self._returned_, self._parked_, () if self._hooked_ else self._stock_):
            if source:
                try:
                    # A step drops an item and counts it. No more than there are: others may put more.
                    dropped.extend(islice(zip(steps_of(source.pop), self._dones_), len(source)))  # noqa: B905
                except IndexError as problem:
                    if not of_this_frame(problem):
                        raise
        if self._hooked_:
            # Its items may be worth something to the class: they are taken, not cleared.
            self._unpark_()
            # (What the class calls its size need not be how many there are, but without any it is zero.)
            while True:
                drawn = self._drawn_
                try:
                    if not self._level_():
                        break
                    # In one piece, an item is taken and counted.
                    self._take_through_hook_(dropped, compress(starmap(self._get, ONCE), self._dones_))
                except Exception as problem:
                    if self._drawn_ is drawn or struck_by_handler(problem):
                        raise  # else a nested get() was quicker
        # Somebody may have said that tasks were done before they were taken.
        while self._unfinished_() < 0:
            next(self._puts_)
        self._tune_()
        return len(dropped)

    def _clear_now_(self) -> int:
        try:
            return self._drop_all_()
        finally:
            self._settle_()
            self._ring_all_("not_full")
            if self._doorbells_ and self._unfinished_() <= 0:
                self._ring_all_("all_tasks_done")

    def _shut_down_(self, immediate: bool, shut: bool = True) -> None:
        try:
            self._shut_ = shut
            self._alarm_ = self._getters_ if self._free_ and not shut else True
            self._tune_()
            if immediate:
                self._drop_all_()
        finally:
            self._tune_()
            self._settle_()
            for name in tuple(self._doorbells_):
                self._ring_all_(name)

    # -- in the child of a fork (_fork.py) -----------------------------------------------------------------------------

    def _after_fork_(self) -> None:
        """In the child of a fork, if another thread held the mutex: end what it was in the middle of."""
        self._in_hook_ = False
        # It may have come between a change of what the ways depend on and the change of the ways.
        if hasattr(self._stock_, self._take_):
            self._fit_()
        else:
            self._tune_()
