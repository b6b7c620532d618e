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
#   - Nobody can keep what is lent to those who sleep: a loan is a call (`lend`). It is written down in one step, by a name
#     that is known before, and struck off by that name however the call is left; striking off again does nothing. So it is
#     done once more if a signal handler raises in the middle of it, and what was to be done with the last loan (taking a
#     status that was left, closing the pidfd) is taken up where it was left off.
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
# The ways of asking, and which of them there are, are in _kernel.py. Without pidfd (other kernels, PyPy, out of
# descriptors) the same order holds with waitid(P_PID); timed waits then look again after 0.5, 1, 2 ... at most 20 ms.
# Without waitid (or under a filter that refuses it) the status is taken by waitpid inside one
# C call that also stores it (list.extend over map), so that no signal handler can run in between, and a lock
# keeps other threads out.
#
# Where a bare number is used, and why it is the child's
#   - `open_pidfd`, `_give_out`: to open the pidfd. The number is the child's until its status is taken, which nobody has
#     done through this handle. If a stranger has, and the number was given out again, then the pidfd means a process that is
#     no child of ours, as a rule: each question through it says so (ECHILD), and each signal is preceded by such a question.
#   - `ProcessHandle(pid)`: the caller answers for it. What is found out about it is asked through the pidfd.
#   - `poll`, without a pidfd: a peek. Who takes the status through this handle has written it down before; nothing is
#     written down after the peek, so it was about the child.
#   - `_sleep_and_look`, without a pidfd: a peek that sleeps. Who is lent the descriptor, or the want of one, is lent the
#     number: the status is left with the kernel until the last loan is over (`_is_left`).
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

import os
from itertools import chain, starmap
from time import monotonic, sleep

from . import _kernel
from ._in_flight import fork_generation
from ._kernel import (
    CLD_EXITED,
    EXITED,
    LONGEST_POLL,
    P_PID,
    P_PIDFD,
    PEEK,
    PEEK_AT_ONCE,
    TAKE,
    WNOHANG,
    check_number,
    is_lost,
    is_refused,
    open_pidfd,
    probe_pidfd,
    raise_if_strange,
    sleep_until_readable,
    take_status,
)
from ._platform import RLock, holding, is_from_handler, raise_if_from_handler, send_through_pidfd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    About = TypeVar("About")
    Result = TypeVar("Result")

__all__ = [
    "ProcessHandle",
    "SoleHandle",
    "deadline_after",
    "handle_of_new_child",
]

