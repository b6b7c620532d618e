# SPDX-License-Identifier: MIT
"""Who holds which lock: the `debug` of `threading`, which sees the locks with a name that are made here as well.

>>> from plait.dummy_threading import NamedLock, debug
>>> ledger = NamedLock("ledger")
>>> debug.enable()
>>> with ledger:
...     [held.lock for thread in debug.report().threads for held in thread.holds]
['ledger']
>>> debug.disable()
"""

from __future__ import annotations

from ..threading.debug import (
    HeldLock,
    Inversion,
    Report,
    Step,
    ThreadState,
    WaitCycle,
    WaitedLock,
    disable,
    enable,
    is_enabled,
    report,
    report_on_signal,
)

__all__ = [
    "HeldLock",
    "Inversion",
    "Report",
    "Step",
    "ThreadState",
    "WaitCycle",
    "WaitedLock",
    "disable",
    "enable",
    "is_enabled",
    "report",
    "report_on_signal",
]
