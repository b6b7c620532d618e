# SPDX-License-Identifier: MIT
#
# Locks with a name, which `debug` can watch: those of there, with a lock of one thread inside.

from __future__ import annotations

from .._dummy_thread import RLock, allocate_lock
from ..threading import NamedLock as _NamedLock
from ..threading import NamedRLock as _NamedRLock

__all__ = ["NamedLock", "NamedRLock"]


class NamedLock(_NamedLock):
    """A `Lock` with a *name*, which `debug` can watch."""

    __slots__ = ()
    _make = staticmethod(allocate_lock)


class NamedRLock(_NamedRLock):
    """An `RLock` with a *name*, which `debug` can watch."""

    __slots__ = ()
    _make = RLock
