# SPDX-License-Identifier: MIT
#
# Sleeping until somebody wakes one, where there is nobody else. What can still wake it: who did so before, and a signal
# handler during the sleep. So a sleep takes its time and looks; one without end would be one, and is an error.

from __future__ import annotations

import time
from math import inf

from ._after_fork import fork_generation
from ._locks import TIMEOUT_MAX
from ._timeouts import seconds

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Parker", "WaitQueue", "give_way"]


def give_way(waits: Callable[[], object] = bool) -> None:
    """Do nothing: there is nobody to give way to."""


class Parker:
    """A doorbell for one waiting call. An `unpark()` that comes before the `park()` is remembered, once."""

    __slots__ = ("__weakref__", "_generation", "_rung")

    def __init__(self) -> None:
        self._rung = False
        self._generation = fork_generation()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x}{', unparked' if self._rung else ''}>"

    def park(self, timeout: float | None = None) -> bool:
        """Whether `unpark()` was called, which is then forgotten; if not, look again after *timeout* seconds.

        RuntimeError without a timeout if it was not.
        """
        if timeout is not None:
            timeout = seconds(timeout, largest=inf)
        if not self._rung:
            if timeout is None:
                raise RuntimeError(
                    f"{self!r}: would wait for ever, for there is one thread; unpark() it before, or give a timeout"
                )
            if timeout > 0:
                time.sleep(min(timeout, TIMEOUT_MAX))
        rung, self._rung = self._rung, False
        return rung

    def unpark(self) -> bool:
        """End the next `park()`. False in a process that was forked after the parker was made."""
        self._rung = True
        return self._generation == fork_generation()


class WaitQueue:
    """A line of waiting calls, woken in the order in which they came. More than one can stand in it: a call that waits
    may be in a signal handler that interrupted another."""

    __slots__ = ("__weakref__", "_line")

    def __init__(self) -> None:
        self._line: dict[Parker, None] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x}, {len(self._line)} waiting>"

    def __len__(self) -> int:
        """How many stand in line."""
        return len(self._line)

    def __iter__(self) -> Iterator[Parker]:
        """Those who stand in line at this moment, oldest first."""
        return iter([*self._line])

    def enter(self, parker: Parker) -> None:
        """Let *parker* stand in line, at its end."""
        self._line[parker] = None

    def leave(self, parker: Parker) -> bool:
        """Take *parker* out of the line; False if it has been woken."""
        return self._line.pop(parker, self) is None

    def wait(self, timeout: float | None = None, *, unless: Callable[[], object] | None = None) -> bool:
        """Whether *unless*, if given, returns something true, or somebody wakes this call within *timeout* seconds.

        RuntimeError without a timeout if it does not.
        """
        parker = Parker()
        self.enter(parker)
        try:
            if unless is not None and unless():
                return True
            parker.park(timeout)
            return parker not in self._line
        finally:
            self.leave(parker)

    def wake(self, n: int = 1) -> int:
        """Wake the *n* calls that have waited longest, or all if there are fewer; return how many."""
        return sum(self.leave(parker) and parker.unpark() for parker in [*self._line][: max(0, n)])

    def wake_all(self) -> int:
        """Wake every call that stands in line; return how many."""
        return self.wake(len(self._line))
