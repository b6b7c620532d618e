# SPDX-License-Identifier: MIT
#
# Who holds what, and waits for what, as each thread writes it down.
#
# A thread writes into a record of its own, so no lock is needed, and whoever wants to know reads all of them, also in a
# signal handler in the middle of writing one. (One exception: a plain lock may be released by another thread than took
# it, which then strikes that off in the record of the one that did, by a single operation.) Records of threads that have
# ended stay as long as they hold something: that is a finding.
#
# A hold is struck off before the lock is released: as soon as it is, another thread may write that it has it. If the
# release fails, the hold is put back.

from __future__ import annotations

import sys
from time import monotonic

from ..._thread import get_ident
from .._registry import here, snapshot
from .._rwlock import RWLock
from ._places import walk

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Aside", "Giving", "Hold", "Person", "Wait"]


class Hold:
    __slots__ = ("count", "lock", "number", "since", "site", "varies")

    def __init__(self, lock: Any) -> None:
        self.lock = lock
        self.number: int = lock._number
        self.varies = isinstance(lock, RWLock)
        self.count = 1
        self.since = monotonic()
        self.site = walk(sys._getframe())


class Wait:
    __slots__ = ("lock", "mode", "since")

    def __init__(self, lock: Any, mode: str) -> None:
        self.lock = lock
        self.mode = mode
        self.since = monotonic()


class Aside:
    """The hold of a thread that waits for a Condition's notification; and whether it has the lock back."""

    __slots__ = ("hold", "outer", "taken", "times")

    def __init__(self, hold: Hold | None, outer: Aside | None) -> None:
        self.hold = hold
        self.times = 1 if hold is None else hold.count
        self.outer = outer  # of the wait that the handler interrupted which waits now
        self.taken: list[object] = []


class Giving:
    """A call of release(): what was noted of the hold that it gives back.

    Both methods can be begun again at any point.
    """

    __slots__ = ("hold", "holds", "left")

    def __init__(self, lock: Any, holds: dict[int, Hold]) -> None:
        self.holds = holds
        self.hold = hold = holds.get(id(lock))
        self.left = 0 if hold is None else hold.count - 1

    def strike_off(self) -> None:
        """Before the lock is released."""
        hold = self.hold
        if hold is not None:
            hold.count = self.left
            if not self.left:
                self.holds.pop(id(hold.lock), None)

    def put_back(self) -> None:
        """After its release was refused; unless it is not held any more all the same."""
        hold = self.hold
        if hold is not None and hold.lock._still_held(self.left):
            hold.count = self.left + 1
            self.holds[id(hold.lock)] = hold


class Person:
    """What one thread holds and waits for. Written by that thread."""

    def __init__(self) -> None:
        self.ident = get_ident()
        thread = getattr(here, "thread", None)
        self.made_up = thread is None
        self.thread = thread
        self.holds: dict[int, Hold] = {}
        self.set_aside: dict[int, Aside] = {}
        self.wait: Wait | None = None

    @property
    def name(self) -> str:
        if self.thread is None:
            for thread in snapshot():
                if thread.ident == self.ident:
                    self.thread = thread
                    break
            else:
                return f"thread {self.ident}"
        return str(self.thread.name)
