# SPDX-License-Identifier: MIT
#
# What has to be done although a signal handler raises an exception, and another one, and another.
#
# Where they strike
#   A handler runs when the interpreter next looks for signals: after a call of C code, at the start of a function, at the
#   jump back of a loop; on 3.10 also at the first instruction of an `except`, on PyPy anywhere. Several can be pending: if
#   a process was stopped, SIGINT and SIGTERM arrive together when it goes on. Then the second strikes at the next place
#   where signals are looked for, which is where the exception of the first has just been caught.
#
# How a duty is done in spite of that
#   - It is written such that to begin it again is right, however far it has come: every step of it is one operation of C
#     code that moves something from one place to another, or finds that it has been moved already.
#   - `surely` begins it again whenever an exception has ended it.
#   - An exception can strike outside of its `try`: when it is entered, and where its loops jump back (which they do when
#     one has just been caught). Then another thread has to do it: handlers run in the main thread only.
#
#         settled = False
#         try:
#             ...
#             settled = True
#         finally:
#             try:
#                 if not settled:
#                     surely(self._leave, claim)
#             except BaseException:
#                 if settled:
#                     raise
#                 elsewhere[self._leave] = (claim,)
#
#     To store that item is to start the thread: its `__setitem__` is the C function that does. Neither there nor on the
#     way there is a call or a jump back, so that no signal is looked for. (On 3.10 one is, at the first instruction of an
#     `except`, but not of a `finally` that begins with `try`. So two exceptions at the same moment can do nothing there;
#     of more, one may get past. And on 3.10 one can strike in this `try` although all is settled: at the jump of its `if`.
#     It is raised, and what has been had is given back before.)
#
# What they raise
#   may be of a kind that is caught here for another reason: the ValueError of a `remove`, the RuntimeError of a lock that
#   has been released already. So who catches one of those asks `raised_here`, and lets a handler's go, as any other.
#
# What nothing can be done about: exceptions at the first instruction of a public method, when nothing has happened yet, and
# after it has returned.

from __future__ import annotations

from .._thread import allocate_lock
from ._platform import start_new_thread

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["SEVERAL", "elsewhere", "raised_here", "surely"]


class _Elsewhere:
    """``elsewhere[function] = args`` starts a thread that calls it."""

    __slots__ = ()
    if TYPE_CHECKING:

        def __setitem__(self, function: Callable[..., object], args: tuple[Any, ...]) -> None: ...
    else:
        __setitem__ = staticmethod(start_new_thread)


elsewhere = _Elsewhere()

# Where the stack or the memory is used up, to begin again for ever would be a hang.
SEVERAL = range(30)

# Locks may be written in Python: where there are no threads, or something has replaced them (as gevent does).
_LOCKS_ARE_IN_C = not any(hasattr(allocate_lock().release, name) for name in ("__func__", "__code__"))


def raised_here(error: BaseException) -> bool:
    """Whether the C function that was called in the `try` has raised it, and not a signal handler that struck there: that
    has a frame."""
    trace = error.__traceback__
    return trace is None or trace.tb_next is None or not _LOCKS_ARE_IN_C


def surely(duty: Callable[..., object], *args: Any) -> None:
    """Call it until it returns, whatever exceptions of signal handlers strike."""
    for _ in SEVERAL:
        try:
            for _ in SEVERAL:
                try:
                    duty(*args)
                    return
                except BaseException:  # noqa: BLE001, S112 - a handler's; the first one does for all
                    continue
        except BaseException:  # noqa: BLE001, S112
            continue
    duty(*args)
