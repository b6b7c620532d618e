# SPDX-License-Identifier: MIT
"""Descriptors that a forked copy of this process must not keep."""

# A bare os.fork() in another thread (no exec) copies every descriptor that is open at that moment: the write end of an
# error pipe, and we would wait for its end of file for as long as that process lives; the child's ends of the streams, and
# the reader would. So everything between pipe() and close() is in one of the lists in `in_flight`, and every forked copy
# of this process closes what is listed.
#
# What must hold
#   - Opening and listing, closing and striking off are one step for whoever forks: both hold `no_fork`, which every fork
#     takes first. Nothing sleeps while it holds that lock, and nobody keeps it, whatever a signal handler raises
#     (`holding` in _platform.py).
#   - A new descriptor is put into a list by the same call into the interpreter that makes it:
#     `a_list.extend(map(maker, ...))`, never `name = maker(...)`. Between two calls a signal handler may run and raise.
#   - A copy of our end of a child's input would keep the child from ever seeing the end of that input. While nobody but us
#     can be using it (during the start, while communicate() feeds it, all the time if run() made it) it is in `feeding`,
#     and forked copies get /dev/null in its place.
#   - A child that runs functions of Python before exec runs the after-fork callbacks too, and must not lose there what it
#     was forked for: `kept`. So that a signal handler's fork keeps none of it, that is set last of all, when signals are
#     held back and everything is there, and no call comes between that and the fork.
#   - The ends of pipes for errors are listed longer than that, while the program runs its own code, which may close them and
#     open files that get the same numbers. A copy closes such a number only if it `is_still` what was listed.
#   - What must happen around every fork, or in every copy, is no function of ours: a signal handler could raise in its
#     frame.

from __future__ import annotations

import errno
import os
from itertools import chain, repeat, starmap

from ._platform import RLock, holding, raise_if_from_handler, reset_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from ._error_pipe import ErrorPipe

__all__ = [
    "CLOSE_ON_EXEC",
    "close",
    "close_all",
    "error_pipes",
    "feeding",
    "forbid_fork",
    "fork_generation",
    "in_flight",
    "is_still",
    "let_fork",
    "lifted",
    "lifted_instead",
    "no_fork",
    "open_null",
    "open_pipe",
    "pipe2",
    "raise_unless_closed",
    "spare",
    "start_feeding",
    "stop_feeding",
]

#: Lists of descriptors that a forked copy of this process must not keep, by the id of who has opened them.
in_flight: dict[int, list[int]] = {}
#: Descriptors that lead to a child's input, and the i-nodes of their pipes, which show whether an entry still holds. One
#: is struck off while its descriptor is open, or in one step with closing it, and never later: the number may come back
#: at once, in another thread.
feeding: dict[int, int] = {}
#: All pipes for errors, by their id, as long as any end of theirs is open; and those that nobody uses at the moment. See
#: _error_pipe.py.
error_pipes: dict[int, ErrorPipe] = {}
spare: list[ErrorPipe] = []
no_fork = RLock()
kept: tuple[int, ...] = ()  # what the fork that this thread is about to make must not lose after all

pipe2: Any = getattr(os, "pipe2", None)
CLOSE_ON_EXEC = (getattr(os, "O_CLOEXEC", 0),)
_PATIENCE = 1.0

_forks: list[None] = []
#: How many forks lie between this process and the one that has imported this module.
fork_generation: Callable[[], int] = _forks.__len__


def is_still(fd: int, identity: tuple[float, ...] | None) -> bool:
    """Whether the number *fd* means what fstat() told as *identity*. None for what nobody else can know of yet."""
    if identity is None:
        return True
    try:
        return os.fstat(fd)[:3] == identity
    except OSError as problem:
        raise_if_from_handler(problem)
        return False  # it means nothing


