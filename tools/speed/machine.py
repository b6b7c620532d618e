# SPDX-License-Identifier: MIT
"""What is worth knowing about the machine beside the figures, and how much of it others used meanwhile."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path

#: Cores' worth of other people's work from which on a machine is called busy.
BUSY = 0.3


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def python() -> str:
    """As in the name of the page: cpython-3.11, pypy-3.11."""
    return f"{sys.implementation.name}-{sys.version_info[0]}.{sys.version_info[1]}"


def facts() -> dict[str, str]:
    """Of the interpreter and the machine, and nothing that says whose they are."""
    gil = "" if getattr(sys, "_is_gil_enabled", lambda: True)() else ", free-threaded"
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}{gil}",
        "system": f"{platform.system()} {platform.release()}",
        "processor": f"{_model() or platform.machine()}, {cores()} cores to use",
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def _model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def load() -> float:
    """The average number of runnable processes in the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


class Meter:
    """How many cores' worth of time went to others since it was made, or None where that cannot be told.

    All the time that the kernel counts as not idle, what the host took included, less that of this process and the
    children it has waited for.
    """

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._at_first = self._others()

    def _others(self) -> float | None:
        try:
            line = Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0]
        except (OSError, IndexError):
            return None
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, line.split()[1:9])
        ours = os.times()
        total = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
        return total - ours.user - ours.system - ours.children_user - ours.children_system

    def read(self) -> float | None:
        now = self._others()
        if now is None or self._at_first is None:
            return None
        return max(0.0, (now - self._at_first) / max(0.01, time.monotonic() - self._started))
