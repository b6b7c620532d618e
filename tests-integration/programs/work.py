# SPDX-License-Identifier: MIT
"""Functions that the programs here send to other processes, and what they check at the end."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager


def square(number: int) -> int:
    return number * number


def whereabouts(_: object = None) -> int:
    return os.getpid()


def descriptors() -> set[str]:
    """What every open descriptor of this process leads to, by number."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
        except OSError:
            continue  # the one that listed the folder
    return found


@contextmanager
def no_descriptor_left(within: float = 20.0) -> Iterator[None]:
    """What is opened inside must be closed soon after."""
    before = descriptors()
    yield
    limit = time.monotonic() + within
    while left := descriptors() - before:
        if time.monotonic() > limit:
            raise AssertionError(f"left open: {sorted(left)}")
        time.sleep(0.02)
