# SPDX-License-Identifier: MIT
#
# What must be mended in a forked child. It has the one thread that its parent had, so locks and waiters are as they were;
# but it is another process, which some must know. Callbacks run in the order of registration, and are held with a weak
# reference to what they are about; one callback of the system serves them all.

from __future__ import annotations

import os

from ._report import report_unraisable

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

__all__ = ["fork_generation", "register_after_fork", "reset_lock"]

_generation = 0
_registrations: dict[int, tuple[Any, Callable[[Any], object]]] = {}


def register_after_fork(obj: T, callback: Callable[[T], object]) -> None:
    """In the child of every `os.fork()` from now on, call ``callback(obj)``.

    *obj* is held weakly. Errors go to `sys.unraisablehook`.
    """
    from weakref import ref

    key: list[int] = []
    reference = ref(obj, lambda _reference: _registrations.pop(key[0], None))
    key.append(id(reference))  # which cannot be used again while the reference is in the table
    _registrations[key[0]] = (reference, callback)


def fork_generation() -> int:
    """How many forks lie between the first process and this one."""
    return _generation


def _in_child() -> None:
    global _generation
    _generation += 1
    for reference, callback in [*_registrations.values()]:
        obj = reference()
        if obj is not None:
            try:
                callback(obj)
            except BaseException as error:  # noqa: BLE001 - reported, and the others must run
                report_unraisable(error, "Exception ignored in after-fork callback", callback)


if hasattr(os, "register_at_fork"):  # not on platforms without fork
    os.register_at_fork(after_in_child=_in_child)


def reset_lock(lock: Any) -> None:
    """Make a lock or an RLock free again."""
    lock._at_fork_reinit()
