# SPDX-License-Identifier: MIT
#
# Iterators that threads may share.
#
#   serialize_iterator  one iterator for all: each item goes to one of the threads that ask.
#   concurrent_tee      one iterator each: every item goes to all of them.
#
# What must always hold
#   - The iterator behind is entered by one thread at a time.
#   - Who comes back to it from within itself (a generator that asks for its own next item, a signal handler that does
#     while the thread is inside) would wait for itself. That is refused with RuntimeError, where the standard ones hang.
#     The locks are RLocks for this alone: they know their owner.
#   - In a forked child the locks are free, unless the thread that forked is itself inside (a generator may fork).
#   - In a tee, a cell is empty or complete: what it holds and the cell after it come into it as one tuple, in one
#     operation, under the lock. So a cell that is not empty is read without the lock.
#   - A failure of the source is an item, too: every copy meets it at the same place, once. (The standard tee tells it to
#     whoever asked first; the others see a generator that failed as one that ended.)
#   - What a signal handler raises goes to the thread that it struck and nobody else, and loses no item: an item goes from
#     the source into `_Source._fetched`, and from there into the cell, by one call of C code each, and what an
#     interrupted thread left there is what the next one finds. (But where the handler interrupts the source itself, at
#     work in Python code, its exception is the source's: it cannot be told from one, and ends a generator.)

from __future__ import annotations

from itertools import repeat, starmap

from .._thread import RLock, register_after_fork, reset_lock
from ._surely import SEVERAL

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, ParamSpec, TypeVar

    T = TypeVar("T")
    T_co = TypeVar("T_co", covariant=True)
    P = ParamSpec("P")

    class Of(Iterator[T_co]):
        """Subscriptable: `serialize_iterator[int]`."""

else:

    class Of:
        """Subscriptable: `serialize_iterator[int]`."""

        __slots__ = ()
        __class_getitem__ = classmethod(type(list[int]))  # types.GenericAlias, without importing `types`


def _from_within(what: object) -> RuntimeError:
    return RuntimeError(
        f"{what!r} was asked for an item by the thread that is inside it; it would wait for itself"
    )


def _let_go(lock: Any) -> None:
    """Release a lock that its `with` may have left held: on 3.14 and PyPy a signal can strike before the body begins.

    For whoever did not hold it before.
    """
    # Not for ever: where the stack is used up, it cannot even be asked. (That is so before 3.12, where no `with` does that.)
    for _ in SEVERAL:
        try:
            if lock._is_owned():
                lock.release()
            return
        except BaseException:  # noqa: BLE001, S112 - another signal; the first exception does for both
            continue


def _free(holder: serialize_iterator[Any] | _Source) -> None:
    if not holder._lock._is_owned():
        reset_lock(holder._lock)


class serialize_iterator(Of["T_co"]):  # noqa: N801 - the standard module's name
    """An iterator that any number of threads can share: each item of *iterable* goes to exactly one of them.

    `send()`, `throw()` and `close()` are there if the iterator has them, one call at a time with the rest.

    Differs from `threading.serialize_iterator` (3.15): RuntimeError instead of a deadlock if the iterator, or a signal
    handler that interrupted it, asks it for an item; usable in a forked child whatever other threads did at the fork
    (unless one of them was inside a generator: that is in the middle of its work for ever).

        >>> from itertools import count
        >>> ticket = serialize_iterator(count())
        >>> next(ticket), next(ticket)
        (0, 1)
    """

    __slots__ = ("__weakref__", "_iterator", "_lock")

    def __init__(self, iterable: Iterable[T_co]) -> None:
        self._iterator: Any = iter(iterable)
        self._lock: Any = RLock()
        register_after_fork(self, _free)

    def __iter__(self) -> serialize_iterator[T_co]:
        return self

    def __next__(self) -> T_co:
        lock = self._lock
        if lock._is_owned():
            raise _from_within(self)
        try:
            with lock:
                item: T_co = next(self._iterator)
                return item
        except BaseException:
            _let_go(lock)
            raise

    def send(self, value: Any, /) -> Any:
        """Send *value* into the generator and return what it yields next."""
        return self._call(self._iterator.send, value)

    def throw(self, *args: Any) -> Any:
        """Raise an exception in the generator and return what it yields next."""
        return self._call(self._iterator.throw, *args)

    def close(self) -> Any:
        """Close the generator. Waits while another thread is inside it."""
        return self._call(self._iterator.close)

    def _call(self, method: Callable[..., Any], *args: Any) -> Any:
        if self._lock._is_owned():
            raise _from_within(self)
        try:
            with self._lock:
                return method(*args)
        except BaseException:
            _let_go(self._lock)
            raise


