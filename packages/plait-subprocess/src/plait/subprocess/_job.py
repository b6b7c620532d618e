# SPDX-License-Identifier: MIT
"""Job objects: what holds a child on Windows and all its descendants together, so that they can be ended."""

# Windows does not know the children of a process that has ended, and gives its number to others. A job knows its
# members: whoever is in it, and whatever those start, however orphaned. (Unless it was allowed to break away. We do
# not allow it.) So a child that is to be ended with its tree is started suspended, put into a job of its own, and only
# then let go: nothing can be started before it is in there.
#
# The job has KILL_ON_JOB_CLOSE: when its last handle is closed, its members are ended. The handle is ours alone. So if
# this process is ended, by whatever means, the tree goes with it. When the Job object goes in an orderly way, as after a
# run() that ended well, the limit is taken back first: background processes live on, as they do everywhere.
#
# `_winapi` has no job objects, so this is ctypes, loaded on the first start that needs it. All structures are made of
# types with the same size everywhere, or of the size of a pointer: what Microsoft calls DWORD has 32 bits.

from __future__ import annotations

import ctypes
from ctypes import c_int, c_int64, c_size_t, c_uint32, c_uint64, c_void_p

from ._windows_handle import Handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["CREATE_SUSPENDED", "Job"]

CREATE_SUSPENDED = 0x4
_BASIC_ACCOUNTING, _EXTENDED_LIMITS = 1, 9  # kinds of information about a job
_KILL_ON_JOB_CLOSE = 0x2000
_TERMINATED = 1
_NOT_RESUMED = 2**32 - 1


class _BasicLimits(ctypes.Structure):
    _fields_ = (
        ("PerProcessUserTimeLimit", c_int64),
        ("PerJobUserTimeLimit", c_int64),
        ("LimitFlags", c_uint32),
        ("MinimumWorkingSetSize", c_size_t),
        ("MaximumWorkingSetSize", c_size_t),
        ("ActiveProcessLimit", c_uint32),
        ("Affinity", c_size_t),
        ("PriorityClass", c_uint32),
        ("SchedulingClass", c_uint32),
    )


class _ExtendedLimits(ctypes.Structure):
    _fields_ = (
        ("BasicLimitInformation", _BasicLimits),
        ("IoInfo", c_uint64 * 6),
        ("ProcessMemoryLimit", c_size_t),
        ("JobMemoryLimit", c_size_t),
        ("PeakProcessMemoryUsed", c_size_t),
        ("PeakJobMemoryUsed", c_size_t),
    )


class _Accounting(ctypes.Structure):
    _fields_ = (
        ("Times", c_int64 * 4),
        ("TotalPageFaultCount", c_uint32),
        ("TotalProcesses", c_uint32),
        ("ActiveProcesses", c_uint32),
        ("TotalTerminatedProcesses", c_uint32),
    )


_SIGNATURES: dict[str, tuple[Any, ...]] = {  # result, arguments
    "CreateJobObjectW": (c_void_p, c_void_p, c_void_p),
    "SetInformationJobObject": (c_int, c_void_p, c_int, c_void_p, c_uint32),
    "QueryInformationJobObject": (c_int, c_void_p, c_int, c_void_p, c_uint32, c_void_p),
    "AssignProcessToJobObject": (c_int, c_void_p, c_void_p),
    "TerminateJobObject": (c_int, c_void_p, c_uint32),
    "ResumeThread": (c_uint32, c_void_p),
}

_loaded: dict[str, Any] = {}


def _function(name: str) -> Any:
    if not _loaded:
        library = getattr(ctypes, "WinDLL")("kernel32", use_last_error=True)  # noqa: B009 - only Windows has it
        for each, (result, *arguments) in _SIGNATURES.items():
            function = getattr(library, each)
            function.restype, function.argtypes = result, arguments
            _loaded[each] = function
    return _loaded[name]


def _failure() -> OSError:
    number = getattr(ctypes, "get_last_error")()  # noqa: B009
    return getattr(ctypes, "WinError")(number)  # type: ignore[no-any-return] # noqa: B009


class Job:
    """A new job, whose members end when this process does."""

    __slots__ = ("_handle", "leads_a_group")

    _handle: Handle | None

    def __init__(self, leads_a_group: bool) -> None:
        #: Whether the first member was started with CREATE_NEW_PROCESS_GROUP, and so can be sent CTRL_BREAK_EVENT.
        self.leads_a_group = leads_a_group
        # Made and owned in one call, so that no signal handler that raises comes in between.
        self._handle, *_ = (
            *map(Handle, filter(None, map(_function("CreateJobObjectW"), (None,), (None,)))),
            None,
        )
        if self._handle is None:
            raise _failure()
        if not self._set_limits(_KILL_ON_JOB_CLOSE):
            raise _failure()

    def _set_limits(self, flags: int) -> bool:
        limits = _ExtendedLimits()
        limits.BasicLimitInformation.LimitFlags = flags
        return bool(
            _function("SetInformationJobObject")(
                int(self._handle or 0), _EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits)
            )
        )

    def admit(self, process: int, thread: int) -> None:
        """Take in a process that was started suspended, and let its first thread go."""
        if not _function("AssignProcessToJobObject")(int(self._handle or 0), process):
            raise _failure()
        if _function("ResumeThread")(thread) == _NOT_RESUMED:
            raise _failure()

    def is_empty(self) -> bool:
        """Whether all members have ended."""
        numbers = _Accounting()
        if not _function("QueryInformationJobObject")(
            int(self._handle or 0), _BASIC_ACCOUNTING, ctypes.byref(numbers), ctypes.sizeof(numbers), None
        ):
            raise _failure()
        return not numbers.ActiveProcesses

    def end(self) -> None:
        """End all members."""
        if not _function("TerminateJobObject")(int(self._handle or 0), _TERMINATED):
            raise _failure()

    def __del__(self) -> None:
        handle = getattr(self, "_handle", None)
        if handle is not None and handle.owned:
            # Should this fail, the members end; there is nobody to tell.
            self._set_limits(0)
            handle.Close()
