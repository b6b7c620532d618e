# SPDX-License-Identifier: MIT
r"""Child processes: start them, talk to them, wait for them without polling.

>>> from plait.subprocess import run
>>> run(["echo", "hello"], capture_output=True, text=True).stdout
'hello\n'

Tests may replace public names in this module, as they do in the standard one: `Popen`, which everything here starts;
`run` for `check_output` and `getstatusoutput`; `check_output` for `getstatusoutput`, too; `call` for `check_call`;
`getstatusoutput` for `getoutput`. `arun` and `Pipeline.run` need a subclass of `Popen` there and raise TypeError for
anything else; `run` and `call` take any object with the public methods of one, in a `with` statement: `call` asks it to
`wait`, `run` to `communicate` and `poll`.
"""

from ._cmdline import getoutput, getstatusoutput
from ._cmdline import list2cmdline as list2cmdline
from ._ends import DEVNULL, PIPE, STDOUT
from ._handle import ProcessHandle
from ._platform import fork_exec_of_the_interpreter as _fork_exec_of_the_interpreter
from ._platform import winapi as _winapi
from ._popen import Popen
from ._popen import abandoned as _active
from ._popen import reap_abandoned as _cleanup
from ._results import CalledProcessError, CompletedProcess, OutputTooLarge, SubprocessError, TimeoutExpired
from ._run import call, check_call, check_output, run
from ._version import __version__ as __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._async import arun
    from ._pipeline import Command, Pipeline, PipelineResult

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
    "arun",
    "call",
    "check_call",
    "check_output",
    "getoutput",
    "getstatusoutput",
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


def _make_public(name: str, thing: object) -> None:
    """Let a class or a function say where it is to be had, and be pickled by that, not by the module it is written in."""
    if getattr(thing, "__module__", "").startswith(f"{__name__}.") and getattr(thing, "__name__", "") == name:
        thing.__module__ = __name__


for _name in __all__:
    _make_public(_name, globals().get(_name))

#: What the standard module lacks and few ask for: it is loaded when somebody does.
_LATER = {
    "arun": "_async",
    "Command": "_pipeline",
    "Pipeline": "_pipeline",
    "PipelineResult": "_pipeline",
}

# Not in __all__, but found by those who know them from the standard module (_switches.py).
_USE_VFORK = True
_USE_POSIX_SPAWN = True
_ALSO = (_active, _cleanup)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})


if not TYPE_CHECKING:  # a checker would take every name for one that this function knows

    def __getattr__(name):
        if name == "_fork_exec":  # not loaded before the first start
            return _fork_exec_of_the_interpreter()
        if name in ("_args_from_interpreter_flags", "_optim_args_from_interpreter_flags"):
            from . import _flags

            return _flags.optimisation_arguments if name.startswith("_o") else _flags.interpreter_arguments
        if name in _LATER:
            from importlib import import_module

            thing = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
            _make_public(name, thing)
            return globals().setdefault(name, thing)  # what somebody has set meanwhile is theirs
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


del TYPE_CHECKING
