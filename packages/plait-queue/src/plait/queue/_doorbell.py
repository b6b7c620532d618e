# SPDX-License-Identifier: MIT
"""The Conditions `not_empty`, `not_full` and `all_tasks_done`, for code that waits on or notifies them itself."""

from __future__ import annotations

from sys import maxsize
from weakref import ref

from ..threading import Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._engine import Engine

__all__ = ["Doorbell"]

# Whom the queue's own notify() of each would be for, if they waited in it.
LINES = {"not_empty": "_getters_", "not_full": "_putters_", "all_tasks_done": "_joiners_"}


class Doorbell(Condition):
    """A Condition over a queue's mutex whose notify() also serves the queue's own waiting calls.

    Those do not wait in the Condition, so that the queue need not have one; but whoever changes a queue by hand
    and then notifies, as with the standard module, expects them to look again. Or first notifies and then changes it: as
    long as the mutex is held that is the same, so those who are not served at once are woken to look when it is free.
    """

    def __init__(self, queue: Engine, name: str) -> None:
        super().__init__(queue._lock_)
        self._queue = ref(queue)
        self._line = LINES[name]

    def notify(self, n: int = 1) -> None:
        """Wake at most *n* threads that wait in this Condition, and every waiting call of the queue that can be
        served now, or when the mutex is let go."""
        try:
            super().notify(n)
        finally:
            self._heed_(n)

    def notify_all(self) -> None:
        """Wake all threads that wait in this Condition, and every waiting call of the queue that can be served
        now, or when the mutex is let go."""
        try:
            super().notify_all()
        finally:
            self._heed_(maxsize)

    def ring(self) -> None:
        """The queue's own notify()."""
        super().notify()

    def ring_all(self) -> None:
        """The queue's own notify_all()."""
        super().notify_all()

    def _heed_(self, most: int) -> None:
        queue = self._queue()
        if queue is not None:
            queue._change_(queue._heed_, getattr(queue, self._line), most)
