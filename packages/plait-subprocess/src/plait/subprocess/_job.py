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
# `_winapi` has no job objects, so this is ctypes, loaded on the first start that needs it and not sooner: some versions
# of it import `threading`. Structures are packed by hand, therefore. DWORD is I, LARGE_INTEGER is q, SIZE_T and ULONG_PTR
# are N, and "@" aligns as the compiler does.

from __future__ import annotations

from struct import calcsize, pack, unpack_from

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

# JOBOBJECT_EXTENDED_LIMIT_INFORMATION: times, flags, sizes of the working set, number of processes, affinity, priority
# and scheduling; then six counters and four amounts of memory. All is 0 here except the flags.
_LIMITS = "@qqINNINII6QNNNN"
_LIMITS_BEFORE_FLAGS = 2
# JOBOBJECT_BASIC_ACCOUNTING_INFORMATION: four times, then numbers of page faults, processes, active ones, ended ones.
_ACCOUNTING = "@4q4I"
_ACTIVE = 6

_loaded: dict[str, Any] = {}


def _load() -> None:
    import ctypes

    handle, number, size, pointer = ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p
    library = getattr(ctypes, "WinDLL")("kernel32", use_last_error=True)  # noqa: B009 - only Windows has it
    for name, result, *arguments in (
        ("CreateJobObjectW", handle, pointer, pointer),
        ("SetInformationJobObject", number, handle, number, pointer, size),
        ("QueryInformationJobObject", number, handle, number, pointer, size, pointer),
        ("AssignProcessToJobObject", number, handle, handle),
        ("TerminateJobObject", number, handle, size),
        ("ResumeThread", size, handle),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
        _loaded[name] = function


def _function(name: str) -> Any:
    if name not in _loaded:
        _load()
    return _loaded[name]


def _failure() -> OSError:
    import ctypes

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
        zeros = len(unpack_from(_LIMITS, bytes(calcsize(_LIMITS)))) - _LIMITS_BEFORE_FLAGS - 1
        limits = pack(_LIMITS, *[0] * _LIMITS_BEFORE_FLAGS, flags, *[0] * zeros)
        return bool(
            _function("SetInformationJobObject")(
                int(self._handle or 0), _EXTENDED_LIMITS, limits, len(limits)
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
        import ctypes

        numbers = ctypes.create_string_buffer(calcsize(_ACCOUNTING))
        if not _function("QueryInformationJobObject")(
            int(self._handle or 0), _BASIC_ACCOUNTING, numbers, len(numbers), None
        ):
            raise _failure()
        return not unpack_from(_ACCOUNTING, numbers)[_ACTIVE]

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
