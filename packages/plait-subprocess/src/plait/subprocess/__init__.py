# SPDX-License-Identifier: MIT
r"""Child processes: start them, talk to them, wait for them without polling.

>>> from plait.subprocess import run
>>> run(["echo", "hello"], capture_output=True, text=True).stdout
'hello\n'
"""

from __future__ import annotations

from ._async import arun
from ._cmdline import getoutput, getstatusoutput, list2cmdline
from ._handle import ProcessHandle
from ._pipeline import Command, Pipeline, PipelineResult
from ._platform import winapi as _winapi
from ._popen import DEVNULL, PIPE, STDOUT, Popen
from ._results import CalledProcessError, CompletedProcess, OutputTooLarge, SubprocessError, TimeoutExpired
from ._run import call, check_call, check_output, run
from ._version import __version__

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "CalledProcessError",
    "Command",
    "CompletedProcess",
    "OutputTooLarge",
    "Pipeline",
    "PipelineResult",
    "Popen",
    "ProcessHandle",
    "SubprocessError",
    "TimeoutExpired",
    "__version__",
    "arun",
    "call",
    "check_call",
    "check_output",
    "getoutput",
    "getstatusoutput",
    "list2cmdline",
    "run",
]

if _winapi is not None:  # names that exist on Windows only, as in the standard module
    from ._windows import (
        ABOVE_NORMAL_PRIORITY_CLASS,
        BELOW_NORMAL_PRIORITY_CLASS,
        CREATE_BREAKAWAY_FROM_JOB,
        CREATE_DEFAULT_ERROR_MODE,
        CREATE_NEW_CONSOLE,
        CREATE_NEW_PROCESS_GROUP,
        CREATE_NO_WINDOW,
        DETACHED_PROCESS,
        HIGH_PRIORITY_CLASS,
        IDLE_PRIORITY_CLASS,
        NORMAL_PRIORITY_CLASS,
        REALTIME_PRIORITY_CLASS,
        STARTF_FORCEOFFFEEDBACK,
        STARTF_FORCEONFEEDBACK,
        STARTF_USESHOWWINDOW,
        STARTF_USESTDHANDLES,
        STARTUPINFO,
        STD_ERROR_HANDLE,
        STD_INPUT_HANDLE,
        STD_OUTPUT_HANDLE,
        SW_HIDE,
    )
    from ._windows_handle import WindowsProcessHandle as ProcessHandle

    __all__ += [
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
