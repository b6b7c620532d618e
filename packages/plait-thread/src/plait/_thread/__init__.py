# SPDX-License-Identifier: MIT
"""Threads and locks at their lowest level, the same on every Python.

    >>> from plait._thread import allocate_lock, start_joinable_thread
    >>> seen = []
    >>> handle = start_joinable_thread(lambda: seen.append("here"))
    >>> handle.join(5)
    >>> seen, handle.is_done()
    (['here'], True)

The interpreter's `_thread` and more: its locks, thread-local data and identifiers as they are, 3.13's joinable
threads on every Python, and what the layers above need to survive `os.fork()`: `register_after_fork`,
`fork_generation` and `reset_lock`.
"""

from __future__ import annotations

from ._after_fork import fork_generation, register_after_fork, report_unraisable
from ._platform import (
    TIMEOUT_MAX,
    LockType,
    RLock,
    _local,
    _ThreadHandle,
    allocate_lock,
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
    start_new_thread,
)
from ._start import start_joinable_thread
from ._version import __version__

allocate = allocate_lock

__all__ = [
    "TIMEOUT_MAX",
    "LockType",
    "RLock",
    "_ThreadHandle",
    "__version__",
    "_local",
    "allocate",
    "allocate_lock",
    "daemon_threads_allowed",
    "error",
    "exit",
    "fork_generation",
    "get_ident",
    "get_native_id",
    "interrupt_main",
    "lock",
    "main_thread_ident",
    "register_after_fork",
    "report_unraisable",
    "reset_lock",
    "stack_size",
    "start_joinable_thread",
    "start_new_thread",
]
