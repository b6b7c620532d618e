# SPDX-License-Identifier: MIT
"""Waiting for one child process on Windows, and ending it."""

# A handle to a process object is what a pidfd is elsewhere: it means one process for ever, becomes signalled when that
# process ends, and keeps its exit code. So nothing has to be raced for here: any number of threads may look, the code
# cannot be taken away by anybody, and no number is ever given to somebody else as long as we hold the handle.
#
# What must hold
#   - The end is known from waiting, never from the exit code: 259 (STILL_ACTIVE) is a code like any other, and
#     a program may well end with it.
#   - The handle is closed once, by whoever holds the `Handle` last. Nobody closes it while another thread sleeps on it: a
#     sleeper holds this object.
#   - A wait must let Ctrl-C in. WaitForSingleObject does not. WaitForMultipleObjects, as the interpreter offers it, waits
#     for its own Ctrl-C event as well when the main thread calls it, and reports that as EINTR; the handler runs when
#     we are back in Python code, and if it does not raise we sleep on.
#
# TerminateProcess answers "access denied" for a process that is about to end, or has ended. That is no error for who
# wanted it to end; for a process that goes on running it is.

from __future__ import annotations

import errno
import os
from time import monotonic

from ._handle import ProcessHandle, deadline_after
from ._in_flight import fork_generation
from ._platform import RLock, winapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from ._job import Job

    About = TypeVar("About")
    Result = TypeVar("Result")

__all__ = ["Handle", "WindowsProcessHandle", "end_tree", "terminate"]

# From Microsoft's documentation of the calls.
_WAIT_TIMEOUT = 0x102
_SYNCHRONIZE = 0x10_0000
_PROCESS_TERMINATE = 0x1
_PROCESS_QUERY_LIMITED_INFORMATION = 0x1000
_CTRL_EVENTS = (0, 1)  # signal.CTRL_C_EVENT, signal.CTRL_BREAK_EVENT
_CTRL_BREAK = 1
_TERMINATING = (9, 15)  # the numbers that SIGKILL and SIGTERM have everywhere; here both mean the same
_TERMINATED = 1  # the exit code of who was terminated

# A wait takes milliseconds in 32 bits, whose highest value means "for ever"; a day at a time is far below.
_LONGEST_WAIT = 86_400.0
_END_SECONDS = 5.0
#: How long a process that can no longer be terminated may take to end by itself. A guess.
_ENDING_SECONDS = 0.25


