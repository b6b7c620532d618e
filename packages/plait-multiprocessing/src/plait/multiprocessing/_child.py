# SPDX-License-Identifier: MIT
# One started child, as its parent sees it: the process handle and the descriptors between the two.
#
#   sentinel   selects readable when the child has ended. The pidfd of the handle where the kernel has one; otherwise
#              the read end of a pipe whose write end only the child holds.
#   watch      what the child gets to see the end of its *parent*: a pidfd of the parent, made by the parent itself
#              before the start, so that no recycled pid can be meant; otherwise the read end of the lifeline.
#   lifeline   a pipe whose write end only the parent holds. A daemonic child asks the kernel to send it SIGTERM (the
#              signal that `terminate` sends) as soon as that end is closed, which SIGKILL of the parent does as well:
#              F_SETOWN + F_SETSIG + O_ASYNC on its read end. No thread watches, and none has to be scheduled.
#              Every child has a pipe of its own: owner and signal belong to the open file, not to the descriptor.
#
# Starts are serialised by `_starting`, so that no child is forked between another's pipes and the moment in which
# these know (ParentEnd) that a forked child has to close them. A fork by somebody else in that instant is not covered:
# the sibling then keeps a write end, and the daemon ends when parent and sibling are both gone.

from __future__ import annotations

import os
import select
import signal
import sys

from .._thread import RLock, register_after_fork, reset_lock
from ..subprocess import ProcessHandle
from . import _inherit, _platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .process import BaseProcess

__all__ = ["Child", "Ties", "end_with_parent"]


class _StartLock:
    __slots__ = ("__weakref__", "lock")

    def __init__(self) -> None:
        self.lock = RLock()
        register_after_fork(self, lambda self: reset_lock(self.lock))


_starting = _StartLock()


class Ties:
    """The descriptors that connect a parent with the child it is about to start."""

    def __init__(self, daemon: bool) -> None:
        self.ends: list[_inherit.ParentEnd] = []  # ours for good
        self.given: list[int] = []  # the child's; closed here after the start
        self.sentinel: _inherit.ParentEnd | None = None
        self.alive = -1  # the child holds this one as long as it lives
        self.lifeline = -1
        self.watch = -1
        try:
            self._open(daemon)
        except BaseException:
            self.abandon()
            raise

    def _open(self, daemon: bool) -> None:
        pidfd = _platform.own_pidfd()
        if pidfd is not None:
            self.given.append(pidfd)
        else:
            reading, self.alive = os.pipe()
            self.sentinel = _inherit.ParentEnd(reading)
            self.given.append(self.alive)
        if daemon or pidfd is None:
            self.lifeline, writing = os.pipe()
            self.ends.append(_inherit.ParentEnd(writing))
            self.given.append(self.lifeline)
        self.watch = self.lifeline if pidfd is None else pidfd

    def started(self) -> None:
        """Close the child's descriptors in the parent."""
        while self.given:
            os.close(self.given.pop())

    def abandon(self) -> None:
        """Close everything; there will be no child."""
        self.started()
        for end in self.ends:
            end.close()
        if self.sentinel is not None:
            self.sentinel.close()


def end_with_parent(lifeline: int) -> None:
    """In a daemonic child: be sent SIGTERM when the parent, who alone holds the other end, is gone."""
    import fcntl

    set_signal = getattr(fcntl, "F_SETSIG", None)
    asynchronous = getattr(os, "O_ASYNC", getattr(fcntl, "FASYNC", None))
    if set_signal is None or asynchronous is None:
        return  # not Linux: the parent's own exit still ends its daemons, its SIGKILL does not
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, set_signal, signal.SIGTERM)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | asynchronous)
    # It may have died before the kernel knew whom to tell.
    poller = select.poll()
    poller.register(lifeline, select.POLLIN)
    if poller.poll(0):
        os.kill(os.getpid(), signal.SIGTERM)


class Child:
    """A started child of this process. The base of the two start methods; `_popen` of a Process is one of these."""

    method = ""
    _seems_gone = False
    _starter: Any = None  # the Popen, which complains if it is dropped while its child runs

    def __init__(self, process: BaseProcess) -> None:
        with _starting.lock:
            ties = Ties(bool(process.daemon))
            try:
                handle = self._launch(process, ties)
            except BaseException:
                ties.abandon()
                raise
            ties.started()
        self._adopt(handle, ties)

    def _launch(self, process: BaseProcess, ties: Ties) -> ProcessHandle:
        raise NotImplementedError

    def _adopt(self, handle: ProcessHandle, ties: Ties) -> None:
        self._handle = handle
        self.pid = handle.pid
        self._ends = ties.ends
        self._sentinel = ties.sentinel

    @property
    def sentinel(self) -> int:
        """A descriptor that selects readable once the child has ended."""
        if self._sentinel is not None:
            return self._sentinel.fileno()
        return self._handle.fileno()

    @property
    def returncode(self) -> int | None:
        """The exit code, or minus the signal's number, or None while it was not seen to end."""
        return self._handle.returncode

    def poll(self) -> int | None:
        """The exit code if the child has ended, without waiting."""
        code = self._handle.poll()
        if code is None and self._sentinel is not None and not self._seems_gone:
            # The kernel closes the files of a process before it is a zombie: whoever saw the sentinel is a little early.
            poller = select.poll()
            poller.register(self._sentinel.fileno(), select.POLLIN)
            if poller.poll(0):
                self._seems_gone = True  # or it has closed all its files, and lives
                return self.wait(0.5)
        return code

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end of the child; None if it did not come within *timeout* seconds."""
        try:
            return self._handle.wait(timeout)
        except TimeoutError:
            return None

    def send_signal(self, number: int) -> None:
        """Send a signal, if the child has not ended; never to a process that got its pid after it."""
        self._handle.send_signal(number)

    def close(self) -> None:
        """Give the descriptors back."""
        self._handle.close()
        for end in self._ends:
            end.close()
        if self._sentinel is not None:
            self._sentinel.close()


def flush_standard_streams() -> None:
    """Before a fork and before an exit without clean-up: what is buffered now would come twice, or never."""
    for stream in (sys.stdout, sys.stderr):
        flush: Any = getattr(stream, "flush", None)
        if flush is not None:
            try:
                flush()
            except (OSError, ValueError):
                pass  # a closed stream or one whose reader is gone has nothing for us to lose


class ForkedChild(Child):
    """A copy of this process that runs the Process object and nothing else."""

    method = "fork"

    def _launch(self, process: BaseProcess, ties: Ties) -> ProcessHandle:
        flush_standard_streams()
        pid = os.fork()
        if pid:
            return ProcessHandle(pid)
        code = 1
        try:
            for end in (*ties.ends, ties.sentinel):
                if end is not None:
                    end.close()
            if ties.alive >= 0:
                _keep_to_ourselves(ties.alive)
            if process.daemon:
                end_with_parent(ties.lifeline)
            code = process._bootstrap(ties.watch, "fork")
        finally:
            flush_standard_streams()
            os._exit(code)


_kept: list[_inherit.ParentEnd] = []


def _keep_to_ourselves(fd: int) -> None:
    """In a child: hold *fd* until the process ends, and keep it from our own children."""
    os.set_inheritable(fd, False)
    _kept.append(_inherit.ParentEnd(fd))


class SpawnedChild(Child):
    """A fresh interpreter that unpickles the Process object and runs it."""

    method = "spawn"

    def _launch(self, process: BaseProcess, ties: Ties) -> ProcessHandle:
        from . import spawn

        self._starter = spawn.launch(process, ties)
        handle: ProcessHandle = self._starter.handle
        return handle
