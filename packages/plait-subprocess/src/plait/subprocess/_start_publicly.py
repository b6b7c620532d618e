# SPDX-License-Identifier: MIT
"""Starting one child by documented calls only: os.posix_spawn, or os.fork and os.execve."""

# What has to hold is said at the top of _start.py. Loaded when the first starter there cannot do what is asked for.

from __future__ import annotations

import errno
import os
from functools import partial
from itertools import starmap

from . import _in_flight
from ._child import (
    FAILED_BEFORE_EXEC,
    close_all_but,
    forget_handlers,
    open_descriptors,
    steps_of,
    tell_parent,
)
from ._failures import raise_report, with_phase
from ._in_flight import close, lifted_instead, no_fork, open_pipe
from ._platform import getsignal, holding, number_of_signal
from ._start import NotExpressible, await_exec, identify, no_more_forks, read_in_time
from ._switches import uses_posix_spawn, uses_vfork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._start import StartRequest

__all__ = ["start_by_fork", "start_by_posix_spawn"]

_SIGNALS_TO_RESTORE = ("SIGPIPE", "SIGXFZ", "SIGXFSZ")
# The fork starter's child says first who it is.
_PID_WIDTH = 20


def _open_error_pipe(opened: list[int]) -> tuple[int, int]:
    read_end, write_end = open_pipe(opened)
    return read_end, write_end if write_end > 2 else lifted_instead(write_end, opened)


# -- posix_spawn ---------------------------------------------------------------------------------------------


_takes_no_environment: bool | None = None


def _our_environment() -> Any:
    """What gives the child our environment: None, or, before 3.13, a mapping, without what only os.putenv() knows of.

    Which of them is asked by a call that every version refuses, because there is no signal 0. Should one not mind, it
    would be asked to run a program that does not exist.
    """
    global _takes_no_environment
    if _takes_no_environment is None:
        spawn: Any = os.posix_spawn
        try:
            spawn(b"/dev/null/absent", [b"absent"], None, setsigdef=(0,))
        except TypeError:
            _takes_no_environment = False
        except (ValueError, OSError):
            _takes_no_environment = True
    return None if _takes_no_environment else os.environ


def start_by_posix_spawn(request: StartRequest) -> None:
    """The second starter; NotExpressible for what it cannot do."""
    spawn: Any = getattr(os, "posix_spawn", None)
    close_from: Any = getattr(os, "POSIX_SPAWN_CLOSEFROM", None)
    if spawn is None or not request.is_plain or not (uses_posix_spawn() and uses_vfork()):
        raise NotExpressible
    keep = tuple(request.keep)
    if request.close_fds and (keep or close_from is None):
        raise NotExpressible
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
        numbers = map(number_of_signal, _SIGNALS_TO_RESTORE)
        options["setsigdef"] = [number for number in numbers if number is not None]
    env: Any = None
    env = _our_environment() if request.env is None else dict(line.split(b"=", 1) for line in request.env)
    start = partial(spawn, **options)
    refused = errno.ENOENT  # a number: an exception that is kept keeps its frames, and with them the Popen
    for path in request.executables:
        try:
            request.started.extend(starmap(start, ((path, request.argv, env),)))
        except NotImplementedError:
            if request.started:
                raise  # a signal handler's
            raise NotExpressible from None  # no setsid in this C library
        except OSError as problem:
            if request.started:
                raise
            if refused in (errno.ENOENT, errno.ENOTDIR) and problem.errno is not None:
                refused = problem.errno
        else:
            return
    # Nobody tells the step. But exec finds processes without fault, and hardly ever lacks a right (it lacks access).
    if request.pgid >= 0 and refused in (errno.EPERM, errno.ESRCH):
        raise_report(b"OSError:%x:noexec:setpgid" % refused, request)
    # A descriptor that is not open is no fault of the program: it was to be moved before.
    phase = "before exec" if refused == errno.EBADF else "exec"
    raise with_phase(OSError(refused, os.strerror(refused), request.program), phase)


# -- fork and exec -------------------------------------------------------------------------------------------


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


def start_by_fork(request: StartRequest) -> None:
    """The third starter, which can do everything."""
    try:
        import signal
    except ImportError as problem:
        raise no_more_forks(request) from problem
    if not hasattr(os, "fork"):
        raise OSError(errno.ENOSYS, "this platform cannot start processes", request.program)
    from .._thread import _is_main_interpreter

    if not _is_main_interpreter():  # some interpreters fork all the same, and end the child at once
        raise RuntimeError(
            "a sub-interpreter cannot fork, and there is no other way here to start this: have the main interpreter start it"
        )
    restored = [getattr(signal, name) for name in _SIGNALS_TO_RESTORE if hasattr(signal, name)]
    everything = signal.valid_signals()
    env = None if request.env is None else dict(line.split(b"=", 1) for line in request.env)
    _refuse_before_fork(request)
    read_end, write_end = _open_error_pipe(request.opened)
    if not holding(no_fork, _fork, request, env, read_end, write_end, restored, everything):
        # Nobody else is kept waiting for what the child has to say: it may hang before, in a callback around the fork.
        read_in_time(read_end, _PID_WIDTH, request)
    await_exec(read_end, request)


def _fork(
    request: StartRequest, env: Any, read_end: int, write_end: int, restored: list[Any], everything: Any
) -> bool:
    """With `no_fork` held: fork the child; whether it had to be asked for its number, which it says first."""
    import signal

    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    outer = _in_flight.kept
    complaint: Warning | None = None
    pid = -1
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, everything)
        try:
            _in_flight.kept = (*outer, request.stdin, request.stdout, request.stderr, read_end, write_end)
            pid = os.fork()
        except Warning as warning:
            # The program turns warnings into errors, and some interpreters warn about fork in the parent
            # when the child is there already. What it warns of is what this function takes care of.
            complaint = warning
        if pid == 0:
            _become(request, env, write_end, restored, before)
        if pid > 0:
            request.started.append(pid)
            identify(request, pid)
        close(request.opened, (write_end,))
        if pid < 0:
            said = read_in_time(read_end, _PID_WIDTH, request)
            if complaint is not None and not said:
                raise complaint
            request.started.append(int(said))
            identify(request, int(said))
        return pid < 0
    finally:
        complaint = None  # or it and this frame would keep each other
        _in_flight.kept = outer
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
        forget_handlers(signal, getsignal)
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
