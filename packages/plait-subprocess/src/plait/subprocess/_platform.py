# SPDX-License-Identifier: MIT
"""Starting one child: by the interpreter's private call where its shape is known, else by public calls."""

# What a start has to get right, and who sees to it
#
#   Descriptors. Every descriptor of ours is born close-on-exec (PEP 446), so a start in another thread cannot
#   carry it away: exec closes it. With close_fds=True the child also closes what the program made
#   inheritable. The child's own ends are never among 0, 1 and 2 unless they are where they belong: `_lifted`
#   moves them up first, so that no dup2() can overwrite a source that is still needed. A bare os.fork() in
#   another thread (no exec) would keep copies: of the error pipe, and we would wait for its end of file for
#   as long as that process lives; of the child's ends, and the reader would. So everything between pipe() and
#   close() is in one of the lists in `in_flight`, and every forked copy of this process closes what is listed.
#   Opening and listing, closing and striking off are one step for whoever forks: both hold `_no_fork`, which
#   every fork takes first. Nothing sleeps while it holds that lock.
#
#   A copy of our end of a child's input would keep the child from ever seeing the end of that input. While
#   nobody but us can be using it (during the start, while communicate() feeds it, all the time if run() made it)
#   it is in `feeding`, and forked copies get /dev/null in its place.
#
#   Signals whose handlers raise. Between any two calls a handler may run and raise (KeyboardInterrupt). What
#   must not be lost there, a new descriptor or a new pid, is therefore put into a list by the same call into
#   the interpreter that makes it: `a_list.extend(map(maker, ...))`, never `name = maker(...)`. And whoever
#   leaves by an exception closes, and ends, what is in these lists.
#
#   Whoever else may fork meanwhile. A child that runs functions of Python before exec runs the after-fork callbacks too,
#   and must not lose there what it was forked for: `_kept`. So that a signal handler's fork keeps none of it, that is set
#   last of all, when signals are held back and everything is there, and no call comes between that and the fork.
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
#   falls back to fork where vfork cannot serve (a preexec_fn, a change of user). It is private, and its
#   arguments have changed four times.
#   (3.10's imports the standard `subprocess` by itself, on the first start. Nothing of it is used here.)
#
#   Signals. What the interpreter ignores for its own sake (SIGPIPE, SIGXFZ, SIGXFSZ) would be ignored by the
#   child too; restore_signals puts the default back. Handlers do not survive exec. The signal mask does, on
#   purpose.
#
# Three starters, one contract (`StartRequest` in, pid out, OSError or SubprocessError raised):
#
#   "fork_exec"    `_posixsubprocess.fork_exec` with 17, 21, 23 or 22 positional arguments. Which of them it
#                  takes is found by asking (`_find_shape`), on the first start, never by looking at a version
#                  number.
#   "posix_spawn"  os.posix_spawn, when the request can be expressed in it.
#   "fork"         os.fork and os.execve, with all signals blocked from before the fork until just before exec
#                  and only prepared system calls in between. Slow in a big process, and the interpreter may
#                  warn about forking with threads; but made of nothing except documented calls.

from __future__ import annotations

import builtins
import errno
import os
import sys
from itertools import repeat, starmap
from time import monotonic

from .._thread import RLock, reset_lock
from ._child import (
    FAILED_BEFORE_EXEC,
    Preparation,
    close_all_but,
    forget_handlers,
    open_descriptors,
    steps_of,
    tell_parent,
    with_mask,
)
from ._failures import not_started_in_time, with_phase
from ._failures import raise_report as _raise_report
from ._switches import names, uses_posix_spawn, uses_vfork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from ._handle import ProcessHandle
    from ._lasting import Call

__all__ = [
    "StartRequest",
    "close",
    "end_unowned",
    "failed",
    "feeding",
    "finish",
    "fork_exec_of_the_interpreter",
    "in_flight",
    "msvcrt",
    "not_open",
    "open_null",
    "open_pipe",
    "send_through_pidfd",
    "start",
    "start_feeding",
    "stop_feeding",
    "winapi",
]

_SIGNALS_TO_RESTORE = ("SIGPIPE", "SIGXFZ", "SIGXFSZ")
# The child's message is one short line; pipes hold more, and it is written at once.
_LONGEST_REPORT = 4096
# The fork starter's child says first who it is.
_PID_WIDTH = 20

