# SPDX-License-Identifier: MIT
"""Waiting for one child process."""

# A ProcessHandle is the only place in this package that asks the kernel about a child.
#
# The question of a child's end has three traps: the status can be taken only once; a pid is given to somebody
# else as soon as the status was taken; and whoever runs between "the kernel handed out the status" and "we
# wrote it down" (another thread, a signal handler of this thread) sees neither a child nor a status.
#
# Guarantees
#   - Only our own pid is ever waited for, never "any child": nobody else's status is taken.
#   - The order is peek, write down, take. Peeking (waitid with WNOWAIT) leaves the status where it is, so any
#     number of threads and any signal handler may peek at the same time and all write down the same number.
#     Only then is the zombie released. So "no such child" together with an empty `returncode` has one
#     meaning: a stranger took the status (os.wait(), SIGCHLD ignored). The standard library calls that
#     returncode 0, and so do we; `status_lost` tells the two apart.
#   - A wait sleeps in the kernel until the child ends or the time is up: poll() on a pidfd, or waitid().
#   - A signal goes through the pidfd, which means this process and never one that inherited its number.
#   - The pidfd is opened when the handle is made, while the pid cannot mean anyone else, and is closed as
#     soon as the child was taken, when nobody sleeps on it any more and nobody was given its number by
#     fileno().
#   - "No such child" and "no such process" are answers of the kernel. When a signal handler raises the like of it in that
#     moment, it is raised, and says nothing about the child (`is_from_handler` in _platform.py).
#   - "The time is up" is a result in here (`ended_within`). As an exception it could not be told from a TimeoutError that a
#     signal handler of the program raises meanwhile; only who calls `wait` gets it as one.
#
# A number that must mean nobody else although its process has ended, because it is that of a process group too, is kept:
# with `keeps_number` the status is written down but left with the kernel, until `give_number_back`, or the end of the
# handle, and so is the pidfd. (The number of a zombie is not given out again.) So it is where groups are all that there is:
# see _tree.py.
#
# Without pidfd (other kernels, PyPy, out of descriptors) the same order holds with waitid(P_PID); timed waits
# then look again after 0.5, 1, 2 ... at most 20 ms. Without waitid the status is taken by waitpid inside one
# C call that also stores it (list.extend over map), so that no signal handler can run in between, and a lock
# keeps other threads out.
#
# Where a bare number is used, and why it is the child's
#   - `_open`, `_give_out`: to open the pidfd. The number is the child's until its status is taken, which nobody has done
#     through this handle. If a stranger has, and the number was given out again, then the pidfd means a process that is
#     no child of ours, as a rule: each question through it says so (ECHILD), and each signal is preceded by such a question.
#   - `ProcessHandle(pid)`: the caller answers for it. What is found out about it is asked through the pidfd.
#   - `poll`, without a pidfd: a peek. Who takes the status through this handle has written it down before; nothing is
#     written down after the peek, so it was about the child.
#   - `_sleep_and_look`, without a pidfd: a peek that sleeps. Who borrows the descriptor, or the want of one, borrows the
#     number: the status is left with the kernel until the last of them has returned it (`_is_left`).
#   - `_peek_and_take`, `_take_at_once`, `_send`, without a pidfd: under the lock, and nothing is written down. `_send` opens
#     a pidfd for the occasion, if it can.
#   - `give_number_back`, `has_number`, without a pidfd: the status was left, by us, for this.
#   - SoleHandle: nobody else can take it; see below.
# In all of them a stranger who takes the status of any child (os.wait(), SIGCHLD ignored) makes the number free. Without
# a pidfd it may then mean another child of this process, or for a signal another process, once all other numbers were
# given out; nothing that such a system offers could tell them apart. Once there is a pidfd, no number is used.
#
# A child that only one thread knows of, until that thread has waited for it without a time limit (run()), needs less:
# nobody else can ask, and a stranger who takes the status ends the wait. So its `SoleHandle` takes the status in one C
# call that also stores it. If there are no pipes to be read before, it opens no pidfd either: between the start and the
# wait nothing sleeps, so nobody else can have got the number, unless all numbers were given out once in that moment. A
# wait that is interrupted makes of it a handle like the others.
#
# The lock is re-entrant, because a SIGCHLD handler may call poll() on the very handle it has interrupted. It is held around
# calls that do not sleep only, and is not kept by who leaves them by an exception (`holding` in _platform.py). It needs no
# reset after fork: a handle belongs to the process that made it, and in a child of that process every method refuses before
# it touches the lock.

