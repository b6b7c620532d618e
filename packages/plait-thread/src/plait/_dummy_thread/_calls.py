# SPDX-License-Identifier: MIT
#
# Starting "threads" that are calls, and what else can be asked of the one thread there is.
#
# Rules
#   - A function runs in its caller, to its end. How deep such calls are nested is counted: interrupt_main() inside one
#     means the caller of the outermost, and waits until that is reached again.
#   - What ends a function is reported where a thread's end would be, on stderr, and goes no further: the caller is, as
#     far as it knows, another thread. KeyboardInterrupt is not the function's but the user's, and goes on.

from __future__ import annotations

import os

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._locks import LockType

__all__ = [
    "_NAME_MAXLEN",
    "_ThreadHandle",
    "_count",
    "_get_name",
    "_is_main_interpreter",
    "_make_thread_handle",
    "_set_sentinel",
    "_shutdown",
    "can_start_threads",
    "daemon_threads_allowed",
    "error",
    "exit",
    "get_ident",
    "get_native_id",
    "interrupt_main",
    "main_thread_ident",
    "set_name",
    "stack_size",
    "start_joinable_thread",
    "start_new_thread",
]

error = RuntimeError

SIGINT = 2  # everywhere; importing `signal` for it would cost more than all of this

_NAME_MAXLEN = 15  # what Linux would keep of a thread's name

_name = ""
_depth = 0
_interrupts: list[int] = []  # asked for in a "thread", to be delivered outside of it


def start_new_thread(
    function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any] | None = None
) -> int:
    """Call ``function(*args, **kwargs)``, now and here, and return the identifier of the only thread.

    SystemExit of *function* is ignored, another exception is printed, with its traceback. KeyboardInterrupt is raised if
    *function* called `interrupt_main()`, or if the user pressed Ctrl-C.
    """
    if not isinstance(args, tuple):
        raise TypeError("2nd arg must be a tuple")
    if kwargs is not None and not isinstance(kwargs, dict):
        raise TypeError("3rd arg must be a dict")
    global _depth
    _depth += 1
    try:
        function(*args, **(kwargs or {}))
    except SystemExit:
        pass
    except Exception:  # noqa: BLE001 - told, as a thread's end would be
        import traceback

        traceback.print_exc()
    finally:
        _depth -= 1
    while _interrupts and not _depth:
        _interrupt(_interrupts.pop(0))
    return get_ident()


class _ThreadHandle:
    """The end of a call: reached when `start_joinable_thread` returns."""

    __slots__ = ("__weakref__", "_done", "ident")

    def __init__(self) -> None:
        self.ident = 0
        self._done = False

    def __repr__(self) -> str:
        return f"<thread handle: ident={self.ident}{' done' if self._done else ''}>"

    def is_done(self) -> bool:
        """Whether the function has ended."""
        return self._done

    def join(self, timeout: float | None = None) -> None:  # noqa: ARG002
        """Return at once; RuntimeError inside the very call, or if there was none."""
        if not self.ident:
            raise RuntimeError(
                f"{self!r} has no thread yet; start one with start_joinable_thread(..., handle)"
            )
        if not self._done:
            raise RuntimeError("Cannot join current thread: it would wait for itself")

    def _set_done(self) -> None:
        """Say that the thread has ended, for a handle of `_make_thread_handle`."""
        if not self.ident:
            raise RuntimeError(f"{self!r} has no thread yet, which could be done")
        self._done = True


def _make_thread_handle(ident: int, /) -> _ThreadHandle:
    """A handle for a "thread" that was started otherwise. `_set_done()` says that it has ended."""
    handle = _ThreadHandle()
    handle.ident = ident
    return handle


def _shutdown() -> None:
    """Return: what was started has ended, or is a caller of this."""


def start_joinable_thread(
    function: Callable[[], object],
    handle: _ThreadHandle | None = None,
    daemon: bool = True,  # noqa: ARG001 - there is nothing left to wait for at exit
) -> _ThreadHandle:
    """Call ``function()``, now and here, and return a handle that is done."""
    if not callable(function):
        raise TypeError(f"thread function must be callable, not {type(function).__name__}")
    if handle is None:
        handle = _ThreadHandle()
    elif handle.ident:
        raise RuntimeError("thread already started: a handle serves one thread")
    handle.ident = get_ident()
    try:
        start_new_thread(function, ())
    finally:
        handle._done = True
    return handle


def exit() -> None:  # noqa: A001 - the standard module's name
    """End the "thread", by raising SystemExit."""
    raise SystemExit


def interrupt_main(signum: int = SIGINT, /) -> None:
    """Raise KeyboardInterrupt in the main thread: here and now, or when the outermost `start_new_thread` is at its end.

    For another signal than that of Ctrl-C its handler is called, if Python has one.
    """
    if _depth:
        _interrupts.append(signum)
    else:
        _interrupt(signum)


def _interrupt(signum: int) -> None:
    if signum == SIGINT:
        raise KeyboardInterrupt
    import signal

    if callable(signal.getsignal(signum)):
        signal.raise_signal(signum)


def get_ident() -> int:
    """The identifier of the only thread: 1."""
    return 1


def get_native_id() -> int:
    """What the system calls the only thread, as far as it can be known: the process's number."""
    return os.getpid()


def main_thread_ident() -> int:
    """The identifier of the only thread, which is the main one."""
    return get_ident()


def set_name(name: str) -> None:
    """Remember a name for the only thread, for `_get_name()`. The system is not told: its thread is the process."""
    if not isinstance(name, str):
        raise TypeError(f"set_name() needs a str, not {type(name).__name__}")
    global _name
    kept = name.partition("\0")[0].encode("utf-8", "replace")[:_NAME_MAXLEN]
    _name = kept.decode("utf-8", "ignore")


def _get_name() -> str:
    """What `set_name()` was given last, as far as a thread's name goes."""
    return _name


def stack_size(size: int | None = None) -> int:
    """0, for the stack is whatever the caller's is. RuntimeError for any other *size*."""
    if size is not None and size != 0:
        raise error("setting thread stack size not supported")
    return 0


def daemon_threads_allowed() -> bool:
    """True: nothing ever has to be waited for."""
    return True


def can_start_threads() -> bool:
    """False: what is started here runs in its caller."""
    return False


def _is_main_interpreter() -> bool:
    """True: what holds for one thread holds in whatever interpreter it is in."""
    return True


def _count() -> int:
    """How many threads were started and have not ended: as many as calls are nested."""
    return _depth


def _set_sentinel() -> LockType:
    """A new lock. It is never released by the end of a thread, for there is none."""
    from ._locks import LockType

    return LockType()
