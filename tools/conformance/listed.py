# SPDX-License-Identifier: MIT
"""The data files that say which of the interpreter's tests plait is not expected to pass, where, and why.

`tests-integration/conformance/PORTION.toml`, one per package:

    [[listed]]
    python = ">=3.12"          # or "3.11", "3.10-3.12", "<3.13", "pypy", "cpython"; a comma means "or"; default: all
    kind = "private"           # see KINDS
    impl = "fallback"          # optional: only for that implementation, "plait" or "fallback" (see __main__.py)
    reason = "reaches into threading._shutdown_locks, which nobody documents"
    hangs = true               # optional: these are run each alone, with a short deadline
    unsteady = true            # optional: they pass now and then, and either is accepted
    tests = ["test_threading.BarrierTests.*", "test_multiprocessing_*.WithProcessesTestPool.*"]

A pattern is matched as by fnmatch against the whole identity of a test without the leading `test.`; `*` also matches
dots. The first entry that matches counts. A name means CPython unless it is `pypy`.
"""

from __future__ import annotations

import fnmatch
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: What an entry may be. All but `missing` are exclusions: such tests leave the figure, both sides of it.
KINDS = {
    "private": "the test uses names that no documentation mentions",
    "c-only": "the test is about the interpreter's own C code",
    "platform": "the test cannot apply on this platform or interpreter",
    "test-bug": "the test itself is wrong, or presumes an accident of the implementation",
    "missing": "plait does not have it yet; it stays in the figure, and a later release must empty this kind",
}
EXCLUSIONS = frozenset(KINDS) - {"missing"}

_IMPLEMENTATIONS = ("plait", "fallback")
_KEYS = {
    "python": str,
    "impl": str,
    "kind": str,
    "reason": str,
    "hangs": bool,
    "unsteady": bool,
    "tests": list,
}
_VERSION = r"3\.(\d+)"


class MalformedError(Exception):
    """Something is wrong with a data file. The message has a line per problem: file, line, entry, what, remedy."""


@dataclass(frozen=True)
class Entry:
    """One group of tests with one reason."""

    file: str
    line: int
    number: int
    kind: str
    reason: str
    tests: tuple[str, ...]
    python: str = ""
    hangs: bool = False
    unsteady: bool = False
    impl: str = ""
    _ranges: tuple[tuple[str, int, int], ...] = ()

    @property
    def excluded(self) -> bool:
        return self.kind in EXCLUSIONS

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line} (entry {self.number}, {self.kind})"

    def applies(self, python: str) -> bool:
        """Whether it speaks of this Python ("3.12", "pypy3.11")."""
        return any(_within(piece, python) for piece in self._ranges)

    @cached_property
    def matchers(self) -> dict[str, re.Pattern[str]]:
        return {pattern: re.compile(fnmatch.translate(pattern)) for pattern in self.tests}

    def covers(self, test: str) -> bool:
        return any(matcher.match(test) for matcher in self.matchers.values())


def _within(piece: tuple[str, int, int], python: str) -> bool:
    implementation, low, high = piece
    name = "pypy" if python.startswith("pypy") else "cpython"
    minor = int(python.rpartition(".")[2])
    return implementation in ("", name) and low <= minor <= high


def ranges(text: str) -> tuple[tuple[str, int, int], ...]:
    """What `python = "..."` says; raises ValueError with the remedy."""
    if not text:
        return (("", 0, 999),)
    found = []
    for part in (p.strip() for p in text.split(",")):
        if part in ("pypy", "cpython"):
            found.append((part, 0, 999))
        elif match := re.fullmatch(_VERSION, part):
            found.append(("cpython", int(match[1]), int(match[1])))
        elif match := re.fullmatch(rf"(>=|<=|<|>)\s*{_VERSION}", part):
            minor = int(match[2])
            low = {">=": minor, ">": minor + 1}.get(match[1], 0)
            high = {"<=": minor, "<": minor - 1}.get(match[1], 999)
            found.append(("cpython", low, high))
        elif match := re.fullmatch(rf"{_VERSION}\s*-\s*{_VERSION}", part):
            found.append(("cpython", int(match[1]), int(match[2])))
        else:
            raise ValueError(
                f'python = "{text}" is not understood; write "3.11", ">=3.12", "<3.13", "3.10-3.12", "pypy", "cpython", '
                f"or several of them with commas"
            )
    return tuple(found)