from __future__ import annotations

import errno
import os
from itertools import chain, starmap
from time import monotonic, sleep

from ._in_flight import fork_generation
from ._platform import RLock, holding, is_from_handler, raise_if_from_handler, send_through_pidfd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "ProcessHandle",
    "SoleHandle",
    "deadline_after",
    "handle_of_new_child",
    "open_pidfd",
    "take_status",
]

# poll() takes milliseconds in a C int; a day at a time is far below that, and one wake-up a day costs
# nothing.
_LONGEST_POLL = 86400.0
_FIRST_PAUSE = 0.0005
_LONGEST_PAUSE = 0.02
_SIGKILL = 9
_LARGEST_NUMBER = 2**31 - 1

_pidfd_open: Any = getattr(os, "pidfd_open", None)
_waitid: Any = getattr(os, "waitid", None)
_P_PIDFD: Any = getattr(os, "P_PIDFD", None)
_P_PID: Any = getattr(os, "P_PID", None)
_TAKE: int = getattr(os, "WEXITED", 0) | getattr(os, "WNOHANG", 1)
_CLD_EXITED: int = getattr(os, "CLD_EXITED", 1)
_PEEK: int = getattr(os, "WEXITED", 0) | getattr(os, "WNOWAIT", 0)
_EXITED: int = getattr(os, "WEXITED", 0)
_WNOHANG: int = getattr(os, "WNOHANG", 1)

_pidfd_works: bool | None = None


def _probe_pidfd() -> bool:
    """Whether this kernel opens pidfds and waits for them. Asked about ourselves, until there is an answer."""
    global _pidfd_works
    if _pidfd_works is None:
        if None in (_pidfd_open, _waitid, _P_PIDFD, send_through_pidfd):
            _pidfd_works = False
            return False
        try:
            fd = _pidfd_open(os.getpid())
        except OSError as refusal:
            if refusal.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                return False  # this time; which says nothing about the kernel
            _pidfd_works = False
            return False
        try:
            send_through_pidfd(fd, 0)  # some filters of system calls know the one and not the other
            _waitid(_P_PIDFD, fd, _PEEK | _WNOHANG)
        except ChildProcessError:
            _pidfd_works = True  # it understood the question: we are not our own child
        except OSError as refusal:
            _raise_if_strange(refusal)
            _pidfd_works = False  # Linux 5.3 opens a pidfd but cannot wait for it
        finally:
            os.close(fd)
    return bool(_pidfd_works)


def open_pidfd(pid: int) -> int:
    """A descriptor that means the process *pid*, for ever; -1 where there is none to be had."""
    if _probe_pidfd():
        try:
            return _pidfd_open(pid)  # type: ignore[no-any-return]
        except OSError as refusal:
            _raise_if_strange(refusal)  # else: out of descriptors, or no such process
    return -1


def take_status(pid: int, fd: int) -> None:
    """Let the kernel forget the child *pid*, which has ended, if it is still there; *fd* is its pidfd, or -1."""
    try:
        if fd >= 0:
            _waitid(_P_PIDFD, fd, _TAKE)
        else:
            os.waitpid(pid, _WNOHANG)
    except ChildProcessError as refusal:
        raise_if_from_handler(
            refusal
        )  # else: taken already, before an interruption or by who waits for any child


def _raise_if_strange(refusal: OSError) -> None:
    """Raise *refusal* if the kernel cannot have said that: then it is the TimeoutError, say, of a signal handler."""
    if refusal.errno is None or isinstance(refusal, TimeoutError):
        raise refusal


