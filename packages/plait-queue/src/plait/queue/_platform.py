# SPDX-License-Identifier: MIT
"""What the interpreter brings along for queues: a `SimpleQueue` written in C, and the `Empty` that it raises; and the C
function that starts a thread (ours is Python code, in which a signal handler could strike).

The only file of this package that names anything private of the interpreter. Where that has no such module (PyPy),
`Empty` is ours and there is no `SimpleQueue` here; the package then takes the one in `_simple.py`.
"""

from __future__ import annotations

import sys
from functools import partial

from .._thread import RLock, allocate_lock, get_ident, main_thread_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _queue import Empty, SimpleQueue
    from collections.abc import Callable
    from typing import Any

    start_new_thread: Callable[..., Any]
else:
    try:
        # Both or neither: `except Empty` has to catch what the C get() raises.
        from _queue import Empty, SimpleQueue
    except ImportError:

        class Empty(Exception):
            """Nothing to get, and the caller did not want to wait, or not any longer."""

            __module__ = __package__ or __name__

    try:
        from _thread import start_new_thread
    except ImportError:  # then there are no threads

        def start_new_thread(function, args):
            function(*args)


__all__ = [
    "WHOLE_STEPS",
    "Empty",
    "SimpleQueue",
    "is_owned",
    "raised_here",
    "start_new_thread",
    "struck_by_handler",
]

# Whether no other thread can see one call of a C function half done, such as deque.extend() of a C iterator: so it is
# with CPython's global lock. Without it, and on PyPy, only the mutex keeps other threads out.
WHOLE_STEPS: bool = sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()


def _is_owned_by_trial(mutex: RLock) -> bool:
    try:
        mutex.release()
    except RuntimeError:
        return False
    mutex.acquire()
    return True


# Whether the calling thread holds an RLock. Every interpreter's has a method for that, though not a public one.
is_owned: Callable[[RLock], bool] = getattr(RLock, "_is_owned", _is_owned_by_trial)


# Locks may be written in Python: where there are no threads, or something has replaced them (as gevent does).
_LOCKS_ARE_IN_C = not any(hasattr(allocate_lock().release, name) for name in ("__func__", "__code__"))


def raised_here(problem: BaseException) -> bool:
    """Whether the C function that was called in the `try` has raised it, and not a signal handler that struck there: that
    has a frame."""
    trace = problem.__traceback__
    return trace is None or trace.tb_next is None or not _LOCKS_ARE_IN_C


def struck_by_handler(problem: BaseException) -> bool:
    """Whether a signal handler has raised *problem*, and not the code that it interrupted.

    Told by a frame of a handler in the traceback, as far as handlers are written in Python and still installed.
    """
    signal: Any = sys.modules.get("signal")
    if signal is None or get_ident() != main_thread_ident():
        return False
    codes = set()
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        while isinstance(handler, partial):
            handler = handler.func
        if not hasattr(handler, "__code__"):
            handler = getattr(handler, "__func__", None) or getattr(type(handler), "__call__", None)  # noqa: B004
        codes.add(getattr(handler, "__code__", None))
    codes.discard(None)
    trace = problem.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code in codes:
            return True
        trace = trace.tb_next
    return False
