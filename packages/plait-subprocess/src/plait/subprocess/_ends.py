# SPDX-License-Identifier: MIT
"""The streams of one start: what the child will have as 0, 1 and 2, and our ends of the pipes."""

# The child's ends exist only from pipe() to the moment the child has them; they are closed whatever happens. Ours belong
# to file objects, which are made before the start, so that a wrong encoding is found out before the program has done
# anything.

from __future__ import annotations

import io
import os

from ._in_flight import open_null, open_pipe, start_feeding
from ._read_ahead import BufferedReader
from ._start import not_open

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Text = tuple[str | None, str | None]  # encoding, errors

__all__ = [
    "DEVNULL",
    "OWN_PIPE",
    "PIPE",
    "STDOUT",
    "Ends",
    "MarkedTextIOWrapper",
    "TextIOWrapper",
    "encoded",
    "layered",
    "size_pipes",
]

PIPE = -1
STDOUT = -2
DEVNULL = -3


class _OwnPipe(int):
    """PIPE, said by somebody who will let nobody else use our end of it, nor the Popen."""


OWN_PIPE = _OwnPipe(PIPE)


class TextIOWrapper(io.TextIOWrapper):
    """The input of a child in text mode; knows what becomes of line ends, which communicate() has to do itself."""

    _newline: str | None = None

    def reconfigure(self, **changes: Any) -> None:
        """As in the base class."""
        super().reconfigure(**changes)
        self._newline = changes.get("newline", self._newline)
        if type(self) is TextIOWrapper and has_mark(self.encoding):
            self.__class__ = MarkedTextIOWrapper

    @property
    def line_end(self) -> str:
        """What is written for a line end."""
        return os.linesep if self._newline is None else self._newline or "\n"


class MarkedTextIOWrapper(TextIOWrapper):
    """One whose encoding has a mark at the beginning. It has to know whether that is past, and pays for it."""

    has_begun = False

    def write(self, text: str, /) -> int:
        """As in the base class."""
        self.has_begun = True
        return super().write(text)


def has_mark(encoding: str | None) -> bool:
    """Whether text in this encoding begins with a byte order mark."""
    try:
        return encoding is not None and "".encode(encoding) != b""
    except (
        LookupError,
        UnicodeError,
    ):  # "locale", say, which only a stream knows; or one that can encode nothing
        return False


def encoded(text: str, stream: Any) -> bytes:
    """*text*, as *stream* would have written it now, after all that it has written before.

    May write a byte order mark to *stream*.
    """
    data = text.encode(stream.encoding, stream.errors or "strict")
    if has_mark(stream.encoding) and not stream.closed and getattr(stream, "has_begun", True):
        import codecs

        encoder = codecs.getincrementalencoder(stream.encoding)(stream.errors or "strict")
        encoder.encode("")  # the mark
        data = encoder.encode(text, True)
        try:
            stream.write("")  # it knows whether the mark is still to come
        except BrokenPipeError:
            pass  # the child does not want it, as may be
    return data


def layered(raw: io.FileIO, number: int, bufsize: int, text: Text | None) -> Any:
    """What the caller gets for our end of pipe *number*: with a buffer, for bytes or for text."""
    stream: Any = raw
    size = io.DEFAULT_BUFFER_SIZE if bufsize < 0 or bufsize == 1 else bufsize
    if text is not None and number and not size:  # what is read ahead in text could not be had back otherwise
        size = io.DEFAULT_BUFFER_SIZE
    if size:
        stream = BufferedReader(stream, size) if number else io.BufferedWriter(stream, size)
    if text is not None:
        # Whoever reads gets the plain class, whose lines come faster.
        kind = io.TextIOWrapper if number else MarkedTextIOWrapper if has_mark(text[0]) else TextIOWrapper
        buffer, stream = stream, kind(stream, *text, line_buffering=bufsize == 1, write_through=number == 0)
        if number:
            buffer.layer = id(stream)
    return stream


def size_pipes(fds: Iterable[int], size: int) -> None:
    """Give the pipes that *fds* belong to (-1: none) another size, where the system can do that."""
    import fcntl

    command = getattr(fcntl, "F_SETPIPE_SZ", None)
    for fd in fds:
        if fd >= 0 and command is not None:
            fcntl.fcntl(fd, command, size)


class Ends:
    """The streams of one start: three descriptors for the child, three for us (-1: none)."""

    __slots__ = ("child", "mine", "opened")

    def __init__(self, opened: list[int]) -> None:
        self.child = [-1, -1, -1]  # what the child will have as 0, 1, 2
        self.mine = [-1, -1, -1]
        self.opened = opened  # whatever was opened for the start and belongs to no stream

    def plan(self, *all_wanted: Any) -> None:
        """Decide what the child's descriptors 0, 1 and 2 will be."""
        # What the caller has opened comes first: a number that is not open could be that of a pipe of ours later.
        for number, wanted in enumerate(all_wanted):
            if wanted is not None and (not isinstance(wanted, int) or wanted not in (PIPE, DEVNULL, STDOUT)):
                self.child[number] = self._given(wanted)
        for number, wanted in enumerate(all_wanted):
            if not isinstance(wanted, int):
                continue
            if wanted == PIPE:
                read_end, write_end = open_pipe(self.opened)
                ends = (write_end, read_end) if number == 0 else (read_end, write_end)
                self.mine[number], self.child[number] = ends
            elif wanted == DEVNULL:
                self.child[number] = open_null(self.opened)
            elif wanted == STDOUT:
                if number != 2:
                    raise ValueError("STDOUT can only be given for stderr: it means 'the same as stdout'")
                self.child[2] = self.child[1] if self.child[1] >= 0 else 1

    @staticmethod
    def _given(wanted: Any) -> int:
        given: int = wanted if isinstance(wanted, int) else wanted.fileno()
        if given < 0 and not isinstance(wanted, int):  # what was closed may say so: a socket
            raise ValueError(f"{wanted!r} has no descriptor: is it closed?")
        try:
            os.fstat(given)
        except OSError as problem:
            raise not_open(given, problem) from None
        return given

    def streams(
        self, raw: list[io.FileIO], bufsize: int, wanted: tuple[Any, Any, Any], text: Text | None
    ) -> list[Any]:
        """Make the file objects for our ends, which own their descriptors from then on; each is put into *raw*, too."""
        streams: list[Any] = [None, None, None]
        opened = self.opened
        for number, fd in enumerate(self.mine):
            if fd < 0:
                continue
            if number == 0:
                start_feeding(fd)
            # One call takes the descriptor out of one list and puts its stream into the other.
            raw.extend(map(io.FileIO, map(opened.pop, map(opened.index, (fd,))), "r" if number else "w"))
            # Whoever only communicates needs no buffer.
            buffered = text is not None or wanted[number] is not OWN_PIPE
            streams[number] = layered(raw[-1], number, bufsize if buffered else 0, text)
        return streams