def _sleep_until_readable(fd: int, seconds: float) -> None:
    import select

    bell = select.poll()
    bell.register(fd, select.POLLIN)
    bell.poll(seconds * 1000.0)


def deadline_after(timeout: float, name: str = "timeout") -> float:
    """The monotonic time *timeout* seconds from now; *name* is what the caller knows it by."""
    if timeout != timeout:  # a NaN, which no clock ever reaches
        raise ValueError(f"{name} must be a number of seconds, not {timeout!r}")
    try:
        return monotonic() + timeout
    except TypeError:
        raise TypeError(f"{name} must be a number of seconds, not {timeout!r}") from None
    except OverflowError:  # an integer that no float can hold
        return float("inf") if timeout > 0 else float("-inf")


def _check_number(pid: Any) -> None:
    """Raise for what can be the number of no process."""
    if not isinstance(pid, int) or isinstance(pid, bool):
        raise TypeError(f"pid is the number of a child process, such as os.fork() returns; not {pid!r}")
    if pid <= 0:
        raise ValueError(f"pid is the number of a child process, which is greater than 0; not {pid}")
    if pid > _LARGEST_NUMBER:
        raise ValueError(f"pid is the number of a child process; no process has the number {pid}")


def _lost_before(pid: int, fd: int) -> bool:
    """Whether there is no process *pid*: the status of this child was taken. Raises for what is no child of ours.

    *fd* is its pidfd, or -1.
    """
    if _waitid is None:
        return False
    try:
        _waitid(*((_P_PIDFD, fd) if fd >= 0 else (_P_PID, pid)), _PEEK | _WNOHANG)
    except ChildProcessError as refusal:
        raise_if_from_handler(refusal)
        try:
            os.kill(pid, 0)
        except ProcessLookupError as absence:
            raise_if_from_handler(absence)
            return True
        except PermissionError:
            pass
        raise ChildProcessError(
            errno.ECHILD,
            f"process {pid} is no child of this process, which can only wait for what it has started itself",
        ) from None
    return False


def handle_of_new_child(pid: int) -> ProcessHandle:
    """The handle of a child that was just started; nobody asks whether it is one."""
    handle = object.__new__(ProcessHandle)
    handle._begin(pid)
    return handle


