# SPDX-License-Identifier: MIT
"""What a pool of processes and its workers say to each other.

Two pipes per worker, calls and answers; nobody else reads or writes either. A frame is a fixed word, the length, and a
pickle of built-in types only, so that unpickling a frame cannot fail. Whatever the user gave is in it as bytes of its
own and is unpickled by itself: one bad argument, function, result or exception spoils one call. Immutable atoms
travel as they are.

  frame to a worker    (definitions, calls): functions that are new to it, as (number, pickle), then
                       (call number, shape, function number, body) for each call
  frame to the pool    (call number, shape, body, seconds that the call took)

A function that is pickled by name goes to each worker once, and is a number afterwards. Arguments are pickled when
the call is submitted: what the caller changes later does not reach the worker.
"""

from __future__ import annotations

import pickle
from struct import Struct
from types import BuiltinFunctionType, FunctionType, ModuleType

from .._thread import get_ident
from ..multiprocessing.reduction import ForkingPickler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Shapes of calls
ATOMS_ONLY = 0  # body: the tuple of arguments
PACKED = 1  # body: pickle of (args, kwargs)
CHUNK = 2  # body: pickle of a list of argument tuples
# Shapes of answers
VALUE = 0  # body: the value
PACKED_VALUE = 1  # body: its pickle
FAILURE = 2  # body: see `describe`
# body: (pickle of the list of values, list of (index in it, failure), whether the last of these ended the chunk)
CHUNK_VALUES = 3
START_FAILED = 4  # body: a failure, of the initializer

WITH_ITS_FUNCTION = -1  # instead of a function number: body is the pickle of (function, what the shape says)

# What lets a worker start a call, see `_crew`: its number, in a pipe of its own.
TICKET = Struct("!Q")

# Every frame begins with a word, so that what a call writes into the wrong descriptor is not taken for an answer.
_WORD = 0x706C6169
_HEAD = Struct("!LQ")
_ATOMS = frozenset([int, float, complex, bool, str, bytes, type(None)])
# More functions than this by name, and a program makes them up as it goes; then they are not remembered.
_MOST_FUNCTIONS = 1000

dumps = ForkingPickler.dumps
loads = pickle.loads


# In a worker: the thread that is unpickling a call, while it does.
_unpacking: list[int] = []


def unpack(data: bytes) -> Any:
    """Unpickle what the pool sent. The modules that are imported on the way can ask `is_unpacking`."""
    try:
        _unpacking.append(get_ident())
        return loads(data)
    finally:
        _unpacking.clear()


def is_unpacking() -> bool:
    """Whether the calling thread is importing what a call of its own worker needs.

    A module that submits a function of its own while it is being imported would do so again in the worker, whose
    worker would do so again, and so on until the machine has no room for one more.
    """
    return get_ident() in _unpacking


class RemoteTraceback(Exception):
    """The `__cause__` of an exception that was raised in a worker process: its traceback there, as text."""

    __module__ = f"{__package__}.process"

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def frame(content: object) -> bytes:
    data = pickle.dumps(content, pickle.HIGHEST_PROTOCOL)
    return _HEAD.pack(_WORD, len(data)) + data


class Frames:
    """Puts frames together from the bytes of a pipe, however they were cut."""

    __slots__ = ("_bytes",)

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        buffer = self._bytes
        buffer += data
        contents = []
        start = 0
        while len(buffer) - start >= _HEAD.size:
            word, length = _HEAD.unpack_from(buffer, start)
            if word != _WORD:
                raise ValueError(f"not the beginning of a frame: {bytes(buffer[start : start + 20])!r}")
            stop = start + _HEAD.size + length
            if len(buffer) < stop:
                break
            with memoryview(buffer) as view, view[start + _HEAD.size : stop] as content:
                contents.append(loads(content))
            start = stop
        if start:
            del buffer[:start]
        return contents


class Functions:
    """The functions that the workers of one pool get by number."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}
        self.pickles: list[bytes] = []

    def number(self, fn: Callable[..., Any]) -> int:
        """The number of *fn*, or WITH_ITS_FUNCTION if it has state to be pickled with every call."""
        kind = type(fn)
        by_name = kind is FunctionType or kind is type
        if kind is BuiltinFunctionType:  # a method of an object is one, too
            by_name = isinstance(getattr(fn, "__self__", None), ModuleType)
        if not by_name:
            return WITH_ITS_FUNCTION
        number = self._numbers.get(fn)
        if number is None:
            packed = dumps(fn)
            if len(self.pickles) >= _MOST_FUNCTIONS:
                return WITH_ITS_FUNCTION
            # Two threads may enter the same function twice, under two numbers. Both are right.
            self.pickles.append(packed)
            number = self._numbers[fn] = self.pickles.index(packed)
        return number

    def pack_call(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[int, int, Any]:
        """(shape, function number, body). Raises what pickling raises."""
        number = self.number(fn)
        if number == WITH_ITS_FUNCTION:
            return PACKED, number, bytes(dumps((fn, (args, kwargs))))
        if not kwargs and _ATOMS.issuperset(map(type, args)):
            return ATOMS_ONLY, number, args
        return PACKED, number, bytes(dumps((args, kwargs)))

    def pack_chunk(self, fn: Callable[..., Any], chunk: list[tuple[Any, ...]]) -> tuple[int, int, Any]:
        number = self.number(fn)
        return CHUNK, number, bytes(dumps((fn, chunk) if number == WITH_ITS_FUNCTION else chunk))


def pack_value(value: Any) -> tuple[int, Any]:
    """(shape, body) of an answer. Raises what pickling raises."""
    if type(value) in _ATOMS:
        return VALUE, value
    return PACKED_VALUE, bytes(dumps(value))


def describe(error: BaseException) -> tuple[bytes | None, str, str, str]:
    """An exception for the way home: its pickle if it has one, the name of its class, its text, its traceback."""
    import traceback

    name = f"{type(error).__module__}.{type(error).__qualname__}"
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    try:
        text = str(error)
    except Exception as problem:  # noqa: BLE001 - said instead of the text
        text = f"<its str() raised {problem!r}>"
    try:
        packed = bytes(dumps(error))
    except Exception as problem:  # noqa: BLE001 - the rest is sent, and says so
        return None, name, f"{text} (it cannot be pickled: {problem})", trace
    return packed, name, text, trace


def rebuild(failure: tuple[bytes | None, str, str, str]) -> BaseException:
    """The exception that was described, or an UnpicklingError that tells about it."""
    packed, name, text, trace = failure
    error: Any = None
    if packed is not None:
        try:
            error = loads(packed)
        except Exception as problem:  # noqa: BLE001 - told to the caller
            text = f"{text} (unpickling it raised {type(problem).__name__}: {problem})"
    if not isinstance(error, BaseException):
        error = pickle.UnpicklingError(
            f"the call raised {name}: {text}; the exception object could not be brought back from the worker "
            f"process: give its class a __reduce__ that matches its __init__"
        )
    error.__cause__ = RemoteTraceback(trace)
    return error  # type: ignore[no-any-return]
