# SPDX-License-Identifier: MIT
# Entries for the data files, from what failed without being listed.
#
# Results of several Pythons are taken together, so that one entry speaks of all of them where it can. A test that
# fails on some Pythons and passes on others gets an entry for those it fails on. Tests are grouped by what their
# tracebacks come to; where no test of a class, or of a whole module, passes, it is one thing, and goes under the line
# that is most frequent in it. The largest groups come first. Patterns are made as wide as possible: a module, a family
# of modules, a class, a method; one is taken only if it covers no test that passes on a Python it speaks of, and none
# that fails for another reason, unless an entry above it has that test already (the first entry that matches counts).
"""Write ready-made entries for the data files: `--propose`."""

from __future__ import annotations

import fnmatch
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import places

Group = tuple[str, str, bool, str]  # portion, reason, hangs, python


@dataclass
class Seen:
    """What all known results say of one test."""

    failed: dict[str, tuple[str, str]] = field(default_factory=dict)  # python -> outcome, why
    passed: set[str] = field(default_factory=set)

    @property
    def why(self) -> str:
        return normal(next(reversed(self.failed.values()))[1])

    @property
    def hangs(self) -> bool:
        return any(outcome == "hang" for outcome, _ in self.failed.values())

    @property
    def python(self) -> str:
        """Where an entry has to say so: the test passes on other Pythons."""
        return ", ".join("pypy" if p.startswith("pypy") else p for p in self.failed) if self.passed else ""


def normal(why: str) -> str:
    """A last line without what differs between two runs of the same failure."""
    # No path of a machine belongs into a data file.
    why = re.sub(r"(?<![\w.])/(?:[^/'\"\s]+/)+", ".../", why)
    why = re.sub(r"0x[0-9a-fA-F]{4,}", "0x...", why)
    why = re.sub(r"no end after \d+ s.*", "no end", why)
    why = re.sub(r"\b\d+\.\d+\b", "N.N", why)
    return re.sub(r"(?<![\w.])\d{3,}\b", "N", why).strip() or "no message"


def version_key(name: str) -> tuple[bool, int]:
    return name.startswith("pypy"), int(name.rpartition(".")[2])


def gather(build: Path, implementation: str) -> dict[str, Seen]:
    tests: dict[str, Seen] = defaultdict(Seen)
    for file in sorted(build.glob(f"*/{implementation}.json"), key=lambda f: version_key(f.parent.name)):
        data = json.loads(file.read_text(encoding="utf-8"))
        for module in data["modules"].values():
            for test, row in module["tests"].items():
                if row["outcome"] == "pass":
                    tests[test].passed.add(file.parent.name)
                elif row["standing"] == "failed":
                    tests[test].failed[file.parent.name] = (row["outcome"], row["why"])
    return tests


def family(test: str) -> str:
    """A pattern for all modules that hold the same tests: start methods; a package on one Python, a module on another."""
    module = test.partition(".")[0]
    if module.startswith("test_multiprocessing_") and module != "test_multiprocessing_main_handling":
        return "test_multiprocessing_*"
    return f"{module}*" if module == "test_concurrent_futures" else module


def class_pattern(test: str) -> str:
    *_, cls, _ = test.split(".")
    return f"{family(test)}.{cls}.*"


def module_pattern(test: str) -> str:
    return f"{test.partition('.')[0]}.*"


def candidates(test: str) -> list[str]:
    """Patterns that cover the test, widest first."""
    *before, cls, method = test.split(".")
    wide = re.sub(r"^With(Processes|Threads|Manager)", "With*", cls)
    wider = re.sub(r"(ThreadPool|ProcessPool(Forkserver|Fork|Spawn)|InterpreterPool)", "*", cls)
    classes = [*dict.fromkeys(name for name in (wide, wider) if name != cls), cls]
    heads = [family(test), ".".join(before)]
    found = [f"{family(test)}.{c}.*" for c in classes]
    found.append(f"{'.'.join(before)}.{cls}.*")
    found += [f"{head}.{c}.{method}" for head in heads for c in classes]
    return list(dict.fromkeys([module_pattern(test), *found, test]))


