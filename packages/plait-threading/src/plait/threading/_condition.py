# SPDX-License-Identifier: MIT
from __future__ import annotations

from time import monotonic
from typing import Any, Callable, TypeVar

from .._thread import LockType, RLock, allocate_lock, fork_generation

T = TypeVar("T")


class Condition:
    """A condition variable."""

    __slots__ = ("__dict__", "__enter__", "__exit__", "__weakref__", "_bells", "_is_owned", "_lock", "_put_back", "_take_all", "acquire", "release")

    def __init__(self, lock: Any = None) -> None:
        if lock is None:
            lock = RLock()
        self._lock = lock
        self.acquire = lock.acquire
        self.release = lock.release
        self.__enter__ = lock.__enter__
        self.__exit__ = lock.__exit__
        self._bells: dict[Any, int] = {}
        self._take_all = getattr(lock, "_release_save", None)
        self._put_back = getattr(lock, "_acquire_restore", None)
        owned = getattr(lock, "_is_owned", None)
        if owned is None:
            owned = lock.locked if isinstance(lock, LockType) else self._try_owned
        self._is_owned = owned

    def _try_owned(self) -> bool:
        if self._lock.acquire(False):
            self._lock.release()
            return False
        return True

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self._lock!r}, {len(self._bells)} waiting)>"

    def wait(self, timeout: float | None = None) -> bool:
        """Release the lock, wait to be notified, take the lock again."""
        if not self._is_owned():
            raise RuntimeError("cannot wait on un-acquired lock")
        bell = allocate_lock()
        bell.acquire()
        bells = self._bells
        bells[bell] = fork_generation()
        if self._take_all is not None:
            saved = self._take_all()
        else:
            self._lock.release()
        rung = False
        try:
            if timeout is None:
                rung = bell.acquire()
            else:
                rung = bell.acquire(True, timeout) if timeout > 0 else bell.acquire(False)
        except BaseException:
            self._reacquire(saved if self._take_all is not None else None)
            if bells.pop(bell, None) is None:
                self.notify()
            raise
        self._reacquire(saved if self._take_all is not None else None)
        return rung or bells.pop(bell, None) is None

    def _reacquire(self, saved: Any) -> None:
        if self._put_back is not None and self._take_all is not None:
            self._put_back(saved)
        else:
            self._lock.acquire()

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Wait until ``predicate()`` is true, or *timeout* seconds have passed; return its last value."""
        result = predicate()
        deadline = None if timeout is None else monotonic() + timeout
        while not result:
            left = None
            if deadline is not None:
                left = deadline - monotonic()
                if left <= 0:
                    break
            self.wait(left)
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        """Wake the *n* threads that have waited longest."""
        if not self._is_owned():
            raise RuntimeError("cannot notify on un-acquired lock")
        bells = self._bells
        while bells and n > 0:
            try:
                bell = next(iter(bells))
            except (StopIteration, RuntimeError):
                continue
            try:
                generation = bells.pop(bell)
            except KeyError:
                continue
            bell.release()
            if generation == fork_generation():
                n -= 1

    def notify_all(self) -> None:
        """Wake every waiting thread."""
        self.notify(len(self._bells))

    def notifyAll(self) -> None:  # noqa: N802
        self.notify_all()
