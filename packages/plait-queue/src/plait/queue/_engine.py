# SPDX-License-Identifier: MIT
# ruff: noqa: B007 - a `for` that ends at once is how steps are taken here
#
# What all kinds of queue have in common: a stock of items, two counters, and, once somebody has to wait, an owner-aware
# lock and three lines of waiting calls.
#
# Two modes
#   Free: until somebody looks at `mutex` or `queue`, put() and get() do without the mutex whenever they need not wait.
#   `_admits_` is an iterator each step of which says that there is room and counts the item, or raises IndexError;
#   each step of `_takes_` takes an item. put() is a step and an append, get() is a step; both are one piece
#   (_waiting.py). Both then look for waiting calls; a call that has to wait enters its line and then looks at the stock
#   once more. Whichever comes second sees the other, so no wake-up is lost. This rests on nothing coming between the
#   parts of one piece: on CPython with its global lock.
#   Locked: everything happens under the mutex, by way of `_locked_admits_` and `_locked_takes_`. So it is for good after
#   the first look at `mutex`, `queue` or a Condition; for subclasses with hooks; for priority queues; and from the
#   beginning on PyPy and on CPython without the global lock.
#   A way that is not open is NO_MORE, which yields nothing: `_tune_` says which are. There are no other flags to
#   look at on the short ways.
#
# Always true when the mutex is free
#   - nobody waits in vain: no getter waits while there is stock, no putter while there is room, no joiner while
#     every task is done, and nobody but joiners after shutdown. `_settle_` makes this true; every change of the state
#     ends with it. It may be cut short anywhere and be called again: who was served but not rung, or rung but not struck
#     off, is found in the line.
#   - each line is served longest-waiting first (a call nested in a blocked call of the same thread goes before it,
#     because the outer one cannot go on before the inner one does).
#   - `unfinished_tasks` is the number of items put less the number of `task_done` calls, whatever happens to the
#     items.
#
# Who wakes whom
#   Who has to wait lets others run before it stands in line (`_item_comes_`, `_room_comes_`); often nobody has to be woken
#   then.
#   A putter puts its item into the stock, then `_settle_` hands items from the stock to waiting getters and rings them;
#   a getter that was rung has its item already and needs no lock. In the same way a getter makes room and `_settle_`
#   carries the items of waiting putters into the stock. Nobody is woken who would find nothing. Watchers (peek,
#   select) stand among the getters and are rung when their turn comes and there is stock; they are handed nothing, and
#   the line moves on.
#
# What if it is interrupted here (_waiting.py says where "here" can be)
#   - by a nested operation: the mutex lets the same thread in again. No value read before a piece is written back after
#     it, and what was found true before a piece is either looked at again as part of it or harmless when stale (nested
#     puts may overfill a bounded queue that is locked, by the depth of nesting). A nested call that has to wait
#     settles the queue first, for it may wait for somebody whom the interrupted operation has served and not rung; and it
#     lets go of the mutex at all its levels. What other threads do meanwhile is, for the interrupted operation, no
#     different from nested operations. That is why a waiter's `gone` is looked at as part of the piece that serves it.
#   - by an exception out of a handler, while waiting: the call leaves its line, and what it was handed goes back to its
#     place. For first-in first-out queues that place is `_returned_`, from which getters are served before the stock,
#     in the order in which the items were taken. Where a second exception leaves that to another thread (_surely.py), the
#     box is noted in `_behind_` and the ways are closed until it is empty: who comes meanwhile takes a long way, and does
#     it first. So nothing put or taken after the call has ended overtakes the item.
#   - by an exception out of a handler, elsewhere: whatever was done stays done, and `_settle_` runs before the
#     exception goes on. A put(), a get() or a change of `maxsize` that ends so has happened or not, never half. This is
#     exact on CPython; on PyPy a few bytecodes remain in which an exception loses what the stack holds, or the mutex.
#
# What if it is forked here
#   The child drops waiting calls of threads that it does not have, and frees the mutex unless the forking thread
#   itself holds it (fork in a handler); so it does with the lock under which the parts of a queue are made. Stock, counts
#   and returned items are the parent's at that moment. Counting an item and storing it cannot be parted by a fork; only the
#   hook of a subclass, or a comparison, can, and the item is then not counted. The ways are made anew: they may not have
#   been what they should be, as only the mutex kept others out.
#
# Subclasses and meddlers
#   `_init/_put/_get/_qsize` are honoured where a class overrides them, at its class statement or by the time that the queue
#   is made, or somebody sets one in an instance (_hooks.py);
#   then items pass through them (in the thread that happens to settle). If one fails, so does the call that it served,
#   wherever it waits; but an exception of a signal handler, told by its frame in the traceback, goes to whom it struck.
#   What is put while a hook is running in the same thread (by a handler or finaliser) is parked, counted, and stored when
#   the hook has ended, in whatever way; if `_put` then refuses it, `sys.unraisablehook` is told, as its put() is over.
#   Whatever else is ours in a queue has a name that ends with an underscore, which no subclass takes by chance.
#   `queue` may be read, changed or replaced under `mutex`. The three Conditions of the standard module exist from the
#   moment somebody asks for one; their notify() settles the queue too, so `q.queue.clear(); q.not_full.notify_all()`
#   wakes our putters, and a user waiting in `q.not_empty.wait()` is notified by our put(). Whoever notifies first and
#   changes the queue then, holding the mutex all the time, says the same: so who is not served by the notify() is nudged,
#   which is to say woken to settle the queue, for which it has to wait for the mutex. Those take the long way
#   round; a queue nobody meddled with never sees it.

