# SPDX-License-Identifier: MIT
"""A child's input and outputs, from our side."""

# communicate() may be called again after a time-out and must lose nothing: what it has read and written is in one
# Exchange, which lives as long as the object. For who has nothing to fear between two reads (a child that nobody else
# knows of) a few reads are enough, as long as little comes.

from __future__ import annotations

import io
import os
from time import monotonic

from ._ends import MarkedTextIOWrapper, TextIOWrapper, encoded
from ._exchange import Exchange, LimitReached, open_exchange, read_little
from ._handle import deadline_after
from ._read_ahead import BufferedReader, Tap, tapped
from ._results import Of, OutputTooLarge, TimeoutExpired, incremental_decoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterator
    from typing import IO, Any, AnyStr

    from ._handle import ProcessHandle
    from ._lines import Listening

__all__ = ["Conversation", "as_text"]


def _is_ours(stream: Any, text_mode: bool) -> bool:
    """Whether *stream* is of the kind that a Popen makes."""
    if text_mode:
        return type(stream) in (TextIOWrapper, MarkedTextIOWrapper, io.TextIOWrapper)
    # On Windows, ours is of a class that is derived from FileIO.
    return type(stream) is io.BufferedWriter or isinstance(stream, io.FileIO)


def _lines_ended(text: str) -> str:
    """*text* with each line end, of whatever system, made a newline."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def as_text(data: bytes, stream: Any) -> str:
    """*data*, which is complete, as *stream*, a text stream, would have decoded it."""
    return _lines_ended(data.decode(stream.encoding, stream.errors))


class Conversation(Of["AnyStr"]):
    """What a Popen does with its streams."""

    # Until there is something else to say.
    stdin: IO[AnyStr] | None = None
    stdout: IO[AnyStr] | None = None
    stderr: IO[AnyStr] | None = None
    args: Any
    text_mode: bool = False
    _handle: ProcessHandle | None = None
    _exchange: Exchange | None = None
    _come: deque[tuple[str, Any]] | None = None  # of lines(): what was read, and is to be yielded
    _said: dict[int, Any] | None = None  # by stream: what is known of it otherwise than by the exchange
    _is_known_to_one = False

    if TYPE_CHECKING:

        @property
        def handle(self) -> ProcessHandle: ...
        def wait(self, timeout: float | None = None) -> int: ...
        def _give_grace(self, timeout: float | None = None) -> None: ...

    def communicate(
        self,
        input: Any = None,  # noqa: A002
        timeout: float | None = None,
        *,
        on_stdout: Callable[[Any], object] | None = None,
        on_stderr: Callable[[Any], object] | None = None,
        max_output: int | None = None,
    ) -> tuple[AnyStr, AnyStr]:
        """Write *input*, read stdout and stderr to their ends, wait for the child; return what was read.

        What is not a PIPE gives None. *input* is `str` in text mode, otherwise any bytes-like object. A child
        that stops reading its input is no error. An output that the caller has closed gives nothing
        (`b''`, or `''`); but ValueError if it is the only pipe and there is no *timeout*, as in the standard class.
        Raises `TimeoutExpired` after *timeout* seconds with the
        output so far; the child runs on, and a further call, without *input*, continues and loses nothing.
        The same holds for what a signal handler raises, but for a line that is being cut for a callback in that moment.

        *on_stdout* and *on_stderr* are called, in this thread, with each line as it comes, its line end included; a
        line of more than a mebibyte comes in pieces. What they raise leaves this call. A stream that is longer than
        *max_output* bytes raises `OutputTooLarge`; the child runs on then too, and further calls drop the excess.
        All three count in the first call only; the standard method has none of them.

        Differs from the standard method: after `kill` the pipes are read for at most a quarter of a second
        beyond the child's end, should a process that the child had started still hold them; then they are
        closed, and what had come is returned. The time-out carries `str` in text mode. What an earlier read has left in
        a stream, as bytes or as text, is part of the result. In text mode all is encoded and decoded as the streams would
        do it, also after `process.stdout.reconfigure(encoding=..., errors=..., newline=...)` or that of `stdin`, with any
        number of pipes; *on_stdout* and *on_stderr* get lines that end in a line feed, whatever *newline* is. If the caller
        has replaced `stdin`, its own methods are used for text and where it has no descriptor; these may block for longer
        than *timeout*.
        """
        if self._come is not None:
            self._keep_the_rest()
        if self._exchange is not None and input:
            raise ValueError(
                "cannot send input after communication has started: the first call's input is still used"
            )
        listening = None
        if on_stdout is not None or on_stderr is not None or max_output is not None:
            from ._lines import Listening

            listening = Listening(on_stdout, on_stderr, max_output)
        if self.stdin is self.stdout is self.stderr is None:
            self.wait(timeout)
            return None, None  # type: ignore[return-value]
        return self._talk(input, timeout, listening)

    def _talk(self, given: Any, timeout: float | None, listening: Listening | None) -> tuple[Any, Any]:
        deadline = None if timeout is None else deadline_after(timeout)
        try:
            return self._communicate(given, timeout, deadline, listening)
        except KeyboardInterrupt:
            self._give_grace(timeout)
            raise

    def lines(self, input: Any = None, timeout: float | None = None) -> Iterator[tuple[str, AnyStr]]:  # noqa: A002
        """Iterate over the lines of both outputs as they come: `("stdout", line)` or `("stderr", line)`.

        Feeds *input* to the child meanwhile, and keeps nothing of what it has yielded. Ends when both outputs
        have. Raises `TimeoutExpired`, *timeout* seconds after the first step; the child runs on then, and the end of a
        `with` statement would wait for it: kill it first, if it is to end. The child is not waited for here. Who has left
        the iteration early may call communicate(), which returns the rest; there is no second iteration. The standard
        class has no such method.
        """
        if self._exchange is not None:
            raise ValueError(
                "communication has started already; lines() comes before communicate(), and once"
            )
        deadline = None if timeout is None else deadline_after(timeout)
        from collections import deque

        from ._lines import Listening

        come: deque[tuple[str, Any]] = deque()
        self._come = come
        listening = Listening(
            lambda line: come.append(("stdout", line)),
            lambda line: come.append(("stderr", line)),
            keep=(False, False),
        )
        exchange, handle = self._start_exchange(input, listening), self.handle
        done = False
        while not done:
            done = exchange.pump(deadline, handle, come)
            is_late = not done and deadline is not None and (not come or monotonic() >= deadline)
            while come:
                yield come.popleft()
            if is_late:
                assert timeout is not None
                raise TimeoutExpired(self.args, timeout)

    def _keep_the_rest(self) -> None:
        """After lines(): what it has not yielded, and what comes, is for communicate() to return."""
        come, exchange = self._come, self._exchange
        if come is not None and exchange is not None:
            said = dict(self._said or {})
            for name, stream in (("stdout", self.stdout), ("stderr", self.stderr)):
                feeder = exchange.listener_of(self._source_of(stream))
                if feeder is not None:
                    said[id(stream)] = rest = [line for origin, line in come if origin == name]
                    feeder.redirect(rest.append)
            self._said = said
        self._come = None  # last: until then all of it may be done again

    def _source_of(self, stream: Any) -> Any:
        """What stands for *stream* in the exchange."""
        return stream if self._said is None else self._said.get(id(stream), stream)

    def _start_exchange(self, given: Any, listening: Listening | None = None) -> Exchange:
        streams = (self.stdout, self.stderr)
        stdin: Any = self.stdin
        if stdin is None or _is_ours(stdin, self.text_mode):
            data = self._input_bytes(given)
        else:
            from ._stand_in import feed

            stdin, data = feed(stdin, given)
        sources = tuple(map(self._source, streams))
        exchange = open_exchange(stdin, sources, data, None if listening is None else listening.max_output)
        for source in sources:
            if isinstance(source, Tap):
                source.collect_from(exchange)
        if listening is not None:
            from ._lines import LineFeeder

            for source, tell, keep in zip(sources, listening.tell, listening.keep, strict=True):
                if source is None:
                    continue
                feeder = None
                if tell is not None:
                    about: Any = source if self.text_mode else None
                    feeder = LineFeeder(tell, about and about.encoding, about and about.errors)
                    if isinstance(source, Tap):
                        source.collected = bytes  # all of it comes by the listener
                        source.keeps = keep
                        feeder.let_decode(source.decode)
                exchange.listen(source, feeder, keep)
        self._exchange = exchange
        return exchange

    def _source(self, stream: Any) -> Any:
        """What an exchange is to read for *stream*."""
        known = None if self._said is None else self._said.get(id(stream))
        if isinstance(known, Tap):  # of a call that was struck before there was an exchange
            known.begin()
            return known
        kind = type(stream)
        if stream is None or kind is io.FileIO or kind is BufferedReader:
            return stream
        if (
            kind is io.TextIOWrapper
            and type(stream.buffer) is BufferedReader
            and not stream.buffer.was_used
            and stream.buffer.layer == id(stream)
            and self.text_mode
        ):
            return stream
        source = tapped(stream)
        if source is None:
            try:
                if not stream.closed:
                    stream.fileno()
            except (AttributeError, OSError):  # somebody's stand-in, which has no descriptor
                source = None
            else:
                return stream
        self._said = {**(self._said or {}), id(stream): source}
        if source is not None:
            source.begin()
        return source

    def _communicate(
        self,
        given: Any,
        timeout: float | None,
        deadline: float | None,
        listening: Listening | None = None,
    ) -> tuple[Any, Any]:
        streams = (self.stdout, self.stderr)
        handle = self._handle
        assert handle is not None
        exchange = self._exchange
        # Nobody can kill such a child while this thread reads: its end of file is all that there is to wait for.
        undisturbed = self._is_known_to_one and exchange is None and timeout is None and listening is None
        if exchange is None:
            if self.stdin is self.stdout is self.stderr is None:
                self.wait(timeout)
                return None, None
            if undisturbed and self.stdin is None:
                outputs = [stream for stream in streams if stream is not None]
                said: list[list[bytes]] = [[] for _ in outputs]
                if read_little([stream.fileno() for stream in outputs], said):
                    for stream in outputs:
                        stream.close()
                    self.wait()
                    whole = [b"".join(pieces) for pieces in said]
                    if not self.text_mode:
                        told: list[Any] = list(whole)
                    else:
                        told = [self._decoded(one, s, True) for one, s in zip(whole, outputs, strict=True)]
                    first = None if self.stdout is None else told[0]
                    return first, None if self.stderr is None else told[-1]
                exchange = self._start_exchange(None)
                for stream, pieces in zip(outputs, said, strict=True):
                    exchange.begin_with(stream, pieces)
            else:
                if timeout is None:
                    self._refuse_a_closed_one(given)
                exchange = self._start_exchange(given, listening)
        try:
            done = exchange.pump(deadline, None if undisturbed else handle)
        except LimitReached:
            out, err = self._output_so_far()
            raise OutputTooLarge(self.args, exchange.limit or 0, output=out, stderr=err) from None
        if done:
            try:
                self.wait(None if deadline is None else max(deadline - monotonic(), 0.0))
            except TimeoutExpired as late:
                if late.cmd is not self.args:
                    raise  # out of a signal handler, about some other command
                done = False
        if not done:
            assert timeout is not None
            out, err = self._output_so_far()
            raise TimeoutExpired(self.args, timeout, output=out, stderr=err)
        out, err = (self._as_promised(stream, not handle.kill_sent) for stream in streams)
        return out, err

    def _refuse_a_closed_one(self, given: Any) -> None:
        """Raise if there is one pipe only, and nothing to be had from it: then the standard class goes straight to it."""
        name, *others = [name for name in ("stdin", "stdout", "stderr") if getattr(self, name) is not None]
        if not others and (given or name != "stdin") and getattr(getattr(self, name), "closed", 0) is True:
            what = "write to" if name == "stdin" else "read of"
            raise ValueError(f"{what} closed file: {name} of {self!r} was closed before communicate()")

    def _output_so_far(self) -> list[Any]:
        """What communicate() has read until now, in terms that fit a TimeoutExpired: no byte can make this fail."""
        outputs = []
        for stream in (self.stdout, self.stderr):
            try:
                outputs.append(self._as_promised(stream, False))
            except UnicodeError:
                outputs.append(self._as_promised(stream, False, "replace"))
        return outputs

    def _input_bytes(self, given: Any) -> memoryview | None:
        if given is None or self.stdin is None:
            return None
        if self.text_mode:
            if not isinstance(given, str):
                raise TypeError(f"in text mode the input is a str, not {type(given).__name__}")
            stdin: Any = self.stdin
            line_end = getattr(stdin, "line_end", os.linesep)
            if line_end != "\n":
                given = given.replace("\n", line_end)
            given = encoded(given, stdin)
        elif isinstance(given, str):
            raise TypeError(
                "the input is bytes, not str, unless text=True or an encoding makes text of the streams"
            )
        view = memoryview(given)
        return view.cast("B") if view.c_contiguous else memoryview(view.tobytes())

    def _as_promised(self, stream: Any, complete: bool, errors: str | None = None) -> Any:
        if self._exchange is None:
            return None
        if self._said is not None and id(stream) in self._said:
            return self._otherwise_said(stream, complete)
        data = self._exchange.output_of(stream)
        return data if data is None else self._decoded(data, stream, complete, errors)

    def _otherwise_said(self, stream: Any, complete: bool) -> Any:
        """What came of a stream that the exchange does not read as it is."""
        assert self._said is not None
        said = self._said[id(stream)]
        if isinstance(said, list):  # lines() has had some of it
            return ("" if self.text_mode else b"").join(said)
        if isinstance(said, Tap):
            return said.whole() if complete and said.closed else said.so_far()
        if said is None:
            self._said[id(stream)] = said = (stream.read(),)
        return said[0]

    def _decoded(self, data: bytes, stream: Any, complete: bool, errors: str | None = None) -> Any:
        if not self.text_mode:
            return data
        if complete:
            return as_text(data, stream)
        # A character may have come by half.
        return _lines_ended(incremental_decoder(stream.encoding, errors or stream.errors).decode(data))

    def _close_streams(self) -> None:
        """Close our ends of the pipes, all of them, whatever happens to one."""
        try:
            if self.stdout is not None:
                self.stdout.close()
        finally:
            try:
                if self.stderr is not None:
                    self.stderr.close()
            finally:
                if self.stdin is not None:
                    self.stdin.close()

    @property
    def _has_pipes(self) -> bool:
        return not self.stdin is self.stdout is self.stderr is None
