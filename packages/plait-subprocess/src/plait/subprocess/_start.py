# SPDX-License-Identifier: MIT
"""Starting one child: by the interpreter's private call where its shape is known, else by public calls."""

# What a start has to get right, and who sees to it
#
#   Descriptors. Every descriptor of ours is born close-on-exec (PEP 446), so a start in another thread cannot
#   carry it away: exec closes it. With close_fds=True the child also closes what the program made
#   inheritable. The child's own ends are never among 0, 1 and 2 unless they are where they belong: `lifted`
#   moves them up first, so that no dup2() can overwrite a source that is still needed. What a bare os.fork() in
#   another thread (no exec) would keep copies of is looked after in _in_flight.py.
#
#   Signals whose handlers raise. Between any two calls a handler may run and raise (KeyboardInterrupt). What
#   must not be lost there, a new descriptor or a new pid, is therefore put into a list by the same call into
#   the interpreter that makes it: `a_list.extend(map(maker, ...))`, never `name = maker(...)`. And whoever
#   leaves by an exception closes, and ends, what is in these lists.
#
#   Numbers that change hands. A child that forks can take its time before exec, and end, and be reaped by strangers
#   (os.wait(), SIGCHLD ignored) while something that it has forked keeps the error pipe open; then its number may mean
#   another process when the start fails. So it has a ProcessHandle, which means nobody else, from the moment when the
#   fork is done, and is ended and waited for through that. A child of vfork has become its program, or ended, when
#   the call returns: there is no such time.
#
#   Errors before exec. Nothing can be raised in a process that is about to become another program. The child
#   writes down what failed, at which step, into a pipe that exec closes: an empty pipe means success. The
#   parent takes the failed child's status itself and raises what the child could not.
#
#   vfork. With vfork the child runs in our memory while the calling thread stands still: no page tables are
#   copied, however big the parent, but nothing may run there except system calls, and no signal
#   handler either. `_posixsubprocess.fork_exec` blocks all signals around it and does everything in C; it
#   falls back to fork where vfork cannot serve (a preexec_fn, a change of user).
#
#   Signals. What the interpreter ignores for its own sake (SIGPIPE, SIGXFZ, SIGXFSZ) would be ignored by the
#   child too; restore_signals puts the default back. Handlers do not survive exec. The signal mask does, on
#   purpose.
#
# Three starters, one contract (`StartRequest` in, pid out, OSError or SubprocessError raised):
#
#   "fork_exec"    `_posixsubprocess.fork_exec` with 17, 21, 23 or 22 positional arguments. See _platform.py.
#   "posix_spawn"  os.posix_spawn, when the request can be expressed in it.
#   "fork"         os.fork and os.execve, with all signals blocked from before the fork until just before exec
#                  and only prepared system calls in between. Slow in a big process, and the interpreter may
#                  warn about forking with threads; but made of nothing except documented calls.

from __future__ import annotations

import builtins
import errno
import os
from itertools import starmap
from time import monotonic

from . import _in_flight, _platform
from ._error_pipe import discard
from ._failures import not_started_in_time, with_phase
from ._failures import raise_report as _raise_report
from ._in_flight import (
    close_all,
    forbid_fork,
    let_fork,
    lifted,
    lifted_instead,
    no_fork,
    open_pipe,
)
from ._platform import holding, of_shape
from ._switches import names, uses_vfork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from ._error_pipe import ErrorPipe
    from ._handle import ProcessHandle
    from ._lasting import Call

__all__ = [
    "NotExpressible",
    "StartRequest",
    "await_exec",
    "end_unowned",
    "failed",
    "finish",
    "identify",
    "no_more_forks",
    "not_open",
    "read_in_time",
    "start",
]

# The child's message is one short line; pipes hold more, and it is written at once.
_LONGEST_REPORT = 4096
_LONGEST_POLL = 86400.0

#: Starts that failed and are being cleaned up, by their id. What is still here when another one begins was left by a
#: clean-up that signal handlers have cut short: `reap_abandoned`.
failed: dict[int, StartRequest] = {}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=failed.clear)  # those children are not ours


