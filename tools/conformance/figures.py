# SPDX-License-Identifier: MIT
# What the results come to.
#
# The figure of a module is: tests that pass on both sides / tests that pass with the standard module. A test that the
# standard module itself does not pass here (it is skipped, it fails on this machine) says nothing and is left out.
# A test that the standard module passes and plait skips was not passed. The second figure leaves out, on both sides,
# the tests whose listing is an exclusion; those listed as missing stay in.
#
# A test's standing, from its result and its listing:
#
#                       passed        not passed
#     not listed        both          FAILED
#     exclusion         UNEXPECTED    excluded
#     missing           UNEXPECTED    missing
#
# Those in capitals make the run fail. With an implementation that is not plait, listed tests may pass.
"""Judge a trial by the baseline and the data files, and show it as a table, as text files and as JSON."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import listed
import places
import trial
from child import Record
from rich import box
from rich.console import Console
from rich.table import Table

FAILED, UNEXPECTED = "failed", "unexpected"

#: Below the table, for whoever sees it for the first time.
LEGEND = """\
baseline: tests that pass with the standard modules; both: those of them that pass here, too; figure: both / baseline;
excluded, missing: not expected to pass, by the data files; without excluded: the figure if those did not count;
FAILED: not listed in the data files; LISTED PASSED: listed, but passes. Either of these two fails the run.
unsteady: two runs of it differed; the second, in which it was alone in its process, counts."""

#: Seconds after which a test that is known to fail should rather be cut short.
SLOW = 12.0


@dataclass
class Row:
    """One test that the standard module passes."""

    test: str
    result: trial.Result
    entry: listed.Entry | None
    standing: str  # both excluded missing failed unexpected

    @property
    def passed(self) -> bool:
        return self.result.record.passed


@dataclass
class Sheet:
    """One test module, or the sum of several."""

    name: str
    rows: list[Row] = field(default_factory=list)
    seconds: float = 0.0
    fixtures: dict[str, Record] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def count(self, standing: str) -> int:
        return sum(row.standing == standing for row in self.rows)

    @property
    def baseline(self) -> int:
        return len(self.rows)

    @property
    def both(self) -> int:
        return sum(row.passed for row in self.rows)

    @property
    def unsteady(self) -> int:
        return sum(row.result.unsteady for row in self.rows)

    @property
    def figure(self) -> float | None:
        return self.both / self.baseline if self.rows else None

    @property
    def adjusted(self) -> float | None:
        """The figure without the exclusions."""
        kept = [row for row in self.rows if not (row.entry and row.entry.excluded)]
        return sum(row.passed for row in kept) / len(kept) if kept else None

    @property
    def broken(self) -> bool:
        return bool(self.count(FAILED) or self.count(UNEXPECTED) or self.fixtures)


def sheet(
    module: str,
    baseline: dict[str, Record],
    outcome: trial.Outcome,
    listing: listed.Listing,
    python: str,
    *,
    strict: bool,
    wanted: Callable[[str], bool] = lambda _: True,
) -> Sheet:
    """Judge one module, or those of its tests that were wanted. *strict*: a listed test that passes is an error."""
    name = module.removeprefix("test.")
    portion = places.portion_of(name)
    results = outcome.results[module]
    found = Sheet(name, seconds=outcome.seconds[module], notes=outcome.notes[module])
    for test, before in baseline.items():
        if not before.passed or not wanted(test):
            continue
        # Never silently left out: what has no result has failed.
        result = results.get(test) or trial.Result(Record("absent", detail="it has no result"))
        entry = listing.find(portion, python, test)
        if entry is None:
            standing = "both" if result.record.passed else FAILED
        elif not result.record.passed:
            standing = "excluded" if entry.excluded else "missing"
        else:
            standing = UNEXPECTED if strict and not entry.unsteady else "both"
        found.rows.append(Row(test, result, entry, standing))
    for fixture, record in outcome.fixtures[module].items():
        if record.outcome != "skip" and listing.find(portion, python, fixture) is None:
            found.fixtures[fixture] = record
    return found


def total(sheets: Iterable[Sheet]) -> Sheet:
    added = Sheet("total")
    for one in sheets:
        added.rows += one.rows
        added.seconds += one.seconds
        added.fixtures.update(one.fixtures)
    return added


def percent(value: float | None) -> str:
    """Never 100 % unless it is all of them."""
    if value is None:
        return "-"
    return "100 %" if value == 1 else f"{min(value * 100, 99.9):.1f} %"


def table(sheets: Sequence[Sheet], title: str) -> Table:
    shown = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    shown.add_column("module", no_wrap=True)
    for column in (
        *("baseline", "both", "figure", "excluded", "missing", "without\nexcluded"),
        *("FAILED", "LISTED\nPASSED", "unsteady", "seconds"),
    ):
        shown.add_column(column, justify="right")
    for one in [*sheets, total(sheets)]:
        if one.name == "total":
            shown.add_section()
        failed = one.count(FAILED) + len(one.fixtures)
        shown.add_row(
            one.name,
            str(one.baseline),
            str(one.both),
            percent(one.figure),
            str(one.count("excluded") or ""),
            str(one.count("missing") or ""),
            percent(one.adjusted),
            f"[bold red]{failed}[/]" if failed else "",
            f"[bold red]{one.count(UNEXPECTED)}[/]" if one.count(UNEXPECTED) else "",
            f"[yellow]{one.unsteady}[/]" if one.unsteady else "",
            f"{one.seconds:.0f}",
            style="bold" if one.name == "total" else "",
        )
    return shown


def closing(total: Sheet, patterns: Sequence[str]) -> str:
    """The verdict, in the last line."""
    failed = total.count(FAILED) + len(total.fixtures)
    counts = {
        "failed and not listed": failed,
        "listed, but passed": total.count(UNEXPECTED),
        "pattern(s) without a test": len(patterns),
    }
    wrong = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"=== not as expected: {wrong} ===" if wrong else "=== as expected ==="


def show(console: Console, title: str, lines: Sequence[str], style: str, limit: int = 40) -> None:
    if lines:
        console.print(f"\n{title} ({len(lines)})", style=style, highlight=False)
        for line in lines[:limit]:
            console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
        if len(lines) > limit:
            console.print(f"  ... and {len(lines) - limit} more", highlight=False)


def listing_of(sheets: Sequence[Sheet], console: Console, details: dict[str, Path], limit: int = 40) -> None:
    """Name what made the run fail, and what was unsteady."""
    rows = [row for one in sheets for row in one.rows]

    failed = [f"{row.test}  {row.result.record.last_line}" for row in rows if row.standing == FAILED]
    failed += [f"{fixture}  {record.last_line}" for one in sheets for fixture, record in one.fixtures.items()]
    show(console, "Failed and not listed", failed, "bold red", limit)
    if failed and details:
        folder = next(iter(details.values())).parent
        console.print(f"  tracebacks, stacks and output: {folder}/TEST.txt", highlight=False, soft_wrap=True)
    show(
        console,
        "Listed, but passed: take them out of the data file",
        [f"{row.test}  {row.entry.place}" for row in rows if row.standing == UNEXPECTED and row.entry],
        "bold red",
        limit,
    )
    show(
        console,
        "Unsteady: two runs differed; the second, alone, counts",
        [
            f"{row.test}  first {row.result.other.outcome}, then {row.result.record.outcome}"
            for row in rows
            if row.result.unsteady and row.result.other
        ],
        "yellow",
        limit,
    )
    slow = [
        f"{row.test}  {row.entry.place}"
        for row in rows
        if row.entry and not row.entry.hangs and not row.passed and row.result.record.seconds > SLOW
    ]
    show(
        console,
        "Listed, and slow to fail: with `hangs = true` in an entry of theirs they would cost less",
        slow,
        "yellow",
        limit,
    )
    notes = Counter(
        f"{one.name}: {re.sub(r'no end after [0-9]+ s', 'no end in time', note)}"
        for one in sheets
        for note in one.notes
    )
    show(console, "Notes", [f"{note} ({number} x)" for note, number in notes.items()], "dim", limit)


def write_details(sheets: Sequence[Sheet], folder: Path) -> dict[str, Path]:
    """A file with traceback and log for every test that did not pass; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths: dict[str, Path] = {}
    for one in sheets:
        for old in folder.glob(f"{one.name}.*.txt"):
            old.unlink()
        records = {
            row.test: (row.result.record, row.result.other)
            for row in one.rows
            if not row.passed or row.result.unsteady
        }
        records.update({name: (record, None) for name, record in one.fixtures.items()})
        for test, (record, other) in records.items():
            parts = [f"{test}: {record.outcome} after {record.seconds:.1f} s", "", record.detail]
            if record.log:
                parts += ["", "--- what the child wrote meanwhile", record.log]
            if other is not None:
                parts += ["", f"--- the other run: {other.outcome} after {other.seconds:.1f} s", other.detail]
                parts += [other.log]
            paths[test] = folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', test)}.txt"
            paths[test].write_text("\n".join(parts) + "\n", encoding="utf-8", errors="replace")
    return paths


def as_data(one: Sheet) -> dict[str, Any]:
    """A module as it goes into the result file."""
    return {
        "when": time.strftime("%Y-%m-%d %H:%M:%S"),
        "seconds": round(one.seconds, 1),
        "baseline": one.baseline,
        "both": one.both,
        "figure": one.figure,
        "figure_without_excluded": one.adjusted,
        "counts": dict(Counter(row.standing for row in one.rows)),
        "unsteady": one.unsteady,
        "fixtures": {name: record.last_line for name, record in one.fixtures.items()},
        "tests": {
            row.test: {
                "standing": row.standing,
                "outcome": row.result.record.outcome,
                "why": "" if row.passed else row.result.record.last_line,
                "seconds": row.result.record.seconds,
                "unsteady": row.result.unsteady,
                **({"kind": row.entry.kind, "reason": row.entry.reason} if row.entry else {}),
            }
            for row in one.rows
        },
    }
