# SPDX-License-Identifier: MIT
#
# Where the program is: where a thread takes a lock or asks for one, and, for a report, where every thread is now.
#
# A place is noted whenever a lock is taken while somebody watches. So it is a plain tuple, cheap to make and to compare,
# and becomes a `StackSummary` only when somebody wants to see it.

from __future__ import annotations

import gc
import os
import sys
from operator import methodcaller
from traceback import StackSummary

from ..._thread import report_unraisable
from .. import _named

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    Site = tuple[tuple[str, int, str], ...]

__all__ = ["current_frames", "stack", "walk"]

_DEPTH = 30  # frames of a stack that are kept; more than enough to know the place by

# Where the code of threads and locks lies. At both ends of a stack it says nothing about the program.
_OURS = tuple(
    os.path.dirname(code.co_filename) + os.sep for code in (_named.watch.__code__, report_unraisable.__code__)
)


def walk(start: FrameType | None) -> Site:
    """Where the user's code is, innermost first; nowhere, if there is but ours: a thread whose target is a lock's method."""
    frame = start
    while frame is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    found: list[tuple[str, int, str]] = []
    while frame is not None and len(found) < _DEPTH:
        found.append((frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_name))
        frame = frame.f_back
    while found and found[-1][0].startswith(_OURS):
        del found[-1]
    return tuple(found)


def stack(site: Site) -> StackSummary:
    return StackSummary.from_list([(file, line, name, None) for file, line, name in reversed(site)])


_call = methodcaller("__call__")


def current_frames() -> dict[int, Any]:
    """What every thread is at.

    Garbage must not be collected meanwhile: 3.11 (seen on 3.11.7) makes frames for it while it holds a lock that the
    destruction of a thread-local takes, too. So that is switched off in the same step of C code.
    """
    collects = gc.isenabled()
    try:
        frames: dict[int, Any] = [*map(_call, (gc.disable, sys._current_frames))][1]
    finally:
        if collects:
            gc.enable()
    return frames
