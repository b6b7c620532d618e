# SPDX-License-Identifier: MIT
"""Which descriptors are open, for those who look whether one was left."""

from __future__ import annotations

import importlib
import os

from plait.subprocess import Popen

_in_flight = importlib.import_module(Popen.__module__ + "._in_flight")


def open_descriptors() -> list[int]:
    """All that are open, in order, but those of the pipes for errors that are kept for the next child."""
    kept = {fd for pipe in _in_flight.spare for fd in pipe.ends}
    return sorted(fd for fd in map(int, os.listdir("/dev/fd")) if fd not in kept and _is_open(fd))


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False  # it is the one by which they were listed
    return True
