# SPDX-License-Identifier: MIT
"""The life of a worker process of a pool.

- It reads calls from one pipe and answers on another, each answer by itself before the next call begins, so that no
  result waits behind a long call.
- The end of the calls pipe is its order to go. The pool closes it, or the kernel does when the pool's process dies.
- Ctrl-C reaches every process of the terminal. Here it interrupts the call that is running (KeyboardInterrupt,
  which is then that call's outcome), and is ignored between calls. A handler that the program has installed itself
  stays.
"""

from __future__ import annotations

import os
import signal
from time import perf_counter

from ._wire import (
    ATOMS_ONLY,
    CHUNK,
    CHUNK_VALUES,
    FAILURE,
    START_FAILED,
    WITH_ITS_FUNCTION,
    Frames,
    describe,
    dumps,
    frame,
    loads,
    pack_value,
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

    def __call__(self, *_: object) -> None:
        if self.wanted:
            self.wanted = False
            raise KeyboardInterrupt

    def install(self, unblock: bool) -> None:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self)
        # The pool blocked it before the start: an interpreter that is interrupted as it starts prints a traceback.
        if unblock and hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


class _Broken:
    """A function that did not unpickle here; calling it says why."""

    def __init__(self, problem: BaseException) -> None:
        self._problem = problem

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise self._problem


class _Worker:
    def __init__(self, answers: int, interruption: _Interruption) -> None:
        self._answers = answers
        self._interruption = interruption
        self._functions: dict[int, Callable[..., Any]] = {}

    def send(self, *answer: Any) -> None:
        data = memoryview(frame(answer))
        while data:
            data = data[os.write(self._answers, data) :]

    def attempt(self, function: Callable[..., Any], *args: Any) -> tuple[Any, BaseException | None]:
        """(value, None) or (None, exception). While it runs, SIGINT raises."""
        try:
            try:
                self._interruption.wanted = True
                return function(*args), None
            finally:
                # Interrupted in this very line, `wanted` is False already, and it is caught below.
                self._interruption.wanted = False
        except BaseException as error:  # noqa: BLE001 - the outcome, SystemExit and KeyboardInterrupt included
            return None, error

    def define(self, definitions: list[tuple[int, bytes]]) -> None:
        for number, packed in definitions:
            function, problem = self.attempt(loads, packed)
            self._functions[number] = function if problem is None else _Broken(problem)

    def answer(self, call: int, shape: int, number: int, body: Any) -> None:
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
            function, (args, kwargs) = loads(body)
        else:
            function = self._functions[number]
            args, kwargs = loads(body)
        del body
        return function(*args, **kwargs)

    def _chunk(self, number: int, body: bytes) -> tuple[int, Any]:
        values: list[Any] = []
        _, problem = self.attempt(self._fill, values, number, body)
        packed, unpicklable = self.attempt(dumps, values)
        if unpicklable is not None:
            return FAILURE, describe(unpicklable)
        return CHUNK_VALUES, (bytes(packed), None if problem is None else describe(problem))

    def _fill(self, values: list[Any], number: int, body: bytes) -> None:
        content = loads(body)
        function, chunk = content if number == WITH_ITS_FUNCTION else (self._functions[number], content)
        for args in chunk:
            values.append(function(*args))  # noqa: PERF401 - those before an exception count


def run_worker(
    calls: Any,
    answers: Any,
    initializer: Callable[..., object] | None,
    initargs: tuple[Any, ...],
    unblock: bool,
) -> None:
    """The target of a worker process: answer calls until there are no more."""
    interruption = _Interruption()
    interruption.install(unblock)
    worker = _Worker(answers.fileno(), interruption)
    try:
        if initializer is not None:
            _, problem = worker.attempt(initializer, *initargs)
            if problem is not None:
                worker.send(None, START_FAILED, describe(problem), 0.0)
                return
        initializer, initargs = None, ()
        frames = Frames()
        source = calls.fileno()
        while True:
            data = os.read(source, _READ_SIZE)
            if not data:
                return
            for definitions, batch in frames.feed(data):
                worker.define(definitions)
                for call in batch:
                    worker.answer(*call)
    except BrokenPipeError:
        return  # the pool's process is gone; nobody wants the answers
    finally:
        if signal.getsignal(signal.SIGINT) is interruption:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
