# SPDX-License-Identifier: MIT
#
# What has to be done on the way out of a call that an exception ends, although another one strikes there.
#
# Several signals can be pending at once: if a process was stopped, SIGINT and SIGTERM arrive together when it goes on.
# The handler of the second then runs at the next place where the interpreter looks (_waiting.py), and that is the first
# call that whoever has caught the exception of the first would make.
#
# A duty is a call that is right to repeat, however far it has come: it finds what has been moved already, and
# `_settle_` may begin anew at any time.
#
#   - `surely` begins it again whenever an exception has ended it. Once it has been entered, strikes end nothing.
#   - What can be struck is the way into it. So it stands in a `try`, and who is struck there leaves the duty to another
#     thread, for handlers run in the main thread only:
#
#         except BaseException:
#             try:
#                 self._abandon_(waiter)
#             except BaseException:
#                 OVERDUE[:0] = ((self._locked_, (self._abandon_now_, waiter)),)
#                 try:
#                     for _ in elsewhere:
#                         break
#                 except RuntimeError:
#                     pass  # no thread can be started
#             raise
#
#     Behind that inner `except` is neither a Python function called nor a jump back made: the assignment is no call, and a
#     step of `elsewhere` is C code that starts a thread. What is in OVERDUE is done by whichever of these threads comes
#     first, and struck off when it is done.
#   - If no thread can be started, or the process was forked before it came to it, it is done by the next call that takes
#     one of the long ways into the same queue (`catch_up`), or in the child before `os.fork` returns. Not by calls of other
#     queues: who holds the mutex of one must not wait for that of another. (Only the place of a `Watcher` in its lines is
#     nobody's in particular; left there it harms nobody.)
#   - 3.10 looks for signals at the head of an `except`, too, but not of a `finally` that begins with `try`. So calls
#     that wait, which is where two signals find us together, say it like that:
#
#         finally:
#             try:
#                 if not settled:
#                     self._abandon_(waiter)
#             except BaseException:
#                 if not settled:
#                     waiter.gone = True  # until then it is handed nothing
#                     OVERDUE[:0] = ((self._locked_, (self._abandon_now_, waiter)),)
#                     try:
#                         for _ in elsewhere:
#                             break
#                     except RuntimeError:
#                         pass
#                 raise
#
#     So begins each `finally` that sets a mutex free, too: what was `finally: if held: release` is
#
#         finally:
#             try:
#                 if held:
#                     self._lock_.release()
#             finally:
#                 pass
#
# Nothing can be done about a strike at the head of a public method, when nothing has happened yet, or behind its end. On
# 3.10, more than two at one moment can get past.

from __future__ import annotations

from itertools import repeat, starmap

from .._thread import report_unraisable
from ._platform import start_new_thread, struck_by_handler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["OVERDUE", "catch_up", "elsewhere", "surely"]

OVERDUE: list[tuple[Callable[..., object], tuple[Any, ...]]] = []  # duties for another thread

# Where the stack or the memory is used up, to begin again for ever would be a hang.
_SEVERAL = range(10)


def surely(duty: Callable[..., object], *args: Any) -> None:
    """Call it, and again if the exception of a signal handler cuts it short, until it returns.

    An exception that comes again and again is not a signal's.
    """
    done: list[object] = []
    for _ in _SEVERAL:
        try:
            for _ in _SEVERAL:
                try:
                    done += starmap(duty, (args,))
                    if done:
                        return
                    # Otherwise it was a StopIteration that has cut it short.
                except BaseException:  # noqa: BLE001 - the exception that is on its way out does for both
                    if done:
                        return
                    continue
        except BaseException:  # noqa: BLE001
            if done:
                return
            continue
    duty(*args)


def catch_up(owner: object) -> None:
    """Do what is overdue at *owner*, as far as no thread has come to it.

    If the exception of a signal handler ends this, what it struck remains overdue.
    """
    for duty in tuple(reversed(OVERDUE)):
        if getattr(duty[0], "__self__", None) is owner:
            _do(duty)


def _do_all() -> None:
    """For a thread that `elsewhere` has started."""
    while True:
        try:
            duty = OVERDUE[-1]
        except IndexError:
            return
        _do(duty)


def _do(duty: tuple[Callable[..., object], tuple[Any, ...]]) -> None:
    call, args = duty
    try:
        call(*args)
    except Exception as problem:
        if struck_by_handler(problem):
            raise
        # Whom it could be told has gone on with another exception long ago.
        report_unraisable(problem, "Exception in what an interrupted call had left to do", call)
    while any(other is duty for other in tuple(OVERDUE)):
        for place in range(len(OVERDUE)):
            # One piece from the look to the deletion: others may come in, or go, at any other time.
            for found in OVERDUE[place : place + 1]:
                if found is duty:
                    del OVERDUE[place]


# A step starts a thread that does what is overdue.
elsewhere: Iterator[Any] = starmap(start_new_thread, repeat((_do_all, ())))
