# SPDX-License-Identifier: MIT
"""How far plait can stand in for the standard modules: the interpreter's own tests, run in place, against plait.

    python3 tools/run.py conformance -p 3.11             everything (the first run on a Python also makes the baseline);
                                                         without -p: on every Python that is installed
    ... -p 3.11 -- queue sched                           packages (plait-queue), test modules (test_queue), modules of
                                                         one that is a package (test_concurrent_futures.test_wait)
    ... -p 3.11 -- queue -k 'Simple*'                    only tests with this in their identity
    ... -p 3.11 -- --test test_sched.TestCase.test_enter one test alone, its output as it comes
    ... -p 3.11 -- queue --propose                       and write the unlisted failures down as entries for a data file

Every test runs with the standard modules first: the baseline, kept in build/conformance/PYTHON/baseline.json until the
interpreter or the runner changes (it may be copied from another checkout). The figure is what passes on both sides,
divided by what passes on the baseline. `tests-integration/conformance/PORTION.toml` lists what is not expected to
pass; how an entry is written stands at the top of tools/conformance/listed.py. The run fails when a test fails that
is not listed, when a listed one passes, and when a pattern matches nothing. (A pattern for several Pythons is only a
note until all of them have a baseline: it may be meant for another one.)

How to work through failures (triage):

  1. Run the package on one Python with --propose. It prints ready-made entries, with kind = "missing", grouped by what
     the tracebacks come to; they also lie in build/conformance/proposed/PORTION.toml, and take into account the last
     results of all Pythons that were run.
  2. Look at one: build/conformance/PYTHON/plait-failures/TEST.txt has traceback, stacks and output, and
     `-- --test TEST` runs it alone (with --impl standard: how it goes with the standard module).
  3. Repair plait, or paste the entry, with the kind that is true (private, c-only, platform, test-bug, missing) and a
     reason that a user understands. Tests that hang want `hangs = true`: they then cost seconds.
  4. `-- queue --again` judges the last results anew with the changed data file, without running anything.

--live takes plait from this checkout as it lies instead of from wheels: quick while working; what counts is wheels.

--impl fallback is plait without what it has of the interpreter's private parts and need not have (places.WITHOUT): the same
entries, and the same rules for failing, hold for it.

Other implementations, to test the instrument itself: --impl passthrough (the standard modules handed through: must
show 100 %), --impl sabotaged (the same with a Queue.join that returns at once: must fail).

Ends with 0, or 1 when the run fails, or the call or a data file is wrong, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import IO, Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import child
import figures
import listed
import places
import propose
import sitter
import trial
import wheelhouse
import workspace
from rich.console import Console

DATA = places.ROOT / "tests-integration" / "conformance"
BUILD = places.ROOT / "build" / "conformance"


def at_least_none(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than none")
    return number


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python3 tools/run.py conformance --",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", nargs="*", help="packages or test modules; everything if none")
    parser.add_argument("--impl", default="plait", choices=(*places.IMPLEMENTATIONS[1:], "standard"))
    parser.add_argument(
        "-k", dest="pattern", metavar="PATTERN", help="only tests whose identity has this in it; * and ? work"
    )
    parser.add_argument("--test", metavar="ID", help="run this one test alone and show everything")
    parser.add_argument(
        "--propose", action="store_true", help="write entries for the failures that are not listed"
    )
    parser.add_argument(
        "--again", action="store_true", help="run nothing; judge the last results with the data files of now"
    )
    parser.add_argument(
        "--live", action="store_true", help="take plait from this checkout's sources, not from wheels"
    )
    parser.add_argument(
        "--jobs",
        type=at_least_none,
        default=0,
        metavar="N",
        help="children at a time (default: twice the processors)",
    )
    parser.add_argument("--no-confirm", action="store_true", help="do not run doubtful results a second time")
    parser.add_argument(
        "--keep", action="store_true", help="leave the children's folders (journal, log, TMPDIR) behind"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there, too")
    inner = parser.add_argument_group("what the session fills in")
    inner.add_argument("--python", default=sys.executable, help="the interpreter under test")
    inner.add_argument("--siblings", type=Path, help="constraints that pin the wheels of this tree")
    inner.add_argument("--data", type=Path, default=DATA, help="folder of the data files")
    inner.add_argument(
        "--build", type=Path, default=BUILD, help="folder for environments, baselines and results"
    )
    options = parser.parse_args(words)
    if options.json and not options.json.absolute().parent.is_dir():
        parser.error(f"{options.json}: its folder does not exist")
    return options


class Run:
    """One call: an interpreter, an implementation, and the modules that were asked for."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.console = Console(soft_wrap=False, width=None if sys.stdout.isatty() else 150)
        self.begun = time.monotonic()
        self.stop = threading.Event()
        self.names = places.selected(options.what)
        self.listing = listed.read(options.data, places.PORTIONS).of_implementation(options.impl)
        self.python = places.interpreter(options.python)
        self.build = options.build.absolute() / self.python.name
        self.build.mkdir(parents=True, exist_ok=True)
        self._lock = self.lock()
        self.jobs = options.jobs or 2 * (os.cpu_count() or 2)
        self.strict = options.impl in ("plait", "fallback")
        self.result_file = self.build / f"{options.impl}.json"
        self.host = child.Host(self.environment("standard"), self.stop, keep=options.keep)
        self.baseline = trial.Baseline(self.build / "baseline.json", self.python, self.host.resources)

    def lock(self) -> IO[str]:
        """One run at a time on one Python: they share environments and results."""
        lock = open(self.build / "lock", "w")  # noqa: SIM115 - it is held as long as this process lives
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another run uses {self.build}; waiting for it to end", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        return lock

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def environment(self, implementation: str) -> Path:
        siblings = None if self.options.live else self.options.siblings
        begun = time.monotonic()
        made = places.place(self.python, implementation, self.build, siblings)
        if made.fresh:
            self.say(f"environment for {implementation}: {time.monotonic() - begun:.0f} s")
        return made.python

    def timed(self, what: str, function: Callable[[], Any]) -> Any:
        begun = time.monotonic()
        answer = function()
        self.say(f"{what}: {time.monotonic() - begun:.0f} s")
        return answer

    # --- what is to be run ------------------------------------------------------------------------------------------

    def modules(self) -> tuple[list[str], list[str]]:
        """What to import for what was asked for, and the names that this interpreter does not ship."""
        if not self.baseline.shape:
            names = [name for names in places.TABLE.values() for name in names]
            self.baseline.shape = child.shape(self.host, names)
        found, missing = [], []
        for name in self.names:
            modules = self.baseline.shape.get(name.partition(".")[0], [])
            wanted = [m for m in modules if m.removeprefix("test.") == name or "." not in name]
            found += wanted
            if not wanted and modules:
                whole = name.partition(".")[0]
                parts = [m.removeprefix("test.") for m in modules if m.removeprefix("test.") != whole]
                raise places.PlaceError(
                    f"{whole} has no module {name} on {self.python.version}: "
                    + (f"there are {', '.join(parts)}" if parts else "it is a single module")
                    + f"; for a class or a test use -k {name.rpartition('.')[2]}"
                )
            if not wanted:
                missing.append(name)
        return found, missing

    def learn(self, modules: list[str]) -> None:
        """Make sure that the baseline is there."""
        unknown = [module for module in modules if not self.baseline.known(module)]
        if not unknown:
            return
        if self.options.again:
            raise places.PlaceError(
                f"{', '.join(unknown)}: no baseline yet, and so no result to judge; run it first"
            )
        self.say(f"the baseline: the standard modules of {self.python.version}")
        runner = trial.Trial(self.host, self.jobs, self.say, lambda _: trial.BASELINE_UNKNOWN)
        self.timed("baseline", lambda: self.baseline.learn(runner, modules, self.say))

    def wanted(self, test: str) -> bool:
        pattern = self.options.pattern
        if not pattern:
            return True
        return pattern in test or fnmatch(test, f"*{pattern}*") or fnmatch(test, pattern)

    # --- running ----------------------------------------------------------------------------------------------------

    def entry(self, test: str) -> listed.Entry | None:
        return self.listing.find(places.portion_of(test), self.python.name, test)

    def try_out(self, modules: list[str]) -> trial.Outcome:
        """Run the implementation through the tests that the baseline passes."""
        parts: list[trial.Part] = []
        seconds: dict[str, float] = {}
        for module in modules:
            passing = {t: r for t, r in self.baseline.tests(module).items() if r.passed and self.wanted(t)}
            seconds.update({test: record.seconds for test, record in passing.items()})
            entries = {test: self.entry(test) for test in passing}
            alone = {t for t, entry in entries.items() if entry and entry.hangs and self.strict}
            parts += trial.cut(module, [test for test in passing if test not in alone], seconds)
            parts += [
                trial.Part(module, (test,), trial.short_deadline(seconds[test]), " (listed as hanging)")
                for test in passing
                if test in alone
            ]

        def deadline_of(test: str) -> float:
            if test not in seconds:
                return trial.UNKNOWN
            entry = self.entry(test)
            short = entry is not None and entry.hangs and self.strict
            return trial.short_deadline(seconds[test]) if short else trial.usual_deadline(seconds[test])

        def doubtful(test: str, record: child.Record) -> bool:
            if self.options.no_confirm or record.outcome in ("skip", "absent"):
                return False
            entry = self.entry(test) if self.strict else None
            if entry is not None:
                return record.passed and not entry.unsteady
            return not record.passed

        host = child.Host(self.environment(self.options.impl), self.stop, keep=self.options.keep)
        runner = trial.Trial(host, self.jobs, self.say, deadline_of)
        return runner.run(parts, doubtful)

    def one(self, test: str) -> int:
        """Run one test alone, with its output on ours."""
        name = test.removeprefix("test.")
        modules, _ = self.modules()
        module = next((m for m in modules if name.startswith(f"{m.removeprefix('test.')}.")), None)
        if module is None:
            raise places.PlaceError(f"{test} belongs to no test module that {self.python.version} ships")
        before = self.baseline.tests(module).get(name)
        limit = trial.usual_deadline(before.seconds) if before else trial.UNKNOWN
        host = child.Host(self.environment(self.options.impl), self.stop, keep=self.options.keep, loud=True)
        life = child.run(host, module, [name], lambda _: limit)
        record = life.records[name]
        sys.stdout.flush()
        self.say(f"\n{record.detail}".rstrip())
        for fixture, problem in life.fixtures.items():
            self.say(f"{fixture}: {problem.outcome}: {problem.detail}")
        for note in life.notes:
            self.say(note)
        told = f"{before.outcome} in {before.seconds:.1f} s" if before else "not run yet"
        self.say(f"{name}: {record.outcome} after {record.seconds:.1f} s (the baseline: {told})")
        if entry := self.entry(name):
            self.say(f"listed at {entry.place}: {entry.reason}")
        return 0 if record.passed else 1

    # --- results ----------------------------------------------------------------------------------------------------

    def stored(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self.result_file.read_text(encoding="utf-8"))["modules"])
        except (OSError, ValueError, KeyError):
            return {}

    def again(self, modules: list[str]) -> trial.Outcome:
        """The last results, as if they had just been had."""
        outcome = trial.Outcome()
        stored = self.stored()
        for module in modules:
            data = stored.get(module.removeprefix("test."))
            if data is None:
                raise places.PlaceError(f"{module} has no result yet in {self.result_file}; run it first")
            outcome.seconds[module] = data["seconds"]
            for fixture, why in data["fixtures"].items():
                outcome.fixtures[module][fixture] = child.Record("error", 0.0, why)
            for test, had in data["tests"].items():
                record = child.Record(had["outcome"], had["seconds"], had["why"])
                outcome.results[module][test] = trial.Result(record, had["unsteady"])
        return outcome

    def problems_of_patterns(self, modules: list[str]) -> tuple[list[str], list[str]]:
        """Patterns that match nothing, and those that match nothing so far, of packages whose modules were all run."""
        known: dict[str, dict[str, list[str]]] = {}
        for file in self.build.parent.glob("*/baseline.json"):
            for module, tests in trial.known_tests(file).items():
                portion = places.portion_of(module.removeprefix("test."))
                known.setdefault(portion, {}).setdefault(file.parent.name, []).extend(tests)
        problems: list[str] = []
        unsettled: list[str] = []
        for portion, names in places.TABLE.items():
            wanted = [module for name in names for module in self.baseline.shape.get(name, [])]
            if set(wanted) <= set(modules) and portion in known:
                problems += self.listing.unmatched(portion, known[portion], workspace.SUPPORTED)
                unsettled += self.listing.unsettled(portion, known[portion], workspace.SUPPORTED)
        return problems, unsettled

    def report(self, modules: list[str], missing: list[str], outcome: trial.Outcome) -> int:
        sheets = [
            figures.sheet(
                module,
                self.baseline.tests(module),
                outcome,
                self.listing,
                self.python.name,
                strict=self.strict,
                wanted=self.wanted,
            )
            for module in modules
        ]
        details = (
            {}
            if self.options.again
            else figures.write_details(sheets, self.build / f"{self.options.impl}-failures")
        )
        shown = [one for one in sheets if one.rows or not self.options.pattern]
        if self.options.pattern and not shown:
            raise places.PlaceError(f"no test that passes on the baseline has {self.options.pattern!r} in it")
        problems, unsettled = ([], []) if self.options.pattern else self.problems_of_patterns(modules)
        # What the standard modules do not pass here says nothing of ours; if that is everything, nothing was measured.
        blank = [
            f"{one.name}: the standard module passes none of its tests here, so there is no figure"
            for one in shown
            if not one.rows
        ]
        unmeasured = bool(modules) and not any(one.rows for one in sheets)
        broken = any(one.broken for one in sheets) or bool(problems) or unmeasured
        took = time.monotonic() - self.begun
        title = f"{self.options.impl} on {self.python.name} ({self.python.version})"
        text = self.build / f"{self.options.impl}.txt"
        with open(os.devnull if self.options.pattern else text, "w", encoding="utf-8") as file:
            for console, limit in ((self.console, 40), (Console(file=file, width=150), 10_000)):
                figures.listing_of(shown, console, details, limit)
                figures.show(console, "Patterns that match nothing so far", unsettled, "yellow", limit)
                for problem in [*problems, *blank]:
                    console.print(problem, style="bold red", highlight=False, markup=False, soft_wrap=True)
                console.print()
                console.print(figures.table(shown, title))
                console.print(figures.LEGEND, style="dim", highlight=False, markup=False, soft_wrap=True)
                if missing:
                    console.print(f"not shipped by this interpreter: {', '.join(missing)}", style="dim")
        totals = figures.total(sheets)
        data = {
            "python": self.python.version,
            "interpreter": self.python.name,
            "implementation": self.options.impl,
            "seconds": round(took, 1),
            "modules": {**self.stored(), **{s.name: figures.as_data(s) for s in sheets}},
            "total": {key: value for key, value in figures.as_data(totals).items() if key != "tests"},
            "patterns": problems,
            "not_shipped": missing,
        }
        if not self.options.pattern:
            self.result_file.write_text(json.dumps(data, indent=1), encoding="utf-8")
        if self.options.json:
            self.options.json.write_text(json.dumps(data, indent=1), encoding="utf-8")
        self.say(
            f"{figures.percent(totals.figure)} of what passes with the standard modules passes with "
            f"{self.options.impl}; {figures.percent(totals.adjusted)} without the exclusions. {took:.0f} s in all."
        )
        if not self.options.pattern:
            self.say(f"{text} and {self.result_file.name} beside it")
        self.say(figures.closing(totals, problems))
        return 1 if broken else 0

    def go(self) -> int:
        if self.options.test:
            return self.one(self.options.test)
        modules, missing = self.modules()
        if not modules:
            self.say(f"=== nothing measured: {self.python.version} does not ship {', '.join(missing)} ===")
            return 0
        self.learn(modules)
        outcome = (
            self.again(modules)
            if self.options.again
            else self.timed(self.options.impl, lambda: self.try_out(modules))
        )
        code = self.report(modules, missing, outcome)
        if self.options.propose:
            propose.write(self.build.parent, self.options.impl, self.options.what, self.say)
        return code


def main(words: list[str]) -> int:
    options = arguments(words)

    def ended(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, ended)
    try:
        # Children have sessions of their own: if we are killed, somebody has to end them.
        with sitter.sitter(f"{child.MARKER}={child.RUN}"):
            return Run(options).go()
    except (listed.MalformedError, places.PlaceError, wheelhouse.WheelhouseError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; every child was ended", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