_FIRST_PAUSE = 0.0005
_LONGEST_PAUSE = 0.02
_SIGKILL = 9


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
    SIGCHLD): then, as when that happens later, `returncode` is 0 and `status_lost` is True. Without `os.waitid`, or where
    a filter of system calls (seccomp) refuses it, none of this is found out before the first `poll` or `wait`, which take
    it all for a lost status.

    The standard library has no such class.
    """

    __slots__ = (
        "__weakref__",
        "_fd",
        "_generation",
        "_given_out",
        "_is_left",
        "_is_slept_on",
        "_loans",
        "_lock",
        "_looks",
        "_taken",
        "keeps_number",
        "kill_sent",
        "pid",
        "returncode",
        "status_lost",
    )

    def __init__(self, pid: int) -> None:
        check_number(pid)
        self._begin(pid)
        if is_lost(pid, self._fd):
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
        self._loans: dict[object, None] = {}  # of those who may be asleep on _fd, or on the number
        self._looks = 0  # with the lock held, one in the other
        self._given_out = False
        self._is_slept_on = False  # whether one of them may sleep on the number
        self._is_left = False  # whether the status was written down, and left with the kernel for their sake
        self._taken: list[Any] = []  # what the call that took the status returned
        self._fd = -1
        open_pidfd(self, "_fd", pid)

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
            take_status(self.pid, fd, self._taken)
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
            if (waitid := _kernel.waitid) is not None:
                fd = self._fd
                try:
                    found = (
                        waitid(P_PID, self.pid, PEEK_AT_ONCE) if fd < 0 else waitid(P_PIDFD, fd, PEEK_AT_ONCE)
                    )
                    # Without the lock another thread may have seen the end, and closed the pidfd. Its number is struck
                    # off before it is closed, and before it is put back there was a look that saw the child run.
                    if found is None and self._fd == fd and self.returncode is None:
                        return None
                except ChildProcessError as refusal:
                    raise_if_from_handler(refusal)  # else: taken; _look finds out by whom
                except OSError as refusal:
                    if not is_refused(refusal):
                        if self._fd == fd:
                            raise
                        raise_if_strange(refusal)  # else: closed, as above
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
            while (code := self.lend(self._sleep_and_look, None)) is None:
                pass
            return code
        deadline = deadline_after(timeout)
        code = self.poll()
        while code is None:
            remaining = deadline - monotonic()
            if remaining <= 0:
                return None
            code = self.lend(self._sleep_and_look, remaining)
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
            if probe_pidfd() and (waitid := _kernel.waitid) is not None:
                try:
                    fds.extend(map(_kernel.pidfd_open, (self.pid,)))
                    waitid(P_PIDFD, fds[0], PEEK_AT_ONCE)
                except (ChildProcessError, ProcessLookupError) as refusal:
                    raise_if_from_handler(refusal)
                    return True  # a stranger took the status just now: this is no child of ours any more
                except OSError as refusal:
                    raise_if_strange(refusal)
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
            if not probe_pidfd():
                import io

                raise io.UnsupportedOperation(f"{self!r} has no descriptor; use wait(timeout)")
            self._look()
            if self.returncode is None or self.keeps_number or self._is_left:
                # Was closed, or there was none left. The child is not taken, nor will be while we hold the lock: the
                # number is still its, or else a stranger has taken it, as the next look finds out.
                try:
                    any(map(setattr, (self,), ("_fd",), map(_kernel.pidfd_open, (self.pid,))))
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
        if not (self._loans or self._looks) and self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _refuse_in_forked_copy(self) -> None:
        if not self.is_own_child:
            raise RuntimeError(
                f"{self!r} was started by the process that this one was forked from; only there can it be waited for"
            )

    def lend(self, step: Callable[[int, About], Result], about: About) -> Result:
        """`step(fd, about)`; *fd* is the pidfd, or -1, and stays open meanwhile: for who sleeps on it.

        A loan ends with the call, whatever a signal handler raises. Without a pidfd it is the number that is lent: it means
        nobody else meanwhile. In a forked copy of this process *fd* is -1.
        """
        if self._generation != fork_generation():
            return step(-1, about)  # the lock may be held for ever: by a thread that is not in this process
        loan = object()
        try:
            result = step(holding(self._lock, self._borrow, loan), about)
        finally:
            try:
                if self._generation == fork_generation():  # else: forked meanwhile, and this is the copy
                    holding(self._lock, self._give_back, loan)
            except BaseException:  # once more, should a signal handler have raised in there
                if self._generation == fork_generation():
                    holding(self._lock, self._give_back, loan)
                raise
        return result

    def _borrow(self, loan: object) -> int:
        self._loans[loan] = None
        if self._fd < 0:
            self._is_slept_on = True
        return self._fd

    def _give_back(self, loan: object) -> None:
        """May be called again, and without there being such a loan."""
        self._loans.pop(loan, None)
        if not self._loans:
            self._is_slept_on = False
            if self._is_left:
                if not self.keeps_number:
                    take_status(self.pid, self._fd, self._taken)
                self._is_left = False
        if self.returncode is not None:
            self._close_if_unused()

    def _close_if_unused(self) -> None:
        if (
            self.returncode is not None
            and not (self._loans or self._looks or self._given_out or self.keeps_number)
            and self._fd >= 0
        ):
            fd, self._fd = self._fd, -1
            os.close(fd)

    def duplicate_descriptor(self, copies: list[int]) -> int:
        """A pidfd of the caller's own, which is put into *copies* to be closed by them; -1 where there is none."""
        if self._generation != fork_generation():
            return -1
        return holding(self._lock, self._duplicate, copies)  # type: ignore[no-any-return]

    def _duplicate(self, copies: list[int]) -> int:
        if self.returncode is not None or self._fd < 0:
            return -1
        try:
            copies.extend(map(os.dup, (self._fd,)))
        except OSError as refusal:
            raise_if_strange(refusal)
            return -1  # out of descriptors: the caller looks at the child every now and then
        return copies[-1]

    def has_number(self) -> bool:
        """Whether the number cannot mean anybody else: the child runs, or it was kept."""
        if self.poll() is None:
            return True
        return self.keeps_number and self.lend(self._is_there, None)

    def _is_there(self, fd: int, _about: None) -> bool:
        waitid = _kernel.waitid
        try:
            # Without waitid, what we have left there is there, unless a stranger waits for any child.
            return waitid is None or waitid(*self._named(fd), PEEK_AT_ONCE) is not None
        except ChildProcessError as refusal:
            raise_if_from_handler(refusal)
            return False  # a stranger took it, who waits for any child
        except OSError as refusal:
            if not is_refused(refusal):
                raise
            return True

    def give_number_back(self) -> None:
        """Take the status, if it was left for the sake of the number."""
        self.lend(self._take_what_was_kept, None)

    def _take_what_was_kept(self, fd: int, _about: None = None) -> None:
        if self.keeps_number and self.returncode is not None and self.is_own_child:
            take_status(self.pid, fd, self._taken)
        self.keeps_number = False

    def _look(self) -> None:
        """With the lock held: peek, write down, take."""
        if self.returncode is not None:
            return
        self._looks += 1  # a signal handler that looks too must not close the pidfd that we are looking at
        try:
            if not self._peek_and_take(*self._named(self._fd), PEEK_AT_ONCE) and self.returncode is None:
                if _kernel.waitid is None:
                    self._take_at_once()
                else:
                    self._status_was_taken()
        finally:
            self._looks -= 1
            try:
                self._close_if_unused()
            except BaseException:  # once more; nobody looks again
                self._close_if_unused()
                raise

    def _named(self, fd: int) -> tuple[Any, int]:
        """The child, in the terms of waitid: by *fd*, which is its pidfd or -1."""
        return (P_PIDFD, fd) if fd >= 0 else (P_PID, self.pid)

    def _peek_and_take(self, kind: int, number: int, how: int) -> bool:
        """Peek, write down, take; False if there is no such child (any more), or no waitid."""
        waitid = _kernel.waitid
        if waitid is None:
            return False
        try:
            found = waitid(kind, number, how)
            if found is not None:
                # Others may be about to sleep on the number, which is kept for them: the last one takes the status.
                self._is_left = self._is_slept_on
                self.returncode = found.si_status if found.si_code == CLD_EXITED else -found.si_status
                if not (self.keeps_number or self._is_left):
                    # (Or refused by now, in another thread. Then this is refused, too, and heeded below.)
                    self._taken.extend(map(_kernel.waitid or waitid, (kind,), (number,), (TAKE,)))
        except BaseException as problem:
            if type(problem) is ChildProcessError and not is_from_handler(problem):
                # A signal handler of this thread may have gone through the whole sequence meanwhile, or another thread;
                # else it was a stranger.
                return False
            # Refused, or a signal handler raised: nobody looks again at what is written down.
            if self.returncode is not None and not (self.keeps_number or self._is_left or self.status_lost):
                take_status(self.pid, number if kind == P_PIDFD else -1, self._taken)
            if is_refused(problem):
                return False
            raise
        return True

    def _take_at_once(self) -> None:
        self.keeps_number = False  # there is no peek
        if self._heed_what_was_taken():  # before an interruption
            return
        try:
            self._taken.extend(map(os.waitpid, (self.pid,), (WNOHANG,)))
        except ChildProcessError as refusal:
            raise_if_from_handler(refusal)
        if self._heed_what_was_taken():
            return
        if not self._taken:
            self._status_was_taken()
        self._taken.clear()

    def _heed_what_was_taken(self) -> bool:
        for pid, status in self._taken:
            if pid == self.pid:
                self.returncode = os.waitstatus_to_exitcode(status)
                return True
        return False

    def _status_was_taken(self) -> None:
        self.status_lost = True
        self.keeps_number = False
        self.returncode = 0

    def _sleep_and_look(self, fd: int, timeout: float | None) -> int | None:
        """Sleep until the child has ended, or *timeout*, or for no reason; then look. *fd* is lent."""
        if self._generation != fork_generation():
            self._refuse_in_forked_copy()
        if self.returncode is not None:
            return self.returncode
        if timeout is None and (waitid := _kernel.waitid) is not None:
            try:
                if fd < 0:
                    waitid(P_PID, self.pid, PEEK)
                elif self._peek_and_take(P_PIDFD, fd, PEEK):
                    # The pidfd is lent and means our child only: the whole sequence needs no lock.
                    return self.returncode
            except ChildProcessError as refusal:
                raise_if_from_handler(refusal)  # else: taken meanwhile; _look finds out by whom
            except BlockingIOError:
                if fd < 0 or os.get_blocking(fd):
                    raise  # a signal handler's
                # Somebody who was given the descriptor, as some event loops do, has made it return at once.
                sleep_until_readable(fd, LONGEST_POLL)
            except OSError as refusal:
                if not is_refused(refusal):
                    raise
        elif fd >= 0:
            sleep_until_readable(fd, LONGEST_POLL if timeout is None else timeout)
        else:
            self._look_again_and_again(timeout)
        holding(self._lock, self._look)
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
        self._loans = {}
        self._looks = 0
        self._taken = []
        self._last_words: list[Any] = []  # the status, as the kernel gave it
        self._fd = -1
        if at_once:
            open_pidfd(self, "_fd", pid)

    def ended_within(self, timeout: float | None) -> int | None:
        """Block until the child has ended and return its return code; None when the time is up."""
        if self.returncode is not None:
            return self.returncode
        said = self._last_words
        if timeout is not None or said or self._generation != fork_generation():
            self._become_known()
            return super().ended_within(timeout)
        try:
            if self._fd < 0 or (waitid := _kernel.waitid) is None:
                said.extend(map(os.waitpid, (self.pid,), (0,)))
            else:
                said.extend(map(waitid, (P_PIDFD,), (self._fd,), (EXITED,)))
        except ChildProcessError as refusal:
            raise_if_from_handler(refusal)
            self._status_was_taken()
        except OSError as refusal:
            if not is_refused(refusal):
                raise
            return self.ended_within(None)
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
            self.returncode = found.si_status if found.si_code == CLD_EXITED else -found.si_status

    def _become_known(self) -> None:
        """After an interruption: heed what was taken, or open the pidfd and look whether it means our child."""
        if not self.is_own_child:
            self._refuse_in_forked_copy()
        holding(self._lock, self._take_over)

    def _take_over(self) -> None:
        if self._last_words:
            self._heed()
        elif self._fd < 0:
            open_pidfd(self, "_fd", self.pid)
            self._look()