@dataclass
class Listing:
    """Every entry of the data files, in their order, by package."""

    entries: dict[str, list[Entry]] = field(default_factory=dict)

    def of_implementation(self, name: str) -> Listing:
        """Without the entries that are for another implementation."""
        return Listing(
            {
                portion: [entry for entry in entries if entry.impl in ("", name)]
                for portion, entries in self.entries.items()
            }
        )

    def of(self, portion: str, python: str) -> list[Entry]:
        return [entry for entry in self.entries.get(portion, []) if entry.applies(python)]

    def find(self, portion: str, python: str, test: str) -> Entry | None:
        return next((entry for entry in self.of(portion, python) if entry.covers(test)), None)

    def unsettled(
        self, portion: str, known: Mapping[str, Iterable[str]], supported: Sequence[str]
    ) -> Iterator[str]:
        """A line for each pattern that matches no known test, but may be meant for a Python that is not known."""
        tests = {python: list(names) for python, names in known.items()}
        for entry in self.entries.get(portion, []):
            named = [python for python in dict.fromkeys([*supported, *tests]) if entry.applies(python)]
            here = [python for python in named if python in tests]
            rest = [python for python in named if python not in tests]
            if not here or not rest:
                continue
            for pattern, matcher in entry.matchers.items():
                if not any(matcher.match(test) for python in here for test in tests[python]):
                    yield (
                        f"{entry.place}: {pattern!r} matches no test on {', '.join(here)}; "
                        f"{', '.join(rest)} not tried yet"
                    )

    def unmatched(
        self, portion: str, known: Mapping[str, Iterable[str]], supported: Sequence[str]
    ) -> Iterator[str]:
        """A line for each pattern that matches no test on any Python that its entry names.

        *known* has the tests of this package by Python. An entry that also names a supported Python whose tests are
        not known (its baseline was not run here yet) is left alone: it may be meant for that one.
        """
        tests = {python: list(names) for python, names in known.items()}
        for entry in self.entries.get(portion, []):
            named = [python for python in dict.fromkeys([*supported, *tests]) if entry.applies(python)]
            if not named or any(python not in tests for python in named):
                continue
            for pattern, matcher in entry.matchers.items():
                if not any(matcher.match(test) for python in named for test in tests[python]):
                    yield (
                        f"{entry.place}: {pattern!r} matches no test on {', '.join(named)}; "
                        f"correct it, narrow its `python`, or remove it"
                    )


def parse(text: str, name: str) -> list[Entry]:
    """The entries of one file; raises MalformedError with all that is wrong with it."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MalformedError(f"{name}: {error}") from None
    problems = [
        f"{name}: {key!r} is not known here; a file holds [[listed]] tables only"
        for key in data
        if key != "listed"
    ]
    lines = [n for n, line in enumerate(text.splitlines(), 1) if re.match(r"\s*\[\[\s*listed\s*\]\]", line)]
    entries: list[Entry] = []
    taken: dict[str, Entry] = {}
    tables = data.get("listed", [])
    if not isinstance(tables, list):
        raise MalformedError(f"{name}: write [[listed]], with two brackets, above each entry")
    for number, table in enumerate(tables, 1):
        line = lines[number - 1] if len(lines) == len(tables) else 1
        wrong = list(_problems(table))
        problems += [f"{name}:{line} (entry {number}): {problem}" for problem in wrong]
        if wrong:
            continue
        entry = Entry(
            name,
            line,
            number,
            table["kind"],
            table["reason"],
            tuple(table["tests"]),
            table.get("python", ""),
            table.get("hangs", False),
            table.get("unsteady", False),
            table.get("impl", ""),
            ranges(table.get("python", "")),
        )
        for pattern in entry.tests:
            first = taken.setdefault(pattern, entry)
            if first is not entry and _overlap(first, entry):
                problems.append(
                    f"{name}:{line} (entry {number}): {pattern!r} is already listed in line {first.line}, for a "
                    f"Python that both name; remove one"
                )
        entries.append(entry)
    if problems:
        raise MalformedError("\n".join(problems))
    return entries


def _overlap(one: Entry, other: Entry) -> bool:
    return (not one.impl or not other.impl or one.impl == other.impl) and any(
        a[1] <= b[2] and b[1] <= a[2] and (a[0] == b[0] or "" in (a[0], b[0]))
        for a in one._ranges
        for b in other._ranges
    )


def _problems(table: dict[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        if key not in _KEYS:
            yield f"{key!r} is not known; an entry has {', '.join(_KEYS)}"
        elif not isinstance(value, _KEYS[key]):
            yield f"{key} = {value!r} must be a {_KEYS[key].__name__}"
    for key in ("kind", "reason", "tests"):
        if key not in table:
            yield f"{key!r} is missing"
    kind, reason, tests, python = (table.get(key) for key in ("kind", "reason", "tests", "python"))
    if table.get("impl", _IMPLEMENTATIONS[0]) not in _IMPLEMENTATIONS:
        yield f"impl = {table['impl']!r} is not one of {', '.join(_IMPLEMENTATIONS)}"
    if isinstance(kind, str) and kind not in KINDS:
        yield f"kind = {kind!r} is not one of {', '.join(KINDS)}"
    if isinstance(reason, str) and (not reason.strip() or "\n" in reason):
        yield "the reason must be one line that says something"
    if isinstance(tests, list):
        if not tests:
            yield "tests is empty"
        for test in tests:
            if not isinstance(test, str) or not re.match(r"test_\w*[\w*?\[\]!-]*(\.|\*|$)", test):
                yield f"{test!r} does not begin with the name of a test module (without `test.`)"
    if isinstance(python, str):
        try:
            ranges(python)
        except ValueError as error:
            yield str(error)


def read(folder: Path, portions: Sequence[str]) -> Listing:
    """All data files of the folder; raises MalformedError with the problems of all of them."""
    listing, problems = Listing(), []
    for path in sorted(folder.glob("*.toml")):
        portion = next((p for p in portions if p.lstrip("_") == path.stem), None)
        if portion is None:
            names = ", ".join(f"{p.lstrip('_')}.toml" for p in portions)
            problems.append(f"{path.name}: there is no such package; the files are {names}")
            continue
        try:
            listing.entries[portion] = parse(path.read_text(encoding="utf-8"), path.name)
        except MalformedError as error:
            problems.append(str(error))
    if problems:
        raise MalformedError("\n".join(problems))
    return listing
