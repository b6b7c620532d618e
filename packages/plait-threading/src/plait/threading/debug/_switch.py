# SPDX-License-Identifier: MIT
#
# To begin watching and to end it, and to ask for what was seen.

from __future__ import annotations

from ..._thread import TIMEOUT_MAX, report_unraisable
from .. import _named
from ._reports import Inversion, Report, write
from ._watching import Watcher

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

__all__ = ["disable", "enable", "is_enabled", "report", "report_on_signal"]


def _print(report: Report) -> None:
    write(2, str(report))


def enable(
    *,
    limit: float | None = None,
    on_long_wait: Callable[[Report], object] | None = _print,
    on_inversion: Callable[[Inversion], object] | None = None,
) -> None:
    """Begin to watch all named locks, with a clean slate.

    A thread that has waited *limit* seconds for one of them calls ``on_long_wait(report)``, once per wait, and waits on;
    by default the report is written to standard error. ``on_inversion(inversion)`` is called when locks are asked for
    in an order that closes a circle, by the thread that does so, before it waits; by default it is kept for the next
    report only. (Not if a further lock, which all who did it held, keeps them apart, nor for readers of an `RWLock` that
    nobody asked to write.) Exceptions of the two go to `sys.unraisablehook`.

    The same inversion of other locks with the same names, asked for at the same places, is counted and not told again.
    The first 1000 different ones are kept; of those that come later only the number is, and they are not told.

    Locks that are held already are seen when they are next taken. Watched locks are 10 to 30 times slower.
    """
    if limit is not None and not isinstance(limit, (int, float)):
        raise TypeError(f"limit must be a number of seconds, or None, not {limit!r}")
    for name, hook in (("on_long_wait", on_long_wait), ("on_inversion", on_inversion)):
        if hook is not None and not callable(hook):
            raise TypeError(f"{name} must be a function to call, or None, not {hook!r}")
    if limit is not None and not 0 < limit <= TIMEOUT_MAX:
        raise ValueError(
            f"limit must be a number of seconds above 0 that locks can wait, or None, not {limit!r}"
        )
    _named.watch(Watcher(limit, on_long_wait, on_inversion))


def disable() -> None:
    """Watch no more, and forget what was seen."""
    _named.watch(None)


def watcher() -> Watcher | None:
    """Whoever watches now, if that was begun here."""
    by = _named.watcher()
    return by if isinstance(by, Watcher) else None


def is_enabled() -> bool:
    """Whether named locks are watched."""
    return watcher() is not None


def report() -> Report:
    """What is known now: threads with what they hold and wait for, deadlocks, and inversions seen since `enable()`.

    Never blocks; callable in signal handlers. RuntimeError if nothing is watched.
    """
    by = watcher()
    if by is None:
        raise RuntimeError(
            "locks are not watched: call enable() first, before what you want to know about happens"
        )
    return by.report()


def report_on_signal(signum: int, *, fileno: int = 2) -> Any:
    """Write a report to the descriptor *fileno* whenever the process receives *signum*, say ``signal.SIGUSR2``.

    Signals are handled by the main thread; it does so while it waits for a lock, too. If the report cannot be written,
    that goes to `sys.unraisablehook`. Returns the handler that was there before. To be called in the main thread.
    """
    if not isinstance(fileno, int):
        raise TypeError(f"fileno must be the number of an open file, not {fileno!r}")
    import signal

    def handle(_signum: int, _frame: FrameType | None) -> None:
        by = watcher()
        text = "Named locks are not watched: enable() was not called\n" if by is None else str(by.report())
        try:
            write(fileno, text)
        except OSError as error:
            report_unraisable(error, "Exception ignored in report of locks, on a signal, to file", fileno)

    return signal.signal(signum, handle)