def _after_fork_in_child() -> None:
    reset_lock(no_fork)
    listed = list(chain.from_iterable(in_flight.values()))
    for pipe in error_pipes.values():
        listed += [fd for fd in pipe.ends if is_still(fd, pipe.identities.get(fd))]
    for fd in listed:
        if fd not in kept:
            try:
                os.close(fd)
            except OSError:
                pass  # closed already, which is what we wanted
    in_flight.clear()
    error_pipes.clear()
    spare.clear()
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
    # taken. The first is `no_fork.acquire(True, _PATIENCE)` as a function without parameters. (It is held for moments
    # only. Should it have died with a daemon thread, one copy too many is the lesser evil, and so is the complaint.)
    os.register_at_fork(after_in_child=map(_forks.append, repeat(None)).__next__)
    os.register_at_fork(
        before=map(no_fork.acquire, repeat(True), repeat(_PATIENCE)).__next__,
        after_in_parent=no_fork.release,
        after_in_child=_after_fork_in_child,
    )


def let_fork() -> int:
    """Release `no_fork`; how many times this thread has held it.

    It holds it only in a signal handler that has interrupted one of the functions here; none of them is in a state,
    between two of its calls, that a fork could not meet.
    """
    depth = 0
    try:
        while True:
            no_fork.release()
            depth += 1
    except RuntimeError:
        return depth


def forbid_fork(depth: int) -> None:
    """Undo `let_fork`, whatever a signal handler raises meanwhile."""
    taken: list[bool] = []
    try:
        taken.extend(map(no_fork.acquire, repeat(True, depth)))
    finally:
        if len(taken) < depth:
            forbid_fork(depth - len(taken))


def open_pipe(opened: list[int], flags: tuple[int, ...] = CLOSE_ON_EXEC) -> tuple[int, int]:
    """Append a new pipe to *opened*, which forked copies close: its end to read from, its end to write to.

    The one of *flags* is heeded where there is pipe2().
    """
    pipes = starmap(os.pipe, ((),)) if pipe2 is None else map(pipe2, flags)
    holding(no_fork, opened.extend, chain.from_iterable(pipes))
    return opened[-2], opened[-1]


def open_null(opened: list[int]) -> int:
    """Append a descriptor of /dev/null to *opened*."""
    opened.extend(map(os.open, (os.devnull,), (os.O_RDWR,)))
    return opened[-1]


def close(opened: list[int], which: Iterable[int]) -> None:
    """Close those of *which* that are in *opened*, and take them out of it."""
    for fd in which:
        if fd in opened:
            holding(no_fork, any, map(os.close, map(opened.pop, map(opened.index, (fd,)))))


def start_feeding(fd: int) -> None:
    """Let no forked copy of this process hold the pipe that *fd* writes to, until `feeding` has it no more."""
    feeding[fd] = os.fstat(fd).st_ino


def stop_feeding(fd: int, stream: Any) -> None:
    """Close *stream*, whose descriptor is *fd*."""
    holding(no_fork, _stop_feeding, fd, stream)


def _stop_feeding(fd: int, stream: Any) -> None:
    try:
        stream.close()
    finally:
        feeding.pop(fd, None)


def close_all(key: int, opened: list[int]) -> None:
    """Close what is in *opened*, and strike it off in `in_flight`. May be called again."""
    holding(no_fork, _close_all, opened)
    in_flight.pop(key, None)


def _close_all(opened: list[int]) -> None:
    while opened:
        try:
            any(map(os.close, map(opened.pop, (-1,) * len(opened))))
        except OSError as refusal:
            raise_unless_closed(refusal)


def raise_unless_closed(refusal: OSError) -> None:
    """Raise *refusal*, of os.close(), unless it says that this was closed already.

    Which a signal handler may have done that has forked, for the copy that returns from it.
    """
    raise_if_from_handler(refusal)
    if refusal.errno != errno.EBADF:
        raise refusal


def lifted(fd: int, opened: list[int]) -> int:
    """A copy of *fd* above the standard three, closed on exec, appended to *opened*."""
    import fcntl

    holding(no_fork, opened.extend, map(fcntl.fcntl, (fd,), (fcntl.F_DUPFD_CLOEXEC,), (3,)))
    return opened[-1]


def lifted_instead(fd: int, opened: list[int]) -> int:
    """As `lifted`, in the place of *fd*."""
    copy = lifted(fd, opened)
    close(opened, (fd,))
    return copy
