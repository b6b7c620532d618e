# SPDX-License-Identifier: MIT
#
# What happens to an exception that leaves a thread's run().

from __future__ import annotations

import sys

from .._thread import get_ident, report_unraisable

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Any

    from ._threads import Thread


class ExceptHookArgs(tuple):  # type: ignore[type-arg]
    """What `excepthook` is told, made from a sequence of four: the exception's type, value and traceback, and the
    `Thread` that it ended (or None)."""

    __slots__ = ()

    def __new__(cls, iterable: Iterable[Any] = (), /) -> ExceptHookArgs:  # noqa: PYI034 - Self is not in 3.10
        fields = tuple(iterable)
        if len(fields) != 4:
            raise TypeError(
                f"ExceptHookArgs() takes a sequence of 4 (type, value, traceback, thread), not of {len(fields)}"
            )
        return super().__new__(cls, fields)

    exc_type: type[BaseException] = property(lambda self: self[0])  # type: ignore[assignment]
    exc_value: BaseException | None = property(lambda self: self[1])  # type: ignore[assignment]
    exc_traceback: TracebackType | None = property(lambda self: self[2])  # type: ignore[assignment]
    thread: Thread | None = property(lambda self: self[3])  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({tuple(self)!r})"


def excepthook(args: Any, /) -> None:
    """Report an exception that ended a thread; assign another function to this name to have it told instead.

    *args* has the attributes `exc_type`, `exc_value`, `exc_traceback` and `thread`. SystemExit is ignored. Everything
    else is printed to `sys.stderr` (to the original one if that is None), with the name of the thread.
    """
    if args.exc_type is SystemExit:
        return
    stream = sys.stderr if sys.stderr is not None else sys.__stderr__
    if stream is None:
        return
    name = get_ident() if args.thread is None else args.thread.name
    stream.write(f"Exception in thread {name}:\n")
    if stream is sys.stderr:
        sys.__excepthook__(args.exc_type, args.exc_value, args.exc_traceback)
    else:
        import traceback

        traceback.print_exception(args.exc_type, args.exc_value, args.exc_traceback, file=stream)
    stream.flush()


def report(thread: Thread, error: BaseException) -> None:
    """Call whatever `excepthook` is now. Its own failure is reported too, and goes no further."""
    hook = getattr(sys.modules.get(__package__ or ""), "excepthook", None) or excepthook
    try:
        hook(ExceptHookArgs((type(error), error, error.__traceback__, thread)))
    except SystemExit:
        return
    except BaseException as failure:  # noqa: BLE001 - there is no caller to raise it to
        report_unraisable(failure, f"Exception in the excepthook for thread {thread.name}", hook)