class StartRequest:
    """Everything a starter needs to know, already checked and encoded. What is rarely asked for has a default."""

    argv: list[Any]
    executables: Sequence[bytes]  # to be tried in this order
    program: Any  # as the caller wrote it, for the error
    cwd: Any = None
    env: list[bytes] | None = None  # b"NAME=value"; None for ours
    stdin: int = -1
    stdout: int = -1
    stderr: int = -1  # what becomes 0, 1, 2 in the child; -1: leave it
    close_fds: bool = True
    keep: Iterable[int] = ()
    restore_signals: bool = True
    new_session: bool = False
    pgid: int = -1  # -1: leave it
    gid: int | None = None
    groups: list[int] | None = None
    uid: int | None = None
    umask: int = -1
    preexec_fn: Callable[[], object] | None = None
    opened: list[int]  # what start() may add its descriptors to; its caller closes them
    started: list[int]  # the pid, from the moment it exists; empty again if its status was taken here
    borrowed: list[ErrorPipe] = []
    handle: ProcessHandle | None = None  # of a child that forks, from the same moment
    call: Call | None = None  # by which the lasting thread makes the start
    # What only few starts have (_limits.py): (phase, function, arguments), before the change of user and at the very end.
    first_steps: Sequence[tuple[bytes, Callable[..., object], tuple[Any, ...]]] = ()
    last_steps: Sequence[tuple[bytes, Callable[..., object], tuple[Any, ...]]] = ()
    by_steps = (
        False  # whether there are such steps, or a deadline: the child forks, and prepares itself in Python
    )
    in_child: Callable[[], object] | None = (
        None  # what does that, or calls preexec_fn; while the child is started
    )
    from_lasting_thread = False
    deadline: float | None = None  # when the child has to have become the program
    spawn_timeout: float | None = None  # which was that many seconds after the beginning
    asked: Any = None  # the command as the caller wrote it, for the error

    @property
    def is_plain(self) -> bool:
        """Whether nothing is asked for that posix_spawn lacks."""
        return (
            self.cwd is None
            and self.preexec_fn is None
            and self.uid is None
            and self.gid is None
            and self.groups is None
            and self.umask < 0
            and not self.by_steps
        )


def no_more_forks(request: StartRequest) -> Exception:
    """The error for a start that would load something when the interpreter is shutting down, and loads nothing any more."""
    kind: type[RuntimeError] = getattr(builtins, "PythonFinalizationError", RuntimeError)
    what = "a start by fork()" if request.preexec_fn is None else "preexec_fn"
    return kind(f"{what} not supported at interpreter shutdown")


class NotExpressible(Exception):
    """The starter cannot do what was asked; another one must."""


# -- what the child reports ----------------------------------------------------------------------------------


def _read_to_end(fd: int, request: StartRequest) -> bytes:
    report = b""
    while len(report) < _LONGEST_REPORT and (piece := read_in_time(fd, _LONGEST_REPORT, request)):
        report += piece
    return report


def read_in_time(fd: int, size: int, request: StartRequest) -> bytes:
    if request.deadline is not None:
        import select

        bell = select.poll()
        bell.register(fd, select.POLLIN)
        left = max(request.deadline - monotonic(), 0.0)
        while not bell.poll(min(left, _LONGEST_POLL) * 1000.0):
            left = request.deadline - monotonic()
            if left <= 0:
                raise not_started_in_time(request)
    return os.read(fd, size)


def await_exec(read_end: int, request: StartRequest, report: bytes = b"") -> None:
    """Wait until the child has become the program; if it could not, take its status and raise."""
    report += _read_to_end(read_end, request)
    if report:
        _take_status(request)
        _raise_report(report, request)


def _take_status(request: StartRequest) -> None:
    # Another thread, which looks after what clean-ups have left, may take it out meanwhile.
    for pid in tuple(request.started):
        if pid > 0:  # else what stands in for fork_exec has started none
            if request.handle is None:
                from ._handle import SoleHandle  # which imports this module, and so is there

                # It remembers, should this be interrupted, what it has taken.
                request.handle = SoleHandle(pid, False)
            request.handle.wait()
    request.started.clear()


def identify(request: StartRequest, pid: int) -> ProcessHandle:
    """Make the handle of the child *pid*, which was forked just now."""
    from ._handle import handle_of_new_child  # which imports this module, and so is there

    request.handle = handle = handle_of_new_child(pid)
    return handle


def finish(request: StartRequest) -> None:
    """Close what was opened for a start and is still on its list. May be called again."""
    try:
        close_all(id(request), request.opened)
    finally:
        if request.borrowed:
            discard(request.borrowed)


def end_unowned(request: StartRequest) -> None:
    """Kill, and take the status of, a child whose Popen will not come to be. May be called again."""
    for pid in tuple(request.started):
        if pid > 0:  # as there; the number would mean many others
            handle = request.handle or identify(request, pid)
            handle.send_signal(9)
        _take_status(request)


def not_open(fd: int, problem: OSError) -> OSError:
    """The error for a number that was given for one of the standard three, but that nothing can be done with."""
    number = problem.errno or errno.EBADF
    text = f"{os.strerror(number)} (the descriptor {fd}, given as stdin, stdout or stderr)"
    return with_phase(OSError(number, text), "before exec")  # type: ignore[no-any-return]


# -- fork_exec -----------------------------------------------------------------------------------------------


def _arguments(
    shape: int, request: StartRequest, keep: Sequence[int], read_end: int, write_end: int
) -> tuple[Any, ...]:
    identity: tuple[Any, ...] = (None, None, None)
    if not request.by_steps:  # among which is the change of user
        identity = (request.gid, request.groups, request.uid)
    longest: tuple[Any, ...] = (
        request.argv,
        request.executables,
        request.close_fds,
        tuple(keep),
        request.cwd,
        request.env,
        request.stdin,
        -1,
        -1,
        request.stdout,
        -1,
        request.stderr,
        read_end,
        write_end,
        request.restore_signals,
        request.new_session,
        request.pgid,
        *identity,
        request.umask,
        request.in_child,
        names.get("_USE_VFORK") is True or uses_vfork(),
    )
    if shape == 23:  # one of the usual ones, without a further call
        return longest
    return longest[:22] if shape == 22 else of_shape(shape, longest)


