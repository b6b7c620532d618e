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
