# SPDX-License-Identifier: MIT
"""The interface of `_thread` where there is one thread, and there can be no other.

    >>> from plait._dummy_thread import allocate_lock, start_new_thread
    >>> lock = allocate_lock()
    >>> with lock:
    ...     _ = start_new_thread(print, ("at once, and in the caller",))
    at once, and in the caller

What Python had until 3.8, on today's Pythons, with the names that `_thread` got since. It needs nothing of the
interpreter, and starts nothing. A function "started" runs to its end before the call returns. Do not use it where a
thread waits for what only a thread started later would do: nobody will.
"""

from __future__ import annotations

from ._calls import (
    _count,
    _set_sentinel,
    _ThreadHandle,
    daemon_threads_allowed,
    error,
    exit,
    get_ident,
    get_native_id,
    interrupt_main,
    stack_size,
    start_joinable_thread,
    start_new_thread,
)
from ._locks import TIMEOUT_MAX, LockType, RLock, allocate_lock
from ._storage import _local

lock = LockType

# What older versions called them.
allocate = allocate_lock
exit_thread = exit
start_new = start_new_thread

__all__ = [
    "TIMEOUT_MAX",
    "LockType",
    "RLock",
    "_ThreadHandle",
    "_count",
    "_local",
    "_set_sentinel",
    "allocate",
    "allocate_lock",
    "daemon_threads_allowed",
    "error",
    "exit",
    "exit_thread",
    "get_ident",
    "get_native_id",
    "interrupt_main",
    "lock",
    "stack_size",
    "start_joinable_thread",
    "start_new",
    "start_new_thread",
]
