# SPDX-License-Identifier: MIT
"""The pipe into which a child writes why it could not become the program, kept for the child after it."""

# Opening a pipe, and closing both its ends, takes about a twentieth of the time that a short command takes altogether. A
# child that becomes its program writes nothing, and the pipe is as good as new afterwards. So it is kept.
#
# Nobody can wait for its end of file then: we hold the end to write to ourselves. Nobody has to, where the child is waited
# for anyway. One that could not become the program writes the reason, and then exits with FAILED. So the pipe is looked at
# when a child has ended with that status, and it has been written to by then, or never will be.
#
# What must hold
#   - One child at a time: who takes a pipe out of `spare` has it alone until he gives it back. He gives it back empty: when
#     the child has ended, and has either exited with another status than FAILED, or what it wrote was read. One that a
#     signal has ended may have been ended in the middle of it; and if somebody else took the status, nobody knows.
#     Whoever leaves earlier closes the pipe.
#   - A pipe is taken, and given back, by one call into the interpreter. Between two calls a signal handler may raise.
#   - Its ends are in `error_pipes` as long as it exists: forked copies of this process close them, and have no spare ones.
#     So no two processes write to, or read from, one pipe.
#   - The numbers may stop being ours while the pipe is kept, because the program closes what it does not know (a daemon
#     does when it begins), and may have become a file of the program's. Whoever is about to use or to close them looks
#     whether they still are this pipe, and lets go of them if not.

from __future__ import annotations

import errno
import os

from ._in_flight import close_all, error_pipes, lifted_instead, open_pipe, spare
from ._platform import raise_if_from_handler

__all__ = ["FAILED", "ErrorPipe", "borrow", "discard", "give_back", "report_in"]

#: With which a child exits that could not become the program.
FAILED = 255
#: How many pipes are kept at most, give or take one for each thread that gives one back at the same moment.
_MOST = 4
_LONGEST_REPORT = 4096


class ErrorPipe:
    """A pipe that only children which have not yet become programs write to."""

    __slots__ = ("ends", "identity")

    def __init__(self) -> None:
        self.ends: list[int] = []  # to read from, without waiting; to write to
        self.identity: tuple[float, ...] | None = None  # by which fstat() knows it, once it is complete

    def is_intact(self) -> bool:
        """Whether its numbers still mean this pipe."""
        identity = self.identity
        read_end, write_end = self.ends
        try:
            return os.fstat(read_end)[1:3] == identity == os.fstat(write_end)[1:3]
        except OSError as problem:
            raise_if_from_handler(problem)
            return False


def borrow(borrowed: list[ErrorPipe]) -> ErrorPipe:
    """Put a pipe, which is empty, into *borrowed*, which is empty too; the pipe."""
    # The first that there is, in one call.
    borrowed.extend(map(list.pop, filter(None, (spare,))))
    if borrowed:
        if borrowed[0].is_intact():
            return borrowed[0]
        discard(borrowed)
    pipe = ErrorPipe()
    borrowed.append(pipe)
    ends = pipe.ends
    error_pipes[id(ends)] = ends
    read_end, write_end = open_pipe(ends)
    if read_end < 3:
        read_end = lifted_instead(read_end, ends)
    if write_end < 3:
        write_end = lifted_instead(write_end, ends)
    ends[:] = read_end, write_end  # of which one may have been lifted
    os.set_blocking(read_end, False)
    pipe.identity = os.fstat(read_end)[1:3]
    return pipe


def give_back(borrowed: list[ErrorPipe]) -> None:
    """Keep the pipe in *borrowed*, which is empty, for the next child."""
    if len(spare) < _MOST:
        spare.extend(map(borrowed.pop, (-1,)))
    else:
        discard(borrowed)


def discard(borrowed: list[ErrorPipe]) -> None:
    """Close what is in *borrowed*. May be called again."""
    while borrowed:
        pipe = borrowed[-1]
        ends = pipe.ends
        if pipe.identity is None or pipe.is_intact():
            pipe.identity = None  # should this be interrupted, what is left is closed
            close_all(id(ends), ends, error_pipes)
        else:
            error_pipes.pop(id(ends), None)
        del borrowed[-1:]


def report_in(borrowed: list[ErrorPipe]) -> bytes:
    """What a child that has ended wrote into the pipe in *borrowed*: nothing if it had become the program."""
    pipe = borrowed[0]
    if not pipe.is_intact():
        raise OSError(
            errno.EBADF,
            "the pipe for errors was closed while the child ran: it is unknown whether it became the program",
        )
    try:
        return os.read(pipe.ends[0], _LONGEST_REPORT)
    except BlockingIOError as absence:
        raise_if_from_handler(absence)
        return b""
