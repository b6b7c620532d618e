# SPDX-License-Identifier: MIT
"""What is asked of a child besides its program: resource limits, niceness, a common end with its parent."""

# Why not in the parent
#
#   prlimit(2) and setpriority(2) work on any process, but the child has to be kept from running meanwhile, and nothing
#   in the interpreter's call for starting processes can hold it. A launcher that waits and then execs could (a shell
#   knows few limits, changes the environment and swallows the errno of exec; a second interpreter takes ten times as
#   long as the start). So the steps are taken by the child itself, between fork and exec, where `preexec_fn` would run.
#
# Why that is safe here though threads run
#
#   After fork only the calling thread exists, and what other threads were in the middle of stays so for ever. A step is
#   (phase, function, arguments), prepared before the fork: one system call by way of `resource`, `os` or a C function
#   that was looked up before. Nothing is imported, no lock of Python's is taken, and all signals are held back until
#   exec, so that no handler runs. What remains are the callbacks of os.register_at_fork, as with every fork; they are
#   the reason why `spawn_timeout` exists. The price is that of fork against vfork: page tables are copied.
#
# The order
#
#   rlimits and niceness come before the change of user, who may not be allowed to raise them; then groups, group and
#   user; then preexec_fn; then the tie to the parent, which a change of user would undo.
#
# The tie to the parent
#
#   PR_SET_PDEATHSIG (Linux) has the kernel send SIGKILL when the parent ends, in whichever way. But "the parent" is the
#   thread that forked: the child of a worker thread would be killed with that thread. So these starts, and these only,
#   are made by a thread that lasts as long as the process does: see _lasting.py. A parent that has ended before the
#   tie was made is noticed by getppid(). The tie is undone by the kernel if the program is set-user-ID or has file
#   capabilities; it does not extend to what the child starts; and the parent's own exec of another program, which
#   ends all its threads, counts as an end.
#   (The other way, a watcher process that sleeps on a pipe from the parent, costs a process for each child, can itself
#   be killed, and a forked copy of the parent keeps its pipe open.)

from __future__ import annotations

import os

from .._thread import _is_main_interpreter
from ._handle import deadline_after

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ._start import StartRequest

__all__ = ["add_limits"]

_PR_SET_PDEATHSIG = 1
_SIGKILL = 9


def _pair(number: int, wanted: Any) -> tuple[int, int]:
    try:
        pair = (wanted, wanted) if isinstance(wanted, int) else tuple(wanted)
    except TypeError:
        pair = ()
    if len(pair) != 2 or not all(isinstance(one, int) for one in pair):
        raise ValueError(f"the limit {_name(number)} is a number or a pair (soft, hard), not {wanted!r}")
    return pair


def _name(number: int) -> str:
    import resource

    names = [name for name, value in vars(resource).items() if name.startswith("RLIMIT_") and value == number]
    return min(names, default=str(number))


def _rlimit_steps(rlimits: Mapping[int, Any]) -> list[tuple[bytes, Any, tuple[Any, ...]]]:
    try:
        import resource
    except ImportError:
        raise ValueError("rlimits need a platform with the module `resource`; leave them out here") from None
    if not hasattr(rlimits, "items"):
        raise TypeError(
            f"rlimits is a mapping, such as {{resource.RLIMIT_NOFILE: (64, 64)}}, not {type(rlimits).__name__}"
        )
    steps: list[tuple[bytes, Any, tuple[Any, ...]]] = []
    for number, wanted in rlimits.items():
        soft, hard = _pair(number, wanted)
        if _name(number) == str(number):
            raise ValueError(f"{number!r} is no resource limit; the module `resource` has their names")
        bound = float("inf") if hard == resource.RLIM_INFINITY else hard
        if soft == resource.RLIM_INFINITY != hard or soft > bound:
            raise ValueError(f"the limit {_name(number)} is given as {soft}, more than its hard bound {hard}")
        phase = f"rlimits {_name(number)}=({soft}, {hard})".encode()
        # The number of descriptors last: whatever the other steps need is there.
        steps.insert(
            len(steps) if number == resource.RLIMIT_NOFILE else 0,
            (phase, resource.setrlimit, (number, (soft, hard))),
        )
    return steps


def _tie_to(parent: int, prctl: Any, errno_of_call: Any) -> None:
    if prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0):
        number = errno_of_call()
        raise OSError(number, os.strerror(number))
    if os.getppid() != parent:  # it ended before we could be told
        os.kill(os.getpid(), _SIGKILL)


def _tie_step() -> tuple[bytes, Any, tuple[Any, ...]]:
    refusal = "die_with_parent needs PR_SET_PDEATHSIG, which only Linux has; leave it out here"
    if os.uname().sysname != "Linux":
        raise ValueError(refusal)
    try:
        import ctypes
    except ImportError:
        raise ValueError(f"{refusal}: this Python has no ctypes to call it with") from None
    prctl: Any = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)
    return b"die_with_parent", _tie_to, (os.getpid(), prctl, ctypes.get_errno)


def add_limits(
    request: StartRequest,
    rlimits: Mapping[int, Any] | None,
    nice: int,
    die_with_parent: bool,
    spawn_timeout: float | None,
    asked: Any,
) -> None:
    """Write into *request* what the child has to do, besides the usual, before it becomes the program.

    *asked* is the command as the caller wrote it.
    """
    if not _is_main_interpreter():
        raise RuntimeError(
            "rlimits, nice, die_with_parent and spawn_timeout need a child that runs Python code before the program, which "
            "a sub-interpreter cannot start: leave them out here, or have the main interpreter start it"
        )
    request.by_steps, request.asked = True, asked
    if not isinstance(nice, int):
        raise TypeError(f"nice is an integer that is added to the niceness of this process, not {nice!r}")
    if rlimits:
        request.first_steps = _rlimit_steps(rlimits)
    if nice:
        request.first_steps = [(b"nice", os.nice, (nice,)), *request.first_steps]
    if die_with_parent:
        request.last_steps = [_tie_step()]
        request.from_lasting_thread = True
    if spawn_timeout is not None:
        request.deadline, request.spawn_timeout = (
            deadline_after(spawn_timeout, "spawn_timeout"),
            spawn_timeout,
        )
