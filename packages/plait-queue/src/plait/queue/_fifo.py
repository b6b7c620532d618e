# SPDX-License-Identifier: MIT
# The queue: a deque, two counters, and, once somebody has to wait, an owner-aware lock and three lines of waiting
# calls.
#
# Two modes
#   Free: until somebody looks at `mutex` or `queue`, get() pops from the deque and put() to an unbounded queue appends
#   to it without the mutex. Both then look for waiting calls; a call that has to wait enters its line and then looks
#   at the deque once more. Whichever comes second sees the other, so no wake-up is lost. This rests on one call of a
#   C function being whole for other threads (CPython with its global lock; see _platform.py).
#   Locked: everything happens under the mutex. So it is for good after the first look at `mutex`, `queue` or a
#   Condition, after shutdown, after an interrupted getter gave an item back, for subclasses with hooks, and from the
#   beginning on PyPy and on CPython without the global lock. `_close` says how a queue gets from here to there.
#
# Always true when the mutex is free
#   - nobody waits in vain: no getter waits while there is stock, no putter while there is room, no joiner while
#     every task is done, and nobody but joiners after shutdown. `_settle` makes this true; every change of the state
#     ends with it.
#   - each line is served longest-waiting first (a call nested in a blocked call of the same thread goes before it,
#     because the outer one cannot go on before the inner one does).
#   - `unfinished_tasks` is the number of items put less the number of `task_done` calls, whatever happens to the
#     items.
#
# Who wakes whom
#   A putter puts its item into the stock, then `_settle` carries items from the stock into the boxes of waiting
#   getters and rings them; a getter that was rung has its item already and needs no lock. In the same way a getter
#   makes room and
#   `_settle` carries the items of waiting putters into the stock. Nobody is woken who would find nothing.
#
# What if it is interrupted here (see _waiting.py for where "here" can be)
#   - by a nested operation: the mutex lets the same thread in again. Each step (count, append, take, leave a line) is
#     one call into C, no value read before a step is written back after it, and what was found true before a step is
#     either looked at again behind it or harmless when stale (nested puts may overfill a bounded queue by the depth
#     of nesting). A nested call that has to wait lets go of the mutex at all its levels; what other threads do
#     meanwhile is, for the interrupted operation, no different from nested operations.
#   - by an exception out of a handler, while waiting: the call leaves its line. If an item had been carried into its
#     box, the item goes to `_returned`, from which getters are served before the stock, in the order in which the
#     items were taken.
#   - by an exception out of a handler, elsewhere: whatever was done stays done, and `_settle` runs before the
#     exception goes on. A put() or get() that ends so has happened or not, never half. On CPython 3.11 and newer
#     this is exact; before, and on PyPy, one or two bytecodes remain in which an exception loses what the stack
#     holds.
#
# What we cannot mend: on CPython 3.14 (neither before nor after it) an exception out of a handler can strike between the
# __enter__ of a lock and the body of its `with`, and the lock stays held. Measured, and not noticed by any test of ours,
# since the window is a small part of an operation.
#
# What if it is forked here
#   The child drops waiting calls of threads that it does not have, and frees the mutex unless the forking thread
#   itself holds it (fork in a handler). Stock, counts and returned items are the parent's at that moment. Counting an
#   item and storing it cannot be parted by a fork; a hook of a subclass can, and is then not counted.
#
# Subclasses and meddlers
#   `_init/_put/_get/_qsize` are honoured where a class overrides them; then items pass through them (in the thread
#   that happens to settle). `queue` may be read, changed or replaced under `mutex`. The three Conditions of the
#   standard module exist from the moment somebody asks for one; their notify() settles the queue too, so
#   `q.queue.clear(); q.not_full.notify_all()` wakes our putters, and a user waiting in `q.not_empty.wait()` is
#   notified by our put(). Those take the long way round (not `_plain`); a queue nobody meddled with never sees it.

from __future__ import annotations

from collections import deque
from itertools import compress, count, islice, repeat, starmap
from time import monotonic
from types import GenericAlias, MappingProxyType

