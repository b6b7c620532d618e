# SPDX-License-Identifier: MIT
"""Names of the standard module that programs and tests set or replace, and that are honoured here in the same way."""

# A name is honoured if its documentation says that it may be set, or if programs are known to replace it:
#
#   _USE_VFORK         False: no start uses vfork, nor posix_spawn, which does the same inside. Documented for the standard
#                      module, which heeds it up to 3.13; here it holds on every Python.
#   _USE_POSIX_SPAWN   False: no start uses posix_spawn. Documented, too.
#   _fork_exec         What is put here is called instead of the interpreter's own, with the same arguments, and so is what
#                      is put in place of `_posixsubprocess.fork_exec`: debuggers that follow children do one or the other.
#                      (Where the interpreter's own is not used, nobody asks for it. Put there, a function written in Python
#                      loses its child if a signal handler raises in it.)
#   Popen              What `run`, `call` and what is made of them start. Tests put a fake process here. (`arun` and
#                      pipelines need more of a Popen than is public: they take a subclass, and refuse everything else.)
#   run, call, check_output, getstatusoutput
#                      What `check_output`, `check_call` and their kin are made of.
#   Popen._execute_child, Popen._wait
#                      The steps of Popen that its subclasses override: start the child; wait for its end. (The arguments of
#                      the former are our own, as they are different in each version of the standard class.)
#   _active, _cleanup  The children that nobody has waited for, each as its ProcessHandle (a Popen is gone when nobody refers
#                      to it), and what looks at them before the next start. Some programs call it, and some replace it by
#                      something that does nothing.
#   _args_from_interpreter_flags, _optim_args_from_interpreter_flags
#                      The options of this interpreter; programs call these to start another one like it (_flags.py).
#
# All of them are looked up when they are needed. That is one look into a dictionary, or none: those who replace nothing
# pay for nothing.

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["names", "package", "uses_posix_spawn", "uses_vfork"]

#: The package itself, in which these names are set.
package: Any = sys.modules[__package__ or ""]
names: dict[str, Any] = vars(package)


def uses_vfork() -> bool:
    """Whether a child may share the memory of its parent until it becomes the program."""
    wanted = names.get("_USE_VFORK", True)
    if wanted is True:
        return True
    try:
        return bool(wanted)
    except Exception:  # noqa: BLE001 - what says neither yes nor no forbids nothing; the interpreter takes it so, too
        return True


def uses_posix_spawn() -> bool:
    """Whether `os.posix_spawn` may be used."""
    return bool(names.get("_USE_POSIX_SPAWN", True))
