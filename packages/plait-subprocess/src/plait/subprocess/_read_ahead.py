# SPDX-License-Identifier: MIT
"""What the caller has read of a text stream before communicate(), and what that has read ahead."""

# A text stream reads bytes by the chunk and decodes them. What was not asked for yet stays in it as characters, and the
# beginning of one whose end has not come stays in its decoder. Neither can be seen from outside. So the stream itself
# decodes what communicate() reads: below it is a buffer of ours, which gives it what it is told to give, and
# when that is used up raises Dry. Asked for one character at a time, the stream loses nothing by that.
#
# Only streams that have been read, or changed by `reconfigure`, are treated like this; decoding all at once at the end is
# several times faster. What a stream makes of line ends cannot be seen from outside either; but who changes that has the
# buffer flushed first, as is documented, and so has `detach`.

from __future__ import annotations

import io
from itertools import repeat, takewhile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["BufferedReader", "Tap", "reader_of", "tapped"]


class Dry(Exception):
    """Nothing more is to be given to the text stream for now."""


class BufferedReader(io.BufferedReader):
    """The buffer of a pipe; what a text stream gets from it can be told."""

    #: Whether the text stream above has been read, or may have been changed.
    was_used = False
    #: The id of the text stream that was made for it. That closes the buffer when it goes, unless it was detached.
    layer = 0
    _given: bytes | None = None

    def flush(self) -> None:
        """As in the base class; remembers that it was called."""
        self.was_used = True
        super().flush()

    def read1(self, size: int = -1) -> bytes:
        """As in the base class; remembers that it was called."""
        if self._given is None:
            self.was_used = True
            return super().read1(size)
        given, self._given = self._given, b""
        if not given:
            raise Dry
        return given

    def read(self, size: int | None = -1) -> Any:
        """As in the base class; what is to be given, if something is."""
        if self._given is None:
            return super().read(size)
        given, self._given = self._given, b""
        return given


class Tap:
    """Stands for a text stream that has been read, in an Exchange: gives it what comes, and has the text that it makes."""

    def __init__(self, stream: Any, reader: BufferedReader) -> None:
        self._stream, self._reader = stream, reader
        self.fileno: Callable[[], int] = reader.fileno
        self.encoding, self.errors = stream.encoding, stream.errors
        self._text: list[str] = []
        self._rest: list[str] = []  # the last of it, when the end has come
        self._told = 0  # so many of these have been returned by `decode`
        self._problem: UnicodeError | None = None
        #: Whether `decode` leaves what it has returned for `whole` and `so_far`.
        self.keeps = True
        #: What has come and was not given to the stream by `decode`.
        self.collected: Callable[[], bytes | None] = bytes

    def begin(self) -> None:
        """Take what is there already. May be called again."""
        self._told = 0
        self._give(b"")

    @property
    def closed(self) -> bool:
        """Whether all the text is there."""
        return bool(self._rest) or self._problem is not None or self._stream.closed

    def collect_from(self, exchange: Any) -> None:
        """Give the stream, at the end, what *exchange* has collected."""
        self.collected = lambda: exchange.output_of(self)

    def decode(self, data: bytes, final: bool = False) -> str:
        """The text that was not told yet, *data* included; with *final*, all of it."""
        if not self.closed:
            self._give(data)
            if final:
                self.close()
        if final and self._problem is not None:
            raise self._problem
        told, text, rest = self._told, self._text, self._rest
        new = "".join(text[told:]) + "".join(rest[max(told - len(text), 0) :])
        if not self.keeps:
            text.clear()
        self._told = len(text) + len(rest)
        return new

    def whole(self) -> str:
        """All the text, of a stream that has been closed."""
        if self._problem is not None:
            raise self._problem
        return "".join(self._text) + "".join(self._rest)

    def so_far(self) -> str:
        """The same if more may come, or the end may be missing; no byte can make this fail."""
        text = "".join(self._text) + "".join(self._rest)
        if self._rest:
            return text
        return text + (self.collected() or b"").decode(self.encoding, "replace")

    def close(self) -> None:
        """The end has come, or is given up: give the stream what it has not got, and close it."""
        if self.closed:
            return
        self._reader._given = self.collected() or b""
        try:
            # Stored by the call that reads: until then it may be done again.
            self._rest.extend(map(self._stream.read, (-1,)))
        except UnicodeError as problem:
            self._problem = problem
        finally:
            self._reader._given = None
        self._stream.close()

    def _give(self, data: bytes) -> None:
        self._reader._given = data
        try:
            self._text.extend(takewhile(bool, map(self._stream.read, repeat(1))))
        except Dry:
            pass
        finally:
            self._reader._given = None


def reader_of(stream: Any) -> Any:
    """The buffer that an earlier read of the caller's may have left something in, or something without `peek`."""
    if isinstance(stream, Tap):
        return stream._reader
    buffer = getattr(stream, "buffer", None)
    return buffer if isinstance(buffer, BufferedReader) else stream


def tapped(stream: Any) -> Any:
    """What stands for *stream* if it is a text stream that has been used, or that others have made of one of ours."""
    reader = getattr(stream, "buffer", None)
    if isinstance(reader, BufferedReader) and not stream.closed:
        return Tap(stream, reader)
    return None
