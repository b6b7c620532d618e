# SPDX-License-Identifier: MIT
"""Feeding a child and reading it out at the same time, without either side waiting for the other."""

# One Exchange belongs to one Popen and lives through all its communicate() calls, because a call that timed
# out must lose nothing: what was read stays in `_collected`, what was written is remembered in `_sent`.
#
# Nor may a call lose anything that a signal handler's exception has ended. How much was read, or written, is stored by the
# C call that reads or writes, and settled when the call is gone on with (`_settle`). What was read is kept in one step, so
# that beginning again is right; but what is only told to a listener may be lost if the exception strikes in the moment
# between.
#
# The loop sleeps in poll() on the streams and on the child's pidfd. The pidfd is there for one case only: the
# child was killed through our own Popen, but somebody it had started still holds the other end of a pipe. End
# of file would then come when that stranger ends, perhaps never. So once a child that we killed is seen to have ended,
# the rest of the output is given DRAIN_SECONDS to arrive, over all further calls together, and what has arrived is the
# answer. In every other case end of file decides, as documented.
#
# Our ends of the pipes are ours alone (close-on-exec, no copy in the child), therefore O_NONBLOCK on the
# input pipe disturbs nobody, and lets one write() hand over as much as the pipe has room for, up to a
# megabyte, rather than the PIPE_BUF bytes that are safe to write to a blocking pipe after poll(). It is taken
# back at the end of each call, since after a time-out the stream may be the caller's again.
#
# What run() starts is known to nobody else, so nobody can kill it while run() reads: without a time limit the pidfd is not
# watched then. If there is no input either, the loop is not needed before a lot has come: `read_little` is enough.
#
# Pipes are widened (F_SETPIPE_SZ, Linux) only once a lot is seen to flow: their memory counts against a limit
# per user. That is all that anything is loaded for while data flows, and if no descriptor is left to load it with, they
# stay as they are.
#
# What was written is let go of: a bytearray that was the input may be changed as soon as the child has it, or does not
# want it any more.
#
# While we feed the child, nobody else may hold its input open, not even a copy of this process that is forked
# meanwhile: see `feeding` in _in_flight.

from __future__ import annotations

import os
import select
from time import monotonic

from ._collected import Collected
from ._in_flight import feeding, start_feeding, stop_feeding
from ._platform import winapi
from ._read_ahead import BufferedReader, reader_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ._handle import ProcessHandle
    from ._lines import LineFeeder

__all__ = ["DRAIN_SECONDS", "Exchange", "LimitReached", "open_exchange", "read_little"]

#: How long after the end of a child that we killed its output may keep us. A guess: long enough for what is
#: already in the pipes of a busy machine, short enough for whoever set a time limit.
DRAIN_SECONDS = 0.25

_ONE_WRITE = 1 << 20
_ONE_READ = 1 << 16
_WIDE = 1 << 20
# This much has to have come, or to wait for being written, before a pipe is widened.
_A_LOT = 1 << 18
_LONGEST_POLL_MS = 86_400_000
# Two things ring no bell: the end of a killed child where there is no pidfd, and a kill() from another thread of a
# child that has ended already while its pipes live on. Both are looked for, and only then.
_LOOK_EVERY_MS = 50.0


def _widen(fd: int) -> None:
    try:
        import fcntl
    except (ImportError, OSError):
        return  # no descriptor is left to load it with: narrow pipes work as well

    command = getattr(fcntl, "F_SETPIPE_SZ", 1031 if os.uname().sysname == "Linux" else None)
    if command is not None:
        try:
            fcntl.fcntl(fd, command, _WIDE)
        except OSError:
            pass  # the user's share of pipe memory is used up: the usual size works as well, only slower


_readv: Any = getattr(os, "readv", None)


def _read_instead(fd: int, buffers: tuple[memoryview]) -> int:
    (scratch,) = buffers
    piece = os.read(fd, len(scratch))
    scratch[: len(piece)] = piece
    return len(piece)


_read: Any = _read_instead if _readv is None else _readv


class LimitReached(Exception):
    """One of the outputs is longer than it may be."""


