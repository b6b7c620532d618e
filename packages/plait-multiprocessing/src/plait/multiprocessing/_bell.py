# SPDX-License-Identifier: MIT
# The descriptor by which one thread or process tells others, who sleep in poll(), that something has changed.

from __future__ import annotations

import os

from . import _inherit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Bell"]


class Bell:
    """A descriptor that processes wait for: readable from `ring` until `silence`."""

    __slots__ = ("_in", "_out")

    def __init__(self, fds: tuple[int, int] | None = None) -> None:
        if fds is None:
            eventfd = getattr(os, "eventfd", None)
            if eventfd is not None:
                fd = eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)  # type: ignore[attr-defined,unused-ignore]
                fds = (fd, fd)
            else:
                fds = os.pipe()
                os.set_blocking(fds[0], False)
                os.set_blocking(fds[1], False)
        self._out, self._in = fds

    def fileno(self) -> int:
        """What to poll."""
        return self._out

    def ring(self) -> None:
        """Make it readable. Never blocks."""
        try:
            os.write(self._in, b"\1\0\0\0\0\0\0\0")
        except BlockingIOError:
            pass  # it rings as loud as it can
        # An eventfd takes the eight bytes as the native number they are: not zero, on either byte order.

    def silence(self) -> None:
        """Make it unreadable. Never blocks."""
        try:
            os.read(self._out, 4096)
        except BlockingIOError:
            pass

    def __reduce__(self) -> tuple[Any, ...]:
        inheritance = _inherit.assert_spawning(self)
        out = inheritance.lend(self._out, self)
        return type(self), ((out, out if self._in == self._out else inheritance.lend(self._in, self)),)

    def __del__(self, _close: Any = os.close) -> None:
        # Bound here, because at interpreter exit `os` may be gone from this module before we are.
        try:
            fds = {self._in, self._out}
        except AttributeError:
            return
        for fd in fds:
            _close(fd)
