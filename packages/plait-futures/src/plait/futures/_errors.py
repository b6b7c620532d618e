# SPDX-License-Identifier: MIT
"""The exceptions of futures and executors."""

from __future__ import annotations

import builtins
import sys

from ._standard import also_standard

_PACKAGE = str(__package__)  # not this private module: the name is pickled


class Error(Exception):
    """Base of the exceptions that futures raise about themselves."""

    __module__ = _PACKAGE


class CancelledError(Error):
    """The future was cancelled, so it has neither result nor exception.

    Raised by `Future.result`, `Future.exception` and the iterators of `Executor.map`. If the program has loaded the
    standard `concurrent.futures`, the raised object is also that module's CancelledError.
    """

    __module__ = _PACKAGE


class InvalidStateError(Error):
    """The operation is not allowed in the state that the future is in: it has an outcome already."""

    __module__ = _PACKAGE


class BrokenExecutor(RuntimeError):
    """The executor lost what it needs to run calls, and runs none any more. The message says what happened."""

    __module__ = _PACKAGE


if sys.version_info >= (3, 11):
    TimeoutError = builtins.TimeoutError  # noqa: A001 - the standard name
else:

    class TimeoutError(Error, builtins.TimeoutError):  # noqa: A001
        """The time given with *timeout* is over. The built-in TimeoutError itself from Python 3.11 on."""

        __module__ = _PACKAGE


def cancelled(what: object) -> CancelledError:
    return also_standard(CancelledError, "CancelledError")(f"{what!r} was cancelled")


def timed_out(message: str) -> builtins.TimeoutError:
    return also_standard(TimeoutError, "TimeoutError")(message)


def invalid_state(message: str) -> InvalidStateError:
    return also_standard(InvalidStateError, "InvalidStateError")(message)
