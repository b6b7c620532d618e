# SPDX-License-Identifier: MIT
#
# Locks for a program of one thread.
#
# Rules
#   - A lock keeps account of itself, so that code which asserts "this is held" is right, and releasing a free one is the
#     error that it always was.
#   - Waiting without end for a held lock is granted at once. Only this thread could release it, and it is here; with
#     threads that is a deadlock, but code that was written for threads and works without them takes a lock twice where
#     the second taker would have been another thread. One release() frees it then: a lock does not count.
#   - Waiting with a timeout takes that time and fails, unless a signal handler released the lock meanwhile.

from __future__ import annotations

import time

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["TIMEOUT_MAX", "LockType", "RLock", "allocate_lock"]

TIMEOUT_MAX = 2**31


class LockType:
    """A lock that nobody else ever holds.

    Differs from the one of Python 3.7: `acquire()` with a timeout takes the time it was given, and fails, also where
    it may wait; `acquire_lock` and its relatives are there.
    """

    def __init__(self) -> None:
        self._times = 0  # how often it is held

    def __repr__(self) -> str:
        state = "locked" if self._times else "unlocked"
        return f"<{state} {type(self).__module__}.{type(self).__qualname__} object at {id(self):#x}>"

    def acquire(
        self, waitflag: bool | None = None, timeout: float = -1, *, blocking: bool | None = None
    ) -> bool:
        """Take the lock; False if it is held, and there is no waiting for it or only for *timeout* seconds.

        With *waitflag* true or None, and no timeout, it is True always; the lock is held once then. Other locks have the
        word *blocking* for it.
        """
        if blocking is not None:
            waitflag = blocking
        patient = waitflag is None or bool(waitflag)
        if self._times and timeout >= 0:
            time.sleep(timeout)
            patient = False
        if self._times and not patient:
            return False
        self._times = 1
        return True

    def release(self) -> None:
        """Free the lock. RuntimeError if it is free."""
        if not self._times:
            raise RuntimeError(f"{self!r}: cannot release un-acquired lock")
        self._times -= 1

    def locked(self) -> bool:
        """Whether the lock is held."""
        return self._times > 0

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    acquire_lock = acquire
    release_lock = release
    locked_lock = locked

    def _at_fork_reinit(self) -> None:
        self._times = 0


class RLock(LockType):
    """A lock to be released as often as it was taken. The one thread there is never waits for it."""

    def acquire(
        self,
        waitflag: bool | None = None,  # noqa: ARG002
        timeout: float = -1,  # noqa: ARG002
        *,
        blocking: bool | None = None,  # noqa: ARG002
    ) -> bool:
        """Take the lock once more. Always True."""
        self._times += 1
        return True

    acquire_lock = acquire

    # What a Condition asks of a lock that can be held several times over.

    def _is_owned(self) -> bool:
        return self._times > 0

    def _recursion_count(self) -> int:
        return self._times

    def _release_save(self) -> int:
        if not self._times:
            raise RuntimeError(f"{self!r}: cannot release un-acquired lock")
        times, self._times = self._times, 0
        return times

    def _acquire_restore(self, times: int) -> None:
        self._times = times


def allocate_lock() -> LockType:
    """A new lock."""
    return LockType()