def synchronized_iterator(func: Callable[P, Iterable[T]]) -> Callable[P, serialize_iterator[T]]:
    """Decorate a function that returns an iterator (a generator function, say): threads may share what it returns.

    >>> @synchronized_iterator
    ... def numbers(n):
    ...     yield from range(n)
    >>> list(numbers(3))
    [0, 1, 2]
    """

    from functools import wraps  # which most programs need, but not all

    @wraps(func)
    def inner(*args: P.args, **kwargs: P.kwargs) -> serialize_iterator[T]:
        return serialize_iterator(func(*args, **kwargs))

    return inner


class _Source:
    """The iterator behind the copies."""

    __slots__ = ("__weakref__", "_fetched", "_iterator", "_lock")

    def __init__(self, iterable: Iterable[Any]) -> None:
        self._iterator = iter(iterable)
        self._fetched: list[Any] = []  # the next item, between the source and a cell
        self._lock: Any = RLock()
        register_after_fork(self, _free)

    def fill(self, cell: list[Any]) -> None:
        """Put the next item into the cell, unless another copy has done it meanwhile."""
        if self._lock._is_owned():
            raise _from_within(self._iterator)
        try:
            with self._lock:
                if not cell:
                    self._fill(cell)
        except BaseException:
            _let_go(self._lock)
            raise

    def _fill(self, cell: list[Any]) -> None:
        fetched = self._fetched
        if not fetched:
            # Made before the `try`, in which nothing may be called but the source: what is caught is its own.
            step: Iterator[Any] = zip(starmap(next, ((self._iterator,),)), repeat(None), ([],))
            try:
                fetched += step
            except Exception as error:  # noqa: BLE001 - an item; see above
                fetched += ((None, error, []),)
            if not fetched:
                raise StopIteration
        # The cell is the last of the chain, for there is but one that is empty: the item is for it.
        cell += starmap(fetched.pop, ((),))


class _concurrent_tee:  # noqa: N801 - the standard module's name
    """One of the iterators that `concurrent_tee` returns; for one thread, or in a `serialize_iterator` for several."""

    __slots__ = ("__weakref__", "_cell", "_source")

    def __init__(self, source: _Source, cell: list[Any]) -> None:
        self._source = source
        self._cell = cell

    @property
    def lock(self) -> Any:
        """What the copies take turns by when one of them needs a new item."""
        return self._source._lock

    def __iter__(self) -> _concurrent_tee:
        return self

    def __next__(self) -> Any:
        cell = self._cell
        if not cell:
            self._source.fill(cell)
        item, failure, self._cell = cell[0]
        if failure is not None:
            raise failure
        return item


def concurrent_tee(iterable: Iterable[T], n: int = 2) -> tuple[Iterator[T], ...]:
    """Return *n* iterators that each give every item of *iterable*, for as many threads.

    The source is asked for each item once, by whoever comes to it first. Each iterator is for one thread; wrap it in
    `serialize_iterator` to share it. Teeing one of them again starts where that one stands. Items are kept until the
    slowest has had them.

    Differs from `threading.concurrent_tee` (3.15): if the source fails, every iterator raises that, not only the first;
    RuntimeError instead of a deadlock if the source asks for one of its own copies' items.

        >>> first, second = concurrent_tee("abc")
        >>> next(first), next(first), next(second)
        ('a', 'b', 'a')
    """
    if n < 0:
        raise ValueError(f"n must be a non-negative integer, not {n!r}")
    if n == 0:
        return ()
    if isinstance(iterable, _concurrent_tee):
        source, cell = iterable._source, iterable._cell
    else:
        source, cell = _Source(iterable), []
    return tuple(_concurrent_tee(source, cell) for _ in range(n))
