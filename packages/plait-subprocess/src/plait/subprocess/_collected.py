# SPDX-License-Identifier: MIT
"""The bytes that a child has said, put together without a second copy."""

# A reader does not know how much will come. Pieces that are joined in the end cost a second copy of everything, and the
# page faults of new memory, which take longer than the copy. A block that grows (io.BytesIO: realloc(), which moves pages
# instead of copying them) still has every byte written twice: into the buffer that is read into, and from there.
#
# So when a lot has come, a big block is asked for. Large blocks of zeros come from the kernel page by page, when they are
# touched, so what is not filled costs addresses only. read() puts the bytes where they will stay; in the end the block is
# cut to its length, and getvalue() hands it out as it is. What is longer than the block goes the first way after that.
#
# Most of what is left of the time goes to the page faults of the block, one for each 4096 bytes. Big pages, where the
# kernel has them for who asks, are a five-hundredth as many: half of the processor time, all in all. They are asked for
# when enough has come to pay for the asking, and if there are plenty: see madvise() in _platform.py. (In a virtual machine
# whose host finds memory only when it is touched, a big page that is new to the host takes longer than small ones that
# were used before; nothing in there can tell.)
#
# The length is what counts, not the size of the block nor the position in it: an interruption between any two calls
# leaves nothing that the next call would not put right.

from __future__ import annotations

import io
import os
import sys

from ._platform import madvise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Collected"]

#: Of addresses, not of memory. What runs out of them (a limit on address space) does without.
_BLOCK = 1 << 28
_ONE_READ = 1 << 20
#: When this much has come, big pages are asked for.
_ENOUGH = 1 << 22

_readv: Any = getattr(os, "readv", None)
# Elsewhere a block of zeros may be memory at once, and its buffer a copy.
_can_reserve = _readv is not None and sys.implementation.name == "cpython" and sys.maxsize > 1 << 32


class Collected:
    """What one stream has said."""

    __slots__ = ("_counts", "_file", "_has_asked", "_may_reserve", "has_room")

    def __init__(self) -> None:
        self._file = io.BytesIO()
        self._counts = [0]  # their sum is the length; a read adds its own in the call that makes it
        self._may_reserve = _can_reserve
        self._has_asked = False
        #: Whether `read_from` may be called.
        self.has_room = False

    @property
    def length(self) -> int:
        """How much it is."""
        return sum(self._counts)

    def write(self, piece: Any) -> None:
        """Add *piece*."""
        if self.has_room:
            self.cut()
        self._file.seek(sum(self._counts))
        self._file.write(piece)
        self._counts[:] = (self._file.tell(),)

    def reserve(self) -> bool:
        """Ask for room to read into; whether there is some. Asked once."""
        if self._may_reserve:
            self._may_reserve = False
            try:
                file = io.BytesIO(bytes(_BLOCK))
            except MemoryError:
                return False
            file.write(self._file.getbuffer())
            self._file, self.has_room = file, True
        return self.has_room

    def read_from(self, fd: int) -> int:
        """Read once into the room that was reserved; how much came, or -1 if the room is used up."""
        come = -1
        if self.length >= _ENOUGH and not self._has_asked:
            self._ask_for_big_pages()
        length, counts = self.length, self._counts
        room = self._file.getbuffer()[length : length + _ONE_READ]
        try:
            if len(room) == _ONE_READ:
                counts.extend(map(_readv, (fd,), ((room,),)))
                come = counts[-1]
                counts[:] = (length + come,)
        finally:
            # Not left to the end of this frame: it lives on in the traceback of an exception, and would keep the block from
            # being cut by who goes on reading.
            room.release()
        if come < 0:
            self.cut()
        return come

    def _ask_for_big_pages(self) -> None:
        self._has_asked = True
        whole = self._file.getbuffer()
        try:
            madvise(whole)
        finally:
            whole.release()

    def cut(self) -> None:
        """Give back the room that was not needed."""
        if self.has_room:
            self._file.truncate(self.length)
            self._file.seek(self.length)
            self.has_room = False

    def getvalue(self) -> bytes:
        """All of it."""
        if self.has_room:
            return bytes(self._file.getbuffer()[: self.length])
        return self._file.getvalue()