from __future__ import annotations

from bisect import insort_left
from collections import deque
from itertools import compress, count, islice, repeat, starmap
from operator import getitem, itemgetter, sub
from types import MappingProxyType

from .._thread import RLock, get_ident, register_after_fork, report_unraisable, reset_lock
from ._errors import ShutDown
from ._platform import WHOLE_STEPS, is_owned, struck_by_handler
from ._surely import OVERDUE, catch_up, elsewhere, surely
from ._waiting import (
    ENDLESS,
    NO_MORE,
    NOBODY,
    NOTHING,
    ONCE,
    TICKETS,
    dismiss,
    enlist_nested,
    first_present,
    steps_of,
    strike,
    take_out,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from ._doorbell import Doorbell
    from ._waiting import Waiter

__all__ = ["Engine", "of_this_frame"]

# How large a bound is looked up in a table of so many bytes; the range that does for larger ones is slower.
_TABLE = 1 << 16

_by_ticket = itemgetter(0)


_founding = RLock()
_enter_founding = steps_of(_founding.acquire)


def _free_founding(lock: RLock) -> None:
    """In the child of a fork: free it, unless a handler has forked while its own thread held it and will release it."""
    if not is_owned(lock):
        reset_lock(lock)


register_after_fork(_founding, _free_founding)


class _Counter:
    """How many tasks were done: a counter that many queues never use."""

    def __get__(self, queue: Engine, owner: type[Engine]) -> count[int]:
        queue._make_tasks_()
        return queue._dones_


class Engine:
    """State and inner workings of a queue; its face is in the classes derived from it.

    What the short ways look at is kept in each queue, and has no default in the class, nor does anything here look into
    `__dict__`: both would keep CPython from finding it quickly.
    """

    # What a queue nobody ever waited for or looked into can do without; `_furnish_` makes its own.
    _shut_ = False
    _furnished_ = False
    _counting_ = False  # whether it has `_tasks_`
    _hooked_ = False  # whether the class overrides how items are kept
    _can_be_free_ = WHOLE_STEPS  # whether its kind can do without the mutex, here
    _simple_ = True  # whether a step of `_exit_` is all that taking an item needs
    _swift_ = _swift_in_ = (
        True  # whether that is so, and may be done, now; the same for `_entry_` and putting
    )
    _in_hook_ = False
    _drawn_: object = None  # another one each time that an item was taken through a hook
    _level_before_: int | None = None  # while the _put of a subclass runs
    _owed_ = 0  # how many items are counted, not stored, and not said to be under way: their put() is about to see to that
    _returned_: deque[Any] = NOBODY  # pairs of ticket and item, sorted; given back by interrupted getters
    _behind_: tuple[
        Any, ...
    ] = ()  # boxes of interrupted getters that will be given back; until then the ways are closed
    _parked_: deque[Any] = NOBODY  # put while a hook of a subclass was running in the same thread
    _doorbells_: Mapping[str, Doorbell] = MappingProxyType({})
    _own_hooks_: Mapping[str, Any] = MappingProxyType({})  # hooks that were replaced in this queue alone
    _entry_: Iterator[Any] = NO_MORE  # the ways in and out of the stock, open or not
    _exit_: Iterator[Any] = NO_MORE
    _take_ = "popleft"  # how the container gives the next item
    _dones_: count[int] = _Counter()  # type: ignore[assignment]

    # In every queue.
    _in_place_: bool  # it is free, and no subclass says how a stock is made (this is in the class)
    _free_: bool
    _admits_: Iterator[Any]
    _takes_: Iterator[Any]
    _alarm_: Any  # true if a put() that was made without the mutex has to be looked after
    _putters_: deque[Waiter]
    _joiners_: deque[Waiter]
    _maxsize_: int
    _stock_: Any
    _puts_: count[
        int
    ]  # what this has counted more than `_dones_` is unfinished: looking at the difference moves both

    # In a queue that is furnished, as every one that is locked.
    _lock_: RLock
    _enters_: Iterator[bool]
    _leaves_: Iterator[None]
    _getters_: deque[Waiter]
    _locked_admits_: Iterator[Any]
    _locked_takes_: Iterator[Any]

    # In a queue of which somebody has said that a task was done. A step says how many tasks are unfinished, and counts one
    # more as done.
    _tasks_: Iterator[int]

    @property
    def _entering_(self) -> Iterator[bool]:
        """A step of this takes the mutex."""
        if not self._furnished_:
            self._furnish_()
        return self._enters_

    def _locked_(self, call: Callable[..., Any], *args: Any) -> Any:
        """`call(*args)` under the mutex."""
        held = None
        try:
            for held in self._entering_:
                break
            return call(*args)
        finally:
            try:
                if held:
                    self._lock_.release()
            finally:
                pass

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

    def _is_made_(self) -> bool:
        """Whether `__init__` has been called."""
        return hasattr(self, "_puts_")

    def _must_be_made_(self) -> None:
        if not self._is_made_():
            raise AttributeError(
                f"this {type(self).__name__} cannot be used before Queue.__init__ was called: "
                f"call super().__init__(maxsize) in {type(self).__name__}.__init__"
            )

    def _furnish_(self) -> None:
        """Make the mutex and the waiting lines. Any number of threads may come here at once."""
        self._must_be_made_()
        held = None
        try:
            for held in _enter_founding:
                break
            lock = RLock()
            enters, leaves = steps_of(lock.acquire), steps_of(lock.release)
            doorbells: dict[str, Doorbell] = {}
            lines: list[deque[Any]] = [deque() for _ in range(5)]
            ways = NO_MORE, NO_MORE
            if self._free_:  # those in use may be closed
                ways = self._ways_(self._stock_, self._maxsize_)
            register_after_fork(self, _drop_the_dead)  # before anybody can hold the mutex
            if (
                not self._furnished_
            ):  # a nested call may have been quicker, but not between this and the last of:
                self._lock_, self._enters_, self._leaves_, self._doorbells_ = lock, enters, leaves, doorbells
                self._getters_, self._putters_, self._joiners_, self._returned_, self._parked_ = lines
                self._alarm_ = self._getters_
                self._entry_, self._exit_ = ways
                self._locked_admits_ = self._locked_takes_ = NO_MORE
                self._furnished_ = True
        finally:
            try:
                if held:
                    _founding.release()
            finally:
                pass

    def _make_tasks_(self) -> Iterator[int]:
        held = None
        try:
            for held in _enter_founding:
                break
            dones = count(1)
            tasks = compress(map(sub, self._puts_, dones), dones)
            if not self._counting_:  # a nested call may have been quicker; no call from here to the last of:
                self._dones_, self._tasks_, self._counting_ = dones, tasks, True
            return self._tasks_
        finally:
            try:
                if held:
                    _founding.release()
            finally:
                pass

    # -- the ways in and out ---------------------------------------------------------------------------------------

    def _ways_(self, stock: Any, bound: int) -> tuple[Iterator[Any], Iterator[Any]]:
        """The way into *stock*, which counts what goes through it and raises IndexError when it has *bound* items, and the
        way out, which raises IndexError when it is empty."""
        return self._way_in_(stock, bound), steps_of(getattr(stock, self._take_))

    def _way_in_(self, stock: Any, bound: int) -> Iterator[Any]:
        if bound <= 0:
            return self._puts_
        places: Any = b"\1" * bound if bound <= _TABLE else range(1, bound + 1)
        return compress(map(getitem, repeat(places), map(len, repeat(stock))), self._puts_)

    def _fit_(self) -> None:
        """Make the ways anew, for another container."""
        self._adopt_(self._stock_)
        self._tune_()

    def _adopt_(self, container: Any, own_hooks: Mapping[str, Any] | None = None) -> None:
        """Have *container* as the stock, and, unless they are None, these hooks as the queue's own; in one piece with
        whether items pass through hooks, and with the ways in and out. Those are closed; `_tune_` has to follow."""
        while True:
            before, bound, parked = self._own_hooks_, self._maxsize_, not self._parked_
            hooks = before if own_hooks is None else own_hooks
            hooked = type(self)._hooked_ or not parked or bool(hooks) or self._is_foreign_(container)
            ways = (self._entry_, self._exit_) if hooked else self._ways_(container, bound)
            # Unless a nested call has come in between:
            if self._own_hooks_ is before and self._maxsize_ is bound and (not self._parked_) is parked:
                self._stock_, self._hooked_, (self._entry_, self._exit_) = container, hooked, ways
                if own_hooks is not None:
                    self._own_hooks_ = own_hooks
                if self._free_:
                    self._admits_ = self._takes_ = NO_MORE
                else:
                    self._locked_admits_ = self._locked_takes_ = NO_MORE
                return

    def _is_foreign_(self, container: Any) -> bool:
        """Whether it does not store and give items as that of this kind of queue does."""
        return not (hasattr(container, self._take_) and hasattr(container, "append"))

    def _tune_(self) -> None:
        """Open the ways that may be used, close the others."""
        # In each branch one piece from the first look to the last assignment. No calls in there; and, for 3.10, no `if`
        # either, only what leaves a value.
        if self._free_:
            plain = not self._hooked_ and not self._doorbells_ and not self._behind_
            leave = plain and not self._returned_
            # The way in counts the stock only, not what was given back.
            enter = plain and not self._shut_ and not (self._returned_ and self._maxsize_ > 0)
            self._swift_, self._swift_in_, self._admits_, self._takes_ = (
                self._simple_ and leave and self._exit_ is not NO_MORE,
                self._simple_ and enter and self._entry_ is not NO_MORE,
                (NO_MORE, self._entry_)[enter],
                (NO_MORE, self._exit_)[leave],
            )
        else:
            plain = not self._hooked_ and not self._doorbells_ and not self._behind_
            leave = plain and not self._returned_
            enter = plain and not self._shut_ and not (self._returned_ and self._maxsize_ > 0)
            self._admits_ = self._takes_ = NO_MORE
            self._swift_, self._swift_in_, self._locked_admits_, self._locked_takes_ = (
                self._simple_ and leave and self._exit_ is not NO_MORE,
                self._simple_ and enter and self._entry_ is not NO_MORE,
                (NO_MORE, self._entry_)[enter],
                (NO_MORE, self._exit_)[leave],
            )

    def _close_(self) -> None:
        """End the free days: from now on, whatever happens to the queue happens under the mutex.

        Nothing is under way without it in other threads at this moment, or in what we interrupted: those are single
        pieces. Only if somebody traces us a put() may have taken its step and not appended yet; it will find the alarm.
        """
        self._locked_(self._close_now_)

    def _close_now_(self) -> None:
        if self._free_:
            self._alarm_ = True
            self._free_ = False
            self._tune_()

    # -- waiting calls (the protocol is in _waiting.py) ------------------------------------------------------------

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

    # -- serving them; all this with the mutex held ----------------------------------------------------------------

    def _settle_(self) -> None:
        """Hand items between stock and waiting calls until nobody waits in vain."""
        moved = True
        while moved:
            moved = False
            if self._putters_:
                moved = self._admit_first_()
            if self._getters_:
                moved = self._serve_first_() or moved
        if self._joiners_ and self._unfinished_() <= 0:
            for joiner in tuple(self._joiners_):
                dismiss(self._joiners_, joiner)

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

    def _admit_first_(self) -> bool:
        """Carry into the stock what the putter brings that waits longest, as far as there is room; true if something
        has moved."""
        line = self._putters_
        try:
            waiter = line[0]
        except IndexError:
            return False
        if waiter.busy or waiter.gone or not waiter.present:
            another = first_present(line)
            if another is None:
                return False
            waiter = another
        box = waiter.box
        if self._swift_in_ and len(box) == 1:
            # What _carry_in_ does for most, in fewer steps.
            if 0 < self._maxsize_ <= len(self._stock_):
                return False  # as the step would find, but by raising, which takes longer
            waiter.busy = True
            try:
                item = box[0]
                if waiter.box is box and not waiter.gone:
                    for _ in self._entry_:
                        waiter.box = ()
                        self._stock_.append(item)
                        break
            except IndexError as problem:
                if not of_this_frame(problem):
                    raise
            finally:
                waiter.busy = False
            if waiter.box:
                return False
        elif box and waiter.verdict is None:
            before = len(box)
            if self._shut_:
                waiter.verdict = self._refusal_()
            else:
                try:
                    self._carry_in_(waiter)
                except Exception as problem:
                    if not self._runs_foreign_code_() or struck_by_handler(problem):
                        raise
                    # A subclass's _put failed, or a comparison: that is for the caller whom it served, not for us. And for
                    # nobody if it was done again, by a nested call, and has succeeded.
                    if not waiter.served():
                        waiter.verdict = problem
                if waiter.box and waiter.verdict is None:
                    return len(waiter.box) < before
        # Rung first: if an exception strikes between the two, it is found in the line.
        waiter.ring()
        try:
            line.remove(waiter)
        except ValueError:
            pass
        return True

    def _serve_first_(self) -> bool:
        """Hand an item to the getter that waits longest; true if something has moved."""
        line = self._getters_
        try:
            waiter = line[0]
        except IndexError:
            return False
        if waiter.busy or waiter.gone or not waiter.present:
            another = first_present(line)
            if another is None:
                return False
            waiter = another
        box = waiter.box
        if not waiter.wants:
            if not self._shut_ and not self._level_():
                return False
        elif not box and waiter.verdict is None:
            if self._swift_ and not self._shut_ and not self._stock_:
                return False  # as _hand_over_ would find
            if self._swift_ and self._stock_:
                # What _hand_over_ does for most, in fewer steps.
                move = map(box.append, self._exit_)
                waiter.busy = True
                try:
                    if not box and not waiter.gone:
                        for waiter.ticket in TICKETS:
                            for _ in move:
                                break
                            break
                except IndexError as problem:
                    if not of_this_frame(problem):
                        raise
                    return False
                finally:
                    waiter.busy = False
                if not box:
                    return False
            else:
                waiter.busy = True
                try:
                    served = self._hand_over_(waiter)
                except Exception as problem:
                    if not self._runs_foreign_code_() or struck_by_handler(problem):
                        raise
                    if not waiter.served():
                        waiter.verdict = problem
                else:
                    if not served:
                        if not self._shut_:
                            return False
                        waiter.verdict = self._refusal_()
                finally:
                    waiter.busy = False
        # Rung first: if an exception strikes between the two, it is found in the line.
        waiter.ring()
        try:
            line.remove(waiter)
        except ValueError:
            pass
        return True

    def _runs_foreign_code_(self) -> bool:
        """Whether storing and taking items runs code that may fail by itself."""
        return self._hooked_

    def _refusal_(self) -> ShutDown:
        return ShutDown(
            f"{self!r} was shut down: it takes no more items, and gives only what it still has; use another queue"
        )

    def _carry_in_(self, waiter: Waiter) -> None:
        """Count, and carry into the stock, what a putter brings, as far as there is room."""
        box = waiter.box
        bound = self._maxsize_
        if self._hooked_:
            drop = steps_of(box.popleft)
            while box and not 0 < bound <= self._level_():
                done: list[Any] = []
                if waiter.gone or waiter.busy:
                    return
                waiter.busy = True  # before the item is looked at: from now on no nested call serves it
                try:
                    for item in [*box][:1]:  # none, if one has while the level was asked for
                        self._store_through_hook_(item, done)
                finally:
                    if done:
                        for _ in drop:
                            break
                    waiter.busy = False
                self._announce_("not_empty")
                if not done:
                    return
        elif not 0 < bound <= self._level_():
            move = map(self._stock_.append, starmap(box.popleft, compress(ENDLESS, self._entry_)))
            try:
                while True:
                    # (Looked at here, for a jump back may come between the condition of a loop and its body.)
                    if box and not waiter.gone:
                        for _ in move:
                            break
                        else:
                            break
                    else:
                        break
                    if self._doorbells_:
                        self._announce_("not_empty")
                    if self._returned_ and 0 < bound <= self._level_():
                        break
            except IndexError as problem:
                if not of_this_frame(problem):
                    raise

    def _store_through_hook_(self, item: Any, done: list[Any]) -> None:
        """Count an item and store it through the hook of a subclass, but never through two at a time. Whether that has
        been done is noted in *done*, in one piece with it."""
        if self._in_hook_:
            # We interrupted the hook in its work (say, a heap half sifted). It will find the item when it is done.
            done += map(self._parked_.append, compress((item,), self._puts_))
            return
        # Found here, because that may run code: behind the hook nothing may be struck before the hook is free again.
        dones = self._dones_
        before = self._qsize()
        self._in_hook_ = True
        self._level_before_ = before
        try:
            for _ in self._puts_:
                break
            done += starmap(self._put, ((item,),))
        finally:
            try:
                self._level_before_ = None
                self._in_hook_ = False
                if not done:
                    for _ in dones:  # not put after all
                        break
            finally:
                self._unpark_()

    def _unpark_(self) -> None:
        """Store what was put while a hook was running, whether that has succeeded or failed."""
        dones = self._dones_
        while self._parked_ and not self._in_hook_:
            self._in_hook_ = True
            done: list[Any] = []
            try:
                for item in steps_of(self._parked_.popleft):
                    try:
                        done += starmap(self._put, ((item,),))
                    except BaseException as problem:
                        self._parked_.appendleft(item)  # before all else
                        if not isinstance(problem, Exception) or struck_by_handler(problem):
                            raise
                        # Its put() has returned long ago, and who has called us is not to blame.
                        for _ in zip(steps_of(self._parked_.popleft), dones):  # noqa: B905 - in one piece
                            break
                        report_unraisable(
                            problem,
                            "An item was put while _put was running, and then refused by _put of",
                            self,
                        )
                    break
            finally:
                self._in_hook_ = False

    def _hand_over_(self, waiter: Waiter) -> bool:
        """Put the next item into the box of a getter. False if there is none."""
        box = waiter.box
        if self._returned_:
            try:
                for ticket, item in steps_of(self._returned_.popleft):
                    if not waiter.gone and not box:  # (one piece if it is so, on 3.10 too)
                        waiter.ticket = ticket
                        box.append(item)
                    else:
                        self._returned_.appendleft((ticket, item))
                    break
            except IndexError as problem:
                if not of_this_frame(problem):
                    raise
                return self._hand_over_(waiter)  # a nested get() was quicker
            self._tune_()
        elif not self._level_():
            return False
        else:
            self._hand_over_stock_(waiter)
            if self._returned_ and not box and not waiter.gone:
                return self._hand_over_(
                    waiter
                )  # a nested get() was interrupted, what it gave back comes first
        if self._doorbells_ and box:
            self._announce_("not_full")
        return bool(box)

    def _hand_over_stock_(self, waiter: Waiter) -> None:
        box = waiter.box
        if not self._hooked_:
            move = map(box.append, self._exit_)
            try:
                if not box and not waiter.gone and not self._returned_:
                    for waiter.ticket in TICKETS:
                        for _ in move:
                            break
                        break
            except IndexError as problem:
                if not of_this_frame(problem):
                    raise
            return
        for waiter.ticket in TICKETS:
            break
        self._unpark_()  # if an exception kept another from that
        taken: list[Any] = []
        handing_over = starmap(taken.pop, ONCE)
        try:
            while True:
                drawn = self._drawn_
                try:
                    if self._parked_ and (self._in_hook_ or not self._qsize()):
                        for _ in map(taken.append, steps_of(self._parked_.popleft)):
                            break
                    elif self._qsize():
                        self._take_through_hook_(taken, starmap(self._get, ONCE))
                except Exception as problem:
                    if taken or self._drawn_ is drawn or struck_by_handler(problem):
                        raise
                    continue  # a nested get() was quicker, perhaps at the last item
                break
            if taken and not box and not waiter.gone:
                box.extend(handing_over)
        finally:
            if taken:
                self._put_back_(waiter.ticket, taken)
                self._tune_()

    def _take_through_hook_(self, taken: list[Any], takes: Iterator[Any]) -> None:
        outer, self._in_hook_ = self._in_hook_, True
        before = len(taken)
        try:
            taken += takes
        finally:
            if len(taken) > before:
                self._drawn_ = [None]  # another than any
            self._in_hook_ = outer
            if not outer:
                self._unpark_()

    def _put_back_(self, ticket: int, box: list[Any], later: Sequence[int] = ()) -> None:
        """Empty the box of an interrupted getter into the places that the items had: they were taken with *ticket*, or
        those behind the first with the *later* ones. `_tune_` has to follow."""
        returned = self._returned_
        while box:
            place = len(box) - 2
            of_last = later[place] if 0 <= place < len(later) else ticket
            for item in steps_of(box.pop):
                insort_left(returned, (of_last, item), key=_by_ticket)
                break

    def _catch_on_(self) -> None:
        """Of the boxes that were to be given back, forget those that have been. `_tune_` has to follow."""
        behind = None
        while self._behind_ is not behind:
            behind = self._behind_
            left = tuple(filter(None, behind))
            if self._behind_ is behind:
                self._behind_ = behind = left

    # -- levels and counts -----------------------------------------------------------------------------------------

    def _level_(self) -> int:
        in_stock = self._qsize() if self._hooked_ else len(self._stock_)
        return in_stock + len(self._returned_) + len(self._parked_)

    def _unfinished_(self) -> int:
        for puts, dones in zip(self._puts_, self._dones_):  # noqa: B905 - both are endless
            return puts - dones
        raise AssertionError

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

    # -- Conditions ------------------------------------------------------------------------------------------------

    def _hook_in_(self, own_hooks: Mapping[str, Any]) -> None:
        """From now on items pass through these hooks, which are this queue's own; or no longer, if there are none."""
        self._adopt_(self._stock_, own_hooks)
        if self._parked_ and not (own_hooks or self._in_hook_):
            self._unpark_()
            self._adopt_(self._stock_)
        self._tune_()

    def _announce_(self, name: str) -> None:
        doorbell = self._doorbells_.get(name)
        if doorbell is not None:
            doorbell.ring()

    def _ring_all_(self, name: str) -> None:
        doorbell = self._doorbells_.get(name)
        if doorbell is not None:
            self._locked_(doorbell.ring_all)

    def _doorbell_(self, name: str) -> Doorbell:
        doorbell = self._doorbells_.get(name)
        if doorbell is None:
            from ._doorbell import Doorbell  # only for those who ask: a Condition costs an import

            self._close_()
            doorbells: Any = self._doorbells_
            doorbell = doorbells.setdefault(name, Doorbell(self, name))
            self._locked_(self._tune_)
        return doorbell

    # -- what the kinds of queue define ----------------------------------------------------------------------------

    def _qsize(self) -> int:
        raise NotImplementedError

    def _put(self, item: Any) -> None:
        raise NotImplementedError

    def _get(self) -> Any:
        raise NotImplementedError

    def _lay_open_(self) -> None:
        """Before somebody looks into the container."""
        if self._free_:
            self._close_()

    def _replace_stock_(self, container: Any) -> None:
        self._adopt_(container)
        self._tune_()

    def _after_fork_(self) -> None:
        """In the child of a fork, if another thread held the mutex: end what it was in the middle of."""
        self._in_hook_ = False
        if self._level_before_ is not None:
            if self._qsize() <= self._level_before_:
                next(self._dones_)  # counted, and will never be put
            self._level_before_ = None
        # It may have come between a change of what the ways depend on and the change of the ways.
        if hasattr(self._stock_, self._take_):
            self._fit_()
        else:
            self._tune_()


def of_this_frame(problem: BaseException, below: int = 0) -> bool:
    """Whether C code that was called in the frame that catches *problem*, or as many frames *below*, raised it: not a
    handler that struck there."""
    trace = problem.__traceback__
    while trace is not None and below:
        trace, below = trace.tb_next, below - 1
    return trace is None or trace.tb_next is None


def _drop_the_dead(queue: Engine) -> None:
    """In the child of a fork: free the mutex, forget the calls of threads that do not exist here, and end what those
    were in the middle of."""
    if "_lock_" not in queue.__dict__:
        return  # the fork came while it was being made
    ours = is_owned(queue._lock_)
    if not ours:
        reset_lock(queue._lock_)
        queue._after_fork_()
    me = get_ident()
    for line in (queue._getters_, queue._putters_, queue._joiners_):
        living = []
        for waiter in tuple(line):
            if waiter.thread == me:
                living.append(waiter)
                if not ours:
                    waiter.busy = False  # by a thread that does not exist here
            else:
                waiter.gone = (
                    True  # this may be a handler that interrupted somebody who was about to serve it
                )
        line.clear()
        line.extend(living)
    catch_up(queue)
    if not ours:
        while queue._owed_ > 0:
            next(queue._dones_)  # counted, and will never be put
            queue._owed_ -= 1
        queue._look_after_()
