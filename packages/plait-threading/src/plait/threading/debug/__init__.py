# SPDX-License-Identifier: MIT
"""Who holds which lock, who waits for whom, and which locks are taken in both orders.

    >>> from plait.threading import NamedLock, debug
    >>> ledger = NamedLock("ledger")
    >>> debug.enable()
    >>> with ledger:
    ...     [(held.lock, held.count) for thread in debug.report().threads for held in thread.holds]
    [('ledger', 1)]
    >>> debug.disable()

Off unless `enable()` is called, and free until then. It sees the locks that have a name: `NamedLock`, `NamedRLock`,
`RWLock(name)`, and a `Condition` on one of the first two.
"""

from __future__ import annotations

from ._reports import HeldLock, Inversion, Report, Step, ThreadState, WaitCycle, WaitedLock
from ._switch import disable, enable, is_enabled, report, report_on_signal

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

# They say where they are to be had, and are pickled by that, not by the private modules that they are written in.
for _name in __all__:
    globals()[_name].__module__ = __name__
