# SPDX-License-Identifier: MIT
# What we know of clocks.
#
#   steady    time.monotonic, time.perf_counter. On Linux they stand still while the machine is suspended.
#   boottime  like monotonic, and goes on during suspend, where the system has such a clock (Linux; elsewhere monotonic
#             itself may do so).
#   wall      time.time. It jumps when somebody sets it, and after suspend.
#
# Whoever sleeps on the steady clock until an event of another clock is due may sleep too long. On Linux, from Python
# 3.13 on, `os.timerfd_create` gives timers of each clock, and one that is cancelled, which means made readable, when the
# wall clock is set or the machine resumes (TFD_TIMER_CANCEL_ON_SET). Elsewhere one looks again every so often.

from __future__ import annotations

import os
import time
from time import monotonic, perf_counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = [
    "LOOK_AGAIN",
    "boottime",
    "can_be_told_of_jumps",
    "does_not_go_back",
    "is_real",
    "may_jump",
    "tells_a_time",
]

_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)

#: Seconds after which a sleeper looks at a clock again that it cannot be told of. A guess: for what is due at a time of
#: day a second is little, and waking once a second costs next to nothing.
LOOK_AGAIN = 1.0

can_be_told_of_jumps = hasattr(os, "timerfd_create") and hasattr(os, "eventfd") and _BOOTTIME is not None


def boottime() -> float:
    """Seconds since some moment in the past, those included that the machine was suspended. Never goes back.

    For `scheduler(timefunc=boottime)`: an event an hour from now is then due an hour from now although the machine
    slept in between. Where the system has no such clock (CLOCK_BOOTTIME; all but Linux), this is `time.monotonic`.
    """
    return monotonic() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)


def does_not_go_back(timefunc: Callable[[], Any]) -> bool:
    """Need it not be asked again while its last answer was late enough?"""
    return timefunc is monotonic or timefunc is boottime or timefunc is perf_counter


def may_jump(timefunc: Callable[[], Any]) -> bool:
    """Does it advance while a sleeper on the monotonic clock does not notice?"""
    return timefunc is time.time or timefunc is boottime


def is_real(timefunc: Callable[[], Any]) -> bool:
    """Is it known to be a clock that moves by itself, in seconds, whatever anybody calls?"""
    return does_not_go_back(timefunc) or timefunc is time.time


def tells_a_time(now: Any) -> bool:
    """Can times be counted from there? Not from infinity, nor from what is not a number."""
    try:
        nothing = now - now
        return bool(nothing == nothing)
    except ArithmeticError:  # of Decimals
        return False
