# SPDX-License-Identifier: MIT
#
# The one file that touches the interpreter's own `_thread` (and two other built-in C parts).
#
# Rules
#   - Everything is found by probing for the feature, never by comparing version numbers. What an interpreter lacks is
#     either made here out of public parts, or answers None and the caller copes.
#   - Importing this file starts nothing and succeeds where threads cannot be started (Pyodide, WASI): only starting
#     one raises, and then a RuntimeError that says so.
#   - Types that every interpreter has in the same form (lock, RLock, _local, ...) are passed on as they are: nothing
#     written in Python would be as fast, and a lock of ours is then also a lock of everybody else's.
#
# Thread handles. Python 3.13 can start a thread and give back a handle that knows when the thread has ended. Older
# interpreters (and PyPy) can only start one and forget it, so `_EmulatedHandle` notices the end by three means:
#
#   1. `_Course`, the callable that runs in the new thread, reports in a `finally`;
#   2. if the new thread dies before it ever calls `_Course` (no memory for its first frame), the interpreter drops its
#      reference to it, and its `__del__` reports instead: nobody waits for a thread that never came to life;
#   3. the end of the *Python* part is not quite the end: thread-local values are still to be destroyed. Where the
#      interpreter offers a sentinel lock that it releases after that, a joiner also waits for it. A sentinel is one
#      lock for all joiners, so an interrupted joiner could keep it for ever; therefore that second wait is bounded by
#      LAST_STEPS. It is reached only after 1 or 2, when all that is left are a few microseconds of C.
#
# Joiners wait on a lock of their own each, which the ending thread releases: an exception raised in a waiting thread by
# a signal handler can then never take away somebody else's wake-up.

from __future__ import annotations

import _thread as interpreter_thread
import errno
import os
import sys
from _thread import (
    TIMEOUT_MAX,
    RLock,
    _local,
    allocate_lock,
    error,
    exit,
    get_ident,
    interrupt_main,
    stack_size,
    start_new_thread,
)
from itertools import starmap

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = [
    "TIMEOUT_MAX",
    "LockType",
    "RLock",
    "_ThreadHandle",
    "_UnraisableArgs",
    "_local",
    "_start_joinable",
    "allocate_lock",
    "daemon_threads_allowed",
    "error",
    "exit",
    "forget_threads_of_parent",
    "get_ident",
    "get_native_id",
    "interrupt_main",
    "lock",
    "main_thread_ident",
    "refusal",
    "reset_lock",
    "stack_size",
    "start_new_thread",
    "weak_reference",
]

try:  # the whole of `weakref` costs a millisecond at import; this is all of it that we need
    from _weakref import ref as weak_reference
except ImportError:
    from weakref import ref as weak_reference

LockType = type(allocate_lock())

# Seconds a joiner gives an ended thread to leave the interpreter (see 3 above). A guess; it has never been used up
# except by a thread-local value whose destructor blocks.
LAST_STEPS = 1.0

get_native_id: Callable[[], int] | None = getattr(interpreter_thread, "get_native_id", None)
set_name: Callable[[str], None] | None = getattr(interpreter_thread, "set_name", None)
_set_sentinel: Callable[[], Any] | None = getattr(interpreter_thread, "_set_sentinel", None)
_main_ident: Callable[[], int] | None = getattr(interpreter_thread, "_get_main_thread_ident", None)


if isinstance(getattr(interpreter_thread, "lock", None), type):
    lock = interpreter_thread.lock  # type: ignore[attr-defined]
else:

    class _LockFactory(type):
        # Before 3.13 the type of locks cannot be called, and the function that makes them is not a type. This is both:
        # `lock()` goes straight to the C function, `isinstance(x, lock)` asks the C type.
        __call__: Any = staticmethod(allocate_lock)

        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, LockType)

        def __subclasscheck__(cls, subclass: type) -> bool:
            return issubclass(subclass, LockType)

    class lock(metaclass=_LockFactory):  # type: ignore[no-redef] # noqa: N801
        """A mutual exclusion lock; `lock()` makes one, of the interpreter's own type."""