#: Lists of descriptors that a forked copy of this process must not keep, by their id; see above.
in_flight: dict[int, list[int]] = {}
#: Descriptors that lead to a child's input, and the i-nodes of their pipes, which show whether an entry still holds. One
#: is struck off while its descriptor is open, or in one step with closing it, and never later: the number may come back
#: at once, in another thread.
feeding: dict[int, int] = {}
#: Starts that failed and are being cleaned up, by their id. What is still here when another one begins was left by a
#: clean-up that signal handlers have cut short: `reap_abandoned`.
failed: dict[int, StartRequest] = {}

#: signal.pidfd_send_signal, without the rest of `signal`, which takes long to import. None where there is none; then
#: pidfds are not used.
send_through_pidfd: Any = None
#: signal.getsignal without its names for numbers, which take longer than all else that a child does before exec.
_getsignal: Any = None
try:
    import _signal  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    import signal as _signal  # type: ignore[no-redef,unused-ignore]
else:
    send_through_pidfd = getattr(_signal, "pidfd_send_signal", None)
    _getsignal = _signal.getsignal

#: The interpreter's own access to Windows, and to descriptors of the C runtime there; None on other systems. Whatever
#: starts, waits or communicates asks here, not for the name of a system: so it can run on a simulated one.
winapi: Any = None
msvcrt: Any = None
# An import that fails looks through the whole path, which takes longer than the rest of this module. Who can fork is spared
# it, unless the module is there already.
if not hasattr(os, "fork") or "_winapi" in sys.modules:
    try:
        import _winapi
        import msvcrt as _msvcrt
    except ImportError:
        pass
    else:
        winapi, msvcrt = _winapi, _msvcrt

_pipe2: Any = getattr(os, "pipe2", None)
_CLOSE_ON_EXEC = (getattr(os, "O_CLOEXEC", 0),)
_no_fork = RLock()
_kept: tuple[int, ...] = ()  # what the fork that this thread is about to make must not lose after all
_PATIENCE = 1.0
_LONGEST_POLL = 86400.0


def _after_fork_in_child() -> None:
    reset_lock(_no_fork)
    for opened in [*in_flight.values()]:
        for fd in opened:
            if fd not in _kept:
                try:
                    os.close(fd)
                except OSError:
                    pass  # closed already, which is what we wanted
    in_flight.clear()
    failed.clear()  # those children are not ours
    for fd, inode in feeding.items():
        try:
            if os.fstat(fd).st_ino != inode:
                continue
            nowhere = os.open(os.devnull, os.O_WRONLY)
        except OSError as problem:
            if problem.errno != errno.EBADF:  # not even one descriptor is left
                os.close(fd)
            continue
        os.dup2(nowhere, fd, inheritable=False)
        os.close(nowhere)
    feeding.clear()


if hasattr(os, "register_at_fork"):
    # What is called around a fork has no frame of Python's, in which a signal handler could raise: the lock would stay
    # taken. The first is `_no_fork.acquire(True, _PATIENCE)` as a function without parameters. (It is held for moments
    # only. Should it have died with a daemon thread, one copy too many is the lesser evil, and so is the complaint.)
    os.register_at_fork(
        before=map(_no_fork.acquire, repeat(True), repeat(_PATIENCE)).__next__,
        after_in_parent=_no_fork.release,
        after_in_child=_after_fork_in_child,
    )


def _let_fork() -> int:
    """Release `_no_fork`; how many times this thread has held it.

    It holds it only in a signal handler that has interrupted one of the functions here; none of them is in a state,
    between two of its calls, that a fork could not meet.
    """
    depth = 0
    try:
        while True:
            _no_fork.release()
            depth += 1
    except RuntimeError:
        return depth


def _forbid_fork(depth: int) -> None:
    """Undo `_let_fork`, whatever a signal handler raises meanwhile."""
    taken: list[bool] = []
    try:
        taken.extend(map(_no_fork.acquire, repeat(True, depth)))
    finally:
        if len(taken) < depth:
            _forbid_fork(depth - len(taken))


def open_pipe(opened: list[int]) -> tuple[int, int]:
    """Append a new pipe to *opened*, which is in `in_flight`: its end to read from, its end to write to."""
    with _no_fork:
        if _pipe2 is None:
            opened.extend(os.pipe())
        else:
            opened.extend(*map(_pipe2, _CLOSE_ON_EXEC))
    return opened[-2], opened[-1]