class Exchange:
    """What is still to be written to a child, and what was read from it."""

    __slots__ = (
        "_collected",
        "_come",
        "_come_after",
        "_come_from",
        "_drained_at",
        "_flushed",
        "_input",
        "_listeners",
        "_over",
        "_scratch",
        "_sent",
        "_sources",
        "_stdin",
        "_tell_until",
        "_told",
        "feeds_alone",
        "limit",
    )

    #: Whether what moves is moved by threads, so that no descriptor tells when there is something to do.
    in_threads = False

    def __init__(
        self,
        stdin: Any,
        sources: tuple[Any, ...],
        data: memoryview | None,
        limit: int | None = None,
    ) -> None:
        self._stdin = stdin
        self._sources = [stream for stream in sources if stream is not None and not stream.closed]
        # Into one scratch buffer that stays in the processor's cache, and from there into one growing block; into the
        # block at once when there is a lot.
        self._collected = {id(stream): Collected() for stream in sources if stream is not None}
        self._scratch = memoryview(b"")
        self._input = memoryview(b"") if data is None else data
        self._sent = [0]  # the sum of it
        # What was read, but is neither kept nor told yet (one item: how much of the scratch buffer, or the bytes); from
        # which stream; and how much of that was kept before.
        self._come: list[Any] = []
        self._come_from = self._come_after = 0
        #: Whether nobody else uses the input between two calls of pump() either; then it stays in `feeding`, and whoever
        #: has set this takes it out of there.
        self.feeds_alone = False
        self.limit = limit  # of what is kept of each stream, in bytes
        self._drained_at: float | None = None  # when the output of a child that was killed has had its time
        self._over: set[int] = set()  # the streams that are longer
        self._told: set[int] = set()  # and of which that was told
        self._listeners: dict[int, LineFeeder] = {}
        self._tell_until: float | None = None
        self._flushed = (
            False  # whether what the caller has written to the stream's buffer before is on its way
        )

    def listen(self, stream: Any, feeder: LineFeeder | None, keep: bool) -> None:
        """Have *feeder* told what *stream* says, and do not collect that unless *keep*."""
        if feeder is not None:
            self._listeners[id(stream)] = feeder
        if not keep:
            self._collected.pop(id(stream), None)

    def output_of(self, stream: Any) -> bytes | None:
        """What *stream* has given so far; None if it is not read here."""
        collected = self._collected.get(id(stream))
        return None if collected is None else collected.getvalue()

    def listener_of(self, stream: Any) -> LineFeeder | None:
        """What is told what *stream* says."""
        return self._listeners.get(id(stream))

    @property
    def is_behind(self) -> bool:
        """Whether listeners have not heard yet what was read for them."""
        return any(feeder.is_behind for feeder in self._listeners.values())

    def stop_telling(self, deadline: float) -> None:
        """Let listeners hear what they have not heard yet, until *deadline*; and nothing more after that."""
        try:
            for feeder in self._listeners.values():
                if monotonic() < deadline:
                    feeder.deliver(deadline)
        finally:
            for feeder in self._listeners.values():
                feeder.drop()

    def pump(
        self,
        deadline: float | None,
        handle: ProcessHandle | None,
        until: Any = (),
        tell_until: float | None = None,
    ) -> bool:
        """Write and read until both are done; False if *deadline* came first, or if *until* is no longer empty.

        Listeners are called until *deadline*, or *tell_until*; what they have not heard then they hear at the beginning
        of the next call. Raises LimitReached, once for each stream, when one has said more than may be kept; the excess
        is dropped then and later. Without a *handle* only ends of file count; then nobody else may kill the child.
        """
        self._tell_until = deadline if tell_until is None else tell_until
        if self._over - self._told:
            self._tell_limit()
        for feeder in self._listeners.values():
            feeder.deliver(self._tell_until)
            if feeder.is_behind:
                return False
        if self._come:
            self._settle()
        poller = select.poll()
        streams: dict[int, Any] = {}
        for stream in self._sources:
            if not stream.closed:
                self._salvage(stream)
                streams[stream.fileno()] = stream
                poller.register(stream, select.POLLIN | select.POLLPRI)
        if not self._scratch:
            self._scratch = memoryview(bytearray(_ONE_READ))
        about = poller, streams, deadline, handle, until
        return self._move(-1, about) if handle is None else handle.lend(self._move, about)

    def _move(
        self, bell: int, about: tuple[Any, dict[int, Any], float | None, ProcessHandle | None, Any]
    ) -> bool:
        """`pump`, with *bell* lent to it, the child's pidfd or -1."""
        poller, streams, deadline, handle, until = about
        sink = given = -1
        try:
            if self._stdin is not None and not self._stdin.closed:
                sink = given = self._stdin.fileno()
                start_feeding(sink)
                os.set_blocking(sink, False)
                poller.register(sink, select.POLLOUT)
                if len(self._input) - sum(self._sent) >= _A_LOT:
                    _widen(sink)
                elif not self._input:  # then there is nothing to wait for, as a rule
                    sink = self._write(poller, sink)
            if bell >= 0 and handle is not None and handle.returncode is None:
                poller.register(bell, select.POLLIN)
            return (
                self._loop(poller, streams, sink, bell, deadline, handle, until)
                and not self._over - self._told
                and not self.is_behind
            )
        finally:
            if given >= 0:
                try:
                    self._let_go_of_input(given)
                except BaseException:  # once more, should a signal handler have raised in there
                    self._let_go_of_input(given)
                    raise

    def _let_go_of_input(self, fd: int) -> None:
        """The input is the caller's again. May be called again."""
        # If it was closed here, it was struck off at the same time, and the number may be somebody else's by now.
        if not self._stdin.closed:
            if not self.feeds_alone:
                feeding.pop(fd, None)
            os.set_blocking(fd, True)

    def begin_with(self, stream: Any, pieces: list[bytes]) -> None:
        """Take what was read of *stream*, which may have ended, before."""
        self._collected.setdefault(id(stream), Collected())
        for piece in pieces:
            self._take(id(stream), memoryview(piece))

    def _loop(
        self,
        poller: Any,
        streams: dict[int, Any],
        sink: int,
        bell: int,
        deadline: float | None,
        handle: ProcessHandle | None,
        until: Any,
    ) -> bool:
        wide: set[int] = set()
        # What is read without a look at it, straight to where it stays.
        straight = {
            fd: one for fd, s in streams.items() if (one := self._collected.get(id(s))) and one.has_room
        }
        drained_at, last_words = self._drained_at, _WIDE * len(streams)
        come = self._come
        while (streams or sink >= 0) and not until:
            pause: float | None = None
            if drained_at is None and handle is not None and (bell < 0 or handle.returncode is not None):
                if handle.kill_sent and handle.poll() is not None:
                    drained_at = self._drained_at = monotonic() + DRAIN_SECONDS
                    last_words = _WIDE * len(streams)
                else:
                    pause = _LOOK_EVERY_MS
            for limit in (deadline, drained_at):
                if limit is not None:
                    left = (limit - monotonic()) * 1000.0
                    pause = left if pause is None or left < pause else pause
            if pause is None or pause > _LONGEST_POLL_MS:
                pause = None if pause is None else _LONGEST_POLL_MS
            ready = poller.poll(pause if pause is None or pause > 0 else 0)
            for fd, _event in ready:
                if fd == sink:
                    sink = self._write(poller, sink)
                elif fd == bell and handle is not None:
                    poller.unregister(bell)
                    bell = -1
                    handle.poll()
                else:
                    length, volume = -1, _A_LOT
                    if fd in straight:
                        length = straight[fd].read_from(fd)
                        if length <= 0:
                            del straight[fd]
                    if length < 0:
                        self._expect(id(streams[fd]))
                        come.extend(map(_read, (fd,), ((self._scratch,),)))
                        if length := come[0]:
                            volume = self._take(self._come_from, self._scratch[:length])
                            if volume >= _A_LOT:
                                self._go_straight(fd, streams[fd], straight)
                        else:
                            come.clear()
                    last_words -= length
                    if not length:
                        poller.unregister(fd)
                        self._end(streams.pop(fd), handle is None or not handle.kill_sent)
                    elif length >= _ONE_READ and volume >= _A_LOT and fd not in wide:
                        wide.add(fd)
                        _widen(fd)
            if not ready or (pause is not None and pause <= 0) or (self._listeners and self.is_behind):
                now = monotonic()
                # What is in the pipes by then, and no more than these can hold, is still read.
                if drained_at is not None and now >= drained_at and (not ready or last_words <= 0):
                    self._give_up(streams)
                    return True
                if deadline is not None and now >= deadline:
                    return not (streams or sink >= 0)
        return not (streams or sink >= 0)

    def _go_straight(self, fd: int, stream: Any, straight: dict[int, Collected]) -> None:
        """From now on read *stream*, of which a lot has come, to where it stays, if nobody wants to see it before."""
        collected = self._collected.get(id(stream))
        if id(stream) in self._listeners or self.limit is not None:
            collected = None
        if collected is not None and collected.reserve():
            straight[fd] = collected
        elif len(self._scratch) < _WIDE and not self._listeners:
            # Who listens gets less at a time: a mebibyte cut into lines takes many times its size.
            self._scratch = memoryview(bytearray(_WIDE))

    def _expect(self, key: int) -> None:
        """Note what is known before something is read of the stream *key*."""
        collected = self._collected.get(key)
        self._come_from, self._come_after = key, 0 if collected is None else collected.length

    def _settle(self) -> None:
        """Keep, and pass on, what was read before an interruption."""
        key, piece = self._come_from, self._piece()
        collected = self._collected.get(key)
        if collected is None or collected.length == self._come_after:
            self._take(key, piece)
        else:
            self._come.clear()
            self._tell(key, piece)

    def _piece(self) -> memoryview:
        """What was read, and not kept yet."""
        what = self._come[0]
        return memoryview(what) if isinstance(what, bytes) else self._scratch[:what]

    def _take(self, key: int, piece: memoryview) -> int:
        """Keep *piece* and pass it on, as is wanted; how much has come of that stream, if it is known."""
        volume = _A_LOT
        collected = self._collected.get(key)
        if collected is not None:
            room = len(piece) if self.limit is None else self.limit - collected.length
            if room < len(piece):
                self._over.add(key)
            collected.write(piece[:room])
            volume = collected.length
        self._come.clear()
        if self._listeners or self._over:
            self._tell(key, piece)
        return volume

    def _tell(self, key: int, piece: memoryview) -> None:
        if self._listeners and key in self._listeners:
            self._listeners[key].feed(piece, False, self._tell_until)
        if self._over and self._over - self._told:
            self._tell_limit()

    def _tell_limit(self) -> None:
        self._told |= self._over
        raise LimitReached

    def _end(self, stream: Any, is_whole: bool) -> None:
        stream.close()
        collected = self._collected.get(id(stream))
        if collected is not None:
            collected.cut()
        feeder = self._listeners.get(id(stream))
        if feeder is not None:
            feeder.feed_end(is_whole, self._tell_until)

    def _write(self, poller: Any, sink: int) -> int:
        """Write what fits; the descriptor, or -1 when there is no more to write."""
        sent = self._sent
        try:
            if not self._flushed:
                self._stdin.flush()
                self._flushed = True
            if (done := sum(sent)) < len(self._input):
                sent.extend(map(os.write, (sink,), (self._input[done : done + _ONE_WRITE],)))
                sent[:] = (sum(sent),)
        except BlockingIOError:
            return sink
        except BrokenPipeError:
            sent[:] = (len(self._input),)  # the child does not want the rest: documented to be ignored
        if sum(sent) < len(self._input):
            return sink
        poller.unregister(sink)
        self._close_stdin()
        return -1

    def _close_stdin(self) -> None:
        self._input = memoryview(b"")
        self._sent[:] = (0,)
        try:
            stop_feeding(self._stdin.fileno(), self._stdin)
        except (BrokenPipeError, BlockingIOError):
            pass  # what the caller had written before was not wanted either

    def _give_up(self, streams: dict[int, Any]) -> None:
        while streams:
            self._end(streams.popitem()[1], False)
        if self._stdin is not None and not self._stdin.closed:
            self._close_stdin()

    def _salvage(self, stream: Any) -> None:
        """Take what an earlier read of the caller's has left in a stream's buffer."""
        reader = reader_of(stream)
        if hasattr(reader, "peek"):
            # Not our own read1: in a function of Python, a handler could raise when it has the bytes and we have not.
            read1 = (
                super(BufferedReader, reader).read1 if isinstance(reader, BufferedReader) else reader.read1
            )
            fd = stream.fileno()
            try:
                os.set_blocking(fd, False)
                left = reader.peek()
                if left:
                    self._expect(id(stream))
                    self._come.extend(map(read1, (len(left),)))
                    self._settle()
            finally:
                os.set_blocking(fd, True)


