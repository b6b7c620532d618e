# SPDX-License-Identifier: MIT
# A trial puts one implementation through the tests: several children at a time, each with a part of one module.
#
# Rules
#   - A module is cut between classes, never within one, and a part is long enough to be worth its imports.
#   - Whatever a result depends on besides the implementation (a busy machine) must not decide it. A doubtful result is
#     therefore had again, alone in a child of its own, and what counts is the better of both: a failure counts only if
#     it failed twice, an unexpected pass only if it passed twice. Where both differ, the test is reported as unsteady.
#   - Tests that are known to hang never share a child: each would cost the others a new start.
"""Run many tests, several children at a time, and have doubtful results confirmed."""

from __future__ import annotations

import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

import child
import places
from child import Host, Record

K = TypeVar("K")
V = TypeVar("V")

#: Deadlines in seconds of a test: without knowledge; from what the baseline took; where it is known to hang.
UNKNOWN = 40.0
BASELINE_UNKNOWN = 120.0

#: How much of a module makes a part that is worth a child of its own.
PART_SECONDS, PART_TESTS = 20.0, 90

#: A module with more doubtful results than this is not doubtful but wrong.
NO_ACCIDENT = 40

#: Raised when a change of the tool makes earlier baselines worthless without changing inside.py.
FORMAT = 1


def usual_deadline(seconds: float) -> float:
    return seconds * 4 + 15


def short_deadline(seconds: float) -> float:
    return seconds * 2 + 8


@dataclass
class Result:
    """What counts for one test."""

    record: Record
    unsteady: bool = False
    other: Record | None = None  # the result that does not count, where there were two


@dataclass
class Outcome:
    """What a trial brought, by module."""

    results: dict[str, dict[str, Result]] = field(default_factory=lambda: defaultdict(dict))
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    notes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    fixtures: dict[str, dict[str, Record]] = field(default_factory=lambda: defaultdict(dict))


@dataclass(frozen=True)
class Part:
    """Tests of one module that one child runs after the other."""

    module: str
    tests: tuple[str, ...]
    weight: float
    note: str = ""


def class_of(test: str) -> str:
    return test.rpartition(".")[0]


def cut(module: str, tests: Sequence[str], seconds: Mapping[str, float]) -> list[Part]:
    """Cut a module into parts between its classes."""
    parts: list[Part] = []
    classes: dict[str, list[str]] = {}
    for test in tests:
        classes.setdefault(class_of(test), []).append(test)
    current: list[str] = []
    weight = 0.0
    for group in classes.values():
        share = sum(seconds.get(test, 0.3) for test in group)
        if current and (weight + share > PART_SECONDS or len(current) + len(group) > PART_TESTS):
            parts.append(Part(module, tuple(current), weight))
            current, weight = [], 0.0
        current += group
        weight += share
    if current:
        parts.append(Part(module, tuple(current), weight))
    return parts


class Trial:
    """One implementation on one Python."""

    def __init__(
        self,
        host: Host,
        jobs: int,
        say: Callable[[str], None],
        deadline_of: Callable[[str], float],
    ) -> None:
        self._host = host
        self._jobs = jobs
        self._say = say
        self._deadline_of = deadline_of

    def each(self, items: Iterable[K], work: Callable[[K], V]) -> Iterator[tuple[K, V]]:
        """Work on several items at a time; yield each with what came of it. A failure ends all children."""
        pool = ThreadPoolExecutor(self._jobs)
        try:
            futures: dict[Future[V], K] = {pool.submit(work, item): item for item in items}
            waiting = set(futures)
            while waiting:
                # With a timeout, so that Ctrl-C is heard on every platform.
                done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    yield futures[future], future.result()
        except BaseException:
            self._host.stop.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def listings(self, modules: Sequence[str]) -> dict[str, tuple[list[str], Record | None]]:
        """The tests of each module, or why there are none."""
        return dict(self.each(modules, lambda name: child.listing(self._host, name)))

    def run(self, parts: Sequence[Part], doubtful: Callable[[str, Record], bool]) -> Outcome:
        """Run all parts, and what is doubtful once more."""
        outcome = Outcome()
        again: list[Part] = []
        total = len(parts)
        ordered = sorted(parts, key=lambda part: -part.weight)
        for number, (part, (life, took)) in enumerate(self.each(ordered, self._timed), 1):
            self._take(outcome, part, life, took)
            self._say(f"[{number}/{total}] {told(part, life, took)}")
            for test, record in life.records.items():
                outcome.results[part.module][test] = Result(record)
                if doubtful(test, record):
                    again.append(Part(part.module, (test,), record.seconds))
        if again := self._worth_it(again):
            self._say(f"{len(again)} doubtful results are had again, each alone")
            self._confirm(outcome, again, doubtful)
        return outcome

    def _worth_it(self, parts: list[Part]) -> list[Part]:
        """Leave out modules with so many doubtful results that they are no accident."""
        counts = Counter(part.module for part in parts)
        for module, count in counts.items():
            if count > NO_ACCIDENT:
                self._say(f"{module.removeprefix('test.')}: {count} are no accident, and are not had again")
        return [part for part in parts if counts[part.module] <= NO_ACCIDENT]

    def _confirm(self, outcome: Outcome, parts: list[Part], doubtful: Callable[[str, Record], bool]) -> None:
        ordered = sorted(parts, key=lambda part: -part.weight)
        for number, (part, (life, took)) in enumerate(self.each(ordered, self._timed), 1):
            self._take(outcome, part, life, took)
            (test,) = part.tests
            first, second = outcome.results[part.module][test].record, life.records[test]
            settled = doubtful(test, second)
            outcome.results[part.module][test] = Result(second, unsteady=not settled, other=first)
            if number % 25 == 0:
                self._say(f"  {number} of {len(ordered)}")

    def _timed(self, part: Part) -> tuple[child.Life, float]:
        begun = time.monotonic()
        life = child.run(self._host, part.module, part.tests, self._deadline_of)
        return life, time.monotonic() - begun

    def _take(self, outcome: Outcome, part: Part, life: child.Life, took: float) -> None:
        outcome.seconds[part.module] += took
        outcome.notes[part.module] += life.notes
        outcome.fixtures[part.module].update(life.fixtures)


