# SPDX-License-Identifier: MIT
"""Output as it comes: cut into lines and handed to a callback, kept or not, within bounds."""

# Callbacks run in the thread that communicates, between two reads, so they need no lock, and a slow one slows
# the child down (its pipe fills up) rather than memory. One that raises ends the call; the lines after the one
# it was given are not lost: they stand in `_waiting`, and the next call hands them over first.

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["LineFeeder", "Listening"]

#: A line longer than this (bytes, or characters in text mode) is handed over in pieces, or it would be a way to
#: fill the memory of who wants to keep nothing.
_LONGEST_LINE = 1 << 20


class LineFeeder:
    """Cuts what it is fed into lines for *callback*: `bytes`, or `str` if there is an *encoding*."""

    __slots__ = ("_callback", "_decode", "_line_end", "_rest", "_waiting")

    def __init__(self, callback: Callable[[Any], object], encoding: str | None, errors: str | None) -> None:
        self._callback = callback
        self._decode: Any = None
        self._line_end: Any = b"\n"
        self._rest: Any = b""
        if encoding is not None:
            import codecs
            import io

            decoder = codecs.getincrementaldecoder(encoding)(errors or "strict")
            self._decode = io.IncrementalNewlineDecoder(decoder, translate=True).decode
            self._line_end, self._rest = "\n", ""
        self._waiting: list[Any] = []  # the next one last

    def feed(self, data: Any, final: bool = False) -> None:
        """Take *data*, and call back for every line that is complete; with *final* for what is left, too."""
        piece = bytes(data) if self._decode is None else self._decode(bytes(data), final)
        *lines, rest = piece.split(self._line_end)
        if lines:
            lines[0] = self._rest + lines[0]
            self._rest = rest
        else:
            self._rest += rest
        complete = [line + self._line_end for line in lines]
        if self._rest and (final or len(self._rest) >= _LONGEST_LINE):
            complete.append(self._rest)
            self._rest = self._rest[:0]
        self._waiting[:0] = reversed(complete)
        self.deliver()

    def deliver(self) -> None:
        """Call back for what an exception of the callback's has kept from it."""
        while self._waiting:
            self._callback(self._waiting.pop())


class Listening:
    """What is to happen to the two outputs of a child while they are read."""

    __slots__ = ("keep", "max_output", "tell")

    def __init__(
        self,
        on_stdout: Callable[[Any], object] | None,
        on_stderr: Callable[[Any], object] | None,
        max_output: int | None = None,
        keep: tuple[bool, bool] = (True, True),
    ) -> None:
        for name, callback in (("on_stdout", on_stdout), ("on_stderr", on_stderr)):
            if callback is not None and not callable(callback):
                raise TypeError(f"{name} is called with each line; {callback!r} cannot be called")
        if max_output is not None and max_output < 0:
            raise ValueError(f"max_output is a number of bytes, not {max_output!r}")
        self.tell = (on_stdout, on_stderr)
        self.max_output = max_output
        self.keep = keep
