# SPDX-License-Identifier: MIT
#
# What has to be done on the way out of a call that an exception ends, although another one strikes there.
#
# Several signals can be pending at once: if a process was stopped, SIGINT and SIGTERM arrive together when it goes on.
# The handler of the second then runs at the next place where the interpreter looks (_waiting.py), and that is the first
# call that whoever has caught the exception of the first would make.
#
# A duty is a call that is right to repeat, however far it has come: it finds what has been moved already, and
# `_settle` may begin anew at any time.
#
#   - `surely` begins it again whenever an exception has ended it. Once it has been entered, strikes end nothing.
#   - What can be struck is the way into it. So it stands in a `try`, and who is struck there leaves the duty to another
#     thread, for handlers run in the main thread only:
#
#         except BaseException:
#             try:
#                 self._abandon(waiter)
#             except BaseException:
#                 OVERDUE[:0] = ((self._abandon, (waiter,)),)
#                 for _ in elsewhere:
#                     break
#             raise
#
#     Behind that inner `except` is neither a Python function called nor a jump back made: the assignment is no call, and a
#     step of `elsewhere` is C code that starts a thread. What is in OVERDUE is done by whichever of these threads comes
#     first; if none can be started, by the next that can.
#   - 3.10 looks for signals at the head of an `except`, too, but not of a `finally` that begins with `try`. So calls
#     that wait, which is where two signals find us together, say it like that:
#
#         finally:
#             try:
#                 if not settled:
#                     self._abandon(waiter)
#             except BaseException:
#                 if not settled:
#                     waiter.gone = True  # until then it is handed nothing
#                     OVERDUE[:0] = ((self._abandon, (waiter,)),)
#                     for _ in elsewhere:
#                         break
#                 raise
#
# Nothing can be done about a strike at the head of a public method, when nothing has happened yet, or behind its end. On
# 3.10, more than two at one moment can get past.

from __future__ import annotations

from itertools import repeat, starmap

from ._platform import start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["OVERDUE", "elsewhere", "surely"]

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
                    return
                except BaseException:  # noqa: BLE001 - the exception that is on its way out does for both
                    if done:
                        return
                    continue
        except BaseException:  # noqa: BLE001
            if done:
                return
            continue
    duty(*args)


def _catch_up() -> None:
    while OVERDUE:
        try:
            duty, args = OVERDUE.pop()
        except IndexError:  # another of these threads was quicker
            return
        duty(*args)


# A step starts a thread that does what is overdue.
elsewhere: Iterator[Any] = starmap(start_new_thread, repeat((_catch_up, ())))
