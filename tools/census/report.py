# SPDX-License-Identifier: MIT
"""The figures of a finished census, as totals and as text."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .measure import Record, Skipped

__all__ = ["Totals", "interpreter", "largest", "lines_of_report", "not_measured", "total"]


class Totals(NamedTuple):
    """Sums over all files that could be read."""

    files: int
    lines: int
    functions: int
    classes: int
    nodes: int
    size: int
    compressed: int


def total(records: Sequence[Record]) -> Totals:
    """Add up; a file that could not be read adds nothing, one that could not be parsed adds its lines and bytes."""
    columns = ("lines", "functions", "classes", "nodes", "size", "compressed")
    sums = [sum(getattr(record, column) for record in records) for column in columns]
    return Totals(sum(1 for record in records if record.sha256), *sums)


def largest(records: Sequence[Record], count: int = 10) -> list[Record]:
    """The *count* longest files, by bytes and then by name."""
    return sorted(records, key=lambda record: (-record.size, record.shown))[:count]


def not_measured(records: Sequence[Record], skipped: Sequence[Skipped]) -> list[Skipped]:
    """Everything that has no figures, or not all of them, with the reason."""
    problems = [Skipped(record.shown, record.problem) for record in records if record.problem]
    return sorted([*problems, *skipped])


def interpreter() -> str:
    """The running Python, for a heading."""
    implementation = {"cpython": "CPython", "pypy": "PyPy"}.get(
        sys.implementation.name, sys.implementation.name
    )
    return f"{implementation} {sys.version.split()[0]}"


def lines_of_report(
    records: Sequence[Record], skipped: Sequence[Skipped], serial: float, concurrent: float
) -> Iterator[str]:
    """The table that ends a run."""
    totals = total(records)
    rows = [
        ("files", totals.files, ""),
        ("lines", totals.lines, ""),
        (
            "definitions",
            totals.functions + totals.classes,
            f"{totals.functions:,} functions, {totals.classes:,} classes",
        ),
        ("syntax nodes", totals.nodes, ""),
        ("bytes", totals.size, ""),
        (
            "compressed bytes",
            totals.compressed,
            f"{totals.compressed / totals.size:.1%}" if totals.size else "",
        ),
    ]
    yield ""
    for name, value, note in rows:
        yield f"  {name:<16}  {value:>14,}  {note}".rstrip()

    top = largest(records)
    width = max([len("ten largest files"), *(len(record.shown) for record in top)])
    yield ""
    yield f"  {'ten largest files':<{width}}  {'bytes':>12}  {'compressed':>12}  {'lines':>8}  {'definitions':>11}"
    for record in top:
        yield (
            f"  {record.shown:<{width}}  {record.size:>12,}  {record.compressed:>12,}  {record.lines:>8,}"
            f"  {record.functions + record.classes:>11,}"
        )

    problems = not_measured(records, skipped)
    if problems:
        yield ""
        yield f"  {len(problems)} without all figures"
        width = max(len(problem.shown) for problem in problems)
        for problem in problems:
            yield f"  {problem.shown:<{width}}  {problem.problem}"

    yield ""
    yield f"  serial {serial:.2f} s, concurrent {concurrent:.2f} s: {serial / concurrent:.2f} times as fast"