def told(part: Part, life: child.Life, took: float) -> str:
    """One line about a part that is done."""
    kinds: dict[str, int] = defaultdict(int)
    for record in life.records.values():
        kinds[record.outcome] += 1
    order = ("pass", "fail", "error", "hang", "crash", "absent", "skip", "expected failure")
    counts = ", ".join(f"{kinds[kind]} {kind}" for kind in order if kinds[kind])
    name = part.module.removeprefix("test.")
    if len(part.tests) == 1:
        name = part.tests[0]
    return f"{name}: {counts or 'nothing'} ({took:.1f} s){part.note}"


# ------------------------------------------------------------------------------------------------------ baseline


class Baseline:
    """What the interpreter's own modules make of the tests; kept in a file that may be copied between checkouts."""

    def __init__(self, path: Path, python: places.Interpreter, resources: Sequence[str]) -> None:
        self._path = path
        own = places.sources(Path(child.INSIDE))
        self._key = f"{FORMAT} {python.identity} {own} {','.join(resources)}"
        self.missing: list[str] = []
        self.shape: dict[str, list[str]] = {}
        self._modules: dict[str, dict[str, Record]] = {}
        self.seconds: dict[str, float] = {}
        self._load()

    def _load(self) -> None:
        try:
            data = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        except ValueError:  # cut off in the middle of writing
            return
        if data.get("key") != self._key:
            return
        self.shape = data["shape"]
        self.seconds = data["seconds"]
        self._modules = {
            name: {test: Record(**record) for test, record in tests.items()}
            for name, tests in data["modules"].items()
        }

    def save(self) -> None:
        data = {
            "key": self._key,
            "shape": self.shape,
            "seconds": self.seconds,
            "modules": {
                name: {test: {**asdict(record), "log": ""} for test, record in tests.items()}
                for name, tests in self._modules.items()
            },
        }
        fresh = self._path.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(data, indent=0), encoding="utf-8")
        fresh.replace(self._path)

    def known(self, module: str) -> bool:
        return module in self._modules

    def tests(self, module: str) -> dict[str, Record]:
        """Every test of the module in its order, and what became of it."""
        return self._modules.get(module, {})

    def learn(self, trial: Trial, modules: Sequence[str], say: Callable[[str], None]) -> None:
        """Run those modules that are not known yet, and save."""
        new = [module for module in modules if not self.known(module)]
        if not new:
            return
        listings = trial.listings(new)
        parts: list[Part] = []
        for module, (tests, reason) in listings.items():
            if reason is not None:
                name = module.removeprefix("test.")
                say(f"{name} cannot be run by this interpreter itself: {reason.last_line or reason.outcome}")
            parts += cut(module, tests, {})
        outcome = trial.run(parts, lambda _, record: record.outcome in ("fail", "error", "hang", "crash"))
        for module, (tests, _) in listings.items():
            results = outcome.results[module]
            self._modules[module] = {test: results[test].record for test in tests}
            self.seconds[module] = round(outcome.seconds[module], 1)
        self.save()


def known_tests(path: Path) -> dict[str, list[str]]:
    """Test identities by module from a baseline file, whatever made it: for looking patterns up."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return {name: list(tests) for name, tests in data["modules"].items()}
    except (OSError, ValueError, KeyError):
        return {}
