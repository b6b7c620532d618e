# SPDX-License-Identifier: MIT
"""Small questions that several tests ask."""

from __future__ import annotations

import gc
import os
import time

#: What ends within this many seconds does not hang, however busy the machine is.
SOON = 20.0


def open_descriptors():
    for _ in range(3):  # one is not enough for finalisers on PyPy
        gc.collect()
    return len(os.listdir("/proc/self/fd"))


def gone(pid, within=20.0):
    """Whether process *pid* has ended, or does within so many seconds."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] in "ZX":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False