def daemon_threads_allowed() -> bool:
    """Whether this interpreter may have daemon threads (a sub-interpreter may forbid them)."""
    probe = getattr(interpreter_thread, "daemon_threads_allowed", None)
    return True if probe is None else bool(probe())


# Known at once if the main thread imports this, as it mostly does.
_main_at_import = get_ident() if get_native_id is not None and get_native_id() == os.getpid() else 0


def main_thread_ident() -> int:
    """The identifier of the thread that the interpreter calls main, whichever thread asks.

    Python 3.13 can be asked. Elsewhere: on Linux the main thread's native id is the process id; a thread that is not
    the main one looks at the interpreter's list of threads, which ends with the one that was there first.
    """
    if _main_ident is not None:
        return _main_ident()
    if get_native_id is None or get_native_id() == os.getpid():
        return get_ident()
    if _main_at_import:
        return _main_at_import
    # CPython lists the newest thread first, PyPy the oldest.
    known = list(sys._current_frames())
    return known[0 if "__pypy__" in sys.builtin_module_names else -1] if known else get_ident()


def refusal(cause: BaseException) -> RuntimeError:
    """The RuntimeError to raise, from its own `__cause__`, for a thread that could not be started."""
    kind = type(cause) if isinstance(cause, RuntimeError) else RuntimeError
    said = str(cause)
    if sys.platform in ("emscripten", "wasi"):
        answer: RuntimeError = RuntimeError(
            f"this platform ({sys.platform}) cannot start threads; do the work in the calling thread"
        )
        answer.__cause__ = cause
    elif "not supported" in said:  # an isolated sub-interpreter of Python 3.10 and 3.11
        answer = kind(f"{said}; do the work in the calling thread, or in the main interpreter")
        answer.__cause__ = cause
    elif "shutdown" in said:
        answer = kind(f"{said}: the interpreter is ending; start threads before that, or from an exit hook")
        answer.__cause__ = cause
    else:
        # The interpreter does not pass on what pthread_create() said. POSIX leaves it one answer for "no room".
        answer = kind(
            f"{said or 'cannot start new thread'}: end some threads, or raise the limit on threads or memory"
        )
        answer.__cause__ = OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        answer.__cause__.__context__ = cause
    return answer


class _EmulatedHandle:
    """What `start_joinable_thread` returns: a thread's end, to be asked for and waited for."""

    __slots__ = ("__weakref__", "_done", "_ident", "_joiners", "_sentinel", "_started", "_used")

    def __init__(self) -> None:
        self._ident = 0  # as the new thread itself says
        self._started: list[int] = []  # the same, as the one that started it was told
        self._used = False
        self._done = False
        self._sentinel: Any = None
        self._joiners: dict[Any, None] = {}

    def __repr__(self) -> str:
        return f"<thread handle: ident={self.ident}{' done' if self._done else ''}>"

    @property
    def ident(self) -> int:
        return self._started[0] if self._started else self._ident

    def is_done(self) -> bool:
        return self._done

    def join(self, timeout: float | None = None) -> None:
        if not self._used:
            raise RuntimeError(
                f"{self!r} has no thread yet; start one with start_joinable_thread(..., handle)"
            )
        if timeout is not None and timeout < 0:
            timeout = None  # as the interpreter's own handle has it
        if not self._done:
            if self._ident == get_ident():
                raise RuntimeError("Cannot join current thread: it would wait for itself")
            bell = allocate_lock()
            bell.acquire()
            try:
                self._joiners[bell] = None
                # Looked at again now that the bell hangs where the ending thread will see it.
                if not self.is_done() and not bell.acquire(True, -1 if timeout is None else timeout):
                    return
            finally:
                self._joiners.pop(bell, None)
        sentinel = self._sentinel
        if sentinel is not None:
            if sentinel.acquire(True, LAST_STEPS if timeout is None else min(timeout, LAST_STEPS)):
                sentinel.release()
            self._sentinel = None

    def _finish(self) -> None:
        self._done = True
        _unfinished.pop(id(self), None)
        for bell in [*self._joiners]:
            try:
                bell.release()
            except RuntimeError:  # rung already: `_finish` may run twice
                pass


