# SPDX-License-Identifier: MIT
"""Adds up every pytest run of one nox run, and prints the sum as pytest's own closing line.

Each run is announced before its environment is made and leaves a junit file behind. An announced run without a file is
an error: its pytest was killed, or never started.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Tally:
    """The reports of one nox run, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started_at = time.monotonic()
        self.announced: dict[str, Path] = {}
        self.unexplained: list[str] = []

    def announce(self, name: str) -> Path:
        """Where the junit file of the run called `name` has to be written."""
        if not self.announced:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
        safe = "".join(c if c.isalnum() or c in ".-" else "_" for c in name)
        return self.announced.setdefault(name, self.folder / f"{safe}.xml")

    @contextmanager
    def watched(self, name: str) -> Iterator[None]:
        """Around the run called `name`: a run that fails counts as an error even if its report holds no failure."""
        try:
            yield
        except BaseException:
            if self._read(self.announced[name]).keys() <= {"passed", "skipped"}:
                self.unexplained.append(name)
            raise

    def withdraw(self, name: str) -> None:
        """The run has nothing to do: it is neither a pass nor an error."""
        self.announced.pop(name, None)

    @staticmethod
    def _read(path: Path) -> Counter[str]:
        """What one report counts, without zeros."""
        counted: Counter[str] = Counter()
        try:
            for suite in ElementTree.parse(path).getroot().iter("testsuite"):
                row = {k: int(suite.get(k, 0)) for k in ("tests", "failures", "errors", "skipped")}
                bad = row["failures"] + row["errors"] + row["skipped"]
                counted.update(failed=row["failures"], error=row["errors"], skipped=row["skipped"])
                counted.update(passed=row["tests"] - bad)
        except (OSError, ElementTree.ParseError):
            counted["error"] += 1
        return +counted

    def counts(self) -> dict[str, int]:
        """The sum over all runs."""
        total = Counter(dict.fromkeys(("failed", "passed", "skipped", "error"), 0))
        for path in self.announced.values():
            total.update(self._read(path))
        total["error"] += len(self.unexplained)
        # Checks that a calling script ran before us and that failed: one error each, by name.
        total["error"] += len(os.environ.get("PLAIT_FAILED_BEFORE", "").split())
        return dict(total)

    def close(self) -> None:
        """Print the runs that left no report, and the closing line."""
        if not self.announced:
            return
        for name, path in self.announced.items():
            if not path.exists():
                print(f"ERROR {name}: no report; its pytest did not start or was killed", flush=True)
        for name in self.unexplained:
            print(f"ERROR {name}: no test failed, but pytest did", flush=True)
        for name in os.environ.get("PLAIT_FAILED_BEFORE", "").split():
            print(f"ERROR {name}: failed before the tests, see above", flush=True)
        words = {"error": "errors"}
        shown = [
            f"{n} {words.get(word, word) if n > 1 else word}" for word, n in self.counts().items() if n
        ] or ["no tests ran"]
        sys.stderr.flush()
        took = time.monotonic() - self.started_at
        print(f"=== {', '.join(shown)} in {took:.2f}s ===", flush=True)
