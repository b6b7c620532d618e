# SPDX-License-Identifier: MIT
"""Threads, and what they wait for: the newest Python's `threading`, and what it lacks.

    >>> from plait.threading import Thread
    >>> worker = Thread(target=print, args=("hello from a thread",))
    >>> worker.start(); worker.join()
    hello from a thread
    >>> worker = Thread(target=pow, args=(2, 10))
    >>> worker.start(); worker.result()
    1024

Who switches changes the import and nothing else. Each class says how it differs from the one of that name in `threading`.
Not in there are `RWLock`, `NamedLock` and `NamedRLock` with `debug`, `Thread.result`, and the exit hooks: `register_atexit`,
`unregister_atexit`, `run_exit_hooks`.

Timeouts are seconds, any real number of them, on the monotonic clock; None is for ever, and zero or less does not wait.
(Of locks it is as always: -1 is for ever, and other negative numbers are refused. A `Lock` or `RLock` is the interpreter's
own, and takes those kinds of numbers that the interpreter takes.) What is no such number is refused by whoever would have
to wait, with TypeError, or ValueError for NaN, or OverflowError above `TIMEOUT_MAX`.
"""

from __future__ import annotations

from .._thread import TIMEOUT_MAX, RLock, _local, get_ident, get_native_id, stack_size
from .._thread import error as ThreadError  # noqa: N812 - the standard module's name
from .._thread import lock as Lock  # noqa: N812 - the standard module's name
from ._barrier import Barrier, BrokenBarrierError
from ._condition import Condition
from ._event import Event
from ._excepthook import ExceptHookArgs, excepthook
from ._exit import _register_atexit, _shutdown, register_atexit, run_exit_hooks, unregister_atexit
from ._iterators import concurrent_tee, serialize_iterator, synchronized_iterator
from ._named import NamedLock, NamedRLock
from ._rwlock import RWLock
from ._semaphore import BoundedSemaphore, Semaphore
from ._threads import (
    Thread,
    _DummyThread,
    _MainThread,
    active_count,
    activeCount,
    current_thread,
    currentThread,
    enumerate,
    main_thread,
)
from ._timer import Timer
from ._trace import getprofile, gettrace, setprofile, setprofile_all_threads, settrace, settrace_all_threads
from ._version import __version__ as __version__

__excepthook__ = excepthook

local = _local  # not by `import ... as`, which checkers take for the use of a private name

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from . import debug as debug

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
    "active_count",
    "concurrent_tee",
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

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import `debug`, which few programs need, when it is first asked for."""
        if name == "debug":
            from importlib import import_module

            return import_module(f".{name}", __name__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# Classes say where they are to be had, and are pickled by that, not by the private module that they are written in.
for _name in __all__:
    _public = globals()[_name]
    if (
        isinstance(_public, type)
        and _public.__module__.startswith(f"{__name__}.")
        and _public.__name__ == _name
    ):
        _public.__module__ = __name__

# Not in __all__, but found by those who know them from the standard module: deprecated names, and private ones that
# debuggers and pools ask for. Which of its two RLocks is meant makes no difference here.
_CRLock = _PyRLock = RLock
_ALSO = (
    _CRLock,
    _DummyThread,
    _MainThread,
    _PyRLock,
    _register_atexit,
    _shutdown,
    activeCount,
    currentThread,
)