class _Course:
    """One thread's way from start to end, in a form whose loss is noticed."""

    __slots__ = ("_function", "_handle")

    def __init__(self, function: Callable[[], object], handle: _EmulatedHandle) -> None:
        self._function: Callable[[], object] | None = function
        self._handle = handle

    def __call__(self) -> None:
        handle = self._handle
        try:
            handle._ident = get_ident()
            if _set_sentinel is not None:
                sentinel = _set_sentinel()
                sentinel.acquire()  # it is the owner's job; PyPy crashes at the end of a thread that did not
                handle._sentinel = sentinel
            function, self._function = self._function, None
            if function is not None:
                function()
        finally:
            handle._finish()

    def __del__(self) -> None:
        handle = getattr(self, "_handle", None)  # None if a signal handler's exception ended __init__
        if handle is not None and not handle._done:
            handle._finish()


# Emulated handles of threads that exist now, also those that have not begun: a forked child is going to ask.
_unfinished: dict[int, _EmulatedHandle] = {}


def forget_threads_of_parent() -> None:
    """In a forked child: the end of every thread that did not come along."""
    global _main_at_import
    _main_at_import = get_ident()
    for handle in [*_unfinished.values()]:
        if handle._ident != get_ident():
            handle._sentinel = None
            handle._finish()


def _start_emulated(
    function: Callable[[], object], handle: _EmulatedHandle | None = None, daemon: bool = True
) -> _EmulatedHandle:
    if handle is None:
        handle = _EmulatedHandle()
    elif not isinstance(handle, _EmulatedHandle):
        raise TypeError(f"'handle' must be a _ThreadHandle, not {type(handle).__name__}")
    if handle._used:
        raise RuntimeError("thread already started: a handle serves one thread")
    if daemon and not daemon_threads_allowed():
        raise RuntimeError("daemon threads are disabled in this interpreter; pass daemon=False")
    handle._used = True
    _unfinished[id(handle)] = handle
    try:
        # One call of C code, so that an exception of a signal handler cannot come between the start and the note of it.
        handle._started += starmap(start_new_thread, ((_Course(function, handle), ()),))
    except BaseException:
        if not handle._started:
            _unfinished.pop(id(handle), None)
        raise
    return handle


if TYPE_CHECKING:
    _ThreadHandle = _EmulatedHandle
    _start_joinable: Callable[..., _EmulatedHandle] = _start_emulated
else:
    _start_joinable = getattr(interpreter_thread, "start_joinable_thread", None)
    _ThreadHandle = getattr(interpreter_thread, "_ThreadHandle", None)
    if _start_joinable is None or _ThreadHandle is None:
        _start_joinable, _ThreadHandle = _start_emulated, _EmulatedHandle


def reset_lock(lock: Any) -> None:
    """Make a lock or an RLock free again, whoever held it.

    For the child of a fork, where the thread that held it does not exist. Never call it while another thread may use
    the lock. Where the interpreter has no way to do that to an RLock that another thread owned, RuntimeError says so.
    """
    reinit = getattr(lock, "_at_fork_reinit", None)
    if reinit is not None:
        reinit()
    elif isinstance(lock, LockType):
        if lock.locked():
            lock.release()
    else:
        owned = getattr(lock, "_is_owned", None)
        while owned is not None and owned():
            lock.release()
        if not lock.acquire(False):
            raise RuntimeError(
                f"{lock!r} is held by a thread that no longer exists; create a new one after fork"
            )
        lock.release()


# The record that sys.unraisablehook receives. Its type has no public name, but is findable, and can be called.
_UnraisableArgs: Any = next((t for t in tuple.__subclasses__() if t.__name__ == "UnraisableHookArgs"), None)
