# SPDX-License-Identifier: MIT
#
# What happens to an exception that leaves a thread's run().

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from .._thread import get_ident, report_unraisable

if TYPE_CHECKING:
    from types import TracebackType

    from ._threads import Thread


class ExceptHookArgs(NamedTuple):
    """What `excepthook` is told: the exception, and the `Thread` that it ended (or None)."""

    exc_type: type[BaseException]
    exc_value: BaseException | None = None
    exc_traceback: TracebackType | None = None
    thread: Thread | None = None


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
    hook = getattr(sys.modules.get(__package__), "excepthook", None) or excepthook
    try:
        hook(ExceptHookArgs(type(error), error, error.__traceback__, thread))
    except SystemExit:
        return
    except BaseException as failure:  # noqa: BLE001 - there is no caller to raise it to
        report_unraisable(failure, f"Exception in the excepthook for thread {thread.name}", hook)