class ProcessHandle:
    """A direct child of this process, to be waited for and signalled.

    Make it right after the child was started, before anything can take its status. Any number of threads may
    use one handle at the same time, and signal handlers too. `returncode` is `None` until `poll` or `wait`
    has seen the end, then the exit status, or -N if signal N ended the child. In a forked copy of this
    process every method that would have to ask the kernel raises RuntimeError: there the process is not a
    child.

    Raises ChildProcessError if *pid* is a process, but no child of this one; ValueError or TypeError if it cannot be a
    process. If there is no such process, somebody else must have taken the child's status (`os.wait()`, an ignored
    SIGCHLD): then, as when that happens later, `returncode` is 0 and `status_lost` is True. Without `os.waitid` none of
    this is found out before the first `poll` or `wait`, which take it all for a lost status.

    The standard library has no such class.
    """

    __slots__ = (
        "__weakref__",
        "_fd",
        "_generation",
        "_given_out",
        "_is_left",
        "_is_slept_on",
        "_lock",
        "_taken",
        "_users",
        "keeps_number",
        "kill_sent",
        "pid",
        "returncode",
        "status_lost",
    )

    def __init__(self, pid: int) -> None:
        _check_number(pid)
        self._begin(pid)
        if _lost_before(pid, self._fd):
            self._status_was_taken()

    def _begin(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        #: True if somebody else took the child's status, so that `returncode` is 0 for want of anything
        #: better.
        self.status_lost = False
        #: True once SIGKILL was to be sent through this handle, whether or not the child was there to get it.
        self.kill_sent = False
        #: Whether the number stays its own after the end; see above.
        self.keeps_number = False
        self._lock = RLock()
        self._generation = fork_generation()
        self._users = 0  # threads that may be asleep on _fd, or on the number
        self._given_out = False
        self._is_slept_on = False  # whether one of them may sleep on the number
        self._is_left = False  # whether the status was written down, and left with the kernel for their sake
        self._taken: list[Any] = []  # what the call that took the status returned
        self._fd = -1
        self._open()

    def _open(self) -> None:
        if _pidfd_works or (_pidfd_works is None and _probe_pidfd()):
            try:
                # One call opens and stores, so that no signal handler that raises can come in between.
                any(map(setattr, (self,), ("_fd",), map(os.pidfd_open, (self.pid,))))  # type: ignore[attr-defined,unused-ignore]
            except OSError as refusal:
                # Out of descriptors, or the child is gone already: the pid has to do.
                _raise_if_strange(refusal)

    def __repr__(self) -> str:
        state = "running" if self.returncode is None else f"returncode={self.returncode}"
        if self.status_lost:
            state = "its status was taken by somebody else"
        return f"<{type(self).__name__} pid={self.pid} {state}>"

    def __reduce__(self) -> Any:
        raise TypeError(
            f"cannot pickle {self!r}: only this process can wait for its child; send the pid instead"
        )

    def __del__(self) -> None:
        # Together with a Popen in a cycle this may be called although that one's __del__ has handed us to `abandoned`.
        fd, self._fd = getattr(self, "_fd", -1), -1
        if getattr(self, "keeps_number", False):
            self._take_what_was_kept(fd)
        elif getattr(self, "_is_left", False) and self.is_own_child:
            take_status(self.pid, fd)
        if fd >= 0:
            os.close(fd)

    @property
    def is_own_child(self) -> bool:
        """Whether the calling process is the one that made this handle."""
        return self._generation == fork_generation()

    def poll(self) -> int | None:
        """Look once, without blocking: the return code, or None while the child runs."""
        if self.returncode is None:
            if self._generation != fork_generation():
                self._refuse_in_forked_copy()
            # A peek needs no lock. Only when it shows an end is it worth going through the whole sequence.
            if _waitid is not None:
                fd = self._fd
                try:
                    if fd < 0:
                        found = _waitid(_P_PID, self.pid, _PEEK | _WNOHANG)
                    else:
                        found = _waitid(_P_PIDFD, fd, _PEEK | _WNOHANG)
                    # Without the lock another thread may have seen the end, and closed the pidfd. Its number is struck
                    # off before it is closed, and before it is put back there was a look that saw the child run.
                    if found is None and self._fd == fd and self.returncode is None:
                        return None
                except ChildProcessError as refusal:
                    raise_if_from_handler(refusal)  # else: taken; _look finds out by whom
                except OSError as refusal:
                    if self._fd == fd:
                        raise
                    _raise_if_strange(refusal)  # else: closed, as above
            holding(self._lock, self._look)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Block until the child has ended and return its return code.

        Raises the built-in TimeoutError when *timeout* seconds have passed; any size will do, `inf` included.
        Several threads may wait at once; all are woken. Waiting again returns the same code.
        """
        code = self.ended_within(timeout)
        if code is None:
            raise TimeoutError(f"process {self.pid} is still running after {timeout} seconds")
        return code

    def ended_within(self, timeout: float | None) -> int | None:
        """`wait`, but None when the time is up."""
        if self.returncode is not None:
            return self.returncode
        if timeout is None:
            while (code := self._sleep_and_look(None)) is None:
                pass
            return code
        deadline = deadline_after(timeout)
        code = self.poll()
        while code is None:
            remaining = deadline - monotonic()
            if remaining <= 0:
                return None
            code = self._sleep_and_look(remaining)
        return code

    def send_signal(self, sig: int) -> None:
        """Send a signal to the child; do nothing if it has ended.

        Never reaches another process that was given the same number later.
        """
        if sig == _SIGKILL:
            self.kill_sent = True
        if self.poll() is None:
            holding(self._lock, self._send, sig)

    def _send(self, sig: int) -> None:
        if self.returncode is not None:
            return
        if self._fd < 0 and self._send_through_a_new_one(sig):
            return
        try:
            if self._fd >= 0:
                send_through_pidfd(self._fd, sig)
            else:
                # Only we can take its status, and not while we hold the lock: the number is still the child's.
                os.kill(self.pid, sig)
        except ProcessLookupError as refusal:
            raise_if_from_handler(refusal)  # else: it ended in this moment

    def _send_through_a_new_one(self, sig: int) -> bool:
        """Send a signal through a pidfd made for it; False if there is none to be had."""
        fds: list[int] = []
        try:
            if _probe_pidfd():
                try:
                    fds.extend(map(_pidfd_open, (self.pid,)))
                    _waitid(_P_PIDFD, fds[0], _PEEK | _WNOHANG)
                except (ChildProcessError, ProcessLookupError) as refusal:
                    raise_if_from_handler(refusal)
                    return True  # a stranger took the status just now: this is no child of ours any more
                except OSError as refusal:
                    _raise_if_strange(refusal)
                else:
                    try:
                        send_through_pidfd(fds[0], sig)
                    except ProcessLookupError as refusal:
                        raise_if_from_handler(refusal)  # else: as above
                    return True
        finally:
            any(map(os.close, map(fds.pop, (-1,) * len(fds))))
        return False

    def fileno(self) -> int:
        """A descriptor that polls and selects readable once the child has ended. It is the handle's: do not
        close it.

        It stays open until `close`. Raises io.UnsupportedOperation where the kernel has no pidfd.
        """
        self._refuse_in_forked_copy()
        return holding(self._lock, self._give_out)  # type: ignore[no-any-return]

    def _give_out(self) -> int:
        if self._fd < 0:
            if not _probe_pidfd():
                import io

                raise io.UnsupportedOperation(f"{self!r} has no descriptor; use wait(timeout)")
            self._look()
            if self.returncode is None or self.keeps_number or self._is_left:
                # Was closed, or there was none left. The child is not taken, nor will be while we hold the lock: the
                # number is still its, or else a stranger has taken it, as the next look finds out.
                try:
                    any(map(setattr, (self,), ("_fd",), map(_pidfd_open, (self.pid,))))
                except ProcessLookupError as refusal:
                    raise_if_from_handler(refusal)
                self._look()
            if self._fd < 0:
                self._open_what_is_readable()
        self._given_out = True
        return self._fd

    def _open_what_is_readable(self) -> None:
        """For a child that has been taken, and its pidfd closed: the end of a pipe that nobody writes to."""
        ends: list[int] = []
        try:
            ends.extend(chain.from_iterable(starmap(os.pipe, ((),))))
            any(map(os.close, map(ends.pop, (-1,))))
            any(map(setattr, (self,), ("_fd",), map(ends.pop, (-1,))))
        finally:
            any(map(os.close, map(ends.pop, (-1,) * len(ends))))

    def close(self) -> None:
        """Give the descriptor back. Neither ends the child nor waits for it; the other methods still work."""
        if (
            not self.is_own_child
        ):  # a copy of the descriptor, and of a lock that may be held by a thread of the parent
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)
            return
        holding(self._lock, self._take_back)

    def _take_back(self) -> None:
        self._given_out = False
        if not self._users and self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _refuse_in_forked_copy(self) -> None:
        if not self.is_own_child:
            raise RuntimeError(
                f"{self!r} was started by the process that this one was forked from; only there can it be waited for"
            )

    def borrow_descriptor(self) -> int:
        """The pidfd, or -1, kept open until `return_descriptor`: for who sleeps on it among other things."""
        return holding(self._lock, self._borrow)  # type: ignore[no-any-return]

    def _borrow(self) -> int:
        self._users += 1
        if self._fd < 0:
            self._is_slept_on = True
        return self._fd

    def duplicate_descriptor(self) -> int:
        """A pidfd of the caller's own, to be closed by them; -1 where there is none."""
        return holding(self._lock, self._duplicate)  # type: ignore[no-any-return]

    def _duplicate(self) -> int:
        if self.returncode is not None or self._fd < 0:
            return -1
        try:
            return os.dup(self._fd)
        except OSError as refusal:
            _raise_if_strange(refusal)
            return -1  # out of descriptors: the caller looks at the child every now and then

    def has_number(self) -> bool:
        """Whether the number cannot mean anybody else: the child runs, or it was kept."""
        if self.poll() is None:
            return True
        if not self.keeps_number:
            return False
        fd = self.borrow_descriptor()
        try:
            who = self._named(fd)
            return _waitid(*who, _PEEK | _WNOHANG) is not None
        except ChildProcessError as refusal:
            raise_if_from_handler(refusal)
            return False  # a stranger took it, who waits for any child
        finally:
            self.return_descriptor()

    def give_number_back(self) -> None:
        """Take the status, if it was left for the sake of the number."""
        fd = self.borrow_descriptor()
        try:
            self._take_what_was_kept(fd)
        finally:
            self.return_descriptor()

    def _take_what_was_kept(self, fd: int) -> None:
        kept, self.keeps_number = self.keeps_number, False
        if kept and self.returncode is not None and self.is_own_child:
            take_status(self.pid, fd)

    def return_descriptor(self) -> None:
        """The counterpart of `borrow_descriptor`."""
        holding(self._lock, self._return)

    def _return(self) -> None:
        self._users -= 1
        if not self._users:
            self._is_slept_on = False
            if self._is_left:
                self._is_left = False
                if not self.keeps_number:
                    take_status(self.pid, self._fd)
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if (
            self.returncode is not None
            and not (self._users or self._given_out or self.keeps_number)
            and self._fd >= 0
        ):
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _look(self) -> None:
        """With the lock held: peek, write down, take."""
        if self.returncode is not None:
            return
        if _waitid is None:
            self._take_at_once()
            return
        self._users += 1  # a signal handler that looks too must not close the pidfd that we are looking at
        try:
            if not self._peek_and_take(*self._named(self._fd), _PEEK | _WNOHANG) and self.returncode is None:
                self._status_was_taken()
        finally:
            self._users -= 1
        self._close_if_unused()

    def _named(self, fd: int) -> tuple[Any, int]:
        """The child, in the terms of waitid: by *fd*, which is its pidfd or -1."""
        return (_P_PIDFD, fd) if fd >= 0 else (_P_PID, self.pid)

    def _peek_and_take(self, kind: int, number: int, how: int) -> bool:
        """Peek, write down, take; False if there is no such child (any more)."""
        try:
            found = _waitid(kind, number, how)
            if found is not None:
                # Others may be about to sleep on the number, which is kept for them: the last one takes the status.
                self._is_left = self._is_slept_on
                self.returncode = found.si_status if found.si_code == _CLD_EXITED else -found.si_status
                if not (self.keeps_number or self._is_left):
                    self._taken.extend(map(_waitid, (kind,), (number,), (_TAKE,)))
        except BaseException as problem:
            if type(problem) is ChildProcessError and not is_from_handler(problem):
                # A signal handler of this thread may have gone through the whole sequence meanwhile, or another thread;
                # else it was a stranger.
                return False
            # A signal handler raised: nobody looks again at what is written down.
            if self.returncode is not None and not (self.keeps_number or self._is_left or self._taken):
                take_status(self.pid, number if kind == _P_PIDFD else -1)
            raise
        return True

    def _take_at_once(self) -> None:
        self.keeps_number = False  # there is no peek
        try:
            self._taken.extend(map(os.waitpid, (self.pid,), (_WNOHANG,)))
        except ChildProcessError as refusal:
            raise_if_from_handler(refusal)
        for pid, status in self._taken:
            if pid == self.pid:
                self.returncode = os.waitstatus_to_exitcode(status)
                return
        if not self._taken:
            self._status_was_taken()
        self._taken.clear()

    def _status_was_taken(self) -> None:
        self.status_lost = True
        self.keeps_number = False
        self.returncode = 0

    def _sleep_and_look(self, timeout: float | None) -> int | None:
        """Sleep until the child has ended, or *timeout*, or for no reason; then look."""
        if self._generation != fork_generation():
            self._refuse_in_forked_copy()
        fd = self.borrow_descriptor()
        try:
            if self.returncode is not None:
                return self.returncode
            if timeout is None and _waitid is not None:
                try:
                    if fd < 0:
                        _waitid(_P_PID, self.pid, _PEEK)
                    elif self._peek_and_take(_P_PIDFD, fd, _PEEK):
                        # The pidfd is borrowed and means our child only: the whole sequence needs no lock.
                        return self.returncode
                except ChildProcessError as refusal:
                    raise_if_from_handler(refusal)  # else: taken meanwhile; _look finds out by whom
                except BlockingIOError:
                    if fd < 0 or os.get_blocking(fd):
                        raise  # a signal handler's
                    # Somebody who was given the descriptor, as some event loops do, has made it return at once.
                    _sleep_until_readable(fd, _LONGEST_POLL)
            elif fd >= 0 and timeout is not None:
                _sleep_until_readable(fd, min(timeout, _LONGEST_POLL))
            else:
                self._look_again_and_again(timeout)
            holding(self._lock, self._look)
        finally:
            self.return_descriptor()
        return self.returncode

    def _look_again_and_again(self, timeout: float | None) -> None:
        deadline = None if timeout is None else monotonic() + timeout
        pause = _FIRST_PAUSE
        while self.poll() is None:
            if deadline is not None:
                remaining = deadline - monotonic()
                if remaining <= 0:
                    return
                pause = min(pause, remaining)
            sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)


