# SPDX-License-Identifier: MIT
"""The conformance instrument itself: it must see every way in which a test can go wrong, and survive it."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOL = ROOT / "tools" / "conformance"
sys.path[:0] = [str(ROOT / "tools"), str(TOOL)]

pytest.importorskip("test.support", reason="this interpreter comes without its tests")
places = importlib.import_module("places")
child = importlib.import_module("child")
trial = importlib.import_module("trial")
listed = importlib.import_module("listed")
figures = importlib.import_module("figures")
propose = importlib.import_module("propose")
conformance_main = importlib.import_module("conformance.__main__")
wheelhouse = importlib.import_module("wheelhouse")

# ----------------------------------------------------------------------------------------------- all of it, for later


def command(build: Path, *words: str) -> list[str]:
    return [sys.executable, str(TOOL), "--build", str(build), "--json", str(build / "result.json"), *words]


class Underway:
    """The tool, run as the session runs it; its exit code, its result, and what it says, once it has ended."""

    def __init__(self, build: Path, *words: str) -> None:
        self.result = build / "result.json"
        self.said = build / "said"
        with open(self.said, "wb") as said:
            self.process = subprocess.Popen(command(build, *words), stdout=said, stderr=subprocess.STDOUT)

    def ended(self) -> tuple[int, dict[str, Any], str]:
        with self.process as process:
            try:
                code = process.wait(110)
            finally:
                process.terminate()  # it then ends its children; of no consequence where it has ended itself
        result = json.loads(self.result.read_text()) if self.result.exists() else {}
        return code, result, self.said.read_text()


@pytest.fixture(scope="module", autouse=True)
def underway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Underway]]:
    """Runs of the whole tool, begun first and looked at last: they mostly sleep, so other tests may run meanwhile."""
    runs = {
        "passthrough": ("queue", "sched", "--impl", "passthrough"),
        "sabotaged": ("queue", "--impl", "sabotaged", "-k", "join", "--no-confirm"),
    }
    begun = {name: Underway(tmp_path_factory.mktemp(name), *words) for name, words in runs.items()}
    yield begun
    for run in begun.values():
        with run.process as process:
            process.terminate()  # the tool then ends its children


# ------------------------------------------------------------------------------------------------------ data files

ENTRY = '[[listed]]\nkind = "missing"\nreason = "not yet"\ntests = ["test_queue.A.*"]\n'


@pytest.mark.parametrize(
    ("python", "inside", "outside"),
    [
        ("", "3.10 3.15 pypy3.11", ""),
        ("3.11", "3.11", "3.10 3.12 pypy3.11"),
        (">=3.12", "3.12 3.15", "3.11 pypy3.11"),
        ("<3.12", "3.10 3.11", "3.12 pypy3.11"),
        ("3.10-3.12", "3.10 3.11 3.12", "3.13"),
        ("pypy", "pypy3.11", "3.11"),
        ("cpython", "3.10 3.15", "pypy3.11"),
        ("3.10, >3.13,pypy", "3.10 3.14 pypy3.11", "3.11 3.13"),
    ],
)
def test_an_entry_speaks_of_the_pythons_it_names(python: str, inside: str, outside: str) -> None:
    (entry,) = listed.parse(f'{ENTRY}python = "{python}"\n' if python else ENTRY, "queue.toml")
    assert [name for name in inside.split() if not entry.applies(name)] == []
    assert [name for name in outside.split() if entry.applies(name)] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ('kind = "missing"', 'kind = "lazy"'),
            "queue.toml:1 (entry 1): kind = 'lazy' is not one of private,",
        ),
        (('kind = "missing"', ""), "'kind' is missing"),
        (('reason = "not yet"', 'reason = ""'), "one line that says something"),
        (
            ('reason = "not yet"', 'reason = "x"\nbecause = "y"'),
            "'because' is not known; an entry has python",
        ),
        (('reason = "not yet"', 'reason = "x"\nhangs = "yes"'), "hangs = 'yes' must be a bool"),
        (('reason = "not yet"', 'reason = "x"\npython = "3.x"'), 'python = "3.x" is not understood'),
        (
            ('reason = "not yet"', 'reason = "x"\nimpl = "mine"'),
            "impl = 'mine' is not one of plait, fallback",
        ),
        (('["test_queue.A.*"]', "[]"), "tests is empty"),
        (('["test_queue.A.*"]', '["QueueTest.*"]'), "does not begin with the name of a test module"),
        (("[[listed]]", "[[liste]]"), "'liste' is not known here"),
        (("[[listed]]", "[listed]"), "two brackets"),
        (('["test_queue.A.*"]', '["test_queue.A.*"'), "queue.toml: "),
    ],
)
def test_a_malformed_entry_is_told_with_its_place(change: tuple[str, str], said: str) -> None:
    with pytest.raises(listed.MalformedError) as told:
        listed.parse(ENTRY.replace(*change), "queue.toml")
    assert said in str(told.value)
    assert "queue.toml" in str(told.value)


def test_every_problem_of_every_file_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "queue.toml").write_text(
        ENTRY.replace("missing", "lazy") + "\n" + ENTRY.replace("not yet", "")
    )
    (tmp_path / "quack.toml").write_text(ENTRY)
    with pytest.raises(listed.MalformedError) as told:
        listed.read(tmp_path, places.PORTIONS)
    for part in ("queue.toml:1 (entry 1)", "queue.toml:6 (entry 2)", "quack.toml: there is no such package"):
        assert part in str(told.value)


def test_the_same_pattern_twice_is_refused_only_where_both_apply() -> None:
    with pytest.raises(listed.MalformedError, match="already listed in line 1"):
        listed.parse(ENTRY + ENTRY, "queue.toml")
    listed.parse(f'{ENTRY}python = "3.11"\n{ENTRY}python = ">=3.12"\n', "queue.toml")
    listed.parse(f'{ENTRY}impl = "plait"\n{ENTRY}impl = "fallback"\n', "queue.toml")


def test_an_entry_may_be_for_one_implementation() -> None:
    listing = listing_of(f'{ENTRY}impl = "fallback"\n')
    assert listing.of_implementation("fallback").find("queue", "3.11", "test_queue.A.x") is not None
    assert listing.of_implementation("plait").find("queue", "3.11", "test_queue.A.x") is None


def listing_of(text: str) -> Any:
    return listed.Listing({"queue": listed.parse(text, "queue.toml")})


def test_a_pattern_that_matches_nothing_is_told_once_all_pythons_it_names_are_known() -> None:
    listing = listing_of(ENTRY)
    known = {"3.11": ["test_queue.B.x"]}
    assert list(listing.unmatched("queue", known, ["3.11", "3.12"])) == []
    (problem,) = listing.unmatched("queue", {**known, "3.12": ["test_queue.C.x"]}, ["3.11", "3.12"])
    assert "queue.toml:1" in problem
    assert "matches no test on 3.11, 3.12" in problem
    assert list(listing.unmatched("queue", {**known, "3.12": ["test_queue.A.x"]}, ["3.11", "3.12"])) == []


def test_a_pattern_that_matches_nothing_so_far_is_noted_until_all_pythons_are_known() -> None:
    listing = listing_of(ENTRY)
    known = {"3.11": ["test_queue.B.x"]}
    (note,) = listing.unsettled("queue", known, ["3.11", "3.12"])
    assert note.endswith("'test_queue.A.*' matches no test on 3.11; 3.12 not tried yet")
    assert list(listing.unsettled("queue", {"3.11": ["test_queue.A.x"]}, ["3.11", "3.12"])) == []
    assert list(listing.unsettled("queue", {**known, "3.12": []}, ["3.11", "3.12"])) == []
    assert list(listing.unsettled("queue", {}, ["3.11", "3.12"])) == []


def test_the_data_files_of_this_repository_are_well_formed() -> None:
    listed.read(ROOT / "tests-integration" / "conformance", places.PORTIONS)


# -------------------------------------------------------------------------------------------------------- children

SAMPLE = """
import atexit, os, signal, subprocess, sys, threading, time, unittest
from multiprocessing import shared_memory
from pathlib import Path

