# SPDX-License-Identifier: MIT
"""The names that only Windows has: constants, and how a window is to come up."""

# All numbers are those that Microsoft documents for CreateProcess, STARTUPINFO and GetStdHandle. They are written
# down here rather than taken from the interpreter, which has had them one by one over the years.

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = [
    "ABOVE_NORMAL_PRIORITY_CLASS",
    "BELOW_NORMAL_PRIORITY_CLASS",
    "CREATE_BREAKAWAY_FROM_JOB",
    "CREATE_DEFAULT_ERROR_MODE",
    "CREATE_NEW_CONSOLE",
    "CREATE_NEW_PROCESS_GROUP",
    "CREATE_NO_WINDOW",
    "DETACHED_PROCESS",
    "HIGH_PRIORITY_CLASS",
    "IDLE_PRIORITY_CLASS",
    "NORMAL_PRIORITY_CLASS",
    "REALTIME_PRIORITY_CLASS",
    "STARTF_FORCEOFFFEEDBACK",
    "STARTF_FORCEONFEEDBACK",
    "STARTF_USESHOWWINDOW",
    "STARTF_USESTDHANDLES",
    "STARTUPINFO",
    "STD_ERROR_HANDLE",
    "STD_INPUT_HANDLE",
    "STD_OUTPUT_HANDLE",
    "SW_HIDE",
]

# For creationflags.
DETACHED_PROCESS = 0x8
CREATE_NEW_CONSOLE = 0x10
NORMAL_PRIORITY_CLASS = 0x20
IDLE_PRIORITY_CLASS = 0x40
HIGH_PRIORITY_CLASS = 0x80
REALTIME_PRIORITY_CLASS = 0x100
CREATE_NEW_PROCESS_GROUP = 0x200
BELOW_NORMAL_PRIORITY_CLASS = 0x4000
ABOVE_NORMAL_PRIORITY_CLASS = 0x8000
CREATE_BREAKAWAY_FROM_JOB = 0x100_0000
CREATE_DEFAULT_ERROR_MODE = 0x400_0000
CREATE_NO_WINDOW = 0x800_0000

# For STARTUPINFO.
STARTF_USESHOWWINDOW = 0x1
STARTF_FORCEONFEEDBACK = 0x40
STARTF_FORCEOFFFEEDBACK = 0x80
STARTF_USESTDHANDLES = 0x100
SW_HIDE = 0

# For GetStdHandle, where -10, -11 and -12 are written as what they are in 32 bits.
STD_INPUT_HANDLE = 2**32 - 10
STD_OUTPUT_HANDLE = 2**32 - 11
STD_ERROR_HANDLE = 2**32 - 12


class STARTUPINFO:
    """How the window of a child is to come up, and which handles it gets: the *startupinfo* of `Popen`.

    `dwFlags` is made of `STARTF_USESTDHANDLES` (then `hStdInput`, `hStdOutput` and `hStdError` count, for those
    of the three that `Popen` is not given) and `STARTF_USESHOWWINDOW` (then `wShowWindow` counts, `SW_HIDE` for one).
    `lpAttributeList["handle_list"]` lists the handles that the child inherits; each must be inheritable.

    Popen works on a copy. An object of the standard module will do as well.
    """

    def __init__(
        self,
        *,
        dwFlags: int = 0,  # noqa: N803 - the names that Windows has for them
        hStdInput: int | None = None,  # noqa: N803
        hStdOutput: int | None = None,  # noqa: N803
        hStdError: int | None = None,  # noqa: N803
        wShowWindow: int = 0,  # noqa: N803
        lpAttributeList: Mapping[str, Any] | None = None,  # noqa: N803
    ) -> None:
        self.dwFlags = dwFlags
        self.hStdInput = hStdInput
        self.hStdOutput = hStdOutput
        self.hStdError = hStdError
        self.wShowWindow = wShowWindow
        self.lpAttributeList: dict[str, Any] = dict(lpAttributeList or {"handle_list": []})

    def copy(self) -> STARTUPINFO:
        """An equal one that shares nothing with this one; not even the list of handles."""
        return copied(self)


def copied(given: Any) -> STARTUPINFO:
    """A STARTUPINFO of ours that says what *given* says; None says nothing."""
    copy = STARTUPINFO()
    if given is not None:
        for name in ("dwFlags", "hStdInput", "hStdOutput", "hStdError", "wShowWindow"):
            setattr(copy, name, getattr(given, name))
        copy.lpAttributeList = dict(getattr(given, "lpAttributeList", None) or {})
    copy.lpAttributeList["handle_list"] = list(copy.lpAttributeList.get("handle_list") or ())
    return copy
