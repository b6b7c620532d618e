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
#   - The generation is counted up before the first callback runs, and imports that other threads were in the middle
#     of are dropped, so that a callback may import what it needs.
#   - An exception in a callback goes to `sys.unraisablehook` and the next callback runs: a child with one broken
#     object is better than one in which all the others are broken too.

from __future__ import annotations

import os

from ._handles import forget_threads_of_parent
from ._platform import forget_imports_of_parent, forget_main_thread_of_parent, weak_reference
from ._report import report_unraisable

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


def _in_child() -> None:
    global _generation
    _generation += 1
    forget_main_thread_of_parent()
    forget_threads_of_parent()
    forget_imports_of_parent()
    for registration in [*_registrations.values()]:
        obj = registration()
        if obj is not None:
            try:
                registration.callback(obj)
            except BaseException as error:  # noqa: BLE001 - reported, and the others must run
                report_unraisable(error, "Exception ignored in after-fork callback", registration.callback)


if hasattr(os, "register_at_fork"):  # not on platforms without fork
    os.register_at_fork(after_in_child=_in_child)
