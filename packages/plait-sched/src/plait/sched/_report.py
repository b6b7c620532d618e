# SPDX-License-Identifier: MIT
"""What to do with exceptions out of actions that nobody waits for."""

from __future__ import annotations

from .._thread import report_unraisable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._event import Event
    from ._repeating import RepeatingEvent
    from ._times_of_day import WallClockEvent

__all__ = ["report_error"]


def report_error(event: Event | RepeatingEvent | WallClockEvent, error: BaseException) -> None:
    """Print an exception out of an action, with its traceback, and go on: for `scheduler(on_error=report_error)`.

    It goes to `sys.unraisablehook`, as that of a finaliser does. Never raises. Not in the standard module.
    """
    report_unraisable(error, "Exception in a scheduled action", event.action)
