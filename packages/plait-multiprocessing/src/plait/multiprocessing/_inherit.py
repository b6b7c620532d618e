# SPDX-License-Identifier: MIT
# How a child gets at what it shares with its parent.
#
# Everything that two processes share here is a file descriptor. Nothing has a name, so nothing can be left behind,
# guessed or destroyed by a stranger, and no tracker process is needed.
#
#   fork   the child has a copy of every descriptor, under the same number.
#   spawn  the Process object is pickled for exactly one child. While that goes on, a thread-local `Inheritance`
#          collects the descriptors of whatever is pickled; the child is then started with just these, again under
#          the same numbers. (`pass_fds` keeps numbers, so there is nothing to translate in the child.)
#
# A descriptor is passed in one of two ways:
#
#   copy   a duplicate is made for the child and closed in the parent after the start. For everything that another
#          thread may close meanwhile (a Connection).
#   lend   the descriptor itself is passed, and its owner is kept alive until the child has been started. For files
#          with POSIX record locks on them: closing *any* descriptor of such a file, a duplicate too, drops all
#          record locks this process has on it. See _robust.py.

from __future__ import annotations

import os

from .._thread import _local, register_after_fork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Self

__all__ = ["Inheritance", "ParentEnd", "assert_spawning", "current"]


class Inheritance:
    """The descriptors that one spawned child will get. Used by one thread, while it pickles."""

    def __init__(self) -> None:
        self.fds: list[int] = []
        self._copies: list[int] = []
        self._owners: list[Any] = []
        self._outer: Inheritance | None = None

    def copy(self, fd: int) -> int:
        """Give the child a duplicate of *fd*; return its number in the child."""
        import fcntl

        # Not below 3: the child's standard streams have these numbers.
        duplicate = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
        self._copies.append(duplicate)
        self.fds.append(duplicate)
        return duplicate

    def lend(self, fd: int, owner: Any) -> int:
        """Give the child *fd* itself, and keep *owner*, who would close it, alive until then."""
        self._owners.append(owner)
        if fd not in self.fds:
            self.fds.append(fd)
        return fd

    def close(self) -> None:
        """Forget everything; the child has been started, or never will be."""
        while self._copies:
            os.close(self._copies.pop())
        self._owners.clear()

    def __enter__(self) -> Self:
        self._outer = getattr(_state, "inheritance", None)
        _state.inheritance = self
        return self

    def __exit__(self, *exc_info: object) -> None:
        _state.inheritance = self._outer


_state = _local()


def current() -> Inheritance | None:
    """The inheritance for which the calling thread is pickling now, if it is."""
    found: Inheritance | None = getattr(_state, "inheritance", None)
    return found


def assert_spawning(obj: object) -> Inheritance:
    """The current inheritance; RuntimeError when *obj* is pickled for anything but a new child."""
    inheritance = current()
    if inheritance is None:
        raise RuntimeError(
            f"{type(obj).__name__} objects should only be shared between processes through inheritance: "
            f"pass it in the args of a Process, not through a queue or pipe"
        )
    return inheritance


class ParentEnd:
    """A descriptor that no other process may hold, because its closing tells the other side that we are gone.

    Closed in the child of every fork, whoever forked: a sibling that kept it would make the death of this process
    invisible for as long as the sibling lives.
    """

    __slots__ = ("__weakref__", "_fds")

    def __init__(self, fd: int) -> None:
        self._fds = [fd]
        register_after_fork(self, ParentEnd.close)

    def fileno(self) -> int:
        """The descriptor, or -1 when closed."""
        fds = self._fds[:]
        return fds[0] if fds else -1

    def close(self, _close: Any = os.close) -> None:
        """Close it; a second call does nothing, also when two threads call at once."""
        try:
            fd = self._fds.pop()
        except IndexError:
            return
        _close(fd)

    __del__ = close
