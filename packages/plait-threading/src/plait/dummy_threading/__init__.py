# SPDX-License-Identifier: MIT
"""The interface of `threading` where there is one thread, and there can be no other.

    >>> from plait.dummy_threading import Thread
    >>> thread = Thread(target=print, args=("at once, and in the caller",))
    >>> thread.start(); thread.join()
    at once, and in the caller

What Python had until 3.8, on today's Pythons, with all names of this package's `threading`. `Thread.start()` runs the
thread to its end before it returns. Do not use it where a thread waits for what only a thread started later would do.
What can be seen to be such a wait raises RuntimeError (or BrokenBarrierError) instead of going on for ever. A `Lock` is the
exception: who waits for it without a timeout gets it although it is held, and one `release()` frees it then.

`RWLock`, the shared iterators, the exit hooks and `debug` are those of `threading`, which work with one thread as with many.
"""

from __future__ import annotations

from .._dummy_thread import TIMEOUT_MAX, RLock, _local, get_ident, get_native_id, stack_size
from .._dummy_thread import error as ThreadError  # noqa: N812 - the standard module's name
from .._dummy_thread import lock as Lock  # noqa: N812 - the standard module's name
from ..threading import (
    BrokenBarrierError,
    ExceptHookArgs,
    RWLock,
    concurrent_tee,
    excepthook,
    register_atexit,
    run_exit_hooks,
    serialize_iterator,
    synchronized_iterator,
    unregister_atexit,
)
from ._named import NamedLock, NamedRLock
from ._sync import Barrier, BoundedSemaphore, Condition, Event, Semaphore
from ._threads import (
    Thread,
    Timer,
    _MainThread,
    active_count,
    current_thread,
    enumerate,
    main_thread,
)
from ._trace import getprofile, gettrace, setprofile, setprofile_all_threads, settrace, settrace_all_threads

__excepthook__ = excepthook

local = _local

activeCount = active_count  # noqa: N816 - the standard module's name
currentThread = current_thread  # noqa: N816 - the standard module's name

__all__ = [
    "TIMEOUT_MAX",
    "Barrier",
    "BoundedSemaphore",
    "BrokenBarrierError",
    "Condition",
    "Event",
    "ExceptHookArgs",
    "Lock",
    "NamedLock",
    "NamedRLock",
    "RLock",
    "RWLock",
    "Semaphore",
    "Thread",
    "ThreadError",
    "Timer",
    "activeCount",
    "active_count",
    "concurrent_tee",
    "currentThread",
    "current_thread",
    "enumerate",
    "excepthook",
    "get_ident",
    "get_native_id",
    "getprofile",
    "gettrace",
    "local",
    "main_thread",
    "register_atexit",
    "run_exit_hooks",
    "serialize_iterator",
    "setprofile",
    "setprofile_all_threads",
    "settrace",
    "settrace_all_threads",
    "stack_size",
    "synchronized_iterator",
    "unregister_atexit",
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

# Private ones that are asked for all the same. There is no _DummyThread, for no thread was started elsewhere.
_CRLock = _PyRLock = RLock
_ALSO = (_CRLock, _MainThread, _PyRLock)
