# SPDX-License-Identifier: MIT
"""The life of a worker process of a pool.

- It reads calls from one pipe and answers on another, each answer by itself before the next call begins, so that no
  result waits behind a long call. It makes a call when it has read its ticket from a third pipe; calls without one
  were taken back, and are dropped.
- The end of the tickets is its order to go. The pool closes that pipe, or the kernel does when the pool's process dies.
- In the middle of a call nobody reads. So there is the lifeline, a pipe in which nothing is ever written and whose
  other end only the pool's process has: the kernel is told to send SIGKILL when that is gone (F_SETOWN, F_SETSIG and
  O_ASYNC; Linux). Not a milder signal: a forked worker has the handlers of its parent.
- Ctrl-C reaches every process of the terminal. Here it interrupts the call that is running, or about to
  (KeyboardInterrupt, which is then that call's outcome), and is ignored by a worker that has none. A handler that the
  program has installed itself stays.
- A call may fork. A child that comes back from the call has no pool to answer to, and ends.
"""

from __future__ import annotations

import os
import select
import signal
from collections import deque
from time import perf_counter

from ._wire import (
    ATOMS_ONLY,
    CHUNK,
    CHUNK_VALUES,
    FAILURE,
    START_FAILED,
    TICKET,
    WITH_ITS_FUNCTION,
    Frames,
    describe,
    dumps,
    frame,
    pack_value,
    unpack,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_READ_SIZE = 1 << 16


class _Interruption:
    """Lets SIGINT through while a call runs, once per call."""

    def __init__(self) -> None:
        self.wanted = False
        # It came at another moment, while there was a call to make.
        self.missed = False
        # While the worker waits for a call: whether there is one.
        self.has_call: Callable[[], bool] | None = None

    def __call__(self, *_: object) -> None:
        if self.wanted:
            self.wanted = False
            raise KeyboardInterrupt
        if self.has_call is None or self.has_call():
            self.missed = True

    def install(self, unblock: bool) -> None:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self)
        # The pool blocked it before the start: an interpreter that is interrupted as it starts prints a traceback.
        if unblock and hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


class _Worker:
    def __init__(self, answers: int, interruption: _Interruption) -> None:
        self._answers = answers
        self._interruption = interruption
        self._functions: dict[int, Callable[..., Any]] = {}
        self._packed: dict[int, bytes] = {}
        self._pid = os.getpid()

    def send(self, *answer: Any) -> None:
        if os.getpid() != self._pid:
            os._exit(0)
        data = memoryview(frame(answer))
        while data:
            data = data[os.write(self._answers, data) :]

    def attempt(self, function: Callable[..., Any], *args: Any) -> tuple[Any, BaseException | None]:
        """(value, None) or (None, exception). While it runs, SIGINT raises."""
        try:
            try:
                self._interruption.wanted = True
                if self._interruption.missed:
                    self._interruption.missed = False
                    raise KeyboardInterrupt
                return function(*args), None
            finally:
                # Interrupted in this very line, `wanted` is False already, and it is caught below.
                self._interruption.wanted = False
        except BaseException as error:  # noqa: BLE001 - the outcome, SystemExit and KeyboardInterrupt included
            return None, error

    def define(self, definitions: list[tuple[int, bytes]]) -> None:
        self._packed.update(definitions)

    def _load(self, number: int) -> None:
        # If that raises, each call of the function raises it.
        self._functions[number] = unpack(self._packed[number])

    def answer(self, call: int, shape: int, number: int, body: Any) -> None:
        if number not in self._functions and number != WITH_ITS_FUNCTION:
            _, problem = self.attempt(self._load, number)
            if problem is not None:
                self.send(call, FAILURE, describe(problem), 0.0)
                return
        started = perf_counter()
        if shape == CHUNK:
            result = self._chunk(number, body)
        else:
            result = self._outcome(*self.attempt(self._single, shape, number, body))
        self.send(call, *result, perf_counter() - started)

    def _outcome(self, value: Any, problem: BaseException | None) -> tuple[int, Any]:
        if problem is None:
            packed, problem = self.attempt(pack_value, value)
            if problem is None:
                return packed  # type: ignore[no-any-return]
        try:
            return FAILURE, describe(problem)
        finally:
            del problem  # it refers to this frame by its traceback

    def _single(self, shape: int, number: int, body: Any) -> Any:
        if shape == ATOMS_ONLY:
            return self._functions[number](*body)
        if number == WITH_ITS_FUNCTION:
            function, (args, kwargs) = unpack(body)
        else:
            function = self._functions[number]
            args, kwargs = unpack(body)
        del body
        return function(*args, **kwargs)

    def _chunk(self, number: int, body: bytes) -> tuple[int, Any]:
        values: list[Any] = []
        failures: list[tuple[int, Any]] = []
        _, problem = self.attempt(self._fill, values, failures, number, body)
        if problem is not None:
            failures.append((len(values), describe(problem)))
            values.append(None)
        packed, unpicklable = self.attempt(dumps, values)
        if unpicklable is not None:
            return FAILURE, describe(unpicklable)
        return CHUNK_VALUES, (bytes(packed), failures, problem is not None)

    def _fill(self, values: list[Any], failures: list[tuple[int, Any]], number: int, body: bytes) -> None:
        content = unpack(body)
        function, chunk = content if number == WITH_ITS_FUNCTION else (self._functions[number], content)
        for args in chunk:
            try:
                value = function(*args)
            except Exception as error:  # noqa: BLE001 - the outcome of this call
                failures.append((len(values), describe(error)))
                value = None
            values.append(value)