def open_null(opened: list[int]) -> int:
    """Append a descriptor of /dev/null to *opened*."""
    opened.extend(map(os.open, (os.devnull,), (os.O_RDWR,)))
    return opened[-1]


def close(opened: list[int], which: Iterable[int]) -> None:
    """Close those of *which* that are in *opened*, and take them out of it."""
    for fd in which:
        if fd in opened:
            with _no_fork:
                any(map(os.close, map(opened.pop, map(opened.index, (fd,)))))


def start_feeding(fd: int) -> None:
    """Let no forked copy of this process hold the pipe that *fd* writes to, until `feeding` has it no more."""
    feeding[fd] = os.fstat(fd).st_ino


def stop_feeding(fd: int, stream: Any) -> None:
    """Close *stream*, whose descriptor is *fd*."""
    with _no_fork:
        try:
            stream.close()
        finally:
            feeding.pop(fd, None)


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


class _NotExpressible(Exception):
    """The starter cannot do what was asked; another one must."""


# -- what the child reports ----------------------------------------------------------------------------------


def _read_to_end(fd: int, request: StartRequest) -> bytes:
    report = b""
    while len(report) < _LONGEST_REPORT and (piece := _read_in_time(fd, _LONGEST_REPORT, request)):
        report += piece
    return report


def _read_in_time(fd: int, size: int, request: StartRequest) -> bytes:
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


def _await_exec(read_end: int, request: StartRequest, report: bytes = b"") -> None:
    """Wait until the child has become the program; if it could not, take its status and raise."""
    report += _read_to_end(read_end, request)
    if report:
        _take_status(request)
        _raise_report(report, request)


def _take_status(request: StartRequest) -> None:
    if request.handle is not None:
        request.handle.wait()
    elif request.started and request.started[0] > 0:  # else what stands in for fork_exec has started none
        try:
            os.waitpid(request.started[0], 0)
        except ChildProcessError:
            pass  # taken: by the kernel, if SIGCHLD is ignored in this program, or by a stranger
    request.started.clear()


def _identify(request: StartRequest) -> ProcessHandle:
    """Make the handle of the child, which was forked just now."""
    from ._handle import handle_of_new_child  # which imports this module, and so is there

    request.handle = handle = handle_of_new_child(request.started[0])
    return handle


def finish(request: StartRequest) -> None:
    """Close what was opened for a start and is still on its list. May be called again."""
    opened = request.opened
    with _no_fork:
        any(map(os.close, map(opened.pop, (-1,) * len(opened))))
    in_flight.pop(id(request), None)


def end_unowned(request: StartRequest) -> None:
    """Kill, and take the status of, a child whose Popen will not come to be. May be called again."""
    if request.started:
        if request.started[0] > 0:  # as there; the number would mean many others
            handle = request.handle or _identify(request)
            handle.send_signal(9)
        _take_status(request)


def not_open(fd: int, problem: OSError) -> OSError:
    """The error for a number that was given for one of the standard three, but that nothing can be done with."""
    number = problem.errno or errno.EBADF
    text = f"{os.strerror(number)} (the descriptor {fd}, given as stdin, stdout or stderr)"
    return with_phase(OSError(number, text), "before exec")  # type: ignore[no-any-return]


def _lifted(fd: int, opened: list[int]) -> int:
    """A copy of *fd* above the standard three, closed on exec, appended to *opened*."""
    import fcntl

    with _no_fork:
        opened.extend(map(fcntl.fcntl, (fd,), (fcntl.F_DUPFD_CLOEXEC,), (3,)))
    return opened[-1]


def _lifted_instead(fd: int, opened: list[int]) -> int:
    copy = _lifted(fd, opened)
    close(opened, (fd,))
    return copy


def _open_error_pipe(opened: list[int]) -> tuple[int, int]:
    read_end, write_end = open_pipe(opened)
    return read_end, write_end if write_end > 2 else _lifted_instead(write_end, opened)


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
    if shape == 23:
        return longest
    if shape == 22:
        return longest[:22]
    if shape == 21:
        return longest[:16] + longest[17:22]
    return (*longest[:16], request.in_child)


KNOWN_SHAPES = (22, 23, 21, 17)


