# SPDX-License-Identifier: MIT
"""A scheduler of events: calls to make at given times, one after another, in the thread that runs it.

    >>> from plait.sched import scheduler
    >>> s = scheduler()
    >>> late = s.enter(0.02, 1, print, argument=("late",))
    >>> soon = s.enter(0.01, 1, print, argument=("soon",))
    >>> never = s.enter(3600, 1, print, argument=("never",))
    >>> s.cancel(never)
    >>> s.run()
    soon
    late

The names, signatures and documented behaviour are those of the newest Python's `sched`. Beyond it: cancelling takes
the same short time however many events there are; `run()` notices, while it sleeps, that an earlier event was
entered or that the awaited one was cancelled, in any thread or signal handler.
"""

from __future__ import annotations

from ._event import Event
from ._scheduler import scheduler
from ._version import __version__

__all__ = ["Event", "__version__", "scheduler"]
