# SPDX-License-Identifier: MIT
"""Future: the place where the outcome of a call will be.

Rules
  - A future ends once: with a result, an exception, or by cancellation. After that nothing about it changes.
  - No lock anywhere, neither held nor waited for, except the private bell of a thread that sleeps in `result`. So a
    signal handler or finaliser that interrupts any method, in any line, may call any method of the same future, and
    a forked child inherits no lock that somebody else held.
  - Correctness rests on two single operations of a list, `append` and `pop(0)`, and on reading `list[0]`.

Theory of operation
  `_log` decides. Every contender for a transition appends an entry of its own; the order in the list is the order of
  events, and every thread reads the same order:

    - `log[0] is CANCELLED`: it was cancelled before anyone started it. Later entries mean nothing.
    - `log[0]` is anything else: it started (a runner's mark) or got its outcome at once (an `_Outcome`).
    - the first `_Outcome` in the log, unless it is cancelled, is the outcome. Later ones lost.

  So there is no moment between deciding and being seen to have decided, which is where an interrupted thread would
  leave others guessing. `_end` (None, then CANCELLED or FINISHED) is only stored by those who know from the log
  that it is true; it is stored after `_result` and `_exception`, and it is all that a reader of a finished future
  looks at.

  `_watchers` holds whom to tell: a lock to release (a thread asleep in `result`), a callable that must not block
  (`wait`, `as_completed`), or a one-tuple with a callback of the user. Whoever adds a watcher looks at `_end`
  *afterwards*, whoever stores `_end` looks at `_watchers` afterwards: one of the two sees the other. Entries leave
  the list by `pop(0)`, so each is told by exactly one thread. Sleepers are woken before the first callback runs, for
  a callback may take its time, or wait for what a woken thread is about to do.

  `add_done_callback`, `cancel` and `set_result` can all be the thread that runs callbacks.

If the process forks, a future that only a thread of the parent would have finished is finished in the child by its
executor, see `_abandon`.
"""

from __future__ import annotations

from .._thread import LockType, allocate_lock
from ._errors import cancelled, invalid_state, timed_out
from ._standard import also_standard, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Generic, TypeVar

    T = TypeVar("T")
else:
    from types import GenericAlias

    T = None

    class Generic:
        """What a generic base is needed for at run time; `typing` takes longer to import than this package."""

        __slots__ = ()

        def __class_getitem__(cls, item: Any) -> Any:
            return cls if item is T else GenericAlias(cls, item)


PENDING = "PENDING"
RUNNING = "RUNNING"
CANCELLED = "CANCELLED"
CANCELLED_AND_NOTIFIED = "CANCELLED_AND_NOTIFIED"
FINISHED = "FINISHED"


class _Outcome:
    """One attempt to finish a future. Its identity is what counts."""

    __slots__ = ()


