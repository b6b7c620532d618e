# SPDX-License-Identifier: MIT
"""Tries what needs the network again: a run of many minutes is not lost to one download that failed.

uv and pip repeat single requests themselves, within some seconds. This is for what they give up on, and for what they do
not take for transient, such as a page or a file that came incomplete.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

PAUSES = (5, 30)  # seconds between two attempts

_T = TypeVar("_T")


def tried_again(
    action: Callable[[], _T],
    failure: type[Exception],
    say: Callable[[str], object],
    pauses: Sequence[float] = PAUSES,
) -> _T:
    """Return what `action` returns; after a `failure` pause and call it anew. The last attempt's failure is raised."""
    for pause in pauses:
        try:
            return action()
        except failure:
            say(f"that failed, perhaps for a passing reason: again in {pause:g} s")
        time.sleep(pause)
    return action()
