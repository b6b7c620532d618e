# SPDX-License-Identifier: MIT
#
# Starting a thread whose end can be waited for.

from __future__ import annotations

from ._platform import _start_joinable, _ThreadHandle, refusal

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable


def start_joinable_thread(
    function: Callable[[], object], handle: _ThreadHandle | None = None, daemon: bool = True
) -> _ThreadHandle:
    """Run ``function()`` in a new thread and return a handle on that thread.

    The handle has `ident`, `is_done()` and `join(timeout=None)`. `join` blocks until the thread has ended or *timeout*
    seconds have passed (ask `is_done()` which), can be called by any number of threads, any number of times, and raises
    RuntimeError in the thread itself. In a forked child the threads that did not come along are done.

    Pass an unused ``_ThreadHandle()`` as *handle* to have it before the thread runs. With ``daemon=False`` the
    interpreter itself joins the thread at exit, but only if it has that feature and the standard `threading` is loaded.

    Raises RuntimeError if no thread can be started, chained to the OSError that it stands for; the handle is then
    used up.

    Differs from the standard one (3.13): exists on every Python; the error says what to do.
    """
    if not callable(function):
        raise TypeError(f"thread function must be callable, not {type(function).__name__}")
    try:
        return _start_joinable(function, handle=handle, daemon=daemon)
    except RuntimeError as error:
        if "already started" in str(error) or "disabled" in str(error):
            raise
        failure = error
    raise refusal(failure)
