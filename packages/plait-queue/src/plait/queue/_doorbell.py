# SPDX-License-Identifier: MIT
"""The Conditions `not_empty`, `not_full` and `all_tasks_done`, for code that waits on or notifies them itself."""

from __future__ import annotations

from weakref import ref

from ..threading import Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._engine import Engine

__all__ = ["Doorbell"]


class Doorbell(Condition):
    """A Condition over a queue's mutex whose notify() also serves the queue's own waiting calls.

    Those do not wait in the Condition, so that the queue need not have one; but whoever changes a queue by hand
    and then notifies, as with the standard module, expects them to look again.
    """

    def __init__(self, queue: Engine) -> None:
        super().__init__(queue._lock_)
        self._queue = ref(queue)

    def notify(self, n: int = 1) -> None:
        """Wake at most *n* threads that wait in this Condition, and every waiting call of the queue that can be
        served now."""
        try:
            super().notify(n)
        finally:
            self._settle_()

    def notify_all(self) -> None:
        """Wake all threads that wait in this Condition, and every waiting call of the queue that can be served
        now."""
        try:
            super().notify_all()
        finally:
            self._settle_()

    def ring(self) -> None:
        """The queue's own notify()."""
        super().notify()

    def ring_all(self) -> None:
        """The queue's own notify_all()."""
        super().notify_all()

    def _settle_(self) -> None:
        queue = self._queue()
        if queue is not None:
            queue._change_(queue._settle_)
