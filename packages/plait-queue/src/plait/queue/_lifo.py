# SPDX-License-Identifier: MIT
"""`LifoQueue`: the item that was put last comes out first."""

from __future__ import annotations

from ._fifo import Queue
from ._hooks import hook
from ._waiting import steps_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, TypeVar

    T = TypeVar("T")

__all__ = ["LifoQueue"]


class LifoQueue(Queue["T"]):
    """A `Queue` that gives the item first that was put last; `queue` is a list.

    An item that an interrupted getter gives back is on top again.
    """

    _native_ = True
    _take_ = "pop"

    def _init(self, maxsize: int) -> None:  # noqa: ARG002
        self._start_with_([])

    @hook
    def _get(self) -> T:
        return self._stock_.pop()  # type: ignore[no-any-return]

    def _peek(self) -> T:
        return self._stock_[-1]  # type: ignore[no-any-return]

    def _put_back_(self, ticket: int, box: list[Any], later: Sequence[int] = ()) -> None:
        if self._hooked_:
            super()._put_back_(ticket, box, later)
            return
        # The one that was taken first goes on top.
        move = map(self._stock_.append, steps_of(box.pop))
        while box:
            for _ in move:
                break