class _Calls:
    """Where the calls come from."""

    def __init__(self, source: int, tickets: int, worker: _Worker, interruption: _Interruption) -> None:
        self._source = source
        self._tickets = tickets
        self._worker = worker
        self._interruption = interruption
        self._frames = Frames()
        self._known: deque[Any] = deque()

    def _is_next_here(self, milliseconds: int | None = 0) -> bool:
        poller = select.poll()  # one of its own: a signal handler asks in the middle of a wait
        poller.register(self._tickets, select.POLLIN)
        return bool(poller.poll(milliseconds))

    def next(self) -> Any:
        """The next call, now ours to make; None if there will be no more."""
        while True:
            try:
                ticket = os.read(self._tickets, TICKET.size)
                break
            except BlockingIOError:
                self._interruption.missed = False
                self._interruption.has_call = self._is_next_here
                self._is_next_here(None)
                self._interruption.has_call = None
        if not ticket:
            return None
        (number,) = TICKET.unpack(ticket)
        known = self._known
        while True:
            while not known:
                data = os.read(self._source, _READ_SIZE)
                if not data:
                    return None
                for definitions, calls in self._frames.feed(data):
                    self._worker.define(definitions)
                    known += calls
            call = known.popleft()
            if call[0] == number:
                return call


def _end_with_pool(lifeline: int) -> None:
    import fcntl

    set_signal = getattr(fcntl, "F_SETSIG", None)
    asynchronous = getattr(os, "O_ASYNC", getattr(fcntl, "FASYNC", None))
    if set_signal is None or asynchronous is None:
        return  # then it ends after the call
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, set_signal, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | asynchronous)
    # It may have been too late for that; nobody writes, so only the end can be read.
    poller = select.poll()
    poller.register(lifeline, select.POLLIN)
    if poller.poll(0):
        os._exit(1)


def run_worker(
    pipes: tuple[Any, Any, Any, Any],
    initializer: Callable[..., object] | None,
    initargs: tuple[Any, ...],
    unblock: bool,
) -> None:
    """The target of a worker process: answer calls until there are no more."""
    interruption = _Interruption()
    interruption.install(unblock)
    source, tickets, answers, lifeline = [pipe.fileno() for pipe in pipes]
    worker = _Worker(answers, interruption)
    try:
        _end_with_pool(lifeline)
        if initializer is not None:
            _, problem = worker.attempt(initializer, *initargs)
            if problem is not None:
                worker.send(None, START_FAILED, describe(problem), 0.0)
                return
        initializer, initargs = None, ()
        calls = _Calls(source, tickets, worker, interruption)
        while (call := calls.next()) is not None:
            worker.answer(*call)
    except BrokenPipeError:
        return  # the pool's process is gone; nobody wants the answers
    finally:
        if signal.getsignal(signal.SIGINT) is interruption:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