class SoleHandle(ProcessHandle):
    """The handle of a child that only the calling thread knows of, and waits for without a time limit: see above."""

    __slots__ = ("_last_words",)

    def __init__(self, pid: int, at_once: bool) -> None:
        """Without *at_once* the pidfd is opened only if the wait is interrupted."""
        self.pid = pid
        self.returncode = None
        self.status_lost = self.kill_sent = self.keeps_number = self._given_out = False
        self._is_slept_on = self._is_left = False
        self._lock = RLock()
        self._generation = fork_generation()
        self._users = 0
        self._taken = []
        self._last_words: list[Any] = []  # the status, as the kernel gave it
        self._fd = -1
        if at_once:
            self._open()

    def ended_within(self, timeout: float | None) -> int | None:
        """Block until the child has ended and return its return code; None when the time is up."""
        if self.returncode is not None:
            return self.returncode
        said = self._last_words
        if timeout is not None or said or self._generation != fork_generation():
            self._become_known()
            return super().ended_within(timeout)
        try:
            if self._fd < 0:
                said.extend(map(os.waitpid, (self.pid,), (0,)))
            else:
                said.extend(map(_waitid, (_P_PIDFD,), (self._fd,), (_EXITED,)))
        except ChildProcessError as refusal:
            raise_if_from_handler(refusal)
            self._status_was_taken()
        else:
            self._heed()
        if self._fd >= 0:
            self.__del__()
        return self.returncode

    def poll(self) -> int | None:
        """Look once, without blocking: the return code, or None while the child runs."""
        if self.returncode is None:
            self._become_known()
        return super().poll()

    def _heed(self) -> None:
        (found,) = self._last_words
        if len(found) == 2:
            self.returncode = os.waitstatus_to_exitcode(found[1])
        else:
            self.returncode = found.si_status if found.si_code == _CLD_EXITED else -found.si_status

    def _become_known(self) -> None:
        """After an interruption: heed what was taken, or open the pidfd and look whether it means our child."""
        if not self.is_own_child:
            self._refuse_in_forked_copy()
        holding(self._lock, self._take_over)

    def _take_over(self) -> None:
        if self._last_words:
            self._heed()
        elif self._fd < 0:
            self._open()
            self._look()
