# SPDX-License-Identifier: MIT
#
# Trace and profile functions for "threads" to come, and for the thread there is. They are not those of `threading`: who
# traces calls that play threads does not ask for the program's threads to be traced.

from __future__ import annotations

import sys

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from typing import Any

_trace: Any = None
_profile: Any = None


def settrace(func: Any) -> None:
    """Have `sys.settrace(func)` called for every thread started from now on, while it runs."""
    global _trace
    _trace = func


def gettrace() -> Any:
    """What `settrace` was given last, or None."""
    return _trace


def setprofile(func: Any) -> None:
    """Have `sys.setprofile(func)` called for every thread started from now on, while it runs."""
    global _profile
    _profile = func


def getprofile() -> Any:
    """What `setprofile` was given last, or None."""
    return _profile


def settrace_all_threads(func: Any) -> None:
    """`settrace` for threads to come and for the one there is."""
    settrace(func)
    sys.settrace(func)


def setprofile_all_threads(func: Any) -> None:
    """`setprofile` for threads to come and for the one there is."""
    setprofile(func)
    sys.setprofile(func)
