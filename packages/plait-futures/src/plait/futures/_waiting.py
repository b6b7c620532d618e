# SPDX-License-Identifier: MIT
"""wait and as_completed.

Both take futures of any make, mixed: ours, those of other copies of this package, of the standard module, and
whatever else has `done` and `add_done_callback`. Ours are watched directly, ahead of their callbacks, and the watch
is taken back when the caller stops waiting. A foreign future keeps its callback; it then finds nobody to tell.

Nothing polls. A waiting thread sleeps on one lock or one queue that the futures ring themselves. `as_completed`
makes the future's own completion put it into the queue, so each is handled once, whatever their number.
"""

from __future__ import annotations

from time import monotonic

from .._thread import allocate_lock
from ..queue import Empty, SimpleQueue
from ._errors import timed_out
from ._future import CANCELLED, Future

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, Generic, NamedTuple, TypeVar

    T = TypeVar("T")

    class DoneAndNotDoneFutures(NamedTuple, Generic[T]):
        done: set[Future[T]]
        not_done: set[Future[T]]

else:
    from collections import namedtuple

    DoneAndNotDoneFutures = namedtuple(  # noqa: PYI024 - typing takes long to import
        "DoneAndNotDoneFutures", "done not_done", module=__package__
    )

FIRST_COMPLETED = "FIRST_COMPLETED"
FIRST_EXCEPTION = "FIRST_EXCEPTION"
ALL_COMPLETED = "ALL_COMPLETED"


def _raised(future: Any) -> bool:
    if isinstance(future, Future):
        return future._end is not CANCELLED and future._exception is not None
    return not future.cancelled() and future.exception() is not None


def _watch(future: Any, waker: Any) -> None:
    if isinstance(future, Future):
        future._watch(waker)
    else:
        future.add_done_callback(waker)


class _Countdown:
    """Rings once *needed* futures have reported, or one of them raised, if that is asked for."""

    def __init__(self, needed: int, stop_at_exception: bool) -> None:
        self.bell = allocate_lock()
        self.bell.acquire()
        # One token per future that may still come; taking the last one rings. list.pop is atomic, `-= 1` is not.
        self.tokens = [None] * (needed - 1)
        self.stop_at_exception = stop_at_exception

    def report(self, future: Any) -> None:
        try:
            self.tokens.pop()
        except IndexError:
            self.ring()
        else:
            if self.stop_at_exception and _raised(future):
                self.ring()

    def ring(self) -> None:
        try:
            self.bell.release()
        except RuntimeError:  # rung already
            pass


def wait(
    fs: Iterable[Future[T]], timeout: float | None = None, return_when: str = ALL_COMPLETED
) -> DoneAndNotDoneFutures[T]:
    """Wait until the futures are done; return the named tuple of sets (done, not_done).

    Waits for all of *fs*, or with FIRST_COMPLETED for any one, or with FIRST_EXCEPTION until one raised (or all are
    done), at most *timeout* seconds (None: as long as it takes). Never raises TimeoutError: what is unfinished is
    in `not_done`. Cancelled futures count as done from the moment of `cancel()`. The same future twice counts once.

    Differs from `concurrent.futures.wait`: takes any future with `add_done_callback`; a cancelled future wakes it
    at once, where the standard one waits until a worker meets it (for ever, after `shutdown(cancel_futures=True)`).
    """
    if return_when not in (FIRST_COMPLETED, FIRST_EXCEPTION, ALL_COMPLETED):
        raise ValueError(
            f"return_when must be FIRST_COMPLETED, FIRST_EXCEPTION or ALL_COMPLETED, not {return_when!r}"
        )
    futures = set(fs)
    unfinished = [future for future in futures if not future.done()]
    if unfinished and (timeout is None or timeout > 0):
        if return_when == ALL_COMPLETED and all(isinstance(future, Future) for future in unfinished):
            _wait_in_turn(unfinished, timeout)
        elif not _is_enough([future for future in futures if future.done()], return_when):
            _wait_together(unfinished, timeout, return_when)
    done = {future for future in futures if future.done()}
    return DoneAndNotDoneFutures(done, futures - done)


def _is_enough(done: list[Any], return_when: str) -> bool:
    if return_when == FIRST_EXCEPTION:
        return any(map(_raised, done))
    return return_when == FIRST_COMPLETED and bool(done)


def _wait_in_turn(unfinished: list[Any], timeout: float | None) -> None:
    # One sleep per future that is still unfinished when its turn comes; most have finished by then.
    end = None if timeout is None else monotonic() + timeout
    for future in unfinished:
        if not future.done():
            bell = allocate_lock()
            bell.acquire()
            future._watchers.append(bell)
            woken = False
            try:
                if future._end is not None:
                    continue
                if end is None:
                    woken = bell.acquire()
                else:
                    left = end - monotonic()
                    woken = left > 0 and bell.acquire(True, left)
            finally:
                if not woken:
                    future._unwatch(bell)
            if not woken:
                return


def _wait_together(unfinished: list[Any], timeout: float | None, return_when: str) -> None:
    needed = 1 if return_when == FIRST_COMPLETED else len(unfinished)
    countdown = _Countdown(needed, return_when == FIRST_EXCEPTION)
    report = countdown.report
    try:
        for future in unfinished:
            _watch(future, report)
        if timeout is None:
            countdown.bell.acquire()
        else:
            countdown.bell.acquire(True, timeout)
    finally:
        for future in unfinished:
            if isinstance(future, Future) and future._end is None:
                future._unwatch(report)


def as_completed(fs: Iterable[Future[T]], timeout: float | None = None) -> Iterator[Future[T]]:
    """Iterate over the futures as they get done, cancelled ones included; each once.

    Futures that are done already come first. If *timeout* seconds after this call (None: never) the next one is
    still missing, TimeoutError is raised. Closing the iterator early leaves the futures alone. Takes time linear in
    the number of futures. The iterator does not keep futures that it has yielded.

    Differs from `concurrent.futures.as_completed`: takes any future with `add_done_callback`, also mixed, and
    yields cancelled futures at once.
    """
    end = None if timeout is None else monotonic() + timeout
    futures = set(fs)
    return _in_order_of_completion(futures, len(futures), end)


def _get_in_time(ready: SimpleQueue[Any], end: float) -> Any:
    """The next item, waited for until *end*. Empty after that.

    The interpreter's own SimpleQueue (3.10 to 3.12) can wait for ever where the timeout passes between its first look
    and its second: when nobody had waited at that queue before, or something was put since. A look without
    waiting makes it be as if somebody had.
    """
    try:
        return ready.get(False)
    except Empty:
        return ready.get(True, max(0.0, end - monotonic()))


def _in_order_of_completion(waiting: set[Any], total: int, end: float | None) -> Iterator[Future[Any]]:
    ready: SimpleQueue[Any] = SimpleQueue()
    put = ready.put
    later = []
    try:
        for future in list(waiting):
            if future.done():
                waiting.remove(future)
                later.append(future)
        future = None  # the last one of them may be the first that is yielded
        early, later = later, []
        while early:
            yield early.pop()
        for future in waiting:
            _watch(future, put)
        del early
        future = None
        while waiting:
            if end is None:
                future = ready.get()
            else:
                try:
                    future = _get_in_time(ready, end)
                except Empty:
                    raise timed_out(f"{len(waiting)} (of {total}) futures unfinished") from None
            waiting.discard(future)
            # Handed over without keeping it: `later` is empty again by the time the caller has it.
            later.append(future)
            future = None
            yield later.pop()
    finally:
        for future in waiting:
            if isinstance(future, Future) and future._end is None:
                future._unwatch(put)