def _find_shape(fork_exec: Callable[..., int]) -> int:
    """How many arguments this interpreter's fork_exec takes; 0 if it is none that we know.

    The question is a call that every known version refuses before it forks, because a descriptor to keep and
    the error pipe are out of range: with ValueError, once it has accepted the number and types of the
    arguments, and with TypeError otherwise. Should a version not mind them, it would be asked to run a
    program that does not exist.
    """
    probe = StartRequest()
    probe.argv, probe.executables, probe.program = [b""], [b"/dev/null/absent"], ""
    probe.restore_signals = False
    for shape in KNOWN_SHAPES:
        try:
            pid = fork_exec(*_arguments(shape, probe, (-1,), -1, 0))
        except ValueError:
            return shape
        except Exception:  # noqa: BLE001, S112 - whatever it says, it is not this shape
            continue
        probe.started = [pid]
        _take_status(probe)
        return 0
    return 0


def _start_by_fork_exec(request: StartRequest) -> None:
    # Most starts come through here: written out, where shorter functions could be called.
    shape = _known_shape
    if shape is None:
        shape = _shape()
    if not shape or (request.pgid >= 0 and shape < 22):
        raise _NotExpressible
    if shape != 23 and not uses_vfork():  # only that shape can say so
        raise _NotExpressible
    fork_exec = names.get("_fork_exec") or _posixsubprocess.fork_exec
    if shape == 17 and (request.uid, request.gid, request.groups, request.umask) != (None, None, None, -1):
        raise _NotExpressible
    opened = request.opened
    read_end, write_end = open_pipe(opened)
    if write_end < 3:
        write_end = _lifted_instead(write_end, opened)
    keep: Sequence[int] = (write_end,)
    if request.keep:
        keep = sorted({write_end, *request.keep})
    if request.by_steps or request.preexec_fn is not None:
        _fork_exec_with_python(request, fork_exec, shape, keep, read_end, write_end)
    else:
        request.started.extend(starmap(fork_exec, (_arguments(shape, request, keep, read_end, write_end),)))
    with _no_fork:
        any(map(os.close, map(opened.pop, (-1,))))  # the write end
    if request.deadline is not None:
        _await_exec(read_end, request)
    elif report := os.read(read_end, _LONGEST_REPORT):
        _await_exec(read_end, request, report)


def _fork_exec_with_python(
    request: StartRequest, fork_exec: Any, shape: int, keep: Sequence[int], read_end: int, write_end: int
) -> None:
    """Fork a child that calls functions of Python before exec."""
    global _kept
    import signal

    with _no_fork:
        # Asked first: the call that blocks signals may run a handler before it returns, and raise what that raises.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        outer = _kept
        try:
            # No handler may raise in a callback of os.register_at_fork: a lock that it has taken would stay taken.
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            if request.by_steps:
                request.in_child = Preparation(request, write_end, before, _getsignal)
            else:
                request.in_child = with_mask(before, request.preexec_fn)
            forks = starmap(fork_exec, (_arguments(shape, request, keep, read_end, write_end),))
            # The child runs the after-fork callbacks, but is ours and needs these.
            _kept = (*outer, request.stdin, request.stdout, request.stderr, read_end, write_end)
            request.started.extend(forks)
            _identify(request)
        finally:
            _kept = outer
            request.in_child = None
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


_posixsubprocess: Any = None
_known_shape: int | None = None


def _shape() -> int:
    global _posixsubprocess, _known_shape
    if _known_shape is None:
        try:
            import _posixsubprocess as found  # type: ignore[import-not-found,unused-ignore]

            fork_exec = found.fork_exec
        except (ImportError, AttributeError):
            _known_shape = 0
        else:
            _posixsubprocess = found
            _known_shape = _find_shape(fork_exec)
    return _known_shape


def fork_exec_of_the_interpreter() -> Any:
    """The private call of the interpreter that the first starter uses; None where it is not known."""
    return _posixsubprocess.fork_exec if _shape() else None


# -- posix_spawn ---------------------------------------------------------------------------------------------


def _spawn(path: bytes, argv: list[Any], env: Any, options: dict[str, Any]) -> int:
    spawn: Any = os.posix_spawn
    if env is None:
        try:
            return spawn(path, argv, None, **options)  # type: ignore[no-any-return]
        except (
            TypeError
        ):  # before 3.13 there has to be a mapping; what only os.putenv() knows of is missing then
            env = os.environ
    return spawn(path, argv, env, **options)  # type: ignore[no-any-return]


