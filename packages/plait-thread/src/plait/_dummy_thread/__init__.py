# SPDX-License-Identifier: MIT
"""The interface of `_thread` where there is one thread, and there can be no other.

    >>> from plait._dummy_thread import allocate_lock, start_new_thread
    >>> lock = allocate_lock()
    >>> with lock:
    ...     _ = start_new_thread(print, ("at once, and in the caller",))
    at once, and in the caller

What Python had until 3.8, on today's Pythons, with all names of this package's `_thread`. It needs nothing of the
interpreter, and starts nothing. A function "started" runs to its end before the call returns. Do not use it where a
thread waits for what only a thread started later would do: nobody will.
"""

from __future__ import annotations

from ._after_fork import fork_generation, register_after_fork, reset_lock
from ._calls import (
    _NAME_MAXLEN,
    _count,
    _get_name,
    _is_main_interpreter,
    _make_thread_handle,
    _set_sentinel,
    _shutdown,
    _ThreadHandle,
    can_start_threads,
    daemon_threads_allowed,
    error,
    exit,
    get_ident,
    get_native_id,
    interrupt_main,
    main_thread_ident,
    set_name,
    stack_size,
    start_joinable_thread,
    start_new_thread,
)
from ._lifetime import Course, Lifetime
from ._locks import TIMEOUT_MAX, LockType, RLock, allocate_lock
from ._parking import Parker, WaitQueue, give_way
from ._report import _excepthook, _ExceptHookArgs, report_unraisable
from ._storage import _local
from ._timeouts import seconds

lock = LockType
RLockType = RLock

# What older versions called them.
allocate = allocate_lock
exit_thread = exit
start_new = start_new_thread

_get_main_thread_ident = main_thread_ident

__all__ = [
    "TIMEOUT_MAX",
    "_NAME_MAXLEN",
    "Course",
    "Lifetime",
    "LockType",
    "Parker",
    "RLock",
    "RLockType",
    "WaitQueue",
    "_ExceptHookArgs",
    "_ThreadHandle",
    "_count",
    "_excepthook",
    "_get_main_thread_ident",
    "_get_name",
    "_is_main_interpreter",
    "_local",
    "_make_thread_handle",
    "_set_sentinel",
    "_shutdown",
    "allocate",
    "allocate_lock",
    "can_start_threads",
    "daemon_threads_allowed",
    "error",
    "exit",
    "exit_thread",
    "fork_generation",
    "get_ident",
    "get_native_id",
    "give_way",
    "interrupt_main",
    "lock",
    "main_thread_ident",
    "register_after_fork",
    "report_unraisable",
    "reset_lock",
    "seconds",
    "set_name",
    "stack_size",
    "start_joinable_thread",
    "start_new",
    "start_new_thread",
]

# Classes say where they are to be had, and are pickled by that, not by the private module that they are written in.
for _name in __all__:
    _public = globals()[_name]
    if (
        isinstance(_public, type)
        and _public.__module__.startswith(f"{__name__}.")
        and _public.__name__ == _name
    ):
        _public.__module__ = __name__
