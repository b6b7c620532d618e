# SPDX-License-Identifier: MIT
"""Who has called this package: warnings are for them."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

__all__ = ["level_of_the_caller"]


def level_of_the_caller() -> int:
    """The `stacklevel` by which a warning, given by the function that calls this, points at who has called the package."""
    frame: FrameType | None = sys._getframe(1)
    level = 1
    while frame is not None and frame.f_globals.get("__package__") == __package__:
        frame, level = frame.f_back, level + 1
    return level