def _start_by_fork_exec(request: StartRequest) -> None:
    # Most starts come through here: written out, where shorter functions could be called.
    shape = _platform._known_shape
    if shape is None:
        shape = _platform._shape()
    if not shape or (request.pgid >= 0 and shape < 22):
        raise NotExpressible
    if shape != 23 and not uses_vfork():  # only that shape can say so
        raise NotExpressible
    fork_exec = names.get("_fork_exec") or _platform._posixsubprocess.fork_exec
    if shape == 17 and (request.uid, request.gid, request.groups, request.umask) != (None, None, None, -1):
        raise NotExpressible
    opened = request.opened
    read_end, write_end = open_pipe(opened)
    if write_end < 3:
        write_end = lifted_instead(write_end, opened)
    keep: Sequence[int] = (write_end,)
    if request.keep:
        keep = sorted({write_end, *request.keep})
    if request.by_steps or request.preexec_fn is not None:
        holding(no_fork, _fork_exec_with_python, request, fork_exec, shape, keep, read_end, write_end)
    else:
        request.started.extend(starmap(fork_exec, (_arguments(shape, request, keep, read_end, write_end),)))
    holding(no_fork, any, map(os.close, map(opened.pop, (-1,))))  # the write end
    if request.deadline is not None:
        await_exec(read_end, request)
    elif report := os.read(read_end, _LONGEST_REPORT):
        await_exec(read_end, request, report)


def _fork_exec_with_python(
    request: StartRequest, fork_exec: Any, shape: int, keep: Sequence[int], read_end: int, write_end: int
) -> None:
    """With `no_fork` held: fork a child that calls functions of Python before exec."""
    import signal

    from ._child import Preparation, with_mask

    # Asked first: the call that blocks signals may run a handler before it returns, and raise what that raises.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    outer = _in_flight.kept
    try:
        # No handler may raise in a callback of os.register_at_fork: a lock that it has taken would stay taken.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        if request.by_steps:
            request.in_child = Preparation(request, write_end, before, _platform.getsignal)
        else:
            request.in_child = with_mask(before, request.preexec_fn)
        forks = starmap(fork_exec, (_arguments(shape, request, keep, read_end, write_end),))
        # The child runs the after-fork callbacks, but is ours and needs these.
        _in_flight.kept = (*outer, request.stdin, request.stdout, request.stderr, read_end, write_end)
        request.started.extend(forks)
        identify(request, request.started[0])
    finally:
        _in_flight.kept = outer
        request.in_child = None
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# -- the choice ----------------------------------------------------------------------------------------------


def _start_by_posix_spawn(request: StartRequest) -> None:
    try:
        from ._start_publicly import start_by_posix_spawn
    except ImportError:
        raise NotExpressible from None  # the interpreter is shutting down, as below

    start_by_posix_spawn(request)


def _start_by_fork(request: StartRequest) -> None:
    try:
        from ._start_publicly import start_by_fork
    except ImportError as problem:
        raise no_more_forks(request) from problem

    start_by_fork(request)


STARTERS: dict[str, Callable[[StartRequest], None]] = {
    "fork_exec": _start_by_fork_exec,
    "posix_spawn": _start_by_posix_spawn,
    "fork": _start_by_fork,
}

#: The starters in use, in the order in which they are asked; the tests shorten it.
order = list(STARTERS)


def start(request: StartRequest) -> int:
    """Start the child and return its pid, once it has become the program that was asked for.

    Blocks until exec has happened or failed. Raises OSError with the name of the program, or of the directory
    if it was `cwd` that could not be entered; SubprocessError if a preexec_fn raised. If it raises, and always
    for descriptors, the caller has to clean up: `finish(request)`, `end_unowned(request)`; but if there is a
    `request.call`, that must not be in the middle of it, and `leave()` says so.
    """
    if request.from_lasting_thread:
        from ._lasting import Call

        depth = let_fork()
        try:
            request.call = Call(_start, (request,), _clean_up)
            return request.call.outcome()  # type: ignore[no-any-return]
        finally:
            forbid_fork(depth)
    return _start(request)


def _clean_up(request: StartRequest) -> None:
    finish(request)
    end_unowned(request)


def _start(request: StartRequest) -> int:
    if request.stdin in (1, 2):
        request.stdin = lifted(request.stdin, request.opened)
    if request.stdout in (0, 2):
        request.stdout = lifted(request.stdout, request.opened)
    if request.stderr in (0, 1):
        request.stderr = lifted(request.stderr, request.opened)
    for name in order:
        try:
            STARTERS[name](request)
        except NotExpressible:
            continue
        return request.started[0]
    raise OSError(errno.ENOSYS, "no way to start this process is available here", request.program)