class Handle(int):
    """The number of a kernel handle, which belongs to this object: closed once, at the latest when the object goes."""

    owned = True

    def Close(self) -> None:  # noqa: N802 - the names that the standard module's handles have
        """Close the handle. Does nothing the second time, or if it was detached."""
        if self.owned:
            self.owned = False
            winapi.CloseHandle(int(self))

    def Detach(self) -> int:  # noqa: N802
        """The bare number, which is the caller's to close from now on."""
        if not self.owned:
            raise ValueError(f"{self!r} was closed or detached already")
        self.owned = False
        return int(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({int(self)})"

    def __del__(self) -> None:
        self.Close()


def terminate(kernel: int) -> bool:
    """End a process; False if that was denied, because it is ending or because it is not ours to end."""
    try:
        winapi.TerminateProcess(kernel, _TERMINATED)
    except PermissionError:
        return False
    return True


class WindowsProcessHandle(ProcessHandle):
    """A process, to be waited for and ended. `ProcessHandle(pid)` opens any process that may be opened.

    Any number of threads may use one handle at the same time, and signal handlers too. `returncode` is `None`
    until `poll` or `wait` has seen the end. `int()` of it is the kernel's handle, for functions of Windows; it is
    closed when this object goes.

    The standard library has no such class.
    """

    __slots__ = ("job", "kernel")

    def __init__(self, pid: int, kernel: Handle | None = None, job: Job | None = None) -> None:
        self._fd = -1
        self.pid = pid
        self.returncode = None
        self.status_lost = False
        self.kill_sent = self.keeps_number = False
        self._lock = RLock()
        self._generation = fork_generation()
        if kernel is None:
            access = _SYNCHRONIZE | _PROCESS_TERMINATE | _PROCESS_QUERY_LIMITED_INFORMATION
            (kernel,) = map(Handle, map(winapi.OpenProcess, (access,), (False,), (pid,)))
        self.kernel = kernel
        #: What holds the tree together that kill_tree() ends; None if the child was not started for that.
        self.job = job

    def __del__(self) -> None:
        pass  # there is no descriptor; the handle and the job take care of themselves

    def __int__(self) -> int:
        return int(self.kernel)

    __index__ = __int__

    def poll(self) -> int | None:
        """Look once, without blocking: the return code, or None while the process runs."""
        if self.returncode is None and self.kernel.owned and self._sleep(0.0):
            self.returncode = winapi.GetExitCodeProcess(int(self.kernel))
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Block until the process has ended and return its exit code.

        Raises the built-in TimeoutError when *timeout* seconds have passed; any size will do, `inf` included.
        Several threads may wait at once; all are woken. Ctrl-C interrupts it, which it does not in the standard
        module.
        """
        code = self.ended_within(timeout)
        if code is None:
            raise TimeoutError(f"process {self.pid} is still running after {timeout} seconds")
        return code

    def ended_within(self, timeout: float | None) -> int | None:
        """`wait`, but None when the time is up."""
        deadline = None if timeout is None else deadline_after(timeout)
        while (code := self.poll()) is None:
            left = _LONGEST_WAIT if deadline is None else deadline - monotonic()
            if left <= 0:
                return None
            self._sleep(min(left, _LONGEST_WAIT))
        return code

    def _sleep(self, seconds: float) -> bool:
        """Sleep until the process has ended, *seconds* have passed, or Ctrl-C; whether it has ended."""
        if (
            not self.kernel.owned
        ):  # the caller has, or the garbage collector, at the end of a cycle that we are part of
            raise ValueError(f"the handle of {self!r} was closed or detached")
        # Rounded up: who sleeps a little less than what is left would go round in circles for the rest.
        milliseconds = int(seconds * 1000.0) + (seconds > 0)
        try:
            return bool(
                winapi.WaitForMultipleObjects([int(self.kernel)], False, milliseconds) != _WAIT_TIMEOUT
            )
        except OSError as problem:
            if problem.errno != errno.EINTR:
                raise
            return False

    def send_signal(self, sig: int) -> None:
        """End the process (SIGTERM, or 9), or send it `signal.CTRL_C_EVENT` or `signal.CTRL_BREAK_EVENT`.

        Does nothing if it has ended. The two events reach only processes of this console, which were started with
        CREATE_NEW_PROCESS_GROUP. Any other signal is a ValueError: Windows has no more.
        """
        if sig not in _TERMINATING and sig not in _CTRL_EVENTS:
            raise ValueError(
                f"Windows cannot send signal {sig}: use SIGTERM, signal.CTRL_C_EVENT or signal.CTRL_BREAK_EVENT"
            )
        if sig in _TERMINATING:
            self.kill_sent = True
        if self.poll() is not None:
            return
        if sig in _CTRL_EVENTS:
            os.kill(self.pid, sig)
            return
        if not self.kernel.owned:
            raise ValueError(f"the handle of {self!r} was closed or detached")
        if not terminate(int(self.kernel)):
            if not self._sleep(_ENDING_SECONDS):
                raise PermissionError(
                    errno.EACCES, f"not allowed to end process {self.pid}, which still runs"
                )
            self.poll()

    def fileno(self) -> int:
        """Raises io.UnsupportedOperation: Windows waits for handles, not for descriptors."""
        import io

        raise io.UnsupportedOperation(
            f"{self!r} has no descriptor; use wait(timeout), or int() for its handle"
        )

    def close(self) -> None:
        """Does nothing: the handle is what this object is made of, and goes with it."""

    def lend(self, step: Callable[[int, About], Result], about: About) -> Result:
        """`step(-1, about)`: there is no descriptor."""
        return step(-1, about)

    def duplicate_descriptor(self, copies: list[int]) -> int:  # noqa: ARG002
        """There is none: -1."""
        return -1


def end_tree(root: ProcessHandle, grace: float) -> None:
    """End the job that *root* was started in; return when it is empty.

    With *grace*, the child's console group is sent CTRL_BREAK_EVENT first and has that many seconds, provided that it
    has a group of its own; there is no other way to ask. Built-in TimeoutError if Windows does not let one go.
    """
    assert isinstance(root, WindowsProcessHandle)
    if root.job is None:
        raise ValueError(
            f"{root!r} was not started to be ended with its descendants: "
            "pass mark_tree=True to Popen, or kill_tree=True to run()"
        )
    if grace > 0 and root.job.leads_a_group and root.poll() is None:
        root.send_signal(_CTRL_BREAK)
        _until(root.job.is_empty, grace)
    root.kill_sent = True
    root.job.end()
    if not _until(root.job.is_empty, _END_SECONDS):
        raise TimeoutError(f"killed, but not gone: {root!r} or what it has started")
    root.wait(_END_SECONDS)


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    """Look at growing intervals, for a job tells of its end to a completion port only."""
    from time import sleep

    deadline = deadline_after(seconds)
    pause = 0.0005
    while not condition():
        if monotonic() >= deadline:
            return False
        sleep(pause)
        pause = min(pause * 2, 0.02)
    return True
