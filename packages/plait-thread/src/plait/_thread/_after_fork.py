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
#   - Whatever signal handlers raise meanwhile (a Ctrl-C goes to the whole group, children that are just being born
#     included), every step is done: what has been done is struck off, and what was struck is done again. Callbacks
#     therefore may be called twice. Nobody is there to whom the handler's exception could go, so it is reported.
#   - Registration is a weak reference and one dictionary store: no lock, so that it may happen at any bytecode (in a
#     finaliser, in a signal handler, in several threads at once), and cannot itself be caught by a fork half done. It
#     ends by one dictionary operation, which the interpreter calls itself: no signal handler can strike there.
#   - Callbacks run in the order of registration: a lower layer, being imported first, is mended first.
#   - The generation is counted up before the first callback runs, and imports that other threads were in the middle
#     of are dropped, so that a callback may import what it needs.
#   - A callback that raises is tried again, since a signal handler may have done it; then the exception goes to
#     `sys.unraisablehook` and the next callback runs: a child with one broken object is better than one in which all
#     the others are broken too.

from __future__ import annotations

import os

from ._handles import forget_threads_of_parent
from ._platform import forget_imports_of_parent, forget_main_thread_of_parent, identity_reference
from ._report import report_unraisable

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

_generation = 0


class _Registration(identity_reference):
    __slots__ = ("callback",)
    callback: Callable[[Any], object]


_registrations: dict[_Registration, None] = {}


def register_after_fork(obj: T, callback: Callable[[T], object]) -> None:
    """In the child of every `os.fork()` from now on, call ``callback(obj)``.

    *obj* is held weakly: nothing needs to be unregistered. *callback* must not hold it either (pass a plain function,
    not a bound method of *obj*). It runs in the only thread of the child, before `os.fork()` returns there, in order
    of registration; it must not wait for anything, and may be called again if it raises, or a signal handler did. Errors
    go to `sys.unraisablehook`.

    Never blocks; callable in any thread, signal handler or finaliser. Has no equivalent in the standard `_thread`;
    `os.register_at_fork` keeps its argument for ever.
    """
    registration = _Registration(obj, _registrations.pop)
    registration.callback = callback
    _registrations[registration] = None


def fork_generation() -> int:
    """How many forks lie between the first process and this one.

    0 in the process that imported this module, one more in the child of each `os.fork()`. Tag what belongs to a
    thread with it: what carries another number than this belongs to a thread that does not exist here.
    """
    return _generation


_mended_in: list[int] = []  # the process in which the following began; empty again when all has been done
_begun: list[Callable[[], object]] = []
_pending: list[_Registration] = []

# How often a step that raises is tried: it may have been a signal handler that did, not the step.
TRIALS = 3


def _in_child() -> None:
    global _generation
    for _ in range(100):  # signals, unless there is no memory left even for this
        try:
            pid = os.getpid()
            if pid not in _mended_in:
                pending = [*_registrations]
                pending.reverse()
                begun = [forget_imports_of_parent, forget_threads_of_parent, forget_main_thread_of_parent]
                # No call from here on, and so no place for a signal: all of it happens, or nothing.
                _begun[:] = begun
                _pending[:] = pending
                _generation += 1
                _mended_in[:] = (pid,)
            while _begun:
                _begun[-1]()
                del _begun[-1]
            while _pending:
                _mend(_pending[-1])
                del _pending[-1]
            return
        except BaseException as error:  # noqa: BLE001 - what it struck is done again
            report_unraisable(error, "Exception ignored after a fork", _in_child)


def _mend(registration: _Registration) -> None:
    obj = registration()
    if obj is None:
        return
    for trial in range(1, TRIALS + 1):
        try:
            registration.callback(obj)
            return
        except BaseException as error:  # noqa: BLE001 - reported, and the others must run
            if trial == TRIALS:
                report_unraisable(error, "Exception ignored in after-fork callback", registration.callback)


if hasattr(os, "register_at_fork"):  # not on platforms without fork
    os.register_at_fork(after_in_child=_in_child)
    # Once more, for when an exception strikes at the entry of the first; otherwise it finds nothing to do.
    os.register_at_fork(after_in_child=_in_child)
    # A child's child can have the same number, in a namespace of its own. (C code: no signal is looked for on the way.)
    os.register_at_fork(after_in_child=_mended_in.clear)
