# SPDX-License-Identifier: MIT
"""The pipe into which a child writes why it could not become the program, kept for the child after it."""

# Opening a pipe, and closing both its ends, takes a few hundredths of the time that a short command takes altogether. A
# child that becomes its program writes nothing, and the pipe is as good as new afterwards. So it is kept.
#
# Nobody can wait for its end of file then: we hold the end to write to ourselves. Nobody has to, where the child is waited
# for anyway. One that could not become the program writes the reason, and then exits with FAILED. So the pipe is looked at
# when a child has ended with that status, and it has been written to by then, or never will be.
#
# What must hold
#   - One child at a time: who takes a pipe out of `spare` has it alone until he gives it back. He gives it back empty: when
#     the child has ended, and has either exited with another status than FAILED, or what it wrote was read. One that a
#     signal has ended may have been ended in the middle of it. If nobody knows the status, what is there is read, but the
#     pipe is not given back: what stands in for fork_exec may have named somebody who is no child of ours, and writes
#     later. Whoever leaves earlier closes the pipe.
#   - A pipe is taken, and given back, by one call into the interpreter. Between two calls a signal handler may raise, and
#     another thread may take what there was.
#   - No two processes write to, or read from, one pipe. It is in `error_pipes` as long as it exists, from before it has
#     ends: forked copies of this process close these, and have no spare ones. Copies that were made without the
#     interpreter's knowledge (fork() in C) do have it, and find out by their pid: they leave it to its `owner`.
#   - The numbers may stop being ours while the pipe is kept, because the program closes what it does not know (a daemon
#     does when it begins), and may have become files of the program's. Whoever is about to use or to close them, a forked
#     copy included, looks whether they still are what they were. Each end has its own identity, as some systems give the
#     two ends of a pipe different ones; and is closed if it is still ours, whatever has become of the other. The moments
#     between the opening and fstat(), and between a look and what follows, are those that every descriptor has.
#   - Several may close the same pipe: the owner, the start of another thread that looks after an owner who was
#     interrupted, and a signal handler's start in the middle of either. Threads do so one after the other, by `no_fork`;
#     and a number is struck off by the same call that closes it, so nobody closes it twice.
#   - It is close-on-exec, so no program has it, unless ours makes all that is open inheritable: then what its children
#     write there may be taken for a report, if the one that has the pipe exits with FAILED.
#   - What is kept is closed at the interpreter's end: a sub-interpreter's end is not that of the process.

from __future__ import annotations

import atexit
import errno
import os
from stat import S_ISFIFO

from ._in_flight import (
    error_pipes,
    is_still,
    lifted_instead,
    no_fork,
    open_pipe,
    raise_unless_closed,
    spare,
)
from ._platform import holding, raise_if_from_handler

__all__ = ["FAILED", "ErrorPipe", "borrow", "discard", "give_back", "report_in"]

#: With which a child exits that could not become the program.
FAILED = 255
#: How many pipes are kept at most.
_MOST = 4
_LONGEST_REPORT = 4096
_LAST = (-1,)
_FLAGS = (getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0),)


class ErrorPipe:
    """A pipe that only children which have not yet become programs write to."""

    __slots__ = ("ends", "identities", "owner")

    def __init__(self) -> None:
        self.ends: list[int] = []  # to read from, and to write to, neither of which ever waits
        #: What fstat() told of these, once the pipe is complete.
        self.identities: dict[int, tuple[float, ...]] = {}
        self.owner = os.getpid()

    def is_intact(self) -> bool:
        """Whether it belongs to this process, and its numbers still mean it."""
        identities = self.identities
        read_end, write_end = self.ends
        try:
            return (
                os.fstat(read_end)[:3] == identities[read_end]
                and os.fstat(write_end)[:3] == identities[write_end]
                and os.getpid() == self.owner
            )
        except OSError as problem:
            raise_if_from_handler(problem)
            return False


def borrow(borrowed: list[ErrorPipe]) -> ErrorPipe:
    """Put a pipe, which is empty, into *borrowed*, which is empty too; the pipe."""
    try:  # as in _take(), written out
        borrowed.extend(map(spare.pop, _LAST))
    except IndexError as absence:
        raise_if_from_handler(absence)
    else:
        pipe = borrowed[0]
        if pipe.is_intact():
            return pipe
        discard(borrowed)
    pipe = ErrorPipe()
    borrowed.append(pipe)
    error_pipes[id(pipe)] = pipe
    ends = pipe.ends
    read_end, write_end = open_pipe(ends, _FLAGS)
    if read_end < 3:
        read_end = lifted_instead(read_end, ends)
    if write_end < 3:
        write_end = lifted_instead(write_end, ends)
    ends[:] = read_end, write_end  # of which one may have been lifted
    identities: dict[int, tuple[float, ...]] = {fd: os.fstat(fd)[:3] for fd in ends}
    for fd, identity in identities.items():
        if not S_ISFIFO(int(identity[0])):
            ends.remove(fd)
    if len(ends) < len(identities):
        text = "the pipe for errors was closed, by another thread or a signal handler, as it was made"
        raise OSError(errno.EBADF, text)
    pipe.identities = identities
    return pipe


def give_back(borrowed: list[ErrorPipe]) -> None:
    """Keep the pipe in *borrowed*, which is empty, for the next child."""
    spare.extend(map(borrowed.pop, _LAST))
    # Whoever adds one looks afterwards, so the last to look has seen what all of them have added.
    while len(spare) > _MOST:
        _take(borrowed)
        discard(borrowed)


def _take(borrowed: list[ErrorPipe]) -> None:
    try:
        borrowed.extend(map(spare.pop, _LAST))
    except IndexError as absence:
        raise_if_from_handler(absence)  # else there is none


def discard(borrowed: list[ErrorPipe]) -> None:
    """Close what is in *borrowed*, as far as it is still ours. May be called again, and by another thread meanwhile."""
    holding(no_fork, _discard, borrowed)


def _discard(borrowed: list[ErrorPipe]) -> None:
    for pipe in tuple(borrowed):
        ends, identities = pipe.ends, pipe.identities
        for fd in tuple(ends):
            try:
                if is_still(fd, identities.get(fd)):
                    any(map(os.close, map(ends.pop, map(ends.index, (fd,)))))
                else:
                    ends.remove(fd)
            except ValueError as absence:
                raise_if_from_handler(absence)  # else a signal handler's start has done it meanwhile
            except OSError as refusal:
                raise_unless_closed(refusal)
        error_pipes.pop(id(pipe), None)
    borrowed.clear()


@atexit.register
def _discard_spare() -> None:
    while spare:
        taken: list[ErrorPipe] = []  # others may be taking them, too
        _take(taken)
        discard(taken)


def report_in(borrowed: list[ErrorPipe]) -> bytes:
    """What a child that has ended wrote into the pipe in *borrowed*: nothing if it had become the program."""
    pipe = borrowed[0]
    if os.getpid() != pipe.owner:
        return b""  # a signal handler has forked meanwhile: this is the copy, and that was no child of it
    read_end = pipe.ends[0]
    if not is_still(read_end, pipe.identities[read_end]):
        raise OSError(
            errno.EBADF,
            "the pipe for errors was closed while the child ran: it is unknown whether it became the program",
        )
    report = bytearray(_LONGEST_REPORT)
    try:
        # Not os.read(), in the place of which some programs have one that would wait for something to read.
        return bytes(report[: os.readv(read_end, (report,))])
    except BlockingIOError as absence:
        raise_if_from_handler(absence)
        return b""
