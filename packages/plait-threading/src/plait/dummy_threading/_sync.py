# SPDX-License-Identifier: MIT
#
# What threads wait for, where nobody else can make it come true.
#
# Rules
#   - What holds already is granted, as ever.
#   - What does not hold, and is waited for with a timeout, takes that time (a signal handler might bring it about), and
#     then is looked at once more.
#   - What does not hold, and is waited for without one, would be waited for until the end of time. Where that can be
#     seen, it is an error that says so. It cannot be seen in `Condition.wait()`, which does not know what for: there the
#     notification is taken to have come, since whoever would give it has run already.

from __future__ import annotations

import time

from .._dummy_thread import RLock
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

    Differs from the one of Python 3.7: `wait()` with a timeout takes that time and returns False; `wait_for()` without
    one raises RuntimeError if its predicate is false.
    """

    def __init__(self, lock: Any = None) -> None:
        if lock is None:
            lock = RLock()
        self._lock = lock
        self.acquire: Callable[..., bool] = lock.acquire
        self.release: Callable[[], None] = lock.release

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self._lock!r}, 0)>"

    def __enter__(self) -> bool:
        return bool(self._lock.__enter__())

    def __exit__(self, *exception: object) -> None:
        self._lock.__exit__(*exception)

    def _need_lock(self, what: str) -> None:
        ask = getattr(self._lock, "locked", None)  # a lock of somebody else's may not tell
        if ask is not None and not ask():
            raise RuntimeError(
                f"{self!r}: cannot {what} on un-acquired lock; it belongs inside `with condition:`"
            )

    def wait(self, timeout: float | None = None) -> bool:
        """Return True at once, or False after *timeout* seconds. RuntimeError without the lock."""
        self._need_lock("wait")
        if timeout is None:
            return True
        if timeout > 0:
            time.sleep(timeout)
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

    def notify(self, n: int = 1) -> None:  # noqa: ARG002
        """Wake nobody, for nobody waits. RuntimeError without the lock."""
        self._need_lock("notify")

    def notify_all(self) -> None:
        """Wake nobody, for nobody waits. RuntimeError without the lock."""
        self._need_lock("notify")

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
            if not self._value and timeout > 0:
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
        if self._broken:
            raise BrokenBarrierError(f"{self!r}: reset() it before it can be used again")
        try:
            if self._parties > 1:
                seconds = self._timeout if timeout is None else timeout
                if seconds is not None and seconds > 0:
                    time.sleep(seconds)
                raise BrokenBarrierError(
                    f"{self!r}: there is only one thread; the other {self._parties - 1} never come"
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
