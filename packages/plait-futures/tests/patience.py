# SPDX-License-Identifier: MIT
"""Waiting without a guess at how fast things go.

However busy the machine is, no test may fail because a thread or process was given no processor for some seconds, or because
another was given it first. So the order of two things is made certain, and a bound tells a hang from what is slow.
"""

from __future__ import annotations

import time

#: What ends within this many seconds does not hang. What it would wait for, if it did, takes longer.
SOON = 20.0


def until(condition, seconds=SOON):
    """Wait for *condition*; whether it came true."""
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.005)
    return True
