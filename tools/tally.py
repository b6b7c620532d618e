# SPDX-License-Identifier: MIT
"""Adds up every pytest run of one nox run, and prints the sum as pytest's own closing line.

Each run is announced before its environment is made and leaves a junit file behind. An announced run without a file is
an error: its pytest was killed, or never started.

Where one nox run starts others, theirs are parts of its sum (PLAIT_PART_OF_A_RUN is set for them): a part only leaves its
reports, and the one that started it announces them, adds them up and prints the line.
"""

from __future__ import annotations

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

    def __init__(self, folder: Path, *, part: bool = False) -> None:
        self.folder = folder
        self.part = part
        self.started_at = time.monotonic()
        self.announced: dict[str, Path] = {}
        self.unexplained: list[str] = []
        self.failed_checks: list[str] = []

    def announce(self, name: str) -> Path:
        """Where the junit file of the run called `name` has to be written."""
        if not self.announced and not self.part:
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
            self.run_failed(name)
            raise

    def run_failed(self, name: str) -> None:
        """The run called `name` has failed: if its report holds no failure, that is one error."""
        if self._read(self.announced[name]).keys() <= {"passed", "skipped"}:
            self.unexplained.append(name)

    def check_failed(self, name: str) -> None:
        """Something that counts no tests, as a check, has failed: one error, by name."""
        self.failed_checks.append(name)

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
        total["error"] += len(self.failed_checks)
        return dict(total)

    def close(self) -> None:
        """Print the runs that left no report, and the closing line."""
        if self.part or not (self.announced or self.failed_checks):
            return
        for name, path in self.announced.items():
            if not path.exists():
                print(f"ERROR {name}: no report; its pytest did not start or was killed", flush=True)
        for name in self.unexplained:
            print(f"ERROR {name}: no test failed, but pytest did", flush=True)
        for name in self.failed_checks:
            print(f"ERROR {name}: failed, see above", flush=True)
        words = {"error": "errors"}
        shown = [
            f"{n} {words.get(word, word) if n > 1 else word}" for word, n in self.counts().items() if n
        ] or ["no tests ran"]
        sys.stderr.flush()
        took = time.monotonic() - self.started_at
        print(f"=== {', '.join(shown)} in {took:.2f}s ===", flush=True)