from .._thread import RLock, get_ident, register_after_fork, reset_lock
from ._platform import SPARSE_CHECKS, WHOLE_STEPS, Empty, is_owned
from ._waiting import Waiter, move, steps_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, Generic, TypeVar

    from ._doorbell import Doorbell

    T = TypeVar("T")

    class Of(Generic[T]):
        pass
else:

    class Of:
        __slots__ = ()
        __class_getitem__ = classmethod(GenericAlias)


__all__ = ["Full", "Queue", "ShutDown"]


_NOTHING = object()  # no item: every value can be one
_ENDLESS = repeat(())
_NO_MORE: Iterator[Any] = iter(())  # what get() takes from without the mutex, once it may not
_NOBODY: deque[Any] = deque(maxlen=0)  # always empty


class Full(Exception):
    """No room to put the item, and the caller did not want to wait, or not any longer."""

    __module__ = __package__ or __name__


class ShutDown(Exception):
    """The queue takes no more items; or it gives no more, for it is empty."""

    __module__ = __package__ or __name__


class _Furniture:
    """The mutex of a queue, made when it is first needed, together with what else only waiting calls need."""

    def __get__(self, queue: Queue[Any], owner: type[Queue[Any]]) -> RLock:
        return queue._furnish()


class Queue(Of["T"]):
    """A first-in first-out queue for any number of threads.

    *maxsize* bounds how many items may wait in it; zero or less means any number.

    Safe to use from other threads, from signal handlers, finalisers and garbage collector callbacks even while the
    same thread is inside an operation of the same queue, and in the child of an `os.fork()`. Waiting calls are
    served in the order in which they came.

    Differs from the standard `queue.Queue` in those guarantees; in that `mutex` is an `RLock`, under which everything
    happens from the first look at it on; and in that
    `not_empty`, `not_full` and `all_tasks_done` are made when they are first looked at. A put() that interrupts
    another put() of the same thread may exceed *maxsize* by one.
    """

    # What a queue nobody ever waited for or looked into can do without; `_furnish` makes its own.
    is_shutdown = False
    _hooked = False  # whether the class overrides how items are kept
    _plain = True  # neither that, nor does anybody have to be told of every item, nor was one given back
    _in_hook = False
    _level_before: int | None = None  # while the _put of a subclass runs
    _getters: deque[Waiter] = _NOBODY
    _putters: deque[Waiter] = _NOBODY
    _joiners: deque[Waiter] = _NOBODY
    _returned: deque[tuple[float, T]] = _NOBODY  # sorted; given back by interrupted getters
    _parked: deque[T] = _NOBODY  # put while a hook of a subclass was running in the same thread
    _late: deque[T] = _NOBODY  # the stock of the free days, see _close
    _takes = _locked_takes = _late_takes = _NO_MORE
    _stock: Any
    _doorbells: Mapping[str, Doorbell] = MappingProxyType({})
    _lock = _Furniture()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._hooked = any(
            getattr(cls, hook) is not getattr(Queue, hook) for hook in ("_put", "_get", "_qsize")
        )
        cls._plain = not cls._hooked

    def __init__(self, maxsize: int = 0) -> None:
        self.maxsize = maxsize
        # Their difference is the number of unfinished tasks: looking at it moves both.
        self._puts = count(1)
        self._dones = count(1)
        self._free = False
        self._init(maxsize)

    def _furnish(self) -> RLock:
        """Make the mutex and the waiting lines. Any number of threads may come here at once: each setdefault has one
        winner."""
        mine = self.__dict__
        for line in ("_getters", "_putters", "_joiners", "_returned", "_parked"):
            mine.setdefault(line, deque())
        mine.setdefault("_doorbells", {})
        register_after_fork(self, _drop_the_dead)  # before anybody can hold the mutex
        return mine.setdefault("_lock", RLock())  # type: ignore[no-any-return]

    def __getstate__(self) -> Any:
        raise TypeError(f"cannot copy or pickle {self!r}: others may be waiting for it")

    # -- what users call -------------------------------------------------------------------------------------------

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Put *item* into the queue.

        Waits while the queue is full: as long as it takes, or *timeout* seconds, or not at all if *block* is false;
        then raises `Full`. Raises `ShutDown` as soon as the queue is shut down, also if it was waiting. A negative
        *timeout* is a `ValueError`, unless there is no reason ever to wait.

        If an exception out of a signal handler ends the call, the item is in the queue as a whole or not at all.
        """
        try:
            if self._free and self.maxsize <= 0:
                if SPARSE_CHECKS:
                    for _ in self._puts:
                        break
                    self._stock.append(item)
                else:
                    self._stock.extend(compress((item,), self._puts))
                if self._getters or not self._free:
                    self._look_after(item)
                return
            if self._plain and (timeout is None or timeout >= 0):
                with self._lock:
                    bound = self.maxsize
                    if not (self.is_shutdown or self._putters) and (bound <= 0 or len(self._stock) < bound):
                        if SPARSE_CHECKS:
                            for _ in self._puts:
                                break
                            self._stock.append(item)
                        else:
                            self._stock.extend(compress((item,), self._puts))
                        if self._getters:
                            self._settle()
                        return
        except BaseException:
            self._resettle()
            raise
        self._put_slowly(item, block, timeout)

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take the item that has been in the queue longest.

        Waits while the queue is empty: as long as it takes, or *timeout* seconds, or not at all if *block* is false;
        then raises `Empty`. Raises `ShutDown` once the queue is shut down and empty, also if it was waiting. A
        negative *timeout* is a `ValueError` if *block* is true.

        If an exception out of a signal handler ends the call, the item stays in the queue, in its place.
        """
        if timeout is not None and timeout < 0:
            return self._get_slowly(block, timeout)
        item: Any = _NOTHING
        try:
            for item in self._takes:
                if self._putters:
                    self._look_after()
                return item  # type: ignore[no-any-return]
            if self._plain:
                with self._lock:
                    if self._stock and not self._free:
                        for item in self._locked_takes:  # noqa: B007 - it is what we are after
                            break
                        if self._putters:
                            self._settle()
                        return item  # type: ignore[no-any-return]
        except BaseException as problem:
            if item is not _NOTHING:
                self._resettle(item)
                raise
            if not isinstance(problem, IndexError):
                raise
        return self._get_slowly(block, timeout)

    def put_nowait(self, item: T) -> None:
        """Put *item* into the queue if there is room at this moment, else raise `Full`: `put(item, block=False)`."""
        self.put(item, False)

    def get_nowait(self) -> T:
        """Take an item if there is one at this moment, else raise `Empty`: `get(block=False)`."""
        return self.get(False)

    def qsize(self) -> int:
        """How many items are in the queue at this moment; another thread may change it at the next."""
        if self._free:
            return len(self._stock)
        with self._lock:
            return self._level()

    def empty(self) -> bool:
        """Whether the queue is empty at this moment. Even so, a get() behind it may find an item."""
        return not self.qsize()

    def full(self) -> bool:
        """Whether the queue has *maxsize* items at this moment. Even so, a put() behind it may find room."""
        return 0 < self.maxsize <= self.qsize()

    def task_done(self) -> None:
        """Say that one item taken from the queue has been worked on; `join` waits for as many of these as there were
        puts.

        Wakes every `join` when it is the last. Raises `ValueError` if called more often than items were put.
        """
        if not self._free:
            with self._lock:
                self._count_done()
        else:
            self._count_done()

    def join(self) -> None:
        """Wait until `task_done` has been called for every item ever put.

        Woken by the last `task_done`, by a `shutdown(immediate=True)` that leaves no task, or by
        `all_tasks_done.notify_all()` after somebody set `unfinished_tasks` to 0. Waits without limit; for a limit,
        wait on `all_tasks_done`.
        """
        if self.unfinished_tasks:
            waiter = Waiter()
            try:
                with self._lock:
                    self._joiners.append(waiter)
                    self._settle()
                waiter.sleep(self._lock, None)
            except BaseException:
                with self._lock:
                    _strike(self._joiners, waiter)
                    self._settle()
                raise

    def shutdown(self, immediate: bool = False) -> None:
        """Refuse new items; wake everyone who waits in put() or get().

        Waiting putters see `ShutDown` at once; getters take what is left, and see it then. With *immediate* what is
        left is dropped, each item counted as done, so that `join` waits only for the items that were taken already.
        Calling it twice is harmless.
        """
        with self._lock:
            self._close()
            self.is_shutdown = True
            try:
                if immediate:
                    dropped = Waiter()
                    while self._level() and self._fill(dropped):
                        dropped.box.clear()
                        if self._unfinished() > 0:
                            next(self._dones)
            finally:
                self._settle()
                for doorbell in tuple(self._doorbells.values()):
                    doorbell.ring_all()

    # -- what meddlers look at -------------------------------------------------------------------------------------

    @property
    def mutex(self) -> RLock:
        """The lock under which everything happens from now on: before it was first looked at, some things happened
        without any."""
        if self._free:
            self._close()
        return self._lock

    @property
    def queue(self) -> Any:
        """The container of the waiting items, a deque unless `_init` made another. Hold `mutex` while touching it.

        Items that interrupted getters gave back are not in it; they are taken first.
        """
        if self._free:
            self._close()
        return self._stock

    @queue.setter
    def queue(self, container: Any) -> None:
        if self._free:
            self._close()
        self._stock = container
        take = getattr(container, "popleft", None)
        if take is None:
            self._plain, self._hooked = False, True
        else:
            self._locked_takes = steps_of(take)

    @property
    def unfinished_tasks(self) -> int:
        """How many items were put and not yet declared done. After setting it to 0, notify `all_tasks_done`."""
        if not self._free:
            with self._lock:
                return self._unfinished()
        return self._unfinished()

    @unfinished_tasks.setter
    def unfinished_tasks(self, number: int) -> None:
        with self.mutex:
            more = number - self._unfinished()
            deque(islice(self._puts if more > 0 else self._dones, abs(more)), maxlen=0)

    @property
    def not_empty(self) -> Doorbell:
        """A Condition over `mutex` that is notified once for each item put. Notify it after adding to `queue` by
        hand."""
        return self._doorbell("not_empty")

    @property
    def not_full(self) -> Doorbell:
        """A Condition over `mutex` that is notified once for each item taken. Notify it after removing from `queue`
        by hand."""
        return self._doorbell("not_full")

    @property
    def all_tasks_done(self) -> Doorbell:
        """A Condition over `mutex` that is notified when `unfinished_tasks` becomes 0."""
        return self._doorbell("all_tasks_done")

    # -- what subclasses override; called with the mutex held
    # ---------------------------------------------------------

    def _init(self, maxsize: int) -> None:  # noqa: ARG002
        self._stock = deque()
        takes = self._locked_takes = starmap(self._stock.popleft, _ENDLESS)
        if WHOLE_STEPS and self._plain:
            self._takes = takes
            self._free = True

    def _qsize(self) -> int:
        return len(self._stock)

    def _put(self, item: T) -> None:
        self._stock.append(item)

    def _get(self) -> T:
        return self._stock.popleft()  # type: ignore[no-any-return]

    # -- the long ways ---------------------------------------------------------------------------------------------

    def _put_slowly(self, item: T, block: bool, timeout: float | None) -> None:
        deadline = None if timeout is None else monotonic() + timeout
        waiter: Any = None
        try:
            with self._lock:
                if self.is_shutdown:
                    raise ShutDown(f"{self!r} was shut down: it takes no more items")
                if timeout is not None and block and timeout < 0 < self.maxsize:
                    raise ValueError(f"'timeout' must be a non-negative number, not {timeout!r}")
                if not self._putters and self._has_room():
                    self._store(item)
                    return
                if not block or timeout == 0:
                    raise Full(f"{self!r} is full: it holds {self._level()} items")
                waiter = Waiter(item)
                self._enlist(self._putters, waiter)
                self._settle()
            waiter.sleep(self._lock, None if deadline is None else max(0.0, deadline - monotonic()))
            with self._lock:
                # Looked at under the mutex: we may have been admitted between the end of our patience and now. And
                # gone from the line before it is free again, so that nobody admits an item that was refused.
                _strike(self._putters, waiter)
                if waiter.verdict is not None:
                    raise waiter.verdict
                if waiter.box:
                    raise Full(f"{self!r} had no room within {timeout} s")
        except BaseException:
            with self._lock:
                if waiter is not None:
                    waiter.gone = True
                    _strike(self._putters, waiter)
                self._settle()
            raise

    def _get_slowly(self, block: bool, timeout: float | None) -> T:
        deadline = None if timeout is None else monotonic() + timeout
        waiter = Waiter()
        try:
            with self._lock:
                if self._putters:
                    self._settle()  # somebody emptied `queue` by hand
                level = self._level()
                if self.is_shutdown and not level:
                    raise ShutDown(f"{self!r} was shut down and is empty")
                if timeout is not None and block and timeout < 0:
                    raise ValueError(f"'timeout' must be a non-negative number, not {timeout!r}")
                if level and not self._getters and self._fill(waiter):
                    self._settle()
                elif not block or timeout == 0:
                    raise Empty("the queue is empty")
                else:
                    self._enlist(self._getters, waiter)
                    if self.is_shutdown or self._level():  # since a moment ago
                        self._settle()
            if not waiter.box:
                waiter.sleep(self._lock, None if deadline is None else max(0.0, deadline - monotonic()))
                if not waiter.box:
                    with self._lock:
                        _strike(self._getters, waiter)
                        if waiter.verdict is not None:
                            raise waiter.verdict
                        if not waiter.box:
                            raise Empty(f"{self!r} had no item within {timeout} s")
            return waiter.box[-1]  # type: ignore[no-any-return]
        except BaseException:
            waiter.gone = True
            with self._lock:
                _strike(self._getters, waiter)
                if waiter.box:
                    self._give_back(waiter.ticket, waiter.box[-1])
                self._settle()
            raise

    def _resettle(self, item: Any = _NOTHING) -> None:
        """After an interruption of a short way: give back what was taken, and see that nobody waits in vain."""
        with self._lock:
            if item is not _NOTHING:
                # Behind whatever was carried to a waiting getter before, ahead of what will be carried from now on.
                self._give_back(monotonic(), item)
            self._level()
            self._settle()

    def _look_after(self, item: Any = _NOTHING) -> None:
        """What is left to do after a short way found that somebody waits, or that its time is over."""
        with self._lock:
            if item is not _NOTHING and self.is_shutdown and self._withdraw(item):
                raise ShutDown(f"{self!r} was shut down: it takes no more items")
            self._level()
            self._settle()
            if item is not _NOTHING and self._doorbells:
                self._announce("not_empty")

    def _close(self) -> None:
        """End the free days: from now on, whatever happens to the queue happens under the mutex.

        Short ways that are under way in other threads, or in what we interrupted, may be late: they find the old
        stock. So a new one takes its place. A late get() finds nothing in the old one. A late put() leaves its item
        there, sees then that it is late, and carries it over (`_look_after`), unless others did so before it.
        """
        with self._lock:
            if self._free:
                stock: deque[T] = deque()
                takes = steps_of(stock.popleft)
                self._late_takes = self._locked_takes
                self._free = False
                self._takes = _NO_MORE
                self._stock, self._locked_takes, self._late = stock, takes, self._stock
            self._level()

    def _carry_over(self) -> None:
        try:
            self._stock.extend(self._late_takes)
        except IndexError:
            pass  # that was the last

    def _withdraw(self, item: T) -> bool:
        """Take back an item that was put too late, after shutdown; false if somebody has taken it meanwhile."""
        found: deque[T] = deque()
        try:
            try:
                found.extend(self._late_takes)
            except IndexError:
                pass  # that was the last
            # The put() may have been so late that it found the new stock already. Others like it may be appending to
            # that at this moment, but nobody takes from its left while we have the mutex.
            for place in (found, self._stock):
                if isinstance(place, deque):
                    items = tuple(place)
                    for index in range(len(items) - 1, -1, -1):
                        if items[index] is item:
                            del place[index]
                            next(self._dones)
                            return True
            return False
        finally:
            self._late.extend(found)

    def _give_back(self, ticket: float, item: T) -> None:
        self._close()
        self._plain = False
        earlier = sum(1 for other, _ in self._returned if other < ticket)
        self._returned.insert(earlier, (ticket, item))

    def _level(self) -> int:
        if self._late and not self.is_shutdown:
            self._carry_over()
        in_stock = self._qsize() if self._hooked else len(self._stock)
        return in_stock + len(self._returned) + len(self._parked)

    def _has_room(self) -> bool:
        return self.maxsize <= 0 or self._level() < self.maxsize

    def _enlist(self, line: deque[Waiter], waiter: Waiter) -> None:
        # Ahead of a waiting call of the same thread: that one was interrupted by us, and waits for us.
        for place, other in enumerate(tuple(line)):
            if other.thread == waiter.thread:
                line.insert(place, waiter)
                return
        line.append(waiter)

    def _settle(self) -> None:
        """Carry items between stock and waiting calls until nobody waits in vain. The mutex is held."""
        progress = True
        while progress:
            progress = False
            if self._putters:
                if self.is_shutdown:
                    progress = self._send_away(self._putters)
                elif self._has_room():
                    progress = self._serve_first(self._putters, self._admit)
            if self._getters:
                if self._level():
                    progress = self._serve_first(self._getters, self._fill)
                elif self.is_shutdown:
                    progress = self._send_away(self._getters)
        while self._joiners and self._unfinished() <= 0:
            joiner = self._joiners[0]
            joiner.ring()
            _strike(self._joiners, joiner)

    def _send_away(self, line: deque[Waiter]) -> bool:
        for waiter in tuple(line):
            waiter.verdict = ShutDown(f"{self!r} was shut down while a put() or get() waited")
            waiter.ring()
            _strike(line, waiter)
        return True

    def _serve_first(self, line: deque[Waiter], serve: Callable[[Waiter], bool]) -> bool:
        """Serve and wake the call that waits longest. False if there was nothing to serve it with after all."""
        try:
            waiter = line[0]
        except IndexError:
            return False
        try:
            if _strike(line, waiter) and not serve(waiter):
                _reinstate(line, waiter)
                return False
        except BaseException as problem:
            if not waiter.served():
                if not (self._hooked and isinstance(problem, Exception)):
                    _reinstate(line, waiter)
                    raise
                # A subclass's _put or _get failed: that is for the caller whom it served, not for us.
                waiter.verdict = problem
            waiter.ring()
            if not isinstance(problem, Exception):
                raise
        waiter.ring()
        return True

    def _admit(self, waiter: Waiter) -> bool:
        """Carry the item of a waiting putter into the stock, and count it."""
        if self._hooked:
            emptied = steps_of(waiter.box.pop)
            self._store(waiter.box[-1])
            for _ in emptied:
                break
        else:
            # Counted and carried in one piece.
            self._stock.extend(compress(starmap(waiter.box.pop, ((),)), self._puts))
            if self._doorbells:
                self._announce("not_empty")
        return True

    def _store(self, item: T) -> None:
        """Put an item into the stock and count it. Through the hook of a subclass, but never through two at a
        time."""
        if not self._hooked:
            self._stock.extend(compress((item,), self._puts))
        elif self._in_hook:
            # We interrupted the hook in its work (say, a heap half sifted). It will find the item when it is done.
            self._parked.extend(compress((item,), self._puts))
        else:
            before = self._qsize()
            self._in_hook = True
            self._level_before = before
            next(self._puts)
            try:
                self._put(item)
            except Exception:
                next(self._dones)  # not put after all
                raise
            finally:
                self._level_before = None
                self._in_hook = False
            self._unpark()
        self._announce("not_empty")
        if self._getters or self._putters:
            self._settle()

    def _unpark(self) -> None:
        while self._parked:
            self._in_hook = True
            try:
                self._put(self._parked.popleft())
            finally:
                self._in_hook = False

    def _fill(self, waiter: Waiter) -> bool:
        """Carry the next item into the box of a getter. False if there is none."""
        try:
            if self._returned:
                for entry in steps_of(self._returned.popleft):
                    waiter.ticket = entry[0]
                    waiter.box.append(entry[1])
                    break
            else:
                waiter.ticket = monotonic()
                if not self._hooked:
                    for _ in map(waiter.box.append, self._locked_takes):
                        break
                elif self._in_hook and self._parked:
                    for _ in move(self._parked.popleft, waiter.box.append):
                        break
                else:
                    self._take_through_hook(waiter)
        except IndexError:
            if self._hooked:
                raise
            return False  # a nested get() was faster
        if self._doorbells:
            self._announce("not_full")
        return True

    def _take_through_hook(self, waiter: Waiter) -> None:
        outer, self._in_hook = self._in_hook, True
        try:
            waiter.box.append(self._get())
        finally:
            self._in_hook = outer
        if not outer:
            self._unpark()

    def _unfinished(self) -> int:
        for puts, dones in zip(self._puts, self._dones):  # noqa: B905 - both are endless
            return puts - dones
        raise AssertionError

    def _count_done(self) -> None:
        left = 0
        try:
            # Counts, and looks at the difference, in one piece.
            for _, puts, dones in zip(self._dones, self._puts, self._dones):  # noqa: B905 - all are endless
                left = puts - dones
                break
            if left <= 0 and (left < 0 or self._joiners or self._doorbells):
                self._last_task_done(left)
        except BaseException:
            if left >= 0:
                self._resettle()
            raise

    def _last_task_done(self, left: int) -> None:
        if left < 0:
            next(self._puts)  # takes back what task_done counted
            raise ValueError(f"task_done() was called more often on {self!r} than items were put into it")
        with self._lock:
            self._settle()
            doorbell = self._doorbells.get("all_tasks_done")
            if doorbell is not None:
                doorbell.ring_all()

    def _announce(self, name: str) -> None:
        doorbell = self._doorbells.get(name)
        if doorbell is not None:
            doorbell.ring()

    def _doorbell(self, name: str) -> Doorbell:
        doorbell = self._doorbells.get(name)
        if doorbell is None:
            from ._doorbell import Doorbell  # only for those who ask: a Condition costs an import

            with self.mutex:
                self._plain = False
                doorbell = self.__dict__["_doorbells"].setdefault(name, Doorbell(self))
        return doorbell


def _strike(line: deque[Waiter], waiter: Waiter) -> bool:
    """Take a call out of a line; false if it was not in it."""
    try:
        line.remove(waiter)
    except ValueError:
        return False
    return True


def _reinstate(line: deque[Waiter], waiter: Waiter) -> None:
    if not waiter.gone and waiter not in line:
        line.appendleft(waiter)


def _drop_the_dead(queue: Queue[Any]) -> None:
    """In the child of a fork: free the mutex, forget the calls of threads that do not exist here, and end what those
    were in the middle of."""
    ours = is_owned(queue._lock)
    if not ours:
        reset_lock(queue._lock)
        queue._in_hook = False
        if queue._level_before is not None:
            if queue._qsize() <= queue._level_before:
                next(queue._dones)  # counted, and will never be put
            queue._level_before = None
    me = get_ident()
    for line in (queue._getters, queue._putters, queue._joiners):
        living = [waiter for waiter in tuple(line) if waiter.thread == me]
        line.clear()
        line.extend(living)
    if not ours:
        queue._look_after()
