# SPDX-License-Identifier: MIT
#
# Exceptions that have no caller: of finalisers, of callbacks, of "threads".

from __future__ import annotations

import sys

from ._calls import get_ident

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

__all__ = ["_ExceptHookArgs", "_excepthook", "report_unraisable"]


class _ExceptHookArgs:
    """What `_excepthook` is told: an exception's type, value and traceback, and the thread object it ended, or None."""

    __slots__ = ("exc_traceback", "exc_type", "exc_value", "thread")

    def __init__(
        self, fields: tuple[type[BaseException], BaseException | None, TracebackType | None, Any], /
    ) -> None:
        self.exc_type, self.exc_value, self.exc_traceback, self.thread = fields


class _Unraisable:
    """What `sys.unraisablehook` is told."""

    def __init__(self, error: BaseException, what: str, culprit: object) -> None:
        self.exc_type, self.exc_value, self.exc_traceback = type(error), error, error.__traceback__
        self.err_msg, self.object = what, culprit


def report_unraisable(error: BaseException, what: str, culprit: object = None) -> None:
    """Tell of an exception that has no caller: by `sys.unraisablehook` if the program has its own, else on stderr.

    *what* is the first line of the message, *culprit* the object that it is about.
    """
    hook = sys.unraisablehook
    if hook is not sys.__unraisablehook__:
        hook(_Unraisable(error, what, culprit))  # type: ignore[arg-type]
    elif sys.stderr is not None:
        import traceback

        sys.stderr.write(f"{what}{'' if culprit is None else f' {culprit!r}'}\n")
        traceback.print_exception(type(error), error, error.__traceback__, file=sys.stderr)


def _excepthook(args: Any, /) -> None:
    """Print an exception that ended a thread to `sys.stderr`, with the name of the thread; SystemExit is ignored."""
    if args.exc_type is SystemExit or sys.stderr is None:
        return
    import traceback

    sys.stderr.write(f"Exception in thread {get_ident() if args.thread is None else args.thread.name}:\n")
    traceback.print_exception(args.exc_type, args.exc_value, args.exc_traceback, file=sys.stderr)
