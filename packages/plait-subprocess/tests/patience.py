# SPDX-License-Identifier: MIT
"""Waiting without a guess at how fast things go.

However busy the machine is, no test may fail because somebody was given no processor for some seconds, or because another
was given it first. So the order of two things is made certain (one waits for a mark that the other has made), a
bound tells a hang from what is slow (the one lasts a minute, the other some seconds), and where a time limit has to come
after a child's first words, it is tried with a longer one if they have not come by then.
"""

from __future__ import annotations

import time

import pytest

from plait.subprocess import TimeoutExpired

#: Time limits to be tried one after the other: one of a test's children has begun before the last of them is over.
LIMITS = (0.3, 3, 15)
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


def late(act, enough=lambda expired: True, kind=TimeoutExpired, limits=LIMITS):
    """The time out of *act*, which is given a time limit: with the first that was *enough* for what has to come before.

    That it comes at the end of the time limit, and soon after that, is looked at here.
    """
    for limit in limits:
        begun = time.monotonic()
        with pytest.raises(kind) as caught:
            act(limit)
        assert limit <= time.monotonic() - begun < limit + SOON
        if enough(caught.value):
            break
    return caught.value