def _start_by_posix_spawn(request: StartRequest) -> None:
    spawn: Any = getattr(os, "posix_spawn", None)
    close_from: Any = getattr(os, "POSIX_SPAWN_CLOSEFROM", None)
    if spawn is None or not request.is_plain or not (uses_posix_spawn() and uses_vfork()):
        raise _NotExpressible
    keep = tuple(request.keep)
    if request.close_fds and (keep or close_from is None):
        raise _NotExpressible
    _refuse_nameless(request)
    actions: list[tuple[Any, ...]] = [
        (os.POSIX_SPAWN_DUP2, source, target)
        for target, source in enumerate((request.stdin, request.stdout, request.stderr))
        if source >= 0
    ]
    if request.close_fds:
        actions.append((close_from, 3))
    options: dict[str, Any] = {"file_actions": actions}
    if request.new_session:
        options["setsid"] = True
    if request.pgid >= 0:
        options["setpgroup"] = request.pgid
    if request.restore_signals:
        options["setsigdef"] = [
            getattr(_signal, name) for name in _SIGNALS_TO_RESTORE if hasattr(_signal, name)
        ]
    env = None if request.env is None else dict(line.split(b"=", 1) for line in request.env)
    refused = errno.ENOENT  # a number: an exception that is kept keeps its frames, and with them the Popen
    for path in request.executables:
        try:
            request.started.append(_spawn(path, request.argv, env, options))
        except NotImplementedError:
            raise _NotExpressible from None  # no setsid in this C library
        except OSError as problem:
            if refused in (errno.ENOENT, errno.ENOTDIR) and problem.errno is not None:
                refused = problem.errno
        else:
            return
    # A descriptor that is not open is no fault of the program: it was to be moved before.
    phase = "before exec" if refused == errno.EBADF else "exec"
    raise with_phase(OSError(refused, os.strerror(refused), request.program), phase)


# -- fork and exec -------------------------------------------------------------------------------------------


_FinalizationError: type[RuntimeError] = getattr(builtins, "PythonFinalizationError", RuntimeError)
_LONGEST_ID = 2**32 - 1
_LONGEST_INT = 2**31 - 1


def _refuse_before_fork(request: StartRequest) -> None:
    """Raise what needs no child, or what a child could only report in few words."""
    for text in (*request.argv, *request.executables, *(request.env or ()), request.cwd or b""):
        if b"\0" in os.fsencode(text):  # exec would stop there, and say so only in the child
            raise ValueError(f"embedded null byte in {text!r}")
    for line in request.env or ():
        if line.startswith(b"="):  # fork_exec takes it
            raise ValueError(f"illegal environment variable name: it is empty, with the value {line[1:]!r}")
    for name, number, most in (
        ("user", request.uid, _LONGEST_ID),
        ("group", request.gid, _LONGEST_ID),
        ("umask", request.umask, _LONGEST_INT),
        ("process_group", request.pgid, _LONGEST_INT),
    ):
        if number is not None and number > most:
            raise OverflowError(f"{name} is greater than maximum: {number} is more than {most}")
    for number in request.groups or ():
        if number > _LONGEST_ID:
            raise ValueError(f"invalid group id: {number} is more than {_LONGEST_ID}")
    _refuse_nameless(request)
    # A fork copies page tables; it is not worth it if there is no such program anyway.
    if (
        request.cwd is None
        and request.preexec_fn is None
        and not request.by_steps
        and not any(map(_may_exist, request.executables))
    ):
        raise with_phase(OSError(errno.ENOENT, os.strerror(errno.ENOENT), request.program), "exec")


def _refuse_nameless(request: StartRequest) -> None:
    """Raise what exec says of an empty name: the public calls refuse to pass one on."""
    if not os.fsencode(request.program) and not os.fsencode(request.argv[0]):
        number = errno.EACCES if any(map(_may_exist, request.executables)) else errno.ENOENT
        raise with_phase(OSError(number, os.strerror(number), request.program), "exec")


def _may_exist(path: bytes) -> bool:
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError:
        pass  # exec will say it in its own words
    return True


