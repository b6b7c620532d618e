# SPDX-License-Identifier: MIT
"""The interface of `threading` where there is one thread, and there can be no other.

    >>> from plait.dummy_threading import Thread
    >>> thread = Thread(target=print, args=("at once, and in the caller",))
    >>> thread.start(); thread.join()
    at once, and in the caller

What Python had until 3.8, on today's Pythons. `Thread.start()` runs the thread to its end before it returns. Do not use
it where a thread waits for what only a thread started later would do. What can be seen to be such a wait raises
RuntimeError (or BrokenBarrierError) instead of going on for ever.
"""

from __future__ import annotations

from .._dummy_thread import TIMEOUT_MAX, RLock, get_ident, stack_size
from .._dummy_thread import _local as local
from .._dummy_thread import allocate_lock as Lock  # noqa: N812 - the standard module's name
from .._dummy_thread import error as ThreadError  # noqa: N812 - the standard module's name
from ..threading import BrokenBarrierError
from ._sync import Barrier, BoundedSemaphore, Condition, Event, Semaphore
from ._threads import (
    Thread,
    Timer,
    active_count,
    current_thread,
    enumerate,
    main_thread,
    setprofile,
    settrace,
)

activeCount = active_count  # noqa: N816 - the standard module's name
currentThread = current_thread  # noqa: N816 - the standard module's name

__all__ = [
    "TIMEOUT_MAX",
    "Barrier",
    "BoundedSemaphore",
    "BrokenBarrierError",
    "Condition",
    "Event",
    "Lock",
    "RLock",
    "Semaphore",
    "Thread",
    "ThreadError",
    "Timer",
    "activeCount",
    "active_count",
    "currentThread",
    "current_thread",
    "enumerate",
    "get_ident",
    "local",
    "main_thread",
    "setprofile",
    "settrace",
    "stack_size",
]
