# SPDX-License-Identifier: MIT
"""Locks between processes that are free again when their owner has died."""

from __future__ import annotations

import os

from . import _robust

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Lock", "RLock"]


class SemLock:
    """What the locks have in common. Not made directly."""

    _recursive = False

    def __init__(self, *, ctx: Any = None) -> None:  # noqa: ARG002 - the standard signature
        self._word = _robust.Word(self._recursive)

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take the lock; wait for it unless *block* is false, at most *timeout* seconds. Whether it was taken.

        A process that ended without releasing, even by SIGKILL, has released: who waits is woken at once (within
        0.25 s on systems without pidfd), who comes later finds the lock free. Safe in any thread, after fork, and
        from a signal handler or finaliser that interrupts another call on the same lock.

        Differs from the standard module: there a lock whose owner was killed is lost for ever.
        """
        return self._word.acquire(block, timeout)

    def __enter__(self) -> bool:
        return self._word.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self._word.release()

    def locked(self) -> bool:
        """Whether a living process has it."""
        return self._word.owner() != 0

    def __getstate__(self) -> dict[str, Any]:
        from ._inherit import assert_spawning

        assert_spawning(self)
        return self.__dict__

    def __repr__(self) -> str:
        owner = self._word.owner()
        if not owner:
            return f"<{type(self).__name__} unlocked>"
        return f"<{type(self).__name__} locked by {'this process' if owner == os.getpid() else f'process {owner}'}>"


class Lock(SemLock):
    """A lock for processes and threads: one owner at a time, not recursive, released by anybody.

    Share it by giving it to a Process; it cannot be pickled otherwise.
    """

    def release(self) -> None:
        """Give the lock back, and wake one of those who wait. ValueError if it is not locked.

        May be called in another process or thread than `acquire`.
        """
        self._word.release()


class RLock(SemLock):
    """A lock that the thread which owns it may take again, and has to release as often."""

    _recursive = True

    def release(self) -> None:
        """Give back one `acquire`. AssertionError in any thread but the owner."""
        self._word.release()
