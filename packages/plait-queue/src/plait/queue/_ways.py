# SPDX-License-Identifier: MIT
# ruff: noqa: B007 - a `for` that ends at once is how steps are taken here
#
# The parts of a queue, and the ways in and out of its stock. (The rules of the whole are in _engine.py.)
#
# Parts
#   An empty queue has a stock and one counter. The mutex, the waiting lines and what goes with them are made when
#   somebody first needs them (`_furnish_`), the other counter at the first task_done() (`_make_tasks_`): by whoever
#   comes first of any number of threads, handlers and finalisers, all attributes in one piece.
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
#
# Ways
#   `_entry_` and `_exit_` lead into and out of the stock, and are made anew with it, or with another bound. Those that
#   the short ways use are the same iterators, or NO_MORE, which yields nothing: then the way is closed. `_tune_` says
#   which are open, and there are no other flags to look at on the short ways. Whatever changes what that depends on
#   closes the ways in the same piece, and `_tune_` follows; whoever is interrupted before it makes up for that.
#
# What was given back
#   What interrupted getters of first-in first-out queues give back lies in `_returned_`, from which getters are served
#   before the stock, in the order in which the items were taken: that is what the tickets are for. Meanwhile the way
#   out is closed. A box in `_behind_` is going to be given back by another thread (_surely.py); until it is empty both
#   ways are closed.

from __future__ import annotations

from bisect import insort_left
from collections import deque
from itertools import compress, count, repeat
from operator import floordiv, getitem, itemgetter, sub
from types import MappingProxyType

from .._thread import RLock, register_after_fork
from ._fork import drop_the_dead, free_unless_ours
from ._platform import WHOLE_STEPS
from ._waiting import NO_MORE, NOBODY, steps_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from ._doorbell import Doorbell
    from ._waiting import Waiter

__all__ = ["Ways", "of_this_frame"]

# How large a bound is looked up in a table of so many bytes; the range that does for larger ones is slower.
_TABLE = 1 << 16

_by_ticket = itemgetter(0)

# Under this the parts are made.
_founding = RLock()
_enter_founding = steps_of(_founding.acquire)
register_after_fork(_founding, free_unless_ours)


class _Counter:
    """How many tasks were done: a counter that many queues never use."""

    def __get__(self, queue: Ways, owner: type[Ways]) -> count[int]:
        queue._make_tasks_()
        return queue._dones_


class Ways:
    """What a queue consists of, and how items get in and out.

    What the short ways look at is kept in each queue, and has no default in the class, nor does anything here look into
    `__dict__`: both would keep CPython from finding it quickly.
    """

    # What a queue nobody ever waited for or looked into can do without; `_furnish_` makes its own.
    _shut_ = False
    _furnished_ = False
    _counting_ = False  # whether it has `_tasks_`
    _has_hooks_ = False  # whether the class overrides how items are kept, when it was last looked at
    _hooked_ = False  # whether items of this queue pass through hooks
    _can_be_free_ = WHOLE_STEPS  # whether its kind can do without the mutex, here
    _simple_ = True  # whether a step of `_exit_` is all that taking an item needs
    # Whether that is so, and may be done, now; the same for `_entry_` and putting.
    _swift_ = _swift_in_ = True
    _in_hook_ = False
    _drawn_: object = None  # another one each time that an item was taken through a hook
    # While the _put of a subclass runs: how much there was before, for the child of a fork.
    _before_: tuple[int | None, Any] | None = None
    # How many items are counted, not stored, and not said to be under way: their put() is about to see to that.
    _owed_ = 0
    _returned_: deque[Any] = NOBODY  # pairs of ticket and item, sorted; given back by interrupted getters
    # Boxes of interrupted getters that will be given back; until then the ways are closed.
    _behind_: tuple[Any, ...] = ()
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
    # What this has counted more than `_dones_` is unfinished: looking at the difference moves both.
    _puts_: count[int]

    # In a queue that is furnished, as every one that is locked.
    _lock_: RLock
    _enters_: Iterator[bool]
    _leaves_: Iterator[None]
    _getters_: deque[Waiter]
    _locked_admits_: Iterator[Any]
    _locked_takes_: Iterator[Any]

    # In a queue of which somebody has said that a task was done. A step counts one more as done, and says whether it was
    # the last (1) or not (0). If none is unfinished it counts nothing, not for a moment, but raises ZeroDivisionError.
    _tasks_: Iterator[int]

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
            engine: Any = self  # as every queue is
            lock = RLock()
            enters, leaves = steps_of(lock.acquire), steps_of(lock.release)
            doorbells: dict[str, Doorbell] = {}
            lines: list[deque[Any]] = [deque() for _ in range(5)]
            ways = NO_MORE, NO_MORE
            if self._free_:  # those in use may be closed
                ways = self._ways_(self._stock_, self._maxsize_)
            register_after_fork(engine, drop_the_dead)  # before anybody can hold the mutex
            # A nested call may have been quicker, but not between this and the last assignment.
            if not self._furnished_:
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
            lasts = map(floordiv, repeat(1), map(sub, self._puts_, dones))  # the whole part of 1 / unfinished
            tasks = compress(lasts, dones)
            # Likewise.
            if not self._counting_:
                self._dones_, self._tasks_, self._counting_ = dones, tasks, True
            return self._tasks_
        finally:
            try:
                if held:
                    _founding.release()
            finally:
                pass

    # -- the mutex -----------------------------------------------------------------------------------------------------

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

    # -- the ways in and out -------------------------------------------------------------------------------------------

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
            hooked = type(self)._has_hooks_ or not parked or bool(hooks) or self._is_foreign_(container)
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

    # -- what interrupted getters give back ----------------------------------------------------------------------------

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

    # -- levels and counts ---------------------------------------------------------------------------------------------

    def _level_(self) -> int:
        in_stock = self._qsize() if self._hooked_ else len(self._stock_)
        return in_stock + len(self._returned_) + len(self._parked_)

    def _unfinished_(self) -> int:
        for puts, dones in zip(self._puts_, self._dones_):  # noqa: B905 - both are endless
            return puts - dones
        raise AssertionError

    # -- what the kinds of queue define --------------------------------------------------------------------------------

    def _qsize(self) -> int:
        raise NotImplementedError

    def _put(self, item: Any) -> None:
        raise NotImplementedError

    def _get(self) -> Any:
        raise NotImplementedError

    def _peek(self) -> Any:
        raise NotImplementedError

    def _lay_open_(self) -> None:
        """Before somebody looks into the container."""
        if self._free_:
            self._close_()

    def _replace_stock_(self, container: Any) -> None:
        self._adopt_(container)
        self._tune_()


def of_this_frame(problem: BaseException, below: int = 0) -> bool:
    """Whether C code that was called in the frame that catches *problem*, or as many frames *below*, raised it: not a
    handler that struck there."""
    trace = problem.__traceback__
    while trace is not None and below:
        trace, below = trace.tb_next, below - 1
    return trace is None or trace.tb_next is None
