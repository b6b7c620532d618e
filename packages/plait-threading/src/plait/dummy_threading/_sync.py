# SPDX-License-Identifier: MIT
#
# What threads wait for, where nobody else can make it come true.
#
# Rules
#   - What holds already is granted, as ever.
#   - What does not hold, and is waited for with a timeout, takes that time (a signal handler might bring it about), and
#     then is looked at once more.
#   - What does not hold, and is waited for without one, would be waited for until the end of time. That is an error that
#     says so.
#   - With threads, a notification between "with condition:" and wait() is not possible. Here it is: a "thread" that is
#     started there runs to its end and gives it. So notifications are kept for those who are about to wait, which can be
#     as many as there are callers of the thread that gives it, and those who wait then do not wait in vain.

from __future__ import annotations

import time

from .._dummy_thread import RLock, _count, seconds
from ..threading import BrokenBarrierError

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, TypeVar

    T = TypeVar("T")

__all__ = ["Barrier", "BoundedSemaphore", "Condition", "Event", "Semaphore"]


def _in_vain(waiter: object, what: str) -> RuntimeError:
    return RuntimeError(f"{waiter!r}: there is only one thread, and it waits here; nobody can {what}")


class Condition:
    """A condition variable. *lock* is by default a new RLock.

    Differs from the one of Python 3.7: `wait()` with a timeout takes that time and returns False, unless a thread has
    notified; without one it raises RuntimeError then, and so does `wait_for()` if its predicate is false.
    """

    def __init__(self, lock: Any = None) -> None:
        if lock is None:
            lock = RLock()
        self._lock = lock
        self._notified = 0  # how many may wait and go on at once
        self._waiting = False  # what a signal handler can end

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self._lock!r}, 0)>"

    def acquire(self, *args: Any, **kwargs: Any) -> bool:
        """Take the lock, as its own method of this name does."""
        return bool(self._lock.acquire(*args, **kwargs))

    def release(self) -> None:
        """Free the lock."""
        self._lock.release()

    def __enter__(self) -> bool:
        return bool(self._lock.__enter__())

    def __exit__(self, *exception: object) -> None:
        self._lock.__exit__(*exception)

    def locked(self) -> bool:
        """Whether the lock is held."""
        ask = getattr(self._lock, "locked", None)
        if ask is not None:
            return bool(ask())
        if not self._lock.acquire(False):
            return True
        self._lock.release()
        return False

    def _need_lock(self, what: str) -> None:
        ask = getattr(self._lock, "locked", None)  # a lock of somebody else's may not tell
        if ask is not None and not ask():
            raise RuntimeError(
                f"{self!r}: cannot {what} on un-acquired lock; it belongs inside `with condition:`"
            )

    def wait(self, timeout: float | None = None) -> bool:
        """Return True if a thread has notified, or a signal handler does within *timeout* seconds; else False.

        RuntimeError without the lock, and if nobody has notified and there is no timeout.
        """
        self._need_lock("wait")
        if not self._notified:
            if timeout is None:
                raise _in_vain(self, "notify")
            timeout = seconds(timeout)
            if timeout > 0:
                self._waiting = True
                try:
                    time.sleep(timeout)
                finally:
                    self._waiting = False
        if self._notified:
            self._notified -= 1
            return True
        return False

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Return what ``predicate()`` returns, if that is false once more after *timeout* seconds."""
        self._need_lock("wait")
        answer = predicate()
        if not answer:
            if timeout is None:
                raise _in_vain(self, f"make {predicate!r} true")
            self.wait(timeout)
            answer = predicate()
        return answer

    def notify(self, n: int = 1) -> None:
        """Let *n* calls of `wait()` go on, if there are as many callers that may be about to wait.

        RuntimeError without the lock.
        """
        self._need_lock("notify")
        self._notified = max(self._notified, min(n, _count() + self._waiting))

    def notify_all(self) -> None:
        """Let every caller's `wait()` go on. RuntimeError without the lock."""
        self.notify(_count() + 1)

    notifyAll = notify_all  # noqa: N815


