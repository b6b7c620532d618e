# SPDX-License-Identifier: MIT
#
# Trace and profile functions for threads to come, and for those that run.
#
# They are kept in one dictionary, read by every new thread before it runs anything of the user's. A new thread also
# takes what was given to the standard module's functions of the same names, if that is loaded and ours were not used:
# debuggers and coverage measurement know only those.

from __future__ import annotations

import sys

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from typing import Any

# By the name of the function in `sys`; only what is set.
hooks_for_threads: dict[str, Any] = {}


def _keep(name: str, func: Any) -> None:
    if func is None:
        hooks_for_threads.pop(name, None)
    else:
        hooks_for_threads[name] = func


def settrace(func: Any) -> None:
    """Have ``sys.settrace(func)`` called in every thread started from now on, before its `run()`. None ends that."""
    _keep("settrace", func)


def gettrace() -> Any:
    """What `settrace` was given last, or None."""
    return hooks_for_threads.get("settrace")


def setprofile(func: Any) -> None:
    """Have ``sys.setprofile(func)`` called in every thread started from now on, before its `run()`. None ends that."""
    _keep("setprofile", func)


def getprofile() -> Any:
    """What `setprofile` was given last, or None."""
    return hooks_for_threads.get("setprofile")


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
    for name, func in [*hooks_for_threads.items()]:
        getattr(sys, name)(func)
