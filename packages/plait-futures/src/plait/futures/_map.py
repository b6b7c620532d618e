# SPDX-License-Identifier: MIT
"""How a pool of threads maps: the workers come for the work.

A future and a queue entry per call are most of what a short call costs. Here a call is an entry (index, arguments)
in one list, `_todo`, and an empty place in another, `_places`. Each worker runs one *driver*, a call like any other
in the pool's queue, which pops the next entry, calls, and puts the outcome into its place, until nothing is left.

  - Who pops an entry owns the place: a driver, or whoever cancels (it pops what is left, and writes "cancelled").
    `list.pop` is atomic, so every place is written exactly once, and nobody waits for a place that has no owner.
  - There is one reader. It sleeps only for the place it needs: it says so in `_wanted`, looks at the place again,
    and sleeps. A driver writes the place, then looks at `_wanted`. One of the two sees the other.
  - The drivers stand in the pool's queue in the order of submission, as the single calls would.
  - The drivers know the `Work`, only the reader has the `Results`: dropping the iterator is noticed while they run.
"""

from __future__ import annotations

from time import monotonic

from .._thread import allocate_lock
from ._errors import cancelled, timed_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_NOT_YET: Any = object()
_CANCELLED: Any = object()


class Raised:
    """In the place of a result: what the call raised."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Work:
    """The calls of one `map`, as the workers see them."""

    def __init__(self, fn: Callable[..., Any], iterables: tuple[Iterable[Any], ...]) -> None:
        self.fn = fn
        self.single = len(iterables) == 1
        inputs = iterables[0] if self.single else zip(*iterables)  # noqa: B905 - as the built-in map does
        calls: list[Any] = list(enumerate(inputs))
        self.places = [_NOT_YET] * len(calls)
        calls.reverse()
        self._todo = calls
        self.wanted = -1
        self.bell = allocate_lock()
        self.bell.acquire()

    def drive(self) -> None:
        """Make calls until none are left. Runs in as many workers as the pool gives."""
        fn, pop, places, single = self.fn, self._todo.pop, self.places, self.single
        while True:
            try:
                index, arguments = pop()
            except IndexError:
                return
            try:
                places[index] = fn(arguments) if single else fn(*arguments)
            except BaseException as error:  # noqa: BLE001 - raised where the result is taken
                places[index] = Raised(error)
            # Nothing of this call may live on while the next one runs.
            arguments = None
            if self.wanted == index:
                self._ring()

    def cancel(self) -> None:
        """Cancel the calls that have not started, for the pool or for the reader."""
        todo = self._todo
        while todo:
            try:
                index, _ = todo.pop()
            except IndexError:
                return
            self.places[index] = _CANCELLED
            if self.wanted == index:
                self._ring()

    def abandon(self) -> None:
        """In a forked child: also the calls that only the parent's threads would have finished."""
        self.cancel()
        self.places[:] = [_CANCELLED if place is _NOT_YET else place for place in self.places]

    def _ring(self) -> None:
        try:
            self.bell.release()
        except RuntimeError:  # rung before, for a wait that timed out in between
            pass


class Results:
    """The iterator over the results, in the order of the inputs. For one thread at a time."""

    def __init__(
        self, work: Work, end: float | None, timeout: float | None, return_exceptions: bool = False
    ) -> None:
        self._work = work
        self._return_exceptions = return_exceptions
        self._end = end
        self._timeout = timeout
        self._next = 0

    def __repr__(self) -> str:
        return f"<results of map({self._work.fn!r}): {self._next} of {len(self._work.places)} taken>"

    def __iter__(self) -> Results:
        return self

    def __next__(self) -> Any:
        index = self._next
        places = self._work.places
        if index >= len(places):
            raise StopIteration
        value = places[index]
        if value is _NOT_YET:
            value = self._await(index)
        places[index] = None
        self._next = index + 1
        if type(value) is Raised:
            if self._return_exceptions:
                return value.error
            if isinstance(value.error, StopIteration):
                # It would pass for the regular end. A generator says it like this.
                raise RuntimeError(f"{self._work.fn!r} raised StopIteration") from value.error
            try:
                raise value.error
            finally:
                del self, value
        if value is _CANCELLED:
            self.close()
            raise cancelled(self)
        return value

    def _await(self, index: int) -> Any:
        work = self._work
        work.wanted = index
        try:
            while work.places[index] is _NOT_YET:
                if self._end is None:
                    work.bell.acquire()
                    continue
                left = self._end - monotonic()
                if left > 0 and work.bell.acquire(True, left):
                    continue
                if work.places[index] is not _NOT_YET:
                    break
                self.close()
                raise timed_out(f"{self!r}: result {index} did not come within {self._timeout} seconds")
        finally:
            work.wanted = -1
        return work.places[index]

    def close(self) -> None:
        """End the iterator, and cancel the calls that have not started."""
        self._next = len(self._work.places)
        self._work.cancel()

    def __del__(self) -> None:
        # As a generator would: dropped in the middle, it cancels the rest; dropped untouched, all calls are made.
        if self._next:
            self._work.cancel()
