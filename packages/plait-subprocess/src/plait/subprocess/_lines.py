# SPDX-License-Identifier: MIT
"""Output as it comes: cut into lines and handed to a callback, kept or not, within bounds."""

# Callbacks run in the thread that communicates, between two reads, so they need no lock, and a slow one slows
# the child down (its pipe fills up) rather than memory. One that raises ends the call; the lines after the one
# it was given are not lost: they stand in `_waiting`, and the next call hands them over first.
#
# Once a call is being left by an exception nobody listens any more: what comes then is not even decoded, so that no byte
# can raise anything in the place of what is on its way.
#
# One read may bring thousands of lines, and the time limit has to hold for slow callbacks too: once a deadline has
# passed, what is left stands in `_waiting` as well. Each further call hands over at least one line, so there is progress.
# A single callback that blocks cannot be ended by anybody: it is this thread.

from __future__ import annotations

from time import monotonic

from ._results import incremental_decoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["LineFeeder", "Listening"]

#: A line longer than this (bytes, or characters in text mode) is handed over in pieces, or it would be a way to
#: fill the memory of who wants to keep nothing.
_LONGEST_LINE = 1 << 20

#: What `inspect` calls CO_COROUTINE and CO_ASYNC_GENERATOR; importing it takes longer than most commands.
_OF_COROUTINES = 0x80 | 0x200


class LineFeeder:
    """Cuts what it is fed into lines for *callback*: `bytes`, or `str` if there is an *encoding*."""

    __slots__ = (
        "_callback",
        "_decode",
        "_decoder",
        "_is_dropped",
        "_is_forgiving",
        "_is_tapped",
        "_line_end",
        "_rest",
        "_rest_size",
        "_waiting",
    )

    def __init__(self, callback: Callable[[Any], object], encoding: str | None, errors: str | None) -> None:
        self._callback = callback
        self._decode: Any = None
        self._decoder: Any = None
        self._is_dropped = self._is_forgiving = self._is_tapped = False
        self._line_end: Any = b"\n"
        # The beginning of a line, in the pieces in which it came: joined at every piece, a line that comes byte by byte
        # would cost the square of its length.
        self._rest: list[Any] = []
        self._rest_size = 0
        if encoding is not None:
            import io

            self._decoder = incremental_decoder(encoding, errors or "strict")
            self._decode = io.IncrementalNewlineDecoder(self._decoder, translate=True).decode
            self._line_end = "\n"
        self._waiting: list[Any] = []  # the next one last

    def let_decode(self, decode: Callable[[bytes, bool], str]) -> None:
        """Have *decode* make the text, which has some already."""
        self._decode, self._is_tapped = decode, True
        self.feed(
            b"", False, float("-inf")
        )  # told by the next pump(), which may be left by what the callback raises

    def redirect(self, callback: Callable[[Any], object]) -> None:
        """Call *callback* from now on."""
        self._callback = callback

    @property
    def is_behind(self) -> bool:
        """Whether there are lines that the callback has not been given yet."""
        return bool(self._waiting)

    def feed(self, data: Any, final: bool = False, deadline: float | None = None) -> None:
        """Take *data*, and call back for every line that is complete; with *final* for what is left, too."""
        if self._is_dropped:
            return
        piece = (
            bytes(data)
            if self._decode is None
            else self._decode(bytes(data), final and not self._is_forgiving)
        )
        *lines, rest = piece.split(self._line_end)
        complete = [line + self._line_end for line in lines]
        if complete and self._rest:
            complete[0] = self._line_end[:0].join((*self._rest, complete[0]))
            self._rest.clear()
            self._rest_size = 0
        if rest:
            self._rest.append(rest)
            self._rest_size += len(rest)
        if self._rest and (final or self._rest_size >= _LONGEST_LINE):
            complete.append(self._line_end[:0].join(self._rest))
            self._rest.clear()
            self._rest_size = 0
        self._waiting[:0] = reversed(complete)
        if deadline is None or monotonic() < deadline:
            self.deliver(deadline)

    def deliver(self, deadline: float | None = None) -> None:
        """Call back for the lines that are complete: one, and more until *deadline*."""
        while self._waiting:
            self._callback(self._waiting.pop())
            if deadline is not None and monotonic() >= deadline:
                return

    def feed_end(self, is_whole: bool, deadline: float | None = None) -> None:
        """Call back for what is left; half a character at the end is an error only if *is_whole*."""
        if self._decoder is not None and not is_whole:
            self._decoder.errors = "ignore"
            self._is_forgiving = self._is_tapped
        self.feed(b"", True, deadline)

    def drop(self) -> None:
        """Call back no more, and heed nothing."""
        self._is_dropped = True
        self._waiting.clear()


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
            if getattr(getattr(callback, "__code__", None), "co_flags", 0) & _OF_COROUTINES:
                raise TypeError(
                    f"{name} is called and not awaited, which does nothing to {callback!r}: "
                    "give it a plain function, which may put the line into a queue"
                )
        if max_output is not None and not isinstance(max_output, int):
            raise TypeError(f"max_output is a number of bytes, an integer, not {max_output!r}")
        if max_output is not None and max_output < 0:
            raise ValueError(f"max_output is a number of bytes, not {max_output!r}")
        self.tell = (on_stdout, on_stderr)
        self.max_output = max_output
        self.keep = keep