def read_little(sources: list[int], said: Sequence[list[bytes]]) -> bool:
    """Read the descriptors *sources* to their ends; False if there is a lot. *said* has what came of each.

    What an interruption keeps from being returned is lost: for who wants nothing more in that case.
    """
    left = _A_LOT
    if len(sources) == 1:
        (fd,), (pieces,) = sources, said
        while piece := os.read(fd, _ONE_READ):
            pieces.append(piece)
            left -= len(piece)
            if left <= 0:
                return False
        return True
    poller = select.poll()
    places = dict(zip(sources, said, strict=True))
    for fd in sources:
        poller.register(fd, select.POLLIN)
    while places:
        for fd, _event in poller.poll():
            # POLLHUP alone is no end of file: Linux looks for bytes first and for writers after that, with no lock. Last
            # words, written and left behind between the two, are there all the same.
            if piece := os.read(fd, _ONE_READ):
                places[fd].append(piece)
                left -= len(piece)
            else:
                poller.unregister(fd)
                del places[fd]
        if left <= 0:
            return not places
    return True


def open_exchange(
    stdin: Any, sources: tuple[Any, ...], data: memoryview | None, limit: int | None = None
) -> Exchange:
    """An exchange of the kind that this system needs."""
    if winapi is None:
        return Exchange(stdin, sources, data, limit)
    from ._exchange_by_threads import ThreadedExchange

    return ThreadedExchange(stdin, sources, data, limit)
