# SPDX-License-Identifier: MIT
"""The demo, with a line about its progress every tenth of a second, so that nobody waits long to see it at work.

Each line is followed by one that names the workers. An onlooker cannot tell them from the outside: a child on its way
from fork to exec looks like one for a moment, and whoever stops or kills that hits another part of the demo.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import demo
from census import progress

from plait.multiprocessing import active_children


class OftenAndByName(progress.PlainDisplay):
    interval = 0.1

    def show(self, snapshot: progress.Snapshot) -> None:
        super().show(snapshot)
        print("  workers", *sorted(str(child.pid) for child in active_children()), flush=True)


progress.PlainDisplay = OftenAndByName  # type: ignore[misc]

if __name__ == "__main__":
    sys.exit(demo.main())
