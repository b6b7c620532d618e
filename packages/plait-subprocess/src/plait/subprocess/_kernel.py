# SPDX-License-Identifier: MIT
"""Asking the kernel about one process: by a pidfd, by waitid, by waitpid, whichever is to be had."""

# Three ways. Each is for where the one before is missing:
#
#   pidfd    means one process for ever. poll() sleeps on it, waitid() looks through it, signals go through it.
#   waitid   by number. It can look without taking the status, and sleep until there is one.
#   waitpid  by number. It takes the status as soon as it sees it, and cannot sleep with a time limit.
#
# Which of them there are is found out by asking about ourselves: we are not our own child, and who has understood the
# question says so.
#
# A filter of system calls (seccomp, as sandboxes have it) may refuse waitid, from the beginning or from the moment in which
# the program puts itself under it. The kernel itself answers none of `_REFUSALS` to what is asked here. So whoever has got
# one asks `is_refused`, which strikes the first two ways off, and goes on by the third. A handle that has a pidfd by then
# still sleeps on it. A filter for one thread only costs the others the better ways, and nothing else.
#
# Who owns what. A new descriptor is stored by the same call into the interpreter that opens it, and so is a status that was
# taken: a signal handler that raises comes before both or after both.

from __future__ import annotations

import errno
import os

from ._platform import is_from_handler, raise_if_from_handler, send_through_pidfd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "CLD_EXITED",
    "EXITED",
    "LONGEST_POLL",
    "PEEK",
    "PEEK_AT_ONCE",
    "P_PID",
    "P_PIDFD",
    "TAKE",
    "WNOHANG",
    "check_number",
    "is_lost",
    "is_refused",
    "open_pidfd",
    "pidfd_open",
    "pidfd_works",
    "probe_pidfd",
    "raise_if_strange",
    "sleep_until_readable",
    "take_status",
    "waitid",
]

#: poll() takes milliseconds in a C int; a day at a time is far below that, and one wake-up a day costs nothing.
LONGEST_POLL = 86400.0

#: None where there is none, and where it is refused.
waitid: Any = getattr(os, "waitid", None)
pidfd_open: Any = getattr(os, "pidfd_open", None)
#: None until there is an answer.
pidfd_works: bool | None = None

P_PIDFD: Any = getattr(os, "P_PIDFD", None)
P_PID: Any = getattr(os, "P_PID", None)
CLD_EXITED: int = getattr(os, "CLD_EXITED", 1)
WNOHANG: int = getattr(os, "WNOHANG", 1)
EXITED: int = getattr(os, "WEXITED", 0)
TAKE = EXITED | WNOHANG
PEEK: int = EXITED | getattr(os, "WNOWAIT", 0)
PEEK_AT_ONCE = PEEK | WNOHANG

_LARGEST_NUMBER = 2**31 - 1
_OUT_OF_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_REFUSALS = (errno.EPERM, errno.EACCES, errno.ENOSYS)


def probe_pidfd() -> bool:
    """Whether this kernel opens pidfds and waits for them. Asked about ourselves, until there is an answer."""
    global pidfd_works
    if pidfd_works is None:
        if None in (pidfd_open, waitid, P_PIDFD, send_through_pidfd):
            pidfd_works = False
            return False
        fds: list[int] = []
        try:
            fds.extend(map(pidfd_open, (os.getpid(),)))
            send_through_pidfd(fds[0], 0)  # some filters of system calls know the one and not the other
            waitid(P_PIDFD, fds[0], PEEK_AT_ONCE)
        except ChildProcessError as answer:
            raise_if_from_handler(answer)
            pidfd_works = True  # it understood the question: we are not our own child
        except OSError as refusal:
            raise_if_strange(refusal)
            # No room this time says nothing about the kernel. Linux 5.3 opens a pidfd but cannot wait for it.
            if fds or refusal.errno not in _OUT_OF_ROOM:
                pidfd_works = False
        finally:
            any(map(os.close, map(fds.pop, (-1,) * len(fds))))
    return bool(pidfd_works)


def open_pidfd(owner: Any, name: str, pid: int) -> None:
    """Make the attribute *name* of *owner* a descriptor that means the process *pid*, for ever, if one is to be had."""
    if pidfd_works or (pidfd_works is None and probe_pidfd()):
        try:
            # Looked up now: tests of programs put one there that refuses.
            any(map(setattr, (owner,), (name,), map(os.pidfd_open, (pid,))))  # type: ignore[attr-defined,unused-ignore]
        except OSError as refusal:
            raise_if_strange(refusal)  # else: out of descriptors, or no such process: the number has to do


def take_status(pid: int, fd: int, taken: list[Any]) -> None:
    """Let the kernel forget the child *pid*, which has ended, if it is still there; *fd* is its pidfd, or -1.

    What the kernel says is put into *taken*. If there is something already, nothing is done: the number may mean somebody
    else by now.
    """
    if taken:
        return
    ask = waitid  # which may be refused meanwhile, in another thread
    try:
        if fd >= 0 and ask is not None:
            taken.extend(map(ask, (P_PIDFD,), (fd,), (TAKE,)))
        else:
            taken.extend(map(os.waitpid, (pid,), (WNOHANG,)))
    except ChildProcessError as refusal:
        raise_if_from_handler(refusal)  # else: taken by who waits for any child
    except OSError as refusal:
        if not is_refused(refusal):
            raise
        take_status(pid, -1, taken)


def check_number(pid: Any) -> None:
    """Raise for what can be the number of no process."""
    if not isinstance(pid, int) or isinstance(pid, bool):
        raise TypeError(f"pid is the number of a child process, such as os.fork() returns; not {pid!r}")
    if pid <= 0:
        raise ValueError(f"pid is the number of a child process, which is greater than 0; not {pid}")
    if pid > _LARGEST_NUMBER:
        raise ValueError(f"pid is the number of a child process; no process has the number {pid}")


def is_lost(pid: int, fd: int) -> bool:
    """Whether there is no process *pid*: the status of this child was taken before. Raises for what is no child of ours.

    *fd* is its pidfd, or -1.
    """
    if waitid is None:
        return False
    try:
        waitid(*((P_PIDFD, fd) if fd >= 0 else (P_PID, pid)), PEEK_AT_ONCE)
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
    except OSError as refusal:
        if not is_refused(refusal):
            raise
    return False


def is_refused(problem: BaseException) -> bool:
    """Whether *problem*, caught around a call of `waitid`, says that we may not ask so. Then nobody does again.

    Not if a signal handler has raised it.
    """
    global waitid, pidfd_works
    if not isinstance(problem, OSError) or problem.errno not in _REFUSALS or is_from_handler(problem):
        return False
    waitid, pidfd_works = None, False
    return True


def raise_if_strange(refusal: OSError) -> None:
    """Raise *refusal* if the kernel cannot have said that: then it is the TimeoutError, say, of a signal handler."""
    if refusal.errno is None or isinstance(refusal, TimeoutError):
        raise refusal


def sleep_until_readable(fd: int, seconds: float) -> None:
    """Sleep until *fd* can be read, *seconds* have passed, or LONGEST_POLL."""
    import select

    bell = select.poll()
    bell.register(fd, select.POLLIN)
    bell.poll(min(seconds, LONGEST_POLL) * 1000.0)
