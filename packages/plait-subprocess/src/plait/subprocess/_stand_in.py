# SPDX-License-Identifier: MIT
"""A child's input for which the caller has put an object of theirs in the place of ours."""

# Programs do `process.stdin = codecs.getwriter("utf-8")(process.stdin)`, or put there what counts, logs or compresses.
# That object knows what is to be written, and we do not. If it leads to a descriptor, and there are bytes for it, these
# are written as to our own stream: without ever blocking, within the time limit. All else goes through its methods.

from __future__ import annotations

from ._platform import winapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["feed"]


class _Sink:
    """The descriptor, flush() and close() of another object, and whether it was closed here."""

    __slots__ = ("_stream", "closed")

    def __init__(self, stream: Any) -> None:
        self._stream, self.closed = stream, False

    def fileno(self) -> int:
        return self._stream.fileno()  # type: ignore[no-any-return]

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        self.closed = True
        self._stream.close()


def _descriptor(stream: Any) -> int:
    try:
        fd = stream.fileno()
    except (AttributeError, OSError):
        return -1
    return fd if isinstance(fd, int) else -1


def feed(stream: Any, given: Any) -> tuple[_Sink | None, memoryview | None]:
    """Write *given* to *stream* and close it; or return what is to be written, and where, while the outputs are read.

    May block, without regard to a time limit, if *stream* has no descriptor or *given* is text.
    """
    if given and not isinstance(given, str) and winapi is None and _descriptor(stream) >= 0:
        view = memoryview(given)
        return _Sink(stream), view.cast("B") if view.c_contiguous else memoryview(view.tobytes())
    try:
        if given:
            stream.write(given)
        else:
            stream.flush()
    except BrokenPipeError:
        pass  # the child does not want it, as may be
    try:
        stream.close()
    except BrokenPipeError:
        pass  # nor what it had been given before
    return None, None
