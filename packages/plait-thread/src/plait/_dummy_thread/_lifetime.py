# SPDX-License-Identifier: MIT
#
# Beginning and end of a "thread" that runs in its caller: when `launch()` returns, it has had both.

from __future__ import annotations

import time

from ._calls import get_ident, get_native_id, start_new_thread
from ._locks import LockType

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Course", "Lifetime"]


class Course:
    """What a "thread" calls: override `__call__`, and in it call `arrive()` first of all, then `begin()`."""

    __slots__ = ("lifetime",)
    lifetime: Any

    def __call__(self) -> None:
        """What the "thread" does."""
        raise NotImplementedError(f"{type(self).__name__} must override __call__()")

    def arrive(self) -> None:
        """As the first step: be known."""
        self.lifetime.ident = get_ident()
        self.lifetime.native_id = get_native_id()

    def begin(self) -> None:
        """When nothing can keep it from doing its work any more: open the gate."""
        self.lifetime.has_begun = True
        self.lifetime.gate.release()

    def depart(self) -> None:
        """As the last step: nothing to do here."""

    def give_up(self) -> None:
        """Instead of `begin()`: open the gate."""
        self.lifetime.gate.release()


class Lifetime:
    """From start to end of one "thread", which is started by `launch()`, or elsewhere: `observe()`."""

    __slots__ = ("_over", "gate", "has_begun", "ident", "native_id", "note")

    ident: int | None
    native_id: int | None
    has_begun: bool
    gate: LockType  # held until the "thread" has begun, or has not and ended
    note: list[int]

    def launch(self, course: Course, *, joinable: bool = False) -> None:  # noqa: ARG002 - it is over afterwards
        """Call *course*, now and here. KeyboardInterrupt comes through, other errors are printed."""
        self.ident = self.native_id = None
        self.has_begun = self._over = False
        self.note = [get_ident()]
        self.gate = gate = LockType()
        gate.acquire()
        course.lifetime = self
        try:
            start_new_thread(course, ())
        finally:
            self._over = True
            if gate.locked():
                gate.release()

    def started_as(self) -> int | None:
        """The identifier of the only thread; None of what was started elsewhere."""
        return self.note[0] if self.note else None

    def observe(self, ident: int) -> None:
        """Be the lifetime of what was started elsewhere, until somebody says `finish()`."""
        self.ident = ident
        self.native_id = None
        self.has_begun = True
        self._over = False
        self.note = []
        self.gate = LockType()

    def finish(self) -> None:
        """What was started elsewhere has ended."""
        self._over = True

    def is_over(self) -> bool:
        """Whether it has ended: not if this is called within it."""
        return self._over

    def wait(self, timeout: float = -1) -> bool:
        """Whether it has ended, after *timeout* seconds if it has not; RuntimeError if it never would."""
        if not self._over:
            if timeout < 0:
                raise RuntimeError(f"{self!r}: would wait for ever, in what it waits for; give a timeout")
            time.sleep(timeout)
        return self._over

    def farewell(self) -> Callable[[], object]:
        """A function that waits until nothing is left of the "thread", which is at once."""
        return bool

    def came_along(self) -> None:
        """In a forked child: what this process had, it has."""