HERE = Path(__file__).parent


class Good(unittest.TestCase):
    def test_passes(self):
        pass

    def test_skips(self):
        self.skipTest("not today")

    @unittest.expectedFailure
    def test_fails_as_expected(self):
        self.fail()

    def test_has_parts_and_one_is_skipped(self):
        for part in range(3):
            with self.subTest(part=part):
                if part == 1:
                    self.skipTest("this part")


class Bad(unittest.TestCase):
    def test_fails(self):
        print("what it printed")
        self.assertEqual(1, 2, "of course not")

    def test_has_an_error(self):
        raise LookupError("nothing there")

    def test_has_parts_of_which_two_fail(self):
        for part in range(4):
            with self.subTest(part=part):
                self.assertEqual(part % 2, 0)

    @unittest.expectedFailure
    def test_succeeds_unexpectedly(self):
        pass


class Ugly(unittest.TestCase):
    def test_a_hang(self):
        segment = shared_memory.SharedMemory(create=True, size=64)
        sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        (HERE / "left").write_text(f"{sleeper.pid} /dev/shm/{segment.name.lstrip('/')}")
        threading.Event().wait()

    def test_b_exit(self):
        os._exit(3)

    def test_c_signal(self):
        os.kill(os.getpid(), signal.SIGSEGV)

    def test_d_interrupt(self):
        raise KeyboardInterrupt

    def test_e_leak(self):
        sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        (HERE / "leaked").write_text(str(sleeper.pid))

    def test_f_passes_after_all(self):
        pass