class Future(Generic[T]):
    """The outcome of a call that may not have run yet.

    Executors make futures; make one yourself to test, or to be the executor.

    Every method may be called from any thread, from a callback, a signal handler or a finaliser. Only `result` and
    `exception` wait. A future that a forked child inherited unfinished from an executor of its parent raises
    BrokenExecutor there.

    Differs from `concurrent.futures.Future`: cancelling wakes `wait` and `as_completed` at once, not when a worker
    meets the cancelled call; the undocumented `_condition` does not exist. If the standard module is loaded,
    `isinstance(future, concurrent.futures.Future)` holds, so asyncio accepts it.
    """

    __slots__ = ("__weakref__", "_end", "_exception", "_log", "_result", "_watchers")

    _end: str | None
    _exception: BaseException | None
    _log: list[object]
    _result: Any
    _watchers: list[Any]

    def __init__(self) -> None:
        self._end = None
        self._log = []
        self._watchers = []

    if not TYPE_CHECKING:

        @property
        def __class__(self) -> type:
            """The class that `isinstance` may ask for: also the standard Future, once that is loaded."""
            return also_standard(type(self), "Future")

    @property
    def _state(self) -> str:
        # The word the standard module would have here. Third parties look at it.
        log = self._log
        if self._end is CANCELLED and CANCELLED_AND_NOTIFIED in log:
            return CANCELLED_AND_NOTIFIED
        if self._end is not None:
            return self._end
        return RUNNING if log and log[0] is not CANCELLED and type(log[0]) is not _Outcome else PENDING

    def __repr__(self) -> str:
        words = {PENDING: "pending", RUNNING: "running", FINISHED: "finished"}
        text = words.get(self._state, "cancelled")
        if self._end is FINISHED:
            failed = self._exception is not None
            text += f" {'raised' if failed else 'returned'} {type(self._exception or self._result).__name__}"
        return f"<{type(self).__name__} at {id(self):#x} state={text}>"

    def __reduce__(self) -> Any:
        raise TypeError(f"cannot pickle {self!r}: its waiters live in this process; send its result instead")

    # -- asking ----------------------------------------------------------------------------------------------------

    def cancelled(self) -> bool:
        """True if the call was cancelled before it started. Never waits."""
        return self._end is CANCELLED

    def running(self) -> bool:
        """True if the call has started (and can no longer be cancelled) but not ended. Never waits."""
        return self._state is RUNNING

    def done(self) -> bool:
        """True if there is nothing to wait for: the call returned, raised, or was cancelled. Never waits."""
        return self._end is not None

    def result(self, timeout: float | None = None) -> T:
        """Return what the call returned, or raise what it raised.

        Waits until the future is done, at most *timeout* seconds (None: as long as it takes). Raises TimeoutError
        when they are over, and CancelledError if the call was cancelled. A done future is read without any lock.
        """
        if self._end is None:
            self._sleep(timeout)
        if self._end is CANCELLED:
            raise cancelled(self)
        if self._exception is not None:
            try:
                raise self._exception
            finally:
                # The traceback now refers to this frame, and this frame to the future: not in a cycle, please.
                del self
        return self._result  # type: ignore[no-any-return]

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the call raised, or None if it returned. Waits and raises as `result` does."""
        if self._end is None:
            self._sleep(timeout)
        if self._end is CANCELLED:
            raise cancelled(self)
        return self._exception

    def _get_snapshot(self) -> tuple[bool, bool, Any, BaseException | None]:
        # asyncio of 3.14 and later reads a future by this method.
        if self._end is FINISHED:
            return True, False, self._result, self._exception
        return self._end is not None, self._end is CANCELLED, None, None

    def _sleep(self, timeout: float | None) -> None:
        bell = allocate_lock()
        bell.acquire()
        watchers = self._watchers
        watchers.append(bell)
        woken = False
        try:
            if self._end is not None:
                return
            if timeout is None:
                woken = bell.acquire()
            elif timeout > 0:
                woken = bell.acquire(True, timeout)
        finally:
            # Timed out, or an exception from a signal handler: leave nothing behind.
            if not woken:
                self._unwatch(bell)
        if not woken and self._end is None:
            raise timed_out(f"{self!r} did not finish within {timeout} seconds")

    # -- being told ------------------------------------------------------------------------------------------------

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Have fn(future) called when the future is done; at once, in this thread, if it is already.

        Callbacks run in the order they were added, in the thread that finishes or cancels the future, after
        waiting threads have been woken. What a callback raises is reported (to the logger `concurrent.futures` if
        logging is loaded, else to `sys.unraisablehook`), and the other callbacks run all the same. KeyboardInterrupt,
        SystemExit and the like propagate to the finishing thread once all callbacks have run.
        """
        # A tuple, so that comparing watchers never runs a comparison that belongs to the user.
        self._watchers.append((fn,))
        if self._end is not None:
            self._tell()

    def _watch(self, waker: Any) -> None:
        """Have *waker*, a callable that neither blocks nor raises, called with the future, before any callback."""
        self._watchers.append(waker)
        if self._end is not None:
            self._tell()

    def _unwatch(self, waker: Any) -> None:
        try:
            self._watchers.remove(waker)
        except ValueError:  # it is being told right now
            pass

    def _wake(self) -> list[Any]:
        """Tell the watchers that wait; return the callbacks, which the caller must run."""
        callbacks = []
        watchers = self._watchers
        while watchers:
            try:
                watcher = watchers.pop(0)
            except IndexError:  # another thread took the last one
                break
            if type(watcher) is LockType:
                watcher.release()
            elif type(watcher) is tuple:
                callbacks.append(watcher[0])
            else:
                watcher(self)
        return callbacks

    def _call_back(self, callbacks: list[Any]) -> None:
        interruption = None
        for callback in callbacks:
            try:
                callback(self)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
                report("exception calling callback for", self, error)
            except BaseException as error:  # noqa: BLE001 - raised below
                interruption = error
        if interruption is not None:
            raise interruption

    def _tell(self) -> None:
        callbacks = self._wake()
        if callbacks:
            self._call_back(callbacks)

    # -- ending it -------------------------------------------------------------------------------------------------

    def cancel(self) -> bool:
        """Cancel the call unless it has started or ended; True if it is cancelled now.

        Everyone who waits for the future is woken, and its callbacks run, in this thread. Never waits.
        """
        log = self._log
        if not log:
            log.append(CANCELLED)
        if log[0] is not CANCELLED:
            return False
        if self._end is None:
            self._end = CANCELLED
        self._tell()
        return True

    def set_running_or_notify_cancel(self) -> bool:
        """Claim the call for running: True if it is yours to run, False if it was cancelled.

        For executors and tests. To be called at most once, before the outcome is set; RuntimeError otherwise. After
        True the future cannot be cancelled any more.
        """
        log = self._log
        if not log:
            mark = object()
            log.append(mark)
            if log[0] is mark:
                return True
        if log[0] is CANCELLED and CANCELLED_AND_NOTIFIED not in log:
            log.append(CANCELLED_AND_NOTIFIED)
            if self._end is None:  # its canceller has been interrupted between the log and here
                self._end = CANCELLED
            self._tell()
            return False
        raise RuntimeError(
            f"{self!r} has been claimed already; set_running_or_notify_cancel may be called once"
        )

    def set_result(self, result: T) -> None:
        """Finish the future with *result*. InvalidStateError if it has ended already, cancelled or not.

        For executors and tests. Wakes all waiters, then runs the callbacks in this thread.
        """
        callbacks = self._finish(result, None)
        if callbacks is None:
            raise self._ended_already()
        if callbacks:
            self._call_back(callbacks)

    def set_exception(self, exception: BaseException | None) -> None:
        """Finish the future with *exception*, which `result` will raise. Otherwise as `set_result`."""
        callbacks = self._finish(None, exception)
        if callbacks is None:
            raise self._ended_already()
        if callbacks:
            self._call_back(callbacks)

    def _ended_already(self) -> BaseException:
        return invalid_state(
            f"{self._state}: {self!r} has an outcome already; a future is finished only once"
        )

    def _finish(self, result: Any, exception: BaseException | None) -> list[Any] | None:
        """End the future and wake its waiters: the callbacks to run, or None if it had ended before."""
        if self._end is not None:
            return None
        log = self._log
        mine = _Outcome()
        log.append(mine)
        first = log[0]
        if first is CANCELLED:
            return None
        if first is not mine:  # noqa: SIM102 - the comment belongs in between
            # log[1] is the outcome of nearly every future that was claimed. Otherwise a late cancel() stands there.
            if type(first) is _Outcome or (log[1] is not mine and self._decided() is not mine):
                return None
        self._exception = exception
        self._result = result
        self._end = FINISHED
        return self._wake() if self._watchers else []

    def _decided(self) -> object:
        for entry in self._log:
            if type(entry) is _Outcome:
                return entry
        return None

    def _abandon(self, exception: BaseException) -> None:
        """In a forked child: end it, as nobody will. Its watchers are the parent's; they are told there."""
        self._watchers.clear()
        if self._end is None and self._log and self._log[0] is CANCELLED:
            self._end = CANCELLED
        elif self._end is None:
            # Not by the log: a thread that is gone may have been the first there, and got no further.
            self._log.append(_Outcome())
            self._exception = exception
            self._result = None
            self._end = FINISHED