def _start_by_fork(request: StartRequest) -> None:
    global _kept
    try:
        import signal
    except ImportError as problem:
        what = "a start by fork()" if request.preexec_fn is None else "preexec_fn"
        raise _FinalizationError(f"{what} not supported at interpreter shutdown") from problem
    if not hasattr(os, "fork"):
        raise OSError(errno.ENOSYS, "this platform cannot start processes", request.program)
    restored = [getattr(signal, name) for name in _SIGNALS_TO_RESTORE if hasattr(signal, name)]
    everything = signal.valid_signals()
    env = None if request.env is None else dict(line.split(b"=", 1) for line in request.env)
    _refuse_before_fork(request)
    read_end, write_end = _open_error_pipe(request.opened)
    with _no_fork:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        outer = _kept
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, everything)
            try:
                _kept = (*outer, request.stdin, request.stdout, request.stderr, read_end, write_end)
                pid = os.fork()
            except Warning:
                # The program turns warnings into errors, and some interpreters warn about fork in the parent
                # when the child is there already. What it warns of is what this function takes care of.
                pid = -1
            if pid == 0:
                _become(request, env, write_end, restored, before)
            if pid > 0:
                request.started.append(pid)
                _identify(request)
            close(request.opened, (write_end,))
            said = int(_read_in_time(read_end, _PID_WIDTH, request) or pid)
            if pid < 0:
                request.started.append(said)
                _identify(request)
        finally:
            _kept = outer
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    _await_exec(read_end, request)


def _become(request: StartRequest, env: Any, write_end: int, restored: list[Any], mask: Any) -> None:
    """In the forked child: become the program, or report why not. Never returns."""
    phase = b"noexec"
    try:
        os.write(write_end, b"%*d" % (_PID_WIDTH, os.getpid()))
        import signal  # loaded by the parent; this is a look into sys.modules

        for target, source in enumerate((request.stdin, request.stdout, request.stderr)):
            if source == target:
                os.set_inheritable(source, True)
            elif source >= 0:
                os.dup2(source, target)
        if request.cwd is not None:
            phase = b"noexec:chdir"
            os.chdir(request.cwd)
            phase = b"noexec"
        if request.umask >= 0:
            os.umask(request.umask)
        forget_handlers(signal, _getsignal)
        if request.restore_signals:
            for number in restored:
                signal.signal(number, signal.SIG_DFL)
        if request.new_session:
            phase = b"noexec:setsid"
            os.setsid()
        if request.pgid >= 0:
            phase = b"noexec:setpgid"
            os.setpgid(0, request.pgid)
        # Listed before the limits, under which there may be no descriptor left to list the others with.
        limited = request.close_fds and request.first_steps
        present = open_descriptors() if limited else ()
        for step, act, arguments in steps_of(request):
            phase = step if step == b"preexec_fn" else b"noexec:" + step
            act(*arguments)
        phase = b"noexec:pass_fds"
        for fd in request.keep:
            if fd != write_end:  # a number that was not open until we took it: exec has to close this one
                os.set_inheritable(fd, True)
        phase = b"noexec:close"
        if request.close_fds:
            close_all_but({write_end, *request.keep}, present)
            close_all_but({write_end, *request.keep}, open_descriptors())  # and what preexec_fn has opened
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        phase = b""
        refused = errno.ENOENT
        for path in request.executables:
            try:
                if env is None:
                    os.execv(path, request.argv)
                else:
                    os.execve(path, request.argv, env)
            except OSError as problem:
                if refused in (errno.ENOENT, errno.ENOTDIR) and problem.errno is not None:
                    refused = problem.errno
        os.write(write_end, b"OSError:%x:" % refused)
    except BaseException as problem:  # noqa: BLE001 - nothing may leave this frame: it is a copy of the caller's
        tell_parent(write_end, phase, problem)
    finally:
        os._exit(FAILED_BEFORE_EXEC)


# -- the choice ----------------------------------------------------------------------------------------------

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

        depth = _let_fork()
        try:
            request.call = Call(_start, (request,), _clean_up)
            return request.call.outcome()  # type: ignore[no-any-return]
        finally:
            _forbid_fork(depth)
    return _start(request)


def _clean_up(request: StartRequest) -> None:
    finish(request)
    end_unowned(request)


def _start(request: StartRequest) -> int:
    if request.stdin in (1, 2):
        request.stdin = _lifted(request.stdin, request.opened)
    if request.stdout in (0, 2):
        request.stdout = _lifted(request.stdout, request.opened)
    if request.stderr in (0, 1):
        request.stderr = _lifted(request.stderr, request.opened)
    for name in order:
        try:
            STARTERS[name](request)
        except _NotExpressible:
            continue
        return request.started[0]
    raise OSError(errno.ENOSYS, "no way to start this process is available here", request.program)