class Waiting(unittest.TestCase):
    def test_a_script_that_hangs(self):
        script = "def stuck():\\n  import threading; threading.Event().wait()\\nstuck()"
        done = subprocess.run([sys.executable, "-X", "faulthandler", "-c", script], capture_output=True, text=True)
        self.fail(done.stderr)

    def test_next(self):
        pass


class Closed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise OSError("no room")

    def test_one(self):
        pass

    def test_two(self):
        pass


class Away(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise unittest.SkipTest("all of it")

    def test_three(self):
        pass


class Late(unittest.TestCase):
    @classmethod
    def tearDownClass(cls):
        raise OSError("cannot put it away")

    def test_four(self):
        pass


class Exits(unittest.TestCase):
    def test_thread_stays(self):
        threading.Thread(target=time.sleep, args=(600,)).start()

    def test_dies(self):
        atexit.register(os.kill, os.getpid(), signal.SIGKILL)


class Moody(unittest.TestCase):
    def test_fails_at_first(self):
        mark = HERE / "has-run"
        if not mark.exists():
            mark.touch()
            self.fail("not in the mood")
"""
EXPECTED = {
    "Good.test_passes": "pass",
    "Good.test_skips": "skip",
    "Good.test_fails_as_expected": "expected failure",
    "Good.test_has_parts_and_one_is_skipped": "pass",
    "Bad.test_fails": "fail",
    "Bad.test_has_an_error": "error",
    "Bad.test_has_parts_of_which_two_fail": "fail",
    "Bad.test_succeeds_unexpectedly": "fail",
    "Ugly.test_a_hang": "hang",
    "Ugly.test_b_exit": "crash",
    "Ugly.test_c_signal": "crash",
    "Ugly.test_d_interrupt": "crash",
    "Ugly.test_e_leak": "pass",
    "Ugly.test_f_passes_after_all": "pass",
    "Waiting.test_a_script_that_hangs": "hang",
    "Waiting.test_next": "pass",
    "Closed.test_one": "error",
    "Closed.test_two": "error",
    "Away.test_three": "skip",
    "Late.test_four": "pass",
    "Gone.test_x": "absent",
}
MODULE = "test_queue"


class Sample:
    """An environment that has test modules of ours under the name of one that the tool knows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        python = wheelhouse.environment(folder / "env", sys.executable)
        (site,) = (folder / "env").glob("lib/*/site-packages")
        (site / "sample.pth").write_text(f"{folder}\n")
        self.stop = threading.Event()
        self.host = child.Host(python, self.stop, fixture_deadline=20.0, exit_deadline=3.0)
        (folder / f"{MODULE}.py").write_text(SAMPLE)

    def run(self, *tests: str, deadline: float = 3.0) -> Any:
        return child.run(self.host, MODULE, [f"{MODULE}.{test}" for test in tests], lambda _: deadline)

    def trial(self, *tests: str, doubtful: Callable[[str, Any], bool]) -> Any:
        runner = trial.Trial(self.host, 2, lambda _: None, lambda _: 10.0)
        return runner.run([trial.Part(MODULE, tuple(f"{MODULE}.{test}" for test in tests), 1.0)], doubtful)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return Sample(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def life(sample: Sample) -> Any:
    return sample.run(*EXPECTED)


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in "ZX"


@pytest.mark.parametrize(("test", "outcome"), EXPECTED.items())
def test_the_runner_sees_what_became_of(life: Any, test: str, outcome: str) -> None:
    assert life.records[f"{MODULE}.{test}"].outcome == outcome


def test_a_hang_is_told_with_its_stacks_and_its_children(life: Any) -> None:
    record = life.records[f"{MODULE}.Ugly.test_a_hang"]
    assert "in test_a_hang" in record.log
    assert "time.sleep(600)" in record.log
    assert record.last_line == "hang: no end after 3 s"


def test_a_hang_is_told_with_the_stacks_of_the_script_it_waited_for(life: Any) -> None:
    record = life.records[f"{MODULE}.Waiting.test_a_script_that_hangs"]
    assert "in test_a_script_that_hangs" in record.log
    assert "in stuck" in record.detail


def test_nothing_survives_a_hang_not_even_what_made_a_session_of_its_own(life: Any, sample: Sample) -> None:
    pid, segment = (sample.folder / "left").read_text().split()
    assert gone(int(pid))
    assert not os.path.exists(segment)


def test_nothing_survives_a_leak(life: Any, sample: Sample) -> None:
    assert gone(int((sample.folder / "leaked").read_text()))


def test_a_crash_is_told_with_what_ended_the_child(life: Any) -> None:
    assert life.records[f"{MODULE}.Ugly.test_b_exit"].last_line == "crash: exit code 3"
    assert life.records[f"{MODULE}.Ugly.test_c_signal"].last_line == "crash: signal SIGSEGV"
    assert "KeyboardInterrupt" in life.records[f"{MODULE}.Ugly.test_d_interrupt"].last_line


def test_a_failure_comes_with_its_message_and_what_the_test_printed(life: Any) -> None:
    record = life.records[f"{MODULE}.Bad.test_fails"]
    assert record.last_line == "AssertionError: 1 != 2 : of course not"
    assert "what it printed" in record.log
    assert "1 more of the same kind" in life.records[f"{MODULE}.Bad.test_has_parts_of_which_two_fail"].detail


def test_what_a_class_fails_to_put_away_is_told_beside_its_tests(life: Any) -> None:
    assert life.fixtures[f"{MODULE}.Late.tearDownClass"].last_line == "OSError: cannot put it away"


def test_a_module_that_cannot_be_imported_fails_all_its_tests(sample: Sample) -> None:
    (sample.folder / "test_sched.py").write_text("from queue import Nonesuch\n")
    life = child.run(sample.host, "test_sched", ["test_sched.A.x", "test_sched.A.y"], lambda _: 5.0)
    assert [record.outcome for record in life.records.values()] == ["error", "error"]
    assert "Nonesuch" in life.records["test_sched.A.x"].last_line


def test_an_import_that_hangs_or_crashes_ends_within_bounds(sample: Sample) -> None:
    (sample.folder / "test_thread.py").write_text("import os\nos._exit(9)\n")
    names = [f"test_thread.A.test_{n}" for n in range(20)]
    begun = time.monotonic()
    life = child.run(sample.host, "test_thread", names, lambda _: 5.0)
    assert {record.outcome for record in life.records.values()} == {"crash"}
    assert set(life.records) == set(names)
    assert time.monotonic() - begun < 50


def test_a_run_that_is_stopped_leaves_no_child(sample: Sample) -> None:
    stop = threading.Event()
    host = child.Host(sample.host.python, stop)
    (sample.folder / "left").unlink(missing_ok=True)
    ended: list[BaseException] = []

    def run() -> None:
        try:
            child.run(host, MODULE, [f"{MODULE}.Ugly.test_a_hang"], lambda _: 600.0)
        except child.Stopped as error:
            ended.append(error)

    runner = threading.Thread(target=run)
    runner.start()
    limit = time.monotonic() + 30
    while not ((sample.folder / "left").exists() and (sample.folder / "left").read_text()):
        assert time.monotonic() < limit
        time.sleep(0.05)
    stop.set()
    runner.join(20)
    assert ended
    assert gone(int((sample.folder / "left").read_text().split()[0]))


@pytest.mark.parametrize(
    ("test", "outcome", "exit_deadline"), [("test_thread_stays", "hang", 0.5), ("test_dies", "crash", 3.0)]
)
def test_a_child_whose_tests_pass_has_to_end_well(
    sample: Sample, monkeypatch: pytest.MonkeyPatch, test: str, outcome: str, exit_deadline: float
) -> None:
    monkeypatch.setattr(sample, "host", replace(sample.host, exit_deadline=exit_deadline))
    life = sample.run(f"Exits.{test}")
    assert life.records[f"{MODULE}.Exits.{test}"].outcome == "pass"
    assert life.fixtures[f"{MODULE}.exit"].outcome == outcome
    # Where a test failed, its threads are no news.
    life = sample.run(f"Exits.{test}", "Bad.test_fails")
    assert life.fixtures == {}
    assert len(life.notes) == 1


def test_nothing_measured_is_no_success(sample: Sample, tmp_path: Path) -> None:
    module = f"test.{MODULE}"
    run = conformance_main.Run.__new__(conformance_main.Run)
    run.options = conformance_main.arguments(["queue", "--build", str(tmp_path)])
    run.console = conformance_main.Console(quiet=True)
    run.begun, run.build, run.strict = 0.0, tmp_path, True
    run.python = places.Interpreter("3.11", Path("python"), "", "3.11.0")
    run.result_file, run.listing = tmp_path / "plait.json", listed.Listing()
    run.baseline = trial.Baseline(tmp_path / "baseline.json", run.python, ())
    for outcome, code in (("pass", 0), ("error", 1)):
        run.baseline._modules = {module: {f"{MODULE}.A.test": child.Record(outcome)}}
        results = trial.Outcome()
        results.results[module][f"{MODULE}.A.test"] = trial.Result(child.Record("pass"))
        assert run.report([module], [], results) == code
    assert "passes none of its tests here" in (tmp_path / "plait.txt").read_text()


KILLED = """
import sys, threading
from pathlib import Path
sys.path[:0] = {folders!r}
import child, sitter
with sitter.sitter(f"{{child.MARKER}}={{child.RUN}}"):
    child.run(child.Host(Path({python!r}), threading.Event()), {module!r}, [{test!r}], lambda _: 600.0)
"""


def test_a_run_that_is_killed_leaves_no_child_and_no_folder(sample: Sample, tmp_path: Path) -> None:
    left = sample.folder / "left"
    left.unlink(missing_ok=True)
    code = KILLED.format(
        folders=[str(TOOL), str(TOOL.parent)],
        python=str(sample.host.python),
        module=MODULE,
        test=f"{MODULE}.Ugly.test_a_hang",
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as run:
        try:
            limit = time.monotonic() + 30
            while not (left.exists() and left.read_text()):
                assert time.monotonic() < limit
                time.sleep(0.05)
        finally:
            run.kill()
    pid = int(left.read_text().split()[0])
    limit = time.monotonic() + 20
    while not gone(pid) or [*tmp_path.iterdir()]:
        assert time.monotonic() < limit, [*tmp_path.iterdir()]
        time.sleep(0.05)


def test_a_test_that_fails_once_is_unsteady_and_counts_as_passed(sample: Sample) -> None:
    (sample.folder / "has-run").unlink(missing_ok=True)
    outcome = sample.trial(
        "Moody.test_fails_at_first", "Bad.test_fails", doubtful=lambda _, record: not record.passed
    )
    moody = outcome.results[MODULE][f"{MODULE}.Moody.test_fails_at_first"]
    assert moody.unsteady
    assert moody.record.passed
    assert moody.other.outcome == "fail"
    bad = outcome.results[MODULE][f"{MODULE}.Bad.test_fails"]
    assert not bad.unsteady
    assert bad.record.outcome == "fail"


def test_a_module_is_cut_between_classes_and_nothing_is_lost() -> None:
    tests = [f"test_queue.{cls}.test_{n}" for cls in "ABCDEF" for n in range(40)]
    parts = trial.cut("test_queue", tests, dict.fromkeys(tests, 0.01))
    assert [test for part in parts for test in part.tests] == tests
    assert len(parts) == 3
    classes = [{trial.class_of(test) for test in part.tests} for part in parts]
    assert sum(len(names) for names in classes) == len(set().union(*classes))


# --------------------------------------------------------------------------------------------------------- figures


def judged(text: str, outcomes: dict[str, str], *, strict: bool = True) -> Any:
    """A sheet from outcomes of tests that all pass on the baseline."""
    outcome = trial.Outcome()
    outcome.results[MODULE] = {test: trial.Result(child.Record(kind)) for test, kind in outcomes.items()}
    baseline = dict.fromkeys(outcomes, child.Record("pass"))
    return figures.sheet(MODULE, baseline, outcome, listing_of(text), "3.11", strict=strict)


def test_a_failure_that_nobody_listed_fails_the_run() -> None:
    sheet = judged("", {"test_queue.A.x": "pass", "test_queue.A.y": "fail"})
    assert sheet.broken
    assert sheet.figure == 0.5


@pytest.mark.parametrize("outcome", ["fail", "error", "hang", "crash", "skip", "absent", "expected failure"])
def test_whatever_is_not_a_pass_is_a_failure(outcome: str) -> None:
    assert judged("", {"test_queue.A.x": outcome}).broken


def test_a_listed_test_that_passes_fails_the_run() -> None:
    sheet = judged(ENTRY, {"test_queue.A.x": "pass", "test_queue.A.y": "fail"})
    assert sheet.broken
    assert sheet.count("unexpected") == 1
    assert not judged(ENTRY, {"test_queue.A.x": "pass"}, strict=False).broken
    assert not judged(f"{ENTRY}unsteady = true\n", {"test_queue.A.x": "pass"}).broken


def test_the_last_line_says_why_the_run_fails() -> None:
    sheet = judged(ENTRY, {"test_queue.A.x": "pass", "test_queue.B.x": "fail", "test_queue.B.y": "hang"})
    assert (
        figures.closing(sheet, []) == "=== not as expected: 2 failed and not listed, 1 listed, but passed ==="
    )
    sheet = judged(ENTRY, {"test_queue.A.x": "fail", "test_queue.B.x": "pass"})
    assert figures.closing(sheet, []) == "=== as expected ==="
    assert "pattern" in figures.closing(sheet, ["queue.toml:1: it matches no test"])


def test_exclusions_leave_the_second_figure_and_what_is_missing_does_not() -> None:
    outcomes = {"test_queue.A.x": "fail", "test_queue.B.x": "pass"}
    excluded = judged(ENTRY.replace('"missing"', '"private"'), outcomes)
    missing = judged(ENTRY, outcomes)
    assert not excluded.broken
    assert not missing.broken
    assert (excluded.figure, excluded.adjusted) == (0.5, 1.0)
    assert (missing.figure, missing.adjusted) == (0.5, 0.5)


def test_what_the_baseline_does_not_pass_does_not_count() -> None:
    outcome = trial.Outcome()
    outcome.results[MODULE] = {"test_queue.A.x": trial.Result(child.Record("fail"))}
    baseline = {"test_queue.A.x": child.Record("fail"), "test_queue.A.y": child.Record("skip")}
    sheet = figures.sheet(MODULE, baseline, outcome, listing_of(""), "3.11", strict=True)
    assert (sheet.baseline, sheet.figure, sheet.broken) == (0, None, False)


def test_a_test_without_a_result_has_failed() -> None:
    baseline = {"test_queue.A.x": child.Record("pass")}
    sheet = figures.sheet(MODULE, baseline, trial.Outcome(), listing_of(""), "3.11", strict=True)
    assert (sheet.baseline, sheet.figure, sheet.broken) == (1, 0.0, True)


@pytest.mark.parametrize(
    ("value", "shown"), [(1.0, "100 %"), (0.9999, "99.9 %"), (0.5, "50.0 %"), (None, "-")]
)
def test_only_all_of_them_are_shown_as_100_percent(value: float | None, shown: str) -> None:
    assert figures.percent(value) == shown


def test_proposed_entries_can_be_pasted_and_cover_just_the_failures(tmp_path: Path) -> None:
    outcomes = {
        "3.11": {
            "test_queue.A.x": "lacks A",
            "test_queue.A.y": "lacks A",
            "test_queue.B.x": "",
            "test_queue.B.y": "odd",
        },
        "3.13": {"test_queue.A.x": "lacks A", "test_queue.B.x": "", "test_queue.B.y": ""},
    }
    for python, tests in outcomes.items():
        rows = {
            test: {"outcome": "fail" if why else "pass", "standing": "failed" if why else "both", "why": why}
            for test, why in tests.items()
        }
        (tmp_path / python).mkdir()
        (tmp_path / python / "plait.json").write_text(json.dumps({"modules": {MODULE: {"tests": rows}}}))
    propose.write(tmp_path, "plait", ["queue"], lambda _: None)
    first, second = listed.parse((tmp_path / "proposed" / "queue.toml").read_text(), "queue.toml")
    assert (first.tests, first.python, first.reason) == (("test_queue.A.*",), "", "lacks A")
    assert (second.tests, second.python, second.reason) == (("test_queue.B.y",), "3.11", "odd")


# --------------------------------------------------------------------------------------------------- all of it at once


def conformance(build: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    """Run the tool as the session does; returns its exit code, its result, and what it said."""
    return Underway(build, *words).ended()


def test_a_wrong_word_is_answered_with_the_right_ones(tmp_path: Path) -> None:
    code, _, said = conformance(tmp_path, "queues")
    assert code == 2
    assert "'queues' is neither a package nor a test module; there are thread, threading, queue," in said


@pytest.mark.timeout(240)
def test_a_part_that_is_not_there_is_no_success(tmp_path: Path) -> None:
    code, _, said = conformance(tmp_path, "test_sched.TestCase")
    assert code == 2, said
    assert "test_sched has no module test_sched.TestCase" in said
    assert "use -k TestCase" in said
    code, _, said = conformance(tmp_path, "test_sched", "--again")
    assert code == 2, said
    assert "test.test_sched: no baseline yet" in said
    code, _, said = conformance(tmp_path, "test_sched", "--jobs", "-1")
    assert code == 2
    assert "-1 is less than none" in said


def test_a_result_that_could_not_be_written_is_refused_before_the_run(tmp_path: Path) -> None:
    code, _, said = conformance(tmp_path, "queue", "--json", str(tmp_path / "nowhere" / "result.json"))
    assert code == 2
    assert "nowhere/result.json: its folder does not exist" in said


@pytest.mark.timeout(240)
def test_a_pass_through_shows_100_percent(underway: dict[str, Underway]) -> None:
    code, result, said = underway["passthrough"].ended()
    assert code == 0, said
    assert result["total"]["figure"] == 1.0
    assert result["total"]["baseline"] > 40


@pytest.mark.timeout(240)
def test_a_sabotaged_join_does_not_show_100_percent(underway: dict[str, Underway]) -> None:
    code, result, said = underway["sabotaged"].ended()
    assert code == 1, said
    assert result["total"]["figure"] < 1.0
    assert any(
        row["standing"] == "failed" and "join" in test
        for test, row in result["modules"]["test_queue"]["tests"].items()
    )
