# SPDX-License-Identifier: MIT
#
# Thread handles: a thread's end, to be asked for and waited for.
#
# Python 3.13 can start a thread and give back a handle that knows when the thread has ended. Older interpreters (and
# PyPy) can only start one and forget it, so `_EmulatedHandle` notices the end by three means:
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

from itertools import starmap

from ._platform import (
    allocate_lock,
    daemon_threads_allowed,
    get_ident,
    native,
    start_detached,
    weak_reference,
)
from ._report import report_unraisable

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = [
    "_ThreadHandle",
    "_make_thread_handle",
    "_shutdown",
    "_start_joinable",
    "forget_threads_of_parent",
]

# Seconds a joiner gives an ended thread to leave the interpreter (see 3 above). A guess; it has never been used up
# except by a thread-local value whose destructor blocks.
LAST_STEPS = 1.0

_set_sentinel: Callable[[], Any] | None = native("_set_sentinel")


class _EmulatedHandle:
    """What `start_joinable_thread` returns: a thread's end, to be asked for and waited for."""

    __slots__ = ("__weakref__", "_daemon", "_done", "_ident", "_joiners", "_sentinel", "_started", "_used")

    def __init__(self) -> None:
        self._daemon = True
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

    def _set_done(self) -> None:
        """Say that the thread has ended, for a handle of `_make_thread_handle`."""
        if not self._used:
            raise RuntimeError(f"{self!r} has no thread yet, which could be done")
        self._finish()

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
                try:
                    function()
                except SystemExit:
                    pass
                except BaseException as error:  # noqa: BLE001 - there is no caller to raise it to
                    report_unraisable(error, "Exception ignored in thread started by", function)
        finally:
            handle._finish()

    def __del__(self) -> None:
        handle = getattr(self, "_handle", None)  # None if a signal handler's exception ended __init__
        if handle is not None and not handle._done:
            handle._finish()


# Emulated handles of threads that exist now, also those that have not begun: a forked child is going to ask.
_unfinished: dict[int, _EmulatedHandle] = {}

# The same for threads that were started elsewhere. Nobody may ever say that they have ended, hence weakly.
_elsewhere: dict[int, weak_reference[_EmulatedHandle]] = {}


def _discard(note: weak_reference[_EmulatedHandle], _pop: Any = _elsewhere.pop) -> None:
    _pop(id(note), None)


def forget_threads_of_parent() -> None:
    """In a forked child: the end of every thread that did not come along."""
    for handle in [*_unfinished.values(), *(note() for note in [*_elsewhere.values()])]:
        if handle is not None and handle.ident != get_ident():
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
    handle._daemon = daemon
    _unfinished[id(handle)] = handle
    try:
        # One call of C code, so that an exception of a signal handler cannot come between the start and the note of it.
        handle._started += starmap(start_detached, ((_Course(function, handle), ()),))
    except BaseException:
        if not handle._started:
            _unfinished.pop(id(handle), None)
        raise
    return handle


def _make_emulated(ident: int, /) -> _EmulatedHandle:
    """A handle for a thread that runs already and was started elsewhere.

    Only `_set_done()` says that it has ended.
    """
    handle = _EmulatedHandle()
    handle._used = True
    handle._ident = ident
    note = weak_reference(handle, _discard)
    _elsewhere[id(note)] = note
    return handle


def _shutdown_emulated() -> None:
    """Wait for every thread that was started with ``daemon=False``, as the interpreter does when it ends."""
    me = get_ident()
    while handle := next((h for h in [*_unfinished.values()] if not h._daemon and h.ident != me), None):
        handle.join()


if TYPE_CHECKING:
    _ThreadHandle = _EmulatedHandle
    _make_thread_handle = _make_emulated
    _shutdown = _shutdown_emulated
    _start_joinable: Callable[..., _EmulatedHandle] = _start_emulated
else:
    _start_joinable = native("start_joinable_thread")
    _ThreadHandle = native("_ThreadHandle")
    _make_thread_handle = native("_make_thread_handle")
    _shutdown = native("_shutdown")
    if None in (_start_joinable, _ThreadHandle, _make_thread_handle, _shutdown):
        _start_joinable, _ThreadHandle = _start_emulated, _EmulatedHandle
        _make_thread_handle, _shutdown = _make_emulated, _shutdown_emulated
