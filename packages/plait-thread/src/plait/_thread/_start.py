# SPDX-License-Identifier: MIT
#
# Starting threads: one that is forgotten, and one whose end can be waited for.

from __future__ import annotations

from ._handles import _start_joinable, _ThreadHandle
from ._platform import refusal, start_detached

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def start_new_thread(
    function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any] | None = None, /
) -> int:
    """Call ``function(*args, **kwargs)`` in a new thread and return the identifier of that thread.

    Nobody can wait for its end. An exception in it, other than SystemExit, is given to `sys.unraisablehook`.

    Raises RuntimeError if no thread can be started.

    Differs from the standard one: the error is chained to the OSError that it stands for, and says what to do.
    """
    try:
        return start_detached(function, args) if kwargs is None else start_detached(function, args, kwargs)
    except RuntimeError as error:
        failure = error
    if (answer := refusal(failure)) is failure:
        raise failure
    raise answer


def start_joinable_thread(
    function: Callable[[], object], handle: _ThreadHandle | None = None, daemon: bool = True
) -> _ThreadHandle:
    """Run ``function()`` in a new thread and return a handle on that thread.

    The handle has `ident`, `is_done()` and `join(timeout=None)`. `join` blocks until the thread has ended or *timeout*
    seconds have passed (ask `is_done()` which), can be called by any number of threads, any number of times, and raises
    RuntimeError in the thread itself. In a forked child the threads that did not come along are done. An exception in
    the thread, other than SystemExit, is given to `sys.unraisablehook`.

    Pass an unused ``_ThreadHandle()`` as *handle* to have it before the thread runs. Threads started with
    ``daemon=False`` are waited for by `_shutdown()`, which the interpreter calls at exit only if it has that feature
    and the standard `threading` is loaded.

    Raises RuntimeError if no thread can be started, chained to the OSError that it stands for; the handle is then
    used up.

    Differs from the standard one (3.13): exists on every Python; the error says what to do.
    """
    if not callable(function):
        raise TypeError(f"thread function must be callable, not {type(function).__name__}")
    try:
        return _start_joinable(function, handle=handle, daemon=daemon)
    except RuntimeError as error:
        failure = error
    if (answer := refusal(failure)) is failure:
        raise failure
    raise answer
