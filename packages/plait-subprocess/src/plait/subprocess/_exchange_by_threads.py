# SPDX-License-Identifier: MIT
"""Feeding a child and reading it out at the same time where pipes cannot be waited for: a thread for each."""

# An anonymous pipe of Windows can be neither polled nor read without blocking. So each output has a thread that reads,
# the input has one that writes, and all of them report to the inbox of the thread that communicates. That
# one sleeps on a doorbell, and alone touches what the base class keeps: callbacks and limits work as there.
#
# What must hold
#   - A thread works on a descriptor of its own, a duplicate, and closes that itself. Closing a descriptor that
#     another thread is reading from blocks until the read is over: with a duplicate, close() of the stream, by
#     the caller or by us, never waits for anybody. A reader whose pipe is held open by a stranger stays behind until
#     that stranger ends. It holds its descriptor and the inbox, nothing else.
#   - Threads outlive a call that timed out: they are started by the first call, and later ones go on with the same inbox.
#   - Nothing grows without bounds: while the inbox is full, readers wait until it was emptied; the child's pipe
#     fills up, and then the child waits. If nobody can ever empty it again (the exchange is gone), they end.
#   - What a stream has in its buffer is taken by diverting the buffer from the pipe for a moment (see PipeEnd):
#     asking the stream itself could block.
#
# The child is said to have ended by nothing that rings here. After kill() that matters (see _exchange): the end is then
# looked for every 50 ms. Otherwise the sleeper wakes up twice a second, to let Ctrl-C in, which Windows does not deliver
# to who waits for a lock, and to see whether another thread has called kill().
#
# A doorbell is a lock that is held while all is quiet. Ringing releases it; ringing twice is ringing once.

from __future__ import annotations

import errno
import os
from time import monotonic

from .._thread import allocate_lock, start_new_thread
from ._exchange import DRAIN_SECONDS, Exchange
from ._read_ahead import BufferedReader, reader_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._handle import ProcessHandle

__all__ = ["ThreadedExchange"]

_ONE_WRITE = 1 << 20
_ONE_READ = 1 << 16
#: So many pieces may wait to be taken: a mebibyte of them.
_FULL = 16
_LOOK_EVERY = 0.5
_LOOK_EVERY_FOR_THE_KILLED = 0.05
#: How a child's not wanting its input any more looks: the C runtime of Windows may say "invalid argument" for it.
_NOT_WANTED = (errno.EPIPE, errno.EINVAL)


class _Bell:
    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._lock.acquire()

    def ring(self) -> None:
        try:
            self._lock.release()
        except RuntimeError:
            pass  # rung already

    def wait(self, seconds: float = -1) -> None:
        self._lock.acquire(timeout=seconds)


class _Inbox:
    """What the threads have to say: (stream's key, bytes or exception); b"" is the end of a stream."""

    __slots__ = ("abandoned", "bell", "emptied", "letters")

    def __init__(self) -> None:
        # One thread appends and another pops: single operations of a list, which need no lock.
        self.letters: list[tuple[int, Any]] = []
        self.bell = _Bell()
        self.emptied: list[_Bell] = []  # one for each reader
        self.abandoned = False

    def post(self, key: int, letter: Any) -> None:
        self.letters.append((key, letter))
        self.bell.ring()

    def let_readers_on(self) -> None:
        for bell in self.emptied:
            bell.ring()


def _taken(own: list[int]) -> int:
    """The descriptor that a thread was started for; -1 if who started it has changed its mind."""
    try:
        return own.pop()
    except IndexError:
        return -1


def _read(own: list[int], key: int, inbox: _Inbox, go_on: _Bell) -> None:
    if (fd := _taken(own)) < 0:
        return
    try:
        while not inbox.abandoned:
            piece = os.read(fd, _ONE_READ)
            if not piece:
                break
            inbox.post(key, piece)
            while len(inbox.letters) >= _FULL and not inbox.abandoned:
                go_on.wait()
        last: Any = b""
    except OSError as problem:
        last = problem
    os.close(fd)
    inbox.post(key, last)


def _write(own: list[int], data: list[Any], inbox: _Inbox) -> None:
    if (fd := _taken(own)) < 0:
        return
    problem: Any = b""
    try:
        for piece in data:
            view = memoryview(piece)
            while view and not inbox.abandoned:
                view = view[os.write(fd, view[:_ONE_WRITE]) :]
    except OSError as refused:
        if refused.errno not in _NOT_WANTED:
            problem = refused
    os.close(fd)
    data.clear()
    piece = view = memoryview(b"")  # the caller may change what was theirs as soon as they are told
    inbox.post(_INPUT, problem)


_INPUT = 0  # the key of the writer; id() of a stream is never 0


