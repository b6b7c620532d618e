# SPDX-License-Identifier: MIT
#
# Exceptions that have no caller: of finalisers, of callbacks, of threads.

from __future__ import annotations

import sys

from ._platform import get_ident, native

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Any

# The record that sys.unraisablehook receives. Its type has no public name, but is findable, and can be called.
_UnraisableArgs: Any = next((t for t in tuple.__subclasses__() if t.__name__ == "UnraisableHookArgs"), None)


def report_unraisable(error: BaseException, what: str, culprit: object = None) -> None:
    """Hand an exception that has no caller to `sys.unraisablehook`, as the interpreter does for finalisers.

    *what* is the first line of the message, *culprit* the object that it is about. Never raises.
    """
    try:
        make = _UnraisableArgs if _UnraisableArgs is not None else _LooseArgs
        sys.unraisablehook(make((type(error), error, error.__traceback__, what, culprit)))
    except BaseException:  # noqa: BLE001 - the last resort has no resort
        stream = sys.stderr or sys.__stderr__
        if stream is not None:
            try:
                stream.write(f"{what}: {culprit!r}: {type(error).__name__}: {error}\n")
            except (OSError, ValueError):
                return


class _LooseArgs:
    __slots__ = ("err_msg", "exc_traceback", "exc_type", "exc_value", "object")

    def __init__(self, fields: tuple[Any, ...]) -> None:
        self.exc_type, self.exc_value, self.exc_traceback, self.err_msg, self.object = fields


if TYPE_CHECKING or native("_ExceptHookArgs") is None:

    class _ExceptHookArgs(tuple):  # type: ignore[type-arg]
        """What `_excepthook` is told, made from a sequence of four: type, value and traceback of an exception, and the
        thread object that it ended (or None)."""

        __slots__ = ()

        def __new__(cls, iterable: Iterable[Any] = (), /) -> _ExceptHookArgs:  # noqa: PYI034 - Self is not in 3.10
            fields = tuple(iterable)
            if len(fields) != 4:
                raise TypeError(f"{cls.__name__}() takes a sequence of 4, not of {len(fields)}")
            return super().__new__(cls, fields)

        exc_type: type[BaseException] = property(lambda self: self[0])  # type: ignore[assignment]
        exc_value: BaseException | None = property(lambda self: self[1])  # type: ignore[assignment]
        exc_traceback: TracebackType | None = property(lambda self: self[2])  # type: ignore[assignment]
        thread: Any = property(lambda self: self[3])

        def __repr__(self) -> str:
            names = ("exc_type", "exc_value", "exc_traceback", "thread")
            told = ", ".join(f"{name}={value!r}" for name, value in zip(names, self, strict=True))
            return f"_thread._ExceptHookArgs({told})"

else:
    _ExceptHookArgs = native("_ExceptHookArgs")


def _print_exception(args: Any, /) -> None:
    """Print an exception that ended a thread to `sys.stderr`, with the name of the thread; SystemExit is ignored."""
    if args.exc_type is SystemExit:
        return
    stream = sys.stderr if sys.stderr is not None else sys.__stderr__
    if stream is None:
        return
    import traceback

    name = get_ident() if args.thread is None else args.thread.name
    stream.write(f"Exception in thread {name}:\n")
    traceback.print_exception(args.exc_type, args.exc_value, args.exc_traceback, file=stream)
    stream.flush()


_excepthook: Any = native("_excepthook") or _print_exception
