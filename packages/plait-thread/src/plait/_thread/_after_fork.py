# SPDX-License-Identifier: MIT
#
# Who must be told, in the child, that the process has been forked.
#
# A fork copies every object and one thread. Locks that other threads held stay held, waiters that will never be there
# again still stand in queues. Whoever owns such state registers here how to mend it.
#
# What always holds
#   - One `os.register_at_fork` callback for all of plait's lower layers, made at import; it cannot be taken back, and
#     so it must not be made per object.
#   - Registration is a weak reference and one dictionary store: no lock, so that it may happen at any bytecode (in a
#     finaliser, in a signal handler, in several threads at once), and cannot itself be caught by a fork half done.
#   - Callbacks run in the order of registration: a lower layer, being imported first, is mended first.
#   - The generation is counted up before the first callback runs.
#   - An exception in a callback goes to `sys.unraisablehook` and the next callback runs: a child with one broken
#     object is better than one in which all the others are broken too.

from __future__ import annotations

import os
import sys

from ._platform import _UnraisableArgs, forget_threads_of_parent, weak_reference

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

_generation = 0


class _Registration(weak_reference):  # type: ignore[type-arg]
    __slots__ = ("callback",)
    callback: Callable[[Any], object]


# Keyed by the registration's own id, which cannot be reused while the registration is in here.
_registrations: dict[int, _Registration] = {}


def _discard(registration: _Registration, _pop: Any = _registrations.pop) -> None:
    _pop(id(registration), None)


def register_after_fork(obj: T, callback: Callable[[T], object]) -> None:
    """In the child of every `os.fork()` from now on, call ``callback(obj)``.

    *obj* is held weakly: nothing needs to be unregistered. *callback* must not hold it either (pass a plain function,
    not a bound method of *obj*). It runs in the only thread of the child, before `os.fork()` returns there, in order
    of registration; it must not wait for anything. Errors go to `sys.unraisablehook`.

    Never blocks; callable in any thread, signal handler or finaliser. Has no equivalent in the standard `_thread`;
    `os.register_at_fork` keeps its argument for ever.
    """
    registration = _Registration(obj, _discard)
    registration.callback = callback
    _registrations[id(registration)] = registration


def fork_generation() -> int:
    """How many forks lie between the first process and this one.

    0 in the process that imported this module, one more in the child of each `os.fork()`. Tag what belongs to a
    thread with it: what carries another number than this belongs to a thread that does not exist here.
    """
    return _generation


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


def _in_child() -> None:
    global _generation
    _generation += 1
    forget_threads_of_parent()
    for registration in [*_registrations.values()]:
        obj = registration()
        if obj is not None:
            try:
                registration.callback(obj)
            except BaseException as error:  # noqa: BLE001 - reported, and the others must run
                report_unraisable(error, "Exception ignored in after-fork callback", registration.callback)


if hasattr(os, "register_at_fork"):  # not on platforms without fork
    os.register_at_fork(after_in_child=_in_child)
