# SPDX-License-Identifier: MIT
"""Threads and locks at their lowest level, the same on every Python.

    >>> from plait._thread import allocate_lock, start_joinable_thread
    >>> seen = []
    >>> handle = start_joinable_thread(lambda: seen.append("here"))
    >>> handle.join(5)
    >>> seen, handle.is_done()
    (['here'], True)

The interpreter's `_thread` of 3.15 on every Python, and more: what the layers above need to wait (`Parker`,
`WaitQueue`, `give_way`), to know when a thread begins and ends (`Lifetime`, `Course`), and to survive `os.fork()`
(`register_after_fork`, `fork_generation`, `reset_lock`).
"""

from __future__ import annotations

from ._after_fork import fork_generation, register_after_fork
from ._handles import _make_thread_handle, _shutdown, _ThreadHandle
from ._lifetime import Course, Lifetime
from ._names import _NAME_MAXLEN, _get_name, set_name
from ._parking import Parker, WaitQueue, give_way
from ._platform import (
    TIMEOUT_MAX,
    LockType,
    RLock,
    RLockType,
    _count,
    _is_main_interpreter,
    _local,
    allocate_lock,
    can_start_threads,
    daemon_threads_allowed,
    error,
    exit,
    get_ident,
    get_native_id,
    interrupt_main,
    lock,
    main_thread_ident,
    reset_lock,
    stack_size,
)
from ._report import _excepthook, _ExceptHookArgs, report_unraisable
from ._start import start_joinable_thread, start_new_thread
from ._timeouts import seconds
from ._version import __version__ as __version__

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
