# SPDX-License-Identifier: MIT
"""A scheduler of events: calls to make at given times, one after another, in the thread that runs it.

    >>> from plait.sched import scheduler
    >>> s = scheduler()
    >>> now = s.timefunc()
    >>> late = s.enterabs(now + 0.02, 1, print, argument=("late",))
    >>> soon = s.enterabs(now + 0.01, 1, print, argument=("soon",))
    >>> never = s.enter(3600, 1, print, argument=("never",))
    >>> s.cancel(never)
    >>> s.run()
    soon
    late

The names, signatures and documented behaviour are those of the newest Python's `sched`. Beyond it: cancelling takes
the same short time however many events there are; `run()` notices, while it sleeps, that an earlier event was
entered, that the awaited one was cancelled, or that it is to stop, in any thread or signal handler. There are repeating
events, events at times of day, runs in threads and in event loops.
"""

from __future__ import annotations

from ._clocks import boottime
from ._event import Event
from ._repeating import RepeatingEvent
from ._report import report_error
from ._scheduler import scheduler
from ._times_of_day import WallClockEvent
from ._version import __version__ as __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._background import SchedulerThread

__all__ = [
    "Event",
    "RepeatingEvent",
    "SchedulerThread",
    "WallClockEvent",
    "boottime",
    "report_error",
    "scheduler",
]

# Classes say where they are to be had, and are pickled by that, not by the private module that they are written in.
for _name in __all__:
    _public = globals().get(_name)
    if (
        isinstance(_public, type)
        and _public.__module__.startswith(f"{__name__}.")
        and _public.__name__ == _name
    ):
        _public.__module__ = __name__


def __getattr__(name: str) -> object:
    # Loaded at its first use: most schedulers are run by whoever made them.
    if name == "SchedulerThread":
        from ._background import SchedulerThread

        globals()[name] = SchedulerThread
        return SchedulerThread
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), "SchedulerThread"})