class ThreadedExchange(Exchange):
    """What is still to be written to a child, and what was read from it."""

    __slots__ = ("_inbox", "_prepared", "_reading", "_unstarted", "_writing")

    in_threads = True

    def __init__(
        self, stdin: Any, sources: tuple[Any, ...], data: memoryview | None, limit: int | None = None
    ) -> None:
        super().__init__(stdin, sources, data, limit)
        self._inbox = _Inbox()
        self._prepared = False
        self._unstarted: list[tuple[Any, ...]] = []  # threads: function, descriptor, further arguments
        self._reading: dict[int, Any] = {}
        self._writing = False

    def __del__(self) -> None:
        inbox: _Inbox | None = getattr(self, "_inbox", None)
        if inbox is not None:
            inbox.abandoned = True
            inbox.let_readers_on()

    def pump(
        self,
        deadline: float | None,
        handle: ProcessHandle | None,
        until: Any = (),
        tell_until: float | None = None,
    ) -> bool:
        """Pass on what the threads have read until all is done; False if *deadline* came first, or *until* has something.

        The rest is as in `Exchange`.
        """
        self._tell_until = deadline if tell_until is None else tell_until
        if self._over - self._told:
            self._tell_limit()
        for feeder in self._listeners.values():
            feeder.deliver(self._tell_until)
            if feeder.is_behind:
                return False
        inbox = self._inbox
        if not self._prepared:
            self._prepare(inbox)
        while self._unstarted:
            self._start_thread()
        drained_at = self._drained_at
        while True:
            self._empty(inbox, handle is None or not handle.kill_sent)
            if not self._reading and not self._writing:
                return not self.is_behind and not self._over - self._told
            if until:
                return False
            now = monotonic()
            if drained_at is None and handle is not None and handle.kill_sent and handle.poll() is not None:
                drained_at = self._drained_at = now + DRAIN_SECONDS
            if drained_at is not None and now >= drained_at:
                self._give_up_all(inbox)
                return not self.is_behind
            if deadline is not None and now >= deadline:
                return False
            pause = (
                _LOOK_EVERY_FOR_THE_KILLED
                if handle is not None and handle.kill_sent and drained_at is None
                else _LOOK_EVERY
            )
            for limit in (deadline, drained_at):
                if limit is not None:
                    pause = min(pause, limit - now)
            inbox.bell.wait(pause)

    def _prepare(self, inbox: _Inbox) -> None:
        """Decide which threads are needed. Done again if a signal handler has raised in the middle of it."""
        self._unstarted.clear()
        inbox.emptied.clear()
        for stream in self._sources:
            if not stream.closed:
                self._salvage(stream)
                self._reading[id(stream)] = stream
                inbox.emptied.append(_Bell())
                self._unstarted.append((_read, stream.fileno(), id(stream), inbox, inbox.emptied[-1]))
        stdin = self._stdin
        if stdin is not None and not stdin.closed:
            data = [piece for piece in (self._buffered_input(), self._input) if piece]
            if data:
                self._writing = True
                self._unstarted.append((_write, stdin.fileno(), data, inbox))
            else:
                stdin.close()
        self._prepared = True

    def _start_thread(self) -> None:
        entry = self._unstarted[-1]
        function, fd, *arguments = entry
        own: list[int] = []
        try:
            own.extend(map(os.dup, (fd,)))
            self._unstarted.pop()
            start_new_thread(function, (own, *arguments))
        except BaseException:
            # Whoever takes the descriptor out of the list owns it: this thread, or the one that runs already.
            try:
                os.close(own.pop())
            except IndexError:
                pass  # runs, or there was none to be had, and then it still is in _unstarted
            else:
                if entry not in self._unstarted:
                    self._unstarted.append(entry)
            raise

    def _empty(self, inbox: _Inbox, is_whole: bool) -> None:
        come = self._come
        while come or inbox.letters:
            if come:  # from before an interruption
                key, letter = come[0]
            else:
                key = inbox.letters[0][0]
                self._expect(key)
                come.extend(map(inbox.letters.pop, (0,)))
                letter = come[0][1]
            inbox.let_readers_on()
            if key != _INPUT and key not in self._reading:
                come.clear()  # given up before
                continue
            if letter and not isinstance(letter, OSError):
                self._settle()
                continue
            if key == _INPUT:
                self._writing, self._input = False, memoryview(b"")
                self._stdin.close()
            else:
                self._end(self._reading[key], is_whole)
                del self._reading[key]
            come.clear()
            if letter:
                raise letter

    def _piece(self) -> memoryview:
        return memoryview(self._come[0][1])

    def _give_up_all(self, inbox: _Inbox) -> None:
        inbox.abandoned = True
        inbox.let_readers_on()
        while self._reading:
            self._end(self._reading.popitem()[1], False)
        if self._writing:
            self._writing, self._input = False, memoryview(b"")
            self._stdin.close()

    # -- what the caller has left in the buffers ------------------------------------------------------------------

    def _salvage(self, stream: Any) -> None:
        reader = reader_of(stream)
        raw: Any = getattr(reader, "raw", None)
        if self._come:
            self._settle()
        if raw is not None and hasattr(reader, "peek") and hasattr(raw, "diverted"):
            read1 = (
                super(BufferedReader, reader).read1 if isinstance(reader, BufferedReader) else reader.read1
            )
            raw.diverted = bytearray()
            try:
                left = reader.peek()
                if left:
                    self._expect(id(stream))
                    self._come.extend(zip((id(stream),), map(read1, (len(left),)), strict=False))
                    self._settle()
            finally:
                raw.diverted = None

    def _buffered_input(self) -> bytes:
        buffer = getattr(self._stdin, "buffer", self._stdin)
        raw: Any = getattr(buffer, "raw", None)
        if not hasattr(raw, "diverted"):
            self._stdin.flush()
            return b""
        raw.diverted = bytearray()
        try:
            self._stdin.flush()
            return bytes(raw.diverted)
        finally:
            raw.diverted = None
