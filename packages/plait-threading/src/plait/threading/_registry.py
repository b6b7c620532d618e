# SPDX-License-Identifier: MIT
#
# Which threads there are, as far as this package knows.
#
# Two tables, each touched by single operations only, so that no lock has to be taken (and none can be found held in a
# forked child, or by the code that a signal handler interrupted):
#
#   here.thread   thread-local: the Thread object of the running thread. Set by the thread itself. Being thread-local it
#                 cannot go stale when the system reuses an identifier, and it vanishes with the thread.
#   here.settled  the same, once the standard module knows the thread, too, and there is nothing left to look after.
#   alive         id(thread) -> thread, for enumerate() and for joining at exit. A Thread is entered by start() before
#                 its thread exists, and leaves when it has ended or could not be started.

from __future__ import annotations

from .._thread import _local

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is at run time, without the import
if TYPE_CHECKING:
    from typing import Any

    from ._threads import Thread

here: Any = _local()
alive: dict[int, Thread] = {}


def snapshot() -> list[Thread]:
    """Every thread in the table, at one moment."""
    return [*alive.values()]
