# SPDX-License-Identifier: MIT
"""The demo, with a line about its progress every tenth of a second, so that nobody waits long to see it at work."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import demo
from census import progress

progress.PlainDisplay.interval = 0.1

if __name__ == "__main__":
    sys.exit(demo.main())
