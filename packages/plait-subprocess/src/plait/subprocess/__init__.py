# SPDX-License-Identifier: MIT
r"""Child processes: start them, talk to them, wait for them without polling.

>>> from plait.subprocess import run
>>> run(["echo", "hello"], capture_output=True, text=True).stdout
'hello\n'
"""

from __future__ import annotations

from ._handle import ProcessHandle
from ._popen import DEVNULL, PIPE, STDOUT, Popen
from ._results import CalledProcessError, CompletedProcess, SubprocessError, TimeoutExpired
from ._run import call, check_call, check_output, run
from ._version import __version__

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "CalledProcessError",
    "CompletedProcess",
    "Popen",
    "ProcessHandle",
    "SubprocessError",
    "TimeoutExpired",
    "__version__",
    "call",
    "check_call",
    "check_output",
    "run",
]
