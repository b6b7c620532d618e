# SPDX-License-Identifier: MIT
"""Waiting for several queues at once."""

from __future__ import annotations

from time import monotonic

from ._fifo import Queue
from ._waiting import Watcher, check_timeout, deadline_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["select"]


def select(queues: Iterable[Queue[Any]], timeout: float | None = None) -> list[Queue[Any]]:
    """Wait until there is something to get from at least one of *queues*; return those, in the order given.

    A queue that is shut down and empty counts, too: its get() would not wait, but raise `ShutDown`. Takes nothing out:
    another thread may be quicker, so get with ``block=False``. After *timeout* seconds the answer is an empty list;
    zero only looks. Does not poll: it stands in line among the getters of each queue, and when its turn comes and
    there is an item, it is woken and the line moves on. Not in the standard module.

        >>> from plait.queue import LifoQueue, Queue, select
        >>> quiet, busy = Queue(), LifoQueue()
        >>> busy.put("news")
        >>> select([quiet, busy]) == [busy]
        True
        >>> select([quiet], timeout=0.01)
        []
    """
    if isinstance(queues, Queue):
        raise TypeError(f"select() takes several queues, not {queues!r}; put it in a list")
    try:
        watched = [*queues]
    except TypeError:
        if hasattr(queues, "__iter__"):
            raise  # its own
        raise TypeError(f"select() takes a list, or other iterable, of queues, not {queues!r}") from None
    for queue in watched:
        if not isinstance(queue, Queue):
            raise TypeError(
                f"select() cannot wait for {queue!r}: it takes Queue, LifoQueue and PriorityQueue of this package; "
                f"use a Queue() instead"
            )
    if timeout is not None:
        check_timeout(timeout)
    deadline = deadline_of(timeout)
    while True:
        ready = [queue for queue in watched if queue._would_not_wait_()]
        if ready:
            return ready
        left = None if deadline is None else deadline - monotonic()
        if left is not None and left <= 0:
            return []
        if not watched and left is None:
            raise ValueError("select() of no queues, without a timeout, would wait for ever")
        Watcher(watched).watch(left)