class Semaphore:
    """A counter that never goes below zero.

    Differs from the one of Python 3.7: an `acquire()` without a timeout that could never succeed raises RuntimeError.
    """

    def __init__(self, value: int = 1) -> None:
        if value < 0:
            raise ValueError(f"semaphore initial value must be >= 0, not {value}")
        self._value = value

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x}, value={self._value}>"

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Count down; False if that is impossible now, or within *timeout* seconds."""
        if timeout is not None:
            if not blocking:
                raise ValueError("can't specify timeout for non-blocking acquire")
            if not self._value and (timeout := seconds(timeout)) > 0:
                time.sleep(timeout)
        if not self._value:
            if blocking and timeout is None:
                raise _in_vain(self, "release it")
            return False
        self._value -= 1
        return True

    def release(self, n: int = 1) -> None:
        """Count up, by *n*."""
        if n < 1:
            raise ValueError(f"n must be one or more, not {n}")
        self._value += n

    def __enter__(self, blocking: bool = True, timeout: float | None = None) -> bool:
        return self.acquire(blocking, timeout)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


class BoundedSemaphore(Semaphore):
    """A semaphore that is never released more often than it was acquired."""

    def __init__(self, value: int = 1) -> None:
        super().__init__(value)
        self._initial_value = value

    def release(self, n: int = 1) -> None:
        """Count up, by *n*; ValueError beyond the initial value."""
        if self._value + n > self._initial_value:
            raise ValueError(f"{self!r}: semaphore released too many times")
        super().release(n)


class Event:
    """A flag.

    Differs from the one of Python 3.7: a `wait()` without a timeout for a flag that is down raises RuntimeError.
    """

    def __init__(self) -> None:
        self._flag = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x}: {'set' if self._flag else 'unset'}>"

    def is_set(self) -> bool:
        """Whether the flag is up."""
        return self._flag

    isSet = is_set  # noqa: N815

    def set(self) -> None:
        """Raise the flag."""
        self._flag = True

    def clear(self) -> None:
        """Lower the flag."""
        self._flag = False

    def wait(self, timeout: float | None = None) -> bool:
        """Whether the flag is up, or is after *timeout* seconds."""
        if not self._flag:
            if timeout is None:
                raise _in_vain(self, "set it")
            timeout = seconds(timeout)
            if timeout > 0:
                time.sleep(timeout)
        return self._flag


class Barrier:
    """A place for *parties* threads to meet. More than one never will.

    Differs from the one of Python 3.7: `wait()` without a timeout for others raises BrokenBarrierError at once.
    """

    def __init__(
        self, parties: int, action: Callable[[], object] | None = None, timeout: float | None = None
    ) -> None:
        if parties < 1:
            raise ValueError(f"parties must be >= 1, not {parties}")
        self._parties = parties
        self._action = action
        self._timeout = timeout
        self._broken = False

    def __repr__(self) -> str:
        state = "broken" if self._broken else f"waiters={self.n_waiting}/{self._parties}"
        return f"<{type(self).__name__} at {id(self):#x}: {state}>"

    def wait(self, timeout: float | None = None) -> int:
        """Run the action and return 0, if one party is enough; else, after *timeout* seconds, break the barrier."""
        limit = self._timeout if timeout is None else timeout
        if limit is not None:
            limit = seconds(limit)
        if self._broken:
            raise BrokenBarrierError(f"{self!r}: reset() it before it can be used again")
        try:
            if self._parties > 1:
                if limit is not None and limit > 0:
                    time.sleep(limit)
                within = "" if limit is None else f", also not within {limit} s"
                raise BrokenBarrierError(
                    f"{self!r}: there is only one thread; the other {self._parties - 1} never come{within}"
                )
            if self._action is not None:
                self._action()
        except BaseException:
            self._broken = True
            raise
        return 0

    def reset(self) -> None:
        """Make it as new."""
        self._broken = False

    def abort(self) -> None:
        """Break it: every `wait()` raises until `reset()`."""
        self._broken = True

    @property
    def parties(self) -> int:
        """How many have to meet."""
        return self._parties

    @property
    def n_waiting(self) -> int:
        """How many wait: none, ever."""
        return 0

    @property
    def broken(self) -> bool:
        """Whether `wait()` raises until `reset()`."""
        return self._broken
