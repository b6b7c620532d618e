# SPDX-License-Identifier: MIT
# ruff: noqa: B007 - a `for` that ends at once is how steps are taken here
"""`Queue`: what users call. How it works is told in `_engine.py`."""

from __future__ import annotations

from collections import deque
from itertools import count, islice, starmap
from operator import index
from sys import maxsize as most_there_can_be
from time import monotonic
from types import GenericAlias

from ._blocking import Blocking
from ._bound import Bounded, BoundOfClass, whole_bound
from ._by_hand import ByHand
from ._errors import Full, ShutDown
from ._hooks import hook, hooks_of, peeks
from ._platform import WHOLE_STEPS, Empty
from ._surely import OVERDUE, catch_up, elsewhere
from ._waiting import (
    ENDLESS,
    IN_BOX,
    NO_MORE,
    NOBODY,
    NOTHING,
    TICKETS,
    ThreadWaiter,
    Watcher,
    check_timeout,
    deadline_of,
    leaves_time,
    may_wait,
)
from ._ways import of_this_frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from typing import Any, Generic, TypeVar

    T = TypeVar("T")

    class Of(Generic[T]):
        pass
else:

    class Of:
        __slots__ = ()
        __class_getitem__ = classmethod(GenericAlias)


__all__ = ["Of", "Queue"]

# What `_swift_` is while `__init__` calls `_init`: false.
MAKING: Any = ()