def groups(tests: dict[str, Seen]) -> dict[Group, set[str]]:
    failing = {test: seen for test, seen in tests.items() if seen.failed}
    reasons = {test: seen.why for test, seen in failing.items()}
    for whole in (class_pattern, module_pattern):
        members: dict[str, list[str]] = defaultdict(list)
        for test in failing:
            members[whole(test)].append(test)
        living = {whole(test) for test, seen in tests.items() if seen.passed}
        for name in members.keys() - living:
            most = Counter(reasons[test] for test in members[name]).most_common(1)[0][0]
            reasons.update(dict.fromkeys(members[name], most))
    found: dict[Group, set[str]] = defaultdict(set)
    for test, seen in failing.items():
        found[places.portion_of(test), reasons[test], seen.hangs, seen.python].add(test)
    return found


def patterns(group: Group, members: set[str], tests: dict[str, Seen], claimed: set[str]) -> Iterator[str]:
    spoken = {p.strip() for p in group[3].split(",")} - {""}

    def named(pythons: Iterable[str]) -> set[str]:
        return {
            p for p in pythons if not spoken or p in spoken or ("pypy" in spoken and p.startswith("pypy"))
        }

    def belongs(test: str, seen: Seen) -> bool:
        if test in members:
            return True
        return not named(seen.passed) and (test in claimed or not named(seen.failed))

    left = set(members)
    for level in range(max(len(candidates(test)) for test in members)):
        for test in sorted(left):
            options = candidates(test)
            if test not in left or level >= len(options):
                continue
            matcher = re.compile(fnmatch.translate(options[level]))
            covered = {other for other in tests if matcher.match(other)}
            if all(belongs(other, tests[other]) for other in covered):
                left -= covered
                yield options[level]


def kind_of(reason: str) -> str:
    """A guess that spares some typing."""
    private = re.search(r"(has no attribute|cannot import name|no attribute named) '_[A-Za-z]", reason)
    return "private" if private else "missing"


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def entry(group: Group, members: set[str], tests: dict[str, Seen], claimed: set[str]) -> str:
    _, reason, hangs, python = group
    pythons = sorted({p for test in members for p in tests[test].failed}, key=version_key)
    lines = [f"# {len(members)} failing tests on {', '.join(pythons)}", "[[listed]]"]
    if python:
        lines.append(f"python = {quoted(python)}")
    lines += [f"kind = {quoted(kind_of(reason))}", f"reason = {quoted(reason)}"]
    if hangs:
        lines.append("hangs = true")
    found = sorted(patterns(group, members, tests, claimed))
    lines += ["tests = [", *(f"    {quoted(pattern)}," for pattern in found), "]"]
    return "\n".join(lines) + "\n"


def write(build: Path, implementation: str, what: Sequence[str], say: Callable[[str], None]) -> None:
    """Write and print the entries for what was asked for."""
    tests = gather(build, implementation)
    names = {name.partition(".")[0] for name in places.selected(list(what))}
    tests = {test: seen for test, seen in tests.items() if test.partition(".")[0] in names}
    by_portion: dict[str, list[str]] = defaultdict(list)
    claimed: set[str] = set()
    for group, members in sorted(groups(tests).items(), key=lambda item: (-len(item[1]), item[0])):
        by_portion[group[0]].append(entry(group, members, tests, claimed))
        if not group[3]:
            claimed |= members
    folder = build / "proposed"
    folder.mkdir(exist_ok=True)
    for portion, texts in by_portion.items():
        path = folder / f"{portion.lstrip('_')}.toml"
        text = "\n".join(texts)
        path.write_text(text, encoding="utf-8")
        say(f"\n# ---------- {path}\n{text}")
    if not by_portion:
        say("nothing to propose: every failure is listed")
