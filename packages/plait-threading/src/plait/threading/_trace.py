# SPDX-License-Identifier: MIT
#
# Trace and profile functions for threads to come, and for those that run.
#
# They are kept in two lists of one, read by every new thread before it runs anything of the user's. A new thread also
# takes what was given to the standard module's functions of the same names, if that is loaded and ours were not used:
# debuggers and coverage measurement know only those.

from __future__ import annotations

import sys

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from typing import Any

_trace: list[Any] = [None]
_profile: list[Any] = [None]


def settrace(func: Any) -> None:
    """Have ``sys.settrace(func)`` called in every thread started from now on, before its `run()`. None ends that."""
    _trace[0] = func


def gettrace() -> Any:
    """What `settrace` was given last, or None."""
    return _trace[0]


def setprofile(func: Any) -> None:
    """Have ``sys.setprofile(func)`` called in every thread started from now on, before its `run()`. None ends that."""
    _profile[0] = func


def getprofile() -> Any:
    """What `setprofile` was given last, or None."""
    return _profile[0]


def settrace_all_threads(func: Any) -> None:
    """`settrace` for threads to come and for all that run Python code now.

    Interpreters before 3.12 (and PyPy) cannot change what other running threads do: there, of those, only the calling
    thread is traced.
    """
    settrace(func)
    getattr(sys, "_settraceallthreads", sys.settrace)(func)


def setprofile_all_threads(func: Any) -> None:
    """`setprofile` for threads to come and for all that run Python code now.

    Interpreters before 3.12 (and PyPy) cannot change what other running threads do: there, of those, only the calling
    thread is profiled.
    """
    setprofile(func)
    getattr(sys, "_setprofileallthreads", sys.setprofile)(func)


def install() -> None:
    """In a new thread: what it is to be traced and profiled by."""
    if _trace[0] is not None:
        sys.settrace(_trace[0])
    if _profile[0] is not None:
        sys.setprofile(_profile[0])
