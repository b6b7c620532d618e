# SPDX-License-Identifier: MIT
#
# Thread handles: a thread's end, to be asked for and waited for.
#
# Python 3.13 can start a thread and give back a handle that knows when the thread has ended. For older interpreters
# (and PyPy), which can only start one and forget it, there is `_EmulatedHandle`: the 3.13 interface of a `Lifetime`, where
# all the waiting is.

from __future__ import annotations

from ._lifetime import Course, Lifetime, begin_anew
from ._platform import _local, daemon_threads_allowed, get_ident, identity_reference, native
from ._report import report_unraisable

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["_ThreadHandle", "_make_thread_handle", "_shutdown", "_start_joinable", "forget_threads_of_parent"]


class _EmulatedHandle:
    """What `start_joinable_thread` returns: a thread's end, to be asked for and waited for."""

    __slots__ = ("__weakref__", "_daemon", "_lifetime", "_ticket")

    def __init__(self) -> None:
        self._daemon = True
        self._ticket: list[None] = [None]  # whoever takes it may start a thread: one, once
        self._lifetime = Lifetime()

    @property
    def _used(self) -> bool:
        return not self._ticket and hasattr(self._lifetime, "gate")  # which it has when all can be asked

    def __repr__(self) -> str:
        return f"<thread handle: ident={self.ident}{' done' if self.is_done() else ''}>"

    @property
    def ident(self) -> int:
        return (self._used and (self._lifetime.started_as() or self._lifetime.ident)) or 0

    def is_done(self) -> bool:
        return self._used and self._lifetime.is_over()

    def join(self, timeout: float | None = None) -> None:
        if not self._used:
            raise RuntimeError(
                f"{self!r} has no thread yet; start one with start_joinable_thread(..., handle)"
            )
        if self._lifetime.ident == get_ident() and not self._lifetime.is_over():
            raise RuntimeError("Cannot join current thread: it would wait for itself")
        # A negative timeout is none, as the interpreter's own handle has it.
        self._lifetime.wait(-1 if timeout is None or timeout < 0 else timeout)

    def _set_done(self) -> None:
        """Say that the thread has ended, for a handle of `_make_thread_handle`."""
        if not self._used:
            raise RuntimeError(f"{self!r} has no thread yet, which could be done")
        self._lifetime.finish()


class _Work(Course):
    """What runs in a thread that `start_joinable_thread` started."""

    __slots__ = ("function", "handle")
    here = _local()

    def __init__(self, function: Callable[[], object], handle: _EmulatedHandle) -> None:
        self.function: Callable[[], object] | None = function
        self.handle = handle

    def __call__(self) -> None:
        try:
            self.arrive()
            self.begin()
            function, self.function = self.function, None
            if function is not None:
                try:
                    function()
                except SystemExit:
                    pass
                except BaseException as error:  # noqa: BLE001 - there is no caller to raise it to
                    report_unraisable(error, "Exception ignored in thread started by", function)
        finally:
            _unfinished.pop(id(self.handle), None)
            self.depart()


# Emulated handles of threads that exist now, also those that have not begun.
_unfinished: dict[int, _EmulatedHandle] = {}

# The same for threads that were started elsewhere. Nobody may ever say that they have ended, hence weakly.
_elsewhere: dict[identity_reference, None] = {}


def forget_threads_of_parent() -> None:
    """In a forked child: the end of every thread that did not come along."""
    begin_anew()
    me = get_ident()
    for handle in [*_unfinished.values(), *(note() for note in [*_elsewhere])]:
        if handle is None:
            continue
        if handle.ident == me:
            handle._lifetime.came_along()
        else:
            _unfinished.pop(id(handle), None)


def _start_emulated(
    function: Callable[[], object], handle: _EmulatedHandle | None = None, daemon: bool = True
) -> _EmulatedHandle:
    if handle is None:
        handle = _EmulatedHandle()
    elif not isinstance(handle, _EmulatedHandle):
        raise TypeError(f"'handle' must be a _ThreadHandle, not {type(handle).__name__}")
    if daemon and not daemon_threads_allowed():
        raise RuntimeError("daemon threads are disabled in this interpreter; pass daemon=False")
    try:
        handle._ticket.pop()
    except IndexError:
        raise RuntimeError("thread already started: a handle serves one thread") from None
    handle._daemon = daemon
    _unfinished[id(handle)] = handle
    try:
        handle._lifetime.launch(_Work(function, handle))
    except BaseException:
        if handle._lifetime.started_as() is None:
            _unfinished.pop(id(handle), None)
        raise
    return handle


def _make_emulated(ident: int, /) -> _EmulatedHandle:
    """A handle for a thread that runs already and was started elsewhere.

    Only `_set_done()` says that it has ended.
    """
    if not isinstance(ident, int):
        raise TypeError(f"ident must be an integer, as get_ident() returns, not {ident!r}")
    handle = _EmulatedHandle()
    handle._lifetime.observe(ident)
    handle._ticket.clear()
    _elsewhere[identity_reference(handle, _elsewhere.pop)] = None
    return handle


def _shutdown_emulated() -> None:
    """Wait for every thread that was started with ``daemon=False``, as the interpreter does when it ends."""
    me = get_ident()
    while handle := next((h for h in [*_unfinished.values()] if not h._daemon and h.ident != me), None):
        handle.join()
        _unfinished.pop(id(handle), None)  # itself it may not have been able to


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
