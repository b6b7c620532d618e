# SPDX-License-Identifier: MIT
"""`SimpleQueue` for interpreters that have none in C."""

from __future__ import annotations

from weakref import ref

from ._fifo import Of, Queue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    T = TypeVar("T")

__all__ = ["SimpleQueue"]


class Contents(Queue["T"]):
    """What a SimpleQueue keeps its items in, and speaks of it by its owner's name."""

    _owner_: Any = staticmethod(lambda: None)

    def __repr__(self) -> str:
        owner = self._owner_()
        return object.__repr__(self if owner is None else owner)


class SimpleQueue(Of["T"]):
    """An unbounded first-in first-out queue without task counting.

    put() never waits and may interrupt any other operation on the same queue in the same thread, from a signal
    handler or a finaliser. Waiting getters are served in the order in which they came.
    """

    __slots__ = ("__weakref__", "_items_")

    def __init__(self) -> None:
        self._items_: Contents[T] = Contents()
        self._items_._owner_ = ref(self)

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:  # noqa: ARG002
        """Put *item* into the queue. *block* and *timeout* are there for the sake of `Queue.put` and change
        nothing."""
        self._items_.put(item)

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take the item that has been in the queue longest.

        Waits while the queue is empty: as long as it takes, or *timeout* seconds, or not at all if *block* is false;
        then raises `Empty`. A negative *timeout* is a `ValueError` if *block* is true.
        """
        return self._items_.get(block, timeout)

    def put_nowait(self, item: T) -> None:
        """The same as `put`."""
        self._items_.put(item)

    def get_nowait(self) -> T:
        """Take an item if there is one at this moment, else raise `Empty`."""
        return self._items_.get(False)

    def empty(self) -> bool:
        """Whether the queue is empty at this moment."""
        return self._items_.empty()

    def qsize(self) -> int:
        """How many items are in the queue at this moment."""
        return self._items_.qsize()
