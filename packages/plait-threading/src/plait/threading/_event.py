# SPDX-License-Identifier: MIT
#
# Event: a flag that threads can wait for.
#
# Theory of operation
#   A waiter makes a raw lock of its own (its bell), takes it, hangs it up in `_bells`, looks at the flag, and only then
#   waits for the bell. set() raises the flag and only then rings every bell that hangs there.
#
# What must always hold
#   - A waiter that found the flag down has its bell up before set() looks for bells: hanging up and listing are
#     operations of one dictionary, so one of them comes first. If the waiter's does, set() sees the bell; if set()'s
#     does, the waiter sees the flag. No lock is needed, and none can be held by a thread that a fork left behind, or by
#     the very frame that a signal handler interrupted. (On free-threaded builds the dictionary's own lock orders both;
#     that is why set() lists the bells even if there seem to be none.)
#   - A bell is rung first and taken down second. A waiter that leaves without having been rung takes down its own. A set()
#     that is interrupted by an exception rings all that it has found before it lets the exception go, or another thread
#     does, however many strike (see _surely.py). Since 3.11, CPython has found them before anything can strike; elsewhere a
#     set() that is struck before it has begins anew.
#   - Ringing twice is harmless: bells are used once.
#   - Where there is no room on the stack for a call of C code (they count before 3.12), set() raises RecursionError before
#     it has done anything.
#   - Bells of threads that a fork left behind are rung into the void by the next set(), and gone.

from __future__ import annotations

import sys

from .._thread import allocate_lock, give_way, seconds
from ._copies import Uncopied
from ._reprs import called
from ._surely import elsewhere, raised_here, surely

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# Among those that the recursion limit allows.
_CALLS_OF_C_COUNT = sys.version_info < (3, 12)


class Event(Uncopied):
    """A flag that threads can wait for.

    Differs from `threading.Event`: no lock inside, so that `set()` may be called from a signal handler or finaliser
    while the same thread is inside `set()`, `clear()` or `wait()` of the same event, and in a forked child whatever
    other threads did at the fork; several times faster.
    """

    __slots__ = ("__dict__", "__weakref__", "_bells", "_flag")

    def __init__(self) -> None:
        self._flag = False
        self._bells: dict[Any, object] = {}

    def __repr__(self) -> str:
        return f"<{called(self)}: {'set' if self._flag else 'unset'}>"

    def is_set(self) -> bool:
        """Whether the flag is up."""
        return self._flag

    def isSet(self) -> bool:  # noqa: N802
        """Call `is_set`. Deprecated: call it yourself."""
        import warnings

        warnings.warn("isSet() is deprecated, use is_set() instead", DeprecationWarning, stacklevel=2)
        return self._flag

    def set(self) -> None:
        """Raise the flag and wake every waiter. Never blocks; callable from signal handlers and finalisers."""
        bells = self._bells
        if _CALLS_OF_C_COUNT:
            bells.keys()  # a call of the same kind as those to come
        found: Sequence[Any] = ()
        try:
            try:
                self._flag = True
                found = [*bells]
                for bell in found:
                    try:
                        bell.release()
                    except RuntimeError as error:  # rung by another set() at this very moment
                        if not raised_here(error):
                            raise
                    bells.pop(bell, None)
            except BaseException:
                try:
                    surely(self._ring, *found)
                except BaseException:  # noqa: BLE001 - see _surely.py
                    elsewhere[self._ring] = (*found,)
                raise
        except BaseException:
            # Once more: on 3.10 a second signal may strike on the way from the first exception to what it calls for.
            surely(self._ring, *found)
            raise

    def _ring(self, *found: Any) -> None:
        if not found:  # struck before it has looked, as is possible on 3.10 and PyPy
            self._flag = True
            found = (*self._bells,)
        for bell in found:
            try:
                bell.release()
            except RuntimeError as error:  # rung already
                if not raised_here(error):
                    raise
            self._bells.pop(bell, None)

    def clear(self) -> None:
        """Lower the flag; later waiters wait."""
        self._flag = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the flag is up, at most *timeout* seconds; return whether it was.

        A waiter that `set()` has woken returns True even if `clear()` came right after. Timeouts of zero or less look
        and do not wait.
        """
        raised = self._flag
        if raised:
            return True
        if timeout is not None:
            timeout = seconds(timeout)
        bell = allocate_lock()
        bell.acquire()
        bells = self._bells
        try:
            bells[bell] = None
            if self._flag:  # raised meanwhile
                raised = True
            elif timeout is None:
                give_way(bell.locked)
                # Whoever rings it takes it down.
                return bell.acquire()
            else:
                raised = bell.acquire(False) if timeout <= 0 else bell.acquire(True, timeout)
            bells.pop(bell, None)
            return raised
        except BaseException:
            bells.pop(bell, None)
            raise
