# SPDX-License-Identifier: MIT
"""Pipes between processes, and waiting for many of them.

>>> from plait.multiprocessing.connection import Pipe
>>> here, there = Pipe()
>>> here.send(["any", {"picklable": 1}])
>>> there.recv()
['any', {'picklable': 1}]

"""

# Rules
#
# The wire is the standard one: a signed 32-bit big-endian length and the payload; for 2 GiB and more the length is -1
# and an unsigned 64-bit length follows.
#
# A message is whole or absent.
#   - Threads: one RLock per direction, held from the first byte of a message to its last.
#   - The same thread again (a signal handler or a finaliser that runs in the middle of our own send): the RLock lets it
#     in, `_sending` tells it where it is. It leaves its message in `_postponed`, and the interrupted send delivers it
#     when its own is out. A receive cannot be postponed; it raises.
#   - An exception out of a signal handler in the middle of a message (Ctrl-C during a large send): whether the kernel
#     had taken a part is not known, and the peer would take the next message for the rest of this one. So the
#     direction is marked broken, and says so at the next use. Messages up to PIPE_BUF are taken whole or not at all:
#     they never break.
#   - fork: the child gets free locks. It shares the byte stream with its parent; two processes that use the same end at
#     once are the user's to keep apart, as always.
#
# close() while another thread is inside a call: the descriptor number must not be given back while that thread may
# still use it, or it would read bytes of whatever file gets the number next. So each call is counted in, and the last
# one out closes. Descriptors that we would block on are first polled, together with a wake-up pipe, if there is
# another thread in the process that could call close(); close() writes to the pipes of those who wait, and they raise.

from __future__ import annotations

import errno
import os
import select
import time
from collections import deque
from io import BytesIO

from .._thread import RLock, register_after_fork, reset_lock
from . import _inherit
from ._bell import Bell
from ._errors import BufferTooShort
from ._platform import socket_module, thread_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from typing_extensions import Self

__all__ = ["Connection", "Pipe", "wait"]

_NARROW = 0x7FFFFFFF
# POSIX: a write of up to this many bytes to a pipe is atomic. Ours must be a lower bound for sockets as well.
_ATOMIC = min(getattr(select, "PIPE_BUF", 512), 4096)
# Up to here copying the payload behind its header is cheaper than handing the kernel two buffers.
_JOIN = 16384
# No single read asks for more: the buffer is allocated before the first byte is here. What a pipe holds.
_READ_MAX = 65536
# poll() takes milliseconds in a C int.
_LONGEST_POLL = 86400.0


