# SPDX-License-Identifier: MIT
#
# The two sides of an RWLock, each of which is used like a lock of its own.
#
# Here is what the methods of a lock are called with, what they refuse, and what must not be left undone when they are
# struck; and what a Condition asks of a lock. Who gets it, and how, is the business of the RWLock.

from __future__ import annotations

from itertools import repeat, starmap

from .._thread import get_ident, seconds
from . import _named
from ._copies import Uncopied
from ._rwstates import KINDS, WRITE
from ._surely import elsewhere, surely

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from ._rwlock import RWLock
    from ._rwstates import Step

__all__ = ["ReadSide", "WriteSide"]

FOR_EVER = "-1 for ever"  # what a lock has in the place of None
# Who is asking, again and again; without state, and so for all threads.
IDENTS: Iterator[int] = starmap(get_ident, repeat(()))


class _Side(Uncopied):
    """The reading or the writing side of an `RWLock`; used like a lock of its own."""

    __slots__ = ("_kind", "_lock")

    def __init__(self, lock: RWLock, kind: int) -> None:
        self._lock = lock
        self._kind = kind

    def __repr__(self) -> str:
        return f"<{KINDS[self._kind]} side of {self._lock!r}>"

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Get the lock, wait for it at most *timeout* seconds (-1: for ever); return whether it was had.

        With a false *blocking*, or a timeout of zero, it does not wait.
        ValueError for a timeout without *blocking*. RuntimeError for writing if this thread holds it for reading only.
        """
        if type(timeout) is not int or timeout != -1:
            if not blocking:
                raise ValueError("can't specify a timeout for a non-blocking call; leave out one of the two")
            timeout = seconds(timeout, FOR_EVER)
            if timeout < 0 and timeout != -1:
                raise ValueError(
                    f"timeout value must be a non-negative number, or {FOR_EVER}, not {timeout!r}"
                )
        watcher = _named.watcher() if self._lock.name is not None else None
        if watcher is None:
            return self._lock._acquire(self._kind, blocking, timeout)
        return watcher.acquire(
            self._lock,
            lambda b, t: self._lock._acquire(self._kind, b, t),
            lambda: self._lock._release(self._kind),
            KINDS[self._kind],
            _named.given,
            blocking,
            timeout,
        )

    def release(self) -> None:
        """Give it back. Never blocks. RuntimeError if this thread does not hold it in this way."""
        # From here on, whatever strikes, it is given back.
        lock, way = self._lock, self._kind
        me = 0
        steps: list[Step] = []
        noted: list[_named.Giving] = []
        settled = False
        try:
            for me in IDENTS:  # not a call, after which something could strike before it is noted  # noqa: B007
                break
            lock._give_back(steps, noted, me, way)
            settled = True
        finally:
            try:
                if not settled:
                    surely(lock._give_back, steps, noted, me, way)
            except BaseException:
                if settled:
                    raise
                elsewhere[lock._give_back] = (steps, noted, me, way)
        if steps[0].refusal is not None:
            steps[0].refuse()

    def locked(self) -> bool:
        """Whether some thread holds the lock in this way."""
        state = self._lock._latest()
        return any(counts[self._kind] for counts in state.holders.values()) or (
            state.lost and self._kind == WRITE
        )

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # As in release(), which is not called because it could be struck before it begins. (By now it may be a reader.)
        lock, way = self._lock, self._kind
        me = 0
        steps: list[Step] = []
        noted: list[_named.Giving] = []
        settled = False
        try:
            for me in IDENTS:  # not a call, after which something could strike before it is noted  # noqa: B007
                break
            lock._give_back(steps, noted, me, way, way == WRITE)
            settled = True
        finally:
            try:
                if not settled:
                    surely(lock._give_back, steps, noted, me, way, way == WRITE)
            except BaseException:
                if settled:
                    raise
                elsewhere[lock._give_back] = (steps, noted, me, way, way == WRITE)
        if steps[0].refusal is not None:
            steps[0].refuse()


class ReadSide(_Side):
    """The reading side of an `RWLock`; used like a lock of its own."""

    __slots__ = ()

    def _is_owned(self) -> bool:
        # Asked by a Condition, before it waits or notifies. With several readers none of them can change anything that
        # another waits for; and whoever does change it would not be kept from doing so between a look and a wait.
        raise RuntimeError(
            f"{self!r}: a Condition needs a lock that one thread holds alone; give it the writing side"
        )


class WriteSide(_Side):
    """The writing side of an `RWLock`; used like a lock of its own, also by a `Condition`."""

    __slots__ = ()

    # What a Condition asks of a lock that can be held several times over.

    def _is_owned(self) -> bool:
        return bool(self._lock._mine()[WRITE])

    def _release_save(self) -> tuple[int, int]:
        watcher = _named.watcher() if self._lock.name is not None else None
        if watcher is None:
            return self._lock._let_go()
        held: tuple[int, int] = watcher.let_go(self._lock, self._lock._let_go, self._lock._take_back)
        return held

    def _acquire_restore(self, held: tuple[int, int]) -> None:
        watcher = _named.watcher() if self._lock.name is not None else None
        if watcher is None:
            self._lock._take_back(held)
        else:
            watcher.take_back(self._lock, self._lock._take_back, KINDS[WRITE], held)