class Queue(Blocking, Bounded, ByHand, Of["T"]):
    """A first-in first-out queue for any number of threads and asyncio tasks.

    *maxsize* bounds how many items may wait in it; zero or less means any number. It may be set at any time.

    Safe to use from other threads, from signal handlers, finalisers and garbage collector callbacks even while the
    same thread is inside an operation of the same queue, and in the child of an `os.fork()`. (If another thread was in
    the `_put` of a subclass at that moment, the item is one of the child's `unfinished_tasks` if `queue` is longer than
    before, or, of a class that keeps items elsewhere, if what `_qsize` returns is greater.) Waiting calls are served in
    the order in which they came; one that need not wait may be faster than one that is just being woken. Before a call
    waits, where nobody else does, it lets other threads run, and looks again.

    An empty queue that nobody has waited for or looked into is a few hundred bytes; a bound adds a byte for each place,
    up to 64 KiB. The memory of items taken is free for others at once.

    Differs from the standard `queue.Queue` in those guarantees; in that `mutex` is an `RLock`, under which everything
    happens from the first look at it on; and in that
    `not_empty`, `not_full` and `all_tasks_done` are made when they are first looked at. Once it has been looked into, a
    put() that interrupts another put() of the same thread may exceed *maxsize* by one. New here are `join(timeout)`,
    `put_many`, `get_many`, `peek`, `clear`, iteration, the `a...` methods, and that a changed *maxsize* wakes putters.
    """

    _native_ = True
    _native_hooks_: tuple[Any, ...]  # which hooks this kind of queue brings along
    _hooks_: tuple[Any, ...]  # which ones this class had when it was last looked at
    _peeks_ = True  # whether _peek and _get are about the same container
    _in_place_ = WHOLE_STEPS  # it is free, and no subclass says how a stock is made

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "_native_" in vars(cls):
            cls._native_hooks_ = hooks_of(cls)
        cls._look_for_hooks_()
        bound = vars(cls).get("maxsize")
        if bound is not None and not hasattr(bound, "__get__"):
            cls.maxsize = BoundOfClass(bound)  # type: ignore[assignment]

    @classmethod
    def _look_for_hooks_(cls) -> None:
        """Note whether the class has hooks of its own: at the class statement, and whenever a queue is made and they are not
        what they were (set by a class decorator, say, or patched)."""
        hooks = hooks_of(cls)
        cls._has_hooks_ = hooks[1:] != cls._native_hooks_[1:]
        cls._peeks_ = peeks(cls)
        cls._in_place_ = cls._can_be_free_ and hooks[0] is Queue._native_hooks_[0] and not cls._has_hooks_
        cls._hooks_ = hooks

    def __init__(self, maxsize: int = 0) -> None:
        cls = type(self)
        if hooks_of(cls) != cls._hooks_:
            cls._look_for_hooks_()
        if self._furnished_ or self._counting_:
            self._begin_anew_(maxsize)
            return
        self._maxsize_ = maxsize
        if self._bound_given_ is not None or self._full_message_ is not None:  # once more
            self._bound_given_ = self._full_message_ = None
        bound = maxsize
        if type(maxsize) is not int:
            bound = whole_bound(maxsize)
            self._maxsize_, self._bound_given_ = bound, maxsize
        self._puts_ = self._admits_ = count(1)
        self._alarm_ = self._putters_ = self._joiners_ = NOBODY
        if self._in_place_:
            # What the other branch does, in fewer steps.
            self._free_ = True
            stock: deque[T] = deque()
            self._stock_ = stock
            self._takes_ = starmap(stock.popleft, ENDLESS)
            if bound > 0:
                self._admits_ = self._way_in_(stock, bound)
        else:
            self._hooked_ = self._hooked_ or cls._has_hooks_
            self._free_ = self._can_be_free_ and not self._hooked_
            self._admits_ = self._takes_ = NO_MORE
            if not hasattr(self, "_stock_"):  # else a subclass has set `queue` before
                self._stock_ = ()  # for subclasses that keep their items elsewhere
            if not self._free_:
                self._furnish_()
            # (No attribute of its own: CPython finds those of instances that have more than thirty more slowly.)
            self._swift_ = MAKING
            try:
                self._init(maxsize)
            finally:
                if self._swift_ is MAKING:
                    self._swift_ = False
            self._fit_()

    def _begin_anew_(self, maxsize: int) -> None:
        """`__init__` once more: an empty queue again, with the same mutex and Conditions. Who waits goes on waiting."""
        self._close_()
        self._change_(self._empty_now_, maxsize)

    def _empty_now_(self, maxsize: int) -> None:
        self._returned_.clear()
        self._parked_.clear()
        self._init(maxsize)
        self._adopt_(self._stock_)
        # Before anything settles: what waiting putters bring then are tasks.
        more = -self._unfinished_()
        deque(islice(self._puts_ if more > 0 else self._dones_, abs(more)), maxlen=0)
        self._set_maxsize_(maxsize)
        self._shut_down_(False, False)

    def __getstate__(self) -> Any:
        raise TypeError(f"cannot copy or pickle {self!r}: others may be waiting for it")

    # -- putting and taking ----------------------------------------------------------------------------------------

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Put *item* into the queue.

        Waits while the queue is full: as long as it takes, or *timeout* seconds, or not at all if *block* is false;
        then raises `Full`. Raises `ShutDown` as soon as the queue is shut down, also if it was waiting. A negative
        *timeout* is a `ValueError`, unless there is no reason ever to wait.

        If an exception out of a signal handler ends the call, the item is in the queue as a whole or not at all.
        """
        try:
            if not block and self._is_simply_full_():
                block = NOTHING  # to be raised below: on its way through the `except` it would be slower
            elif timeout is None or not block or timeout >= 0:
                try:
                    try:
                        for _ in self._admits_:
                            self._stock_.append(item)
                            if self._alarm_:
                                self._look_after_(item)
                            return
                        if not self._free_ and self._put_locked_(item):
                            return
                    except IndexError as problem:  # it is full
                        if not of_this_frame(problem):
                            raise
                except BaseException:
                    try:
                        self._resettle_([])
                    except BaseException:  # noqa: BLE001 - the first one is raised
                        OVERDUE[:0] = ((self._locked_, (self._resettle_now_, [])),)
                        try:
                            for _ in elsewhere:
                                break
                        except RuntimeError:
                            pass  # no thread can be started
                    raise
        except (AttributeError, TypeError):
            self._explain_(timeout)
            raise
        if block is NOTHING:
            raise self._no_room_(None)
        self._put_slowly_((item,), block, timeout)

    def _put_locked_(self, item: T) -> bool:
        held = None
        try:
            for held in self._enters_:
                if self._hooked_ or not 0 < self._maxsize_ <= len(self._stock_):  # else a step would raise
                    for _ in self._locked_admits_:
                        self._stock_.append(item)
                        if self._getters_:
                            self._settle_()
                        return True
                break
        except IndexError as problem:  # it is full
            if not of_this_frame(problem):
                raise
        finally:
            try:
                if held:
                    self._lock_.release()
            finally:
                pass
        return False

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take the next item: of a `Queue`, the one that has been in it longest.

        Waits while the queue is empty: as long as it takes, or *timeout* seconds, or not at all if *block* is false;
        then raises `Empty`. Raises `ShutDown` once the queue is shut down and empty, also if it was waiting. A
        negative *timeout* is a `ValueError` if *block* is true.

        If an exception out of a signal handler ends the call, the item stays in the queue, in its place.
        """
        box: list[T]
        item: Any = NOTHING
        ticket = None
        try:
            if timeout is None or not block or timeout >= 0:
                # (Else a step would raise, which takes longer than this look.)
                if self._stock_ or (block and self._item_comes_(timeout)):
                    try:
                        for item in self._takes_:
                            if self._putters_:
                                for ticket in TICKETS:
                                    break
                                self._look_after_()
                            return item  # type: ignore[no-any-return]
                    except IndexError as problem:  # somebody was quicker
                        if item is not NOTHING or not of_this_frame(problem):
                            raise
                elif not block and self._is_simply_empty_():
                    block = NOTHING  # to be raised below: on its way through the `except` it would be slower
                if not self._free_ and block is not NOTHING:
                    held = None
                    try:
                        for held in self._enters_:
                            if self._stock_:  # the same here
                                for item in self._locked_takes_:
                                    if self._putters_:
                                        for ticket in TICKETS:
                                            break
                                        self._settle_()
                                    return item  # type: ignore[no-any-return]
                            break
                    except IndexError as problem:
                        if item is not NOTHING or not of_this_frame(problem):
                            raise
                    finally:
                        try:
                            if held:
                                # Not by a call, behind which an exception could strike; and within
                                # the outer `try`, since on 3.10 it can all the same.
                                for _ in self._leaves_:
                                    break
                        finally:
                            pass
            if block is NOTHING:
                refusal = None
            else:
                box = []
                item = IN_BOX
                refusal = self._get_slowly_(box, block, timeout)
                if refusal is None:
                    return box[-1]
        except BaseException as problem:
            if item is not NOTHING:
                taken = [item] if item is not IN_BOX else box  # pyright: ignore[reportPossiblyUnboundVariable]
                try:
                    self._resettle_(taken, ticket)
                except BaseException:  # noqa: BLE001 - the first one is raised
                    self._behind_ = (taken, *self._behind_)  # until then nothing may overtake it
                    self._admits_ = self._takes_ = self._locked_admits_ = self._locked_takes_ = NO_MORE
                    OVERDUE[:0] = ((self._locked_, (self._resettle_now_, taken, ticket)),)
                    try:
                        for _ in elsewhere:
                            break
                    except RuntimeError:
                        pass  # no thread can be started
            elif isinstance(problem, (AttributeError, TypeError)):
                self._explain_(timeout)
            raise
        if refusal is None:
            raise self._no_item_(None)
        try:
            raise refusal
        finally:
            del refusal  # this frame is in its traceback

    def put_nowait(self, item: T) -> None:
        """Put *item* into the queue if there is room at this moment, else raise `Full`: `put(item, block=False)`."""
        self.put(item, False)

    def get_nowait(self) -> T:
        """Take an item if there is one at this moment, else raise `Empty`: `get(block=False)`."""
        return self.get(False)

    def put_many(self, items: Iterable[T], block: bool = True, timeout: float | None = None) -> None:
        """Put all *items* into the queue, in their order, as neighbours where they fit.

        A bounded queue takes as many as fit, at once, and the call waits with the rest as `put` does. If it cannot put
        them all, the `Full` or `ShutDown` that it raises has the list of the others as its *remaining*; so has, if it can
        have one, the exception with which comparing them, or a hook of a subclass, fails.
        Not in the standard module.
        """
        box = deque(items)
        if timeout is None or not block or may_wait(timeout):
            self._bring_(box)
        if box:
            self._put_slowly_(box, block, timeout)

    def get_many(
        self, max_items: int | None = None, block: bool = True, timeout: float | None = None
    ) -> list[T]:
        """Take what there is, at most *max_items*, at once, in the order in which `get` would.

        Waits for the first item as `get` does, and not for more. ValueError for *max_items* less than 1. If an
        exception out of a signal handler ends the call, all stay in the queue. Not in the standard module.
        """
        try:
            max_items = None if max_items is None else index(max_items)
        except TypeError:
            raise TypeError(
                f"max_items must be an integer, or None for any number, not {max_items!r}"
            ) from None
        if max_items is not None and max_items < 1:
            raise ValueError(f"max_items must be 1 or more, or None for any number, not {max_items!r}")
        if max_items is not None and max_items > most_there_can_be:
            max_items = None
        at_once = timeout is None or not block or may_wait(timeout)
        box: list[T] = []
        ticket = None
        try:
            if at_once:
                way = self._takes_
                steps = way if max_items is None else islice(way, max_items)
                try:
                    for ticket in TICKETS:
                        if self._takes_ is way:  # it may have been closed since
                            box.extend(steps)
                        break
                except IndexError as problem:  # that was all
                    if not of_this_frame(problem):
                        raise
                if box:
                    if self._putters_:
                        self._look_after_()
                    return box
            ticket = None
            refusal = self._get_slowly_(box, block, timeout, max_items)
            if refusal is None:
                return box
        except BaseException:
            try:
                self._resettle_(box, ticket)
            except BaseException:  # noqa: BLE001 - the first one is raised
                self._behind_ = (box, *self._behind_)  # until then nothing may overtake it
                self._admits_ = self._takes_ = self._locked_admits_ = self._locked_takes_ = NO_MORE
                OVERDUE[:0] = ((self._locked_, (self._resettle_now_, box, ticket)),)
                try:
                    for _ in elsewhere:
                        break
                except RuntimeError:
                    pass  # no thread can be started
            raise
        try:
            raise refusal
        finally:
            del refusal  # this frame is in its traceback

    def peek(self, block: bool = True, timeout: float | None = None) -> T:
        """The next item, which stays in the queue: what `get` would take now.

        Waits, and raises, as `get` does. Another call may take the item at any moment. A subclass that keeps its items
        in another way has to define `_peek`, else this is a TypeError. Not in the standard module.
        """
        if not self._peeks_ or (self._hooked_ and not type(self)._has_hooks_):
            raise TypeError(
                f"peek() does not know how {type(self).__name__} keeps its items; define _peek(self) there, "
                "to return the item that _get would take"
            )
        if block and timeout is not None:
            check_timeout(timeout)
        deadline = deadline_of(timeout if block else None)
        while True:
            item = self._change_(self._peek_now_)
            if item is not NOTHING:
                return item  # type: ignore[no-any-return]
            left = 0 if not block else None if deadline is None else deadline - monotonic()
            if left is not None and left <= 0:
                raise self._no_item_(timeout if block else None)
            Watcher((self,)).watch(left)

    def clear(self) -> int:
        """Drop all items, each counted as done, and return how many there were.

        Wakes putters, for there is room, and every `join` if no task is left. Not in the standard module.
        """
        return self._change_(self._clear_now_)  # type: ignore[no-any-return]

    # `item in queue` would take everything out to look at it, and then wait. There is none in the standard class either.
    __contains__: Any = None

    def __iter__(self) -> Iterator[T]:
        """Take items, one by one, until the queue is shut down and empty.

        Each is still a task to be done: if somebody is to `join`, call `task_done` for it.
        """
        while True:
            try:
                item = self.get()
            except ShutDown:
                return
            yield item

    # -- state -----------------------------------------------------------------------------------------------------

    def qsize(self) -> int:
        """How many items are in the queue at this moment; another thread may change it at the next."""
        if self._free_:
            return len(self._stock_) + len(self._returned_)
        return self._locked_(self._level_)  # type: ignore[no-any-return]

    def empty(self) -> bool:
        """Whether the queue is empty at this moment. Even so, a get() behind it may find an item."""
        return not self.qsize()

    def full(self) -> bool:
        """Whether the queue has *maxsize* items at this moment. Even so, a put() behind it may find room."""
        return 0 < self._maxsize_ <= self.qsize()

    # -- tasks -----------------------------------------------------------------------------------------------------

    def task_done(self) -> None:
        """Say that one item taken from the queue has been worked on; `join` waits for as many of these as there were
        puts.

        Wakes every `join` when it is the last. Raises `ValueError` if called more often than items were put.
        """
        held = None
        last = 0
        try:
            if not self._free_:
                for held in self._enters_:
                    break
            try:
                tasks = self._tasks_
            except AttributeError:
                tasks = self._make_tasks_()
            # Looks at how many are unfinished, and counts, in one piece.
            try:
                for last in tasks:
                    break
            except ZeroDivisionError as problem:
                if not of_this_frame(problem):
                    raise
                last = -1
                raise self._done_too_often_() from None
            if last and (last < 0 or self._joiners_ or (not self._free_ and self._doorbells_)):
                self._last_task_done_(last)
        except BaseException:
            if last >= 0:
                try:
                    self._resettle_([])
                except BaseException:  # noqa: BLE001 - the first one is raised
                    OVERDUE[:0] = ((self._locked_, (self._resettle_now_, [])),)
                    try:
                        for _ in elsewhere:
                            break
                    except RuntimeError:
                        pass  # no thread can be started
            raise
        finally:
            try:
                if held:
                    self._lock_.release()
            finally:
                pass

    def _last_task_done_(self, last: int) -> None:
        if last < 0:  # `unfinished_tasks` was set to less than nothing
            next(self._puts_)  # takes back what task_done counted
            raise self._done_too_often_()
        self._look_after_()
        self._ring_all_("all_tasks_done")

    def _done_too_often_(self) -> ValueError:
        return ValueError(f"task_done() was called more often on {self!r} than items were put into it")

    def join(self, timeout: float | None = None) -> bool:
        """Wait until `task_done` has been called for every item ever put: True, or False after *timeout* seconds.

        Woken by the last `task_done`, by a `shutdown(immediate=True)` or `clear()` that leaves no task, or by
        `all_tasks_done.notify_all()` after somebody set `unfinished_tasks` to 0. Differs from the standard module's in
        the timeout and in that it returns something.
        """
        if timeout is not None:
            check_timeout(timeout)
        if OVERDUE:
            catch_up(self)
        if self.unfinished_tasks <= 0:
            return True
        waiter = ThreadWaiter([])
        settled = False
        try:
            self._attend_(waiter)
            if not waiter.rung:
                waiter.stay(self, timeout)
            settled = True
        finally:
            try:
                if not settled:
                    self._abandon_(waiter)
            except BaseException:
                if not settled:
                    waiter.gone = True  # until then it is handed nothing
                    OVERDUE[:0] = ((self._locked_, (self._abandon_now_, waiter)),)
                    try:
                        for _ in elsewhere:
                            break
                    except RuntimeError:
                        pass  # no thread can be started
                raise
        return waiter.rung

    @property
    def unfinished_tasks(self) -> int:
        """How many items were put and not yet declared done. Setting it to 0 wakes every `join`, and notifies
        `all_tasks_done`."""
        if self._free_:
            return self._unfinished_()
        if OVERDUE:
            catch_up(self)
        return self._locked_(self._unfinished_)  # type: ignore[no-any-return]

    @unfinished_tasks.setter
    def unfinished_tasks(self, number: int) -> None:
        if not self._is_made_():
            return  # by a subclass; Queue.__init__ sets it to 0
        self._close_()
        self._change_(self._set_unfinished_, number)

    def _set_unfinished_(self, number: int) -> None:
        more = number - self._unfinished_()
        deque(islice(self._puts_ if more > 0 else self._dones_, abs(more)), maxlen=0)
        self._settle_()
        if number <= 0:
            self._ring_all_("all_tasks_done")

    @property
    def is_shutdown(self) -> bool:
        """Whether `shutdown` has been called. Setting it does what that does, or takes it back."""
        return self._shut_

    @is_shutdown.setter
    def is_shutdown(self, shut: bool) -> None:
        if self._is_made_():
            self._change_(self._shut_down_, False, bool(shut))

    def shutdown(self, immediate: bool = False) -> None:
        """Refuse new items; wake everyone who waits in put() or get().

        Waiting putters see `ShutDown` at once; getters take what is left, and see it then. With *immediate* what is
        left is dropped, each item counted as done, so that `join` waits only for the items that were taken already.
        Calling it twice is harmless.
        """
        self._change_(self._shut_down_, immediate)

    # -- for asyncio and others like it; how they wait is told in _async.py, which is imported when one has to -------

    async def aget(self, timeout: float | None = None) -> T:
        """Take the next item, as `get` does; waiting suspends the task alone.

        Tasks of any number of event loops (asyncio, and trio and anyio where they are installed) and threads may use
        one queue at once, and wait in one line. A call that need not wait does not give way to other tasks.

        A task that is cancelled here takes nothing: an item that it was handed already goes back into its place, or
        to the next who waits. The same happens with the item of a task whose event loop is closed, or collected, before
        it has its turn. Not in the standard module.
        """
        if timeout is not None and not leaves_time(timeout):
            return self.get(True, timeout)
        try:
            return self.get(False)
        except Empty:
            from ._async import get_later
        return await get_later(self, timeout)

    async def aput(self, item: T, timeout: float | None = None) -> None:
        """Put *item* into the queue, as `put` does; waiting suspends the task alone.

        A task that is cancelled here has put its item or has not; nothing tells which. So has one whose event loop is
        closed meanwhile. Not in the standard module.
        """
        if timeout is not None and not leaves_time(timeout):
            return self.put(item, True, timeout)
        try:
            return self.put(item, False)
        except Full:
            from ._async import put_later
        return await put_later(self, [item], timeout)

    async def ajoin(self, timeout: float | None = None) -> bool:
        """Wait as `join` does, and return what it returns; waiting suspends the task alone. Not in the standard
        module."""
        if (timeout is not None and not leaves_time(timeout)) or self.join(0):
            return self.join(timeout)
        from ._async import join_later

        return await join_later(self, timeout)

    async def aget_many(self, max_items: int | None = None, timeout: float | None = None) -> list[T]:
        """Take what there is, as `get_many` does; waiting suspends the task alone. Not in the standard module."""
        if timeout is not None and not leaves_time(timeout):
            return self.get_many(max_items, True, timeout)
        try:
            return self.get_many(max_items, False)
        except Empty:
            from ._async import get_many_later
        return await get_many_later(self, max_items, timeout)

    async def aput_many(self, items: Iterable[T], timeout: float | None = None) -> None:
        """Put all *items* into the queue, as `put_many` does; waiting suspends the task alone.

        A cancelled task has put some of them, from the first on. Not in the standard module.
        """
        rest = list(items)
        if timeout is not None and not leaves_time(timeout):
            return self.put_many(rest, True, timeout)
        try:
            return self.put_many(rest, False)
        except Full as full:
            rest = list(full.remaining)
        from ._async import put_many_later

        return await put_many_later(self, rest, timeout)

    def __aiter__(self) -> AsyncIterator[T]:
        """Take items, one by one, until the queue is shut down and empty.

        Each is still a task to be done: if somebody is to `join`, call `task_done` for it. A loop that ends early leaves
        nothing to be closed.
        """
        from ._async import Items

        return Items(self)

    # -- what subclasses override; called with the mutex held ------------------------------------------------------

    def _init(self, maxsize: int) -> None:  # noqa: ARG002
        self._start_with_(deque())

    def _start_with_(self, container: Any) -> None:
        if self._swift_ is MAKING:
            self._stock_ = container
        else:  # a subclass calls `_init` once more
            self._returned_.clear()
            self.queue = container

    @hook
    def _qsize(self) -> int:
        return len(self._stock_)

    @hook
    def _put(self, item: T) -> None:
        self._stock_.append(item)

    @hook
    def _get(self) -> T:
        return self._stock_.popleft()  # type: ignore[no-any-return]

    def _peek(self) -> T:
        return self._stock_[0]  # type: ignore[no-any-return]


Queue._native_hooks_ = Queue._hooks_ = hooks_of(Queue)