class Connection:
    """One end of a pipe: messages in, messages out, each whole.

    Any number of threads may send and receive; a message is never torn between them. `recv` and a `send` into a full
    pipe block; the death of the last process that holds the other end ends both, with `EOFError` and
    `BrokenPipeError`. `close` from another thread makes a blocked call raise OSError.

    Differs from `multiprocessing.connection.Connection`: sends and receives of several threads do not mix; an end in
    the middle of a message is an EOFError too; pickling one other than for a new child is refused.
    """

    __slots__ = (
        "__weakref__",
        "_bells",
        "_broken",
        "_fd",
        "_open",
        "_postponed",
        "_readable",
        "_receiving",
        "_recv_lock",
        "_send_lock",
        "_sending",
        "_users",
        "_writable",
    )

    def __init__(self, handle: int, readable: bool = True, writable: bool = True) -> None:
        number = handle.__index__()
        if number < 0:
            raise ValueError(f"invalid handle: {number}")
        if not (readable or writable):
            raise ValueError("at least one of readable and writable must be true")
        self._fd: int | None = number
        self._open = [number]  # whoever takes it from here closes it
        self._readable = readable
        self._writable = writable
        self._fresh()
        register_after_fork(self, Connection._after_fork)

    def _fresh(self) -> None:
        self._send_lock = RLock()
        self._recv_lock = RLock()
        self._sending = self._receiving = False
        self._postponed: deque[tuple[Any, ...]] = deque()
        self._broken = ""
        self._users: list[None] = []
        self._bells: list[Bell] = []

    def _after_fork(self) -> None:
        reset_lock(self._send_lock)
        reset_lock(self._recv_lock)
        self._sending = self._receiving = False
        self._postponed.clear()
        self._users.clear()
        self._bells.clear()

    # What it is

    def fileno(self) -> int:
        """The descriptor; OSError when closed."""
        fd = self._fd
        if fd is None:
            raise OSError(f"{self!r}: handle is closed")
        return fd

    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
        return self._fd is None

    @property
    def readable(self) -> bool:
        """Whether this end receives."""
        return self._readable

    @property
    def writable(self) -> bool:
        """Whether this end sends."""
        return self._writable

    def __repr__(self) -> str:
        where = "closed" if self._fd is None else f"fd={self._fd}"
        return f"<{type(self).__name__} {where}>"

    # Sending

    def send(self, obj: Any) -> None:
        """Pickle *obj* and send it. Blocks while the pipe is full.

        What cannot be pickled raises before a byte is sent.
        """
        self._check(self._writable, "receive-only: it cannot send")
        self._transmit(_dumps(obj))

    def send_bytes(self, buf: Any, offset: int = 0, size: int | None = None) -> None:
        """Send *size* bytes of *buf*, from *offset* on, as one message. Blocks while the pipe is full."""
        self._check(self._writable, "receive-only: it cannot send")
        view = memoryview(buf)
        if view.itemsize > 1 or view.ndim != 1:
            view = view.cast("B")
        length = len(view)
        if offset < 0:
            raise ValueError("offset is negative")
        if length < offset:
            raise ValueError(f"offset {offset} is beyond the {length} bytes of the buffer")
        if size is None:
            size = length - offset
        elif size < 0:
            raise ValueError("size is negative")
        elif offset + size > length:
            raise ValueError(f"offset + size is beyond the {length} bytes of the buffer")
        self._transmit(view[offset : offset + size])

    def _transmit(self, payload: Any) -> None:
        size = len(payload)
        header = size.to_bytes(4, "big") if size <= _NARROW else b"\xff\xff\xff\xff" + size.to_bytes(8, "big")
        parts = (header + payload,) if size <= _JOIN else (header, payload)
        with self._send_lock:
            if self._sending:
                # We interrupted ourselves; a memoryview of the caller's may change before its turn comes.
                self._postponed.append((b"".join(parts),))
                return
            while True:
                self._sending = True
                self._users.append(None)
                try:
                    self._write(parts)
                    while self._postponed:
                        self._write(self._postponed.popleft())
                finally:
                    self._sending = False
                    self._leave()
                # Once more: an interruption between the last look and the line above left its message to us.
                if not self._postponed:
                    return
                try:
                    parts = self._postponed.popleft()
                except IndexError:
                    return

    def _write(self, parts: tuple[Any, ...]) -> None:
        fd = self._fd
        if fd is None:
            raise OSError("handle is closed")
        if self._broken:
            raise OSError(errno.EPIPE, self._broken)
        if len(parts) == 1 and len(parts[0]) <= _ATOMIC:
            message = parts[0]
            try:
                sent = os.write(fd, message)
            except BlockingIOError:
                sent = self._write_when_possible(fd, message)
            if sent == len(message):
                return
            parts = (message[sent:],)
        self._write_large(fd, parts)

    def _write_large(self, fd: int, parts: tuple[Any, ...]) -> None:
        self._broken = f"{self!r}: an earlier send was interrupted within a message; open a new pipe"
        views = [memoryview(part) for part in parts]
        while views:
            try:
                sent = os.writev(fd, views)
            except BlockingIOError:
                self._await(fd, select.POLLOUT)
                continue
            while views and sent >= len(views[0]):
                sent -= len(views.pop(0))
            if sent:
                views[0] = views[0][sent:]
        self._broken = ""

    def _write_when_possible(self, fd: int, message: bytes) -> int:
        while True:
            self._await(fd, select.POLLOUT)
            try:
                return os.write(fd, message)
            except BlockingIOError:
                continue

    # Receiving

    def recv(self) -> Any:
        """Receive an object. Blocks until one is here; EOFError when nobody is left who could send one."""
        self._check(self._readable, "send-only: it cannot receive")
        return _loads(self._receive(None))

    def recv_bytes(self, maxlength: int | None = None) -> bytes:
        """Receive a message as bytes. Blocks; EOFError when nobody is left who could send one.

        A message longer than *maxlength* raises OSError, and the connection is closed, since the rest of the
        message is still in it.
        """
        self._check(self._readable, "send-only: it cannot receive")
        if maxlength is not None and maxlength < 0:
            raise ValueError("maxlength is negative")
        return self._receive(maxlength)

    def recv_bytes_into(self, buf: Any, offset: int = 0) -> int:
        """Receive a message into the writable *buf* from byte *offset* on; return its length.

        `BufferTooShort`, with the message as `args[0]`, when it does not fit.
        """
        self._check(self._readable, "send-only: it cannot receive")
        with memoryview(buf) as whole, whole.cast("B") as view:
            if offset < 0:
                raise ValueError("offset is negative")
            if offset > len(view):
                raise ValueError(f"offset {offset} is beyond the {len(view)} bytes of the buffer")
            message = self._receive(None)
            if len(message) > len(view) - offset:
                raise BufferTooShort(message)
            view[offset : offset + len(message)] = message
        return len(message)

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Whether `recv` would not block: there is a message, or nobody is left to send one.

        Waits up to *timeout* seconds for it; None means for ever.
        """
        self._check(self._readable, "send-only: it cannot receive")
        self._users.append(None)
        try:
            return self._await(self.fileno(), select.POLLIN, timeout)
        finally:
            self._leave()

    def _receive(self, maxlength: int | None) -> bytes:
        with self._recv_lock:
            if self._receiving:
                raise RuntimeError(
                    f"{self!r}: received from within its own receive (a signal handler or finaliser?)"
                )
            self._receiving = True
            self._users.append(None)
            head = b""
            try:
                fd = self.fileno()
                head = self._read(fd, 4)
                size = int.from_bytes(head, "big", signed=True)
                if size < 0:
                    if size != -1:
                        self._fd = None
                        raise OSError(
                            f"a message of {size} bytes: what came is no message; connection closed"
                        )
                    size = int.from_bytes(self._read(fd, 8), "big")
                if maxlength is not None and size > maxlength:
                    self._fd = None
                    raise OSError(
                        f"a message of {size} bytes, longer than maxlength={maxlength}; connection closed"
                    )
                return self._read(fd, size) if size else b""
            except EOFError as gone:
                if head:
                    raise EOFError(f"{self!r}: the other end was closed in the middle of a message") from gone
                raise
            finally:
                self._receiving = False
                self._leave()

    def _read(self, fd: int, size: int) -> bytes:
        if thread_count():
            self._await(fd, select.POLLIN)  # another thread may close it while we wait
        try:
            first = os.read(fd, min(size, _READ_MAX))
        except (BlockingIOError, ConnectionResetError):
            first = b""
        if len(first) == size:
            return first
        if not first:
            first = self._read_some(fd, min(size, _READ_MAX))
            if len(first) == size:
                return first
        if size <= _READ_MAX:
            pieces = [first]
            left = size - len(first)
            while left:
                piece = self._read_some(fd, left)
                pieces.append(piece)
                left -= len(piece)
            return b"".join(pieces)
        # Memory is taken as the bytes come in: the length alone may be a lie. In small pieces, whose memory is at hand
        # for the next; and the value of a BytesIO is its buffer. A second megabyte, or one that is first filled with
        # zeros, costs more than the transfer.
        whole = BytesIO()
        whole.write(first)
        left = size - len(first)
        while left:
            piece = self._read_some(fd, min(left, _READ_MAX))
            whole.write(piece)
            left -= len(piece)
        return whole.getvalue()

    def _read_some(self, fd: int, size: int) -> bytes:
        while True:
            self._check_still_open()
            if thread_count():
                self._await(fd, select.POLLIN)  # another thread may close it while we wait
            try:
                data = os.read(fd, size)
            except BlockingIOError:
                self._await(fd, select.POLLIN)
                continue
            except ConnectionResetError:
                data = b""
            if data:
                return data
            raise EOFError(f"{self!r}: the other end was closed")

    # Waiting and closing

    def _check(self, permitted: bool, otherwise: str) -> None:
        if self._fd is None:
            raise OSError("handle is closed")
        if not permitted:
            raise OSError(f"connection is {otherwise}")

    # Whoever appends to `_users` may use the descriptor until `_leave`; it stays what it is meanwhile.

    def _leave(self) -> None:
        try:
            self._users.pop()
        except IndexError:
            return  # a fork in between emptied the list
        if self._fd is None and not self._users:
            self._dispose()

    def _check_still_open(self) -> None:
        if self._fd is None:
            raise OSError(f"{self!r} was closed by another thread")

    def _await(self, fd: int, event: int, timeout: float | None = None) -> bool:
        poller = select.poll()
        poller.register(fd, event)
        if timeout is not None and timeout <= 0:
            return bool(poller.poll(0))
        bell = _take_bell()
        self._bells.append(bell)
        try:
            self._check_still_open()
            poller.register(bell.fileno(), select.POLLIN)
            found = _poll_for(poller, timeout)
            self._check_still_open()
            return bool(found)
        finally:
            try:
                self._bells.remove(bell)
            except ValueError:
                pass  # forked meanwhile
            bell.silence()
            _idle_bells.append(bell)

    def _dispose(self, _close: Any = os.close) -> None:
        try:
            fd = self._open.pop()
        except IndexError:
            return  # another thread was faster
        _close(fd)

    def close(self) -> None:
        """Close this end. A second call does nothing.

        A thread that is blocked in `recv` or `poll` on it raises OSError; one that is blocked in `send` does when the
        pipe takes its bytes. The descriptor is given back when the last of them has left.
        """
        self._fd = None
        for bell in tuple(self._bells):
            bell.ring()
        if not self._users:
            self._dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            self.close()
        except AttributeError:
            pass  # __init__ refused its arguments

    def __reduce__(self) -> tuple[Any, ...]:
        inheritance = _inherit.current()
        if inheritance is None:
            raise RuntimeError(
                f"{self!r} can be pickled only as a part of a Process that is being started; "
                f"sending connections through pipes and queues is not supported yet"
            )
        return _rebuild, (type(self), inheritance.copy(self.fileno()), self._readable, self._writable)


def _rebuild(cls: type[Connection], fd: int, readable: bool, writable: bool) -> Connection:
    return cls(fd, readable, writable)


def _first_dumps(obj: Any) -> bytes:
    from .reduction import ForkingPickler

    global _dumps
    _dumps = ForkingPickler.dumps
    return ForkingPickler.dumps(obj)


def _first_loads(data: bytes) -> Any:
    import pickle

    global _loads
    _loads = pickle.loads
    return pickle.loads(data)


# `pickle` is imported by the first message, not with us.
_dumps: Any = _first_dumps
_loads: Any = _first_loads


def _poll_for(poller: select.poll, timeout: float | None) -> list[tuple[int, int]]:
    """poll() that takes any timeout, `inf` too, and is not late by more than its millisecond."""
    if timeout is None:
        return poller.poll()
    if timeout <= 0:
        return poller.poll(0)
    deadline = time.monotonic() + timeout
    while True:
        ready = poller.poll(min(timeout, _LONGEST_POLL) * 1000)
        timeout = deadline - time.monotonic()
        if ready or timeout <= 0:
            return ready


# Bells that nobody waits for now. As many are ever made as threads have waited at the same time.
_idle_bells: deque[Bell] = deque()


def _take_bell() -> Bell:
    try:
        return _idle_bells.pop()
    except IndexError:
        return Bell()


class _BellRack:
    """The idle bells of a process; a forked child shares the descriptors, and has to make its own."""


_rack = _BellRack()
register_after_fork(_rack, lambda _: _idle_bells.clear())


def Pipe(duplex: bool = True) -> tuple[Connection, Connection]:  # noqa: N802 - the standard name
    """Two connected ends: both send and receive, or with `duplex=False` the first receives and the second sends.

    In a forked child both ends stay open; close the one it does not use, or neither side will see the end of the
    other.
    """
    if not duplex:
        reader, writer = os.pipe()
        return Connection(reader, writable=False), Connection(writer, readable=False)
    sockets = socket_module()
    one, other = sockets.socketpair()
    one.setblocking(True)
    other.setblocking(True)
    return Connection(one.detach()), Connection(other.detach())


def wait(object_list: Iterable[Any], timeout: float | None = None) -> list[Any]:
    """Those of *object_list* that are ready: a message or the end of a Connection, a readable socket, a sentinel.

    Takes Connections, sockets, descriptors and anything with `fileno()`; any number of them. Blocks until at least
    one is ready or *timeout* seconds have passed (None: for ever); then the list is empty.
    """
    objects = list(object_list)
    by_fd: dict[int, list[Any]] = {}
    poller = select.poll()
    for each in objects:
        fd = each if isinstance(each, int) else each.fileno()
        if fd < 0:
            raise ValueError(f"{each!r} has no open descriptor to wait for")
        waiting = by_fd.get(fd)
        if waiting is None:
            poller.register(fd, select.POLLIN | select.POLLPRI)
            by_fd[fd] = [each]
        else:
            waiting.append(each)
    if not by_fd and timeout is None:
        return []
    ready = _poll_for(poller, timeout)
    if not ready:
        return []
    for fd, event in ready:
        if event & select.POLLNVAL:
            raise OSError(errno.EBADF, f"{by_fd[fd][0]!r} is not an open descriptor")
    hit = {fd for fd, _ in ready}
    chosen = {id(each) for fd in hit for each in by_fd[fd]}
    return [each for each in objects if id(each) in chosen]
