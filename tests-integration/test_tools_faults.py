# SPDX-License-Identifier: MIT
"""The faults instrument, on made-up scenarios: each outcome, each kind of thing left behind, and what the exit code says."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import watched
from faults.scenario import Absent, Impl, Scenario, Wrong, descendants, returns, scenario, until
from watched import Watched

ROOT = Path(__file__).resolve().parent.parent
RUNNER = ROOT / "tools" / "faults.py"

# By its path, because the package of scenarios has the name of the tool.
spec = importlib.util.spec_from_file_location("faults_runner", RUNNER)
assert spec
assert spec.loader
runner = importlib.util.module_from_spec(spec)
sys.modules["faults_runner"] = runner
spec.loader.exec_module(runner)

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="what is left is found in /proc")

#: How long what is left behind would live: a number that only this test run has.
LONG = f"61.{os.getpid()}"

PREAMBLE = f"""
import os, signal, subprocess, sys, time
from faults.scenario import Wrong, program, scenario

SLEEPER = [sys.executable, "-S", "-c", "import time; time.sleep({LONG})"]

def waits_for_ever():
    time.sleep({LONG})
"""

LEAVING = (
    PREAMBLE
    + """
@scenario("Q1", "does what it should")
def fine(impl):
    with program(impl, "print(impl.queue.Queue().qsize())") as other:
        other.until_out("0")

@scenario("Q2", "does something else")
def not_fine(impl):
    raise Wrong("saw a heron, allowed are ducks")

@scenario("Q3", "does not end, and has a child", deadline=6.5)
def endless(impl):
    subprocess.Popen([sys.executable, "-c", "import time\\ndef child_waits(): time.sleep(60)\\nchild_waits()"])
    waits_for_ever()

@scenario("Q4", "has a defect")
def broken(impl):
    {}["no such key"]

@scenario("Q5", "needs what is not there", needs=("queue.Queue.fly",))
def flying(impl):
    impl.queue.Queue().fly()

@scenario("Q5", "needs what is not there, and fails for another reason", needs=("queue.Queue.fly",))
def stumbling(impl):
    None.no_such_thing

@scenario("Q6", "its process dies")
def dying(impl):
    os.kill(os.getpid(), signal.SIGKILL)

@scenario("Q7", "its process does not exit", deadline=6)
def staying(impl):
    import atexit
    atexit.register(waits_for_ever)

@scenario("Q8", "its process dies of a signal without a name")
def nameless(impl):
    os.kill(os.getpid(), signal.SIGRTMIN + 3)

@scenario("Q9", "kills its guardian")
def unguarded(impl):
    # One child has a session and an environment of its own: only the chain of parents leads to it.
    if not os.fork():
        os.setsid()
        os.execve(SLEEPER[0], SLEEPER, {})
    os.kill(os.getppid(), signal.SIGKILL)
    subprocess.Popen(SLEEPER).wait()

@scenario("T9", "leaves a chain of forks")
def chain(impl):
    if os.fork():
        os.wait()
        return
    os.setsid()
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        if os.fork():
            os._exit(0)
    os._exit(0)

@scenario("T1", "leaves a child")
def child(impl):
    subprocess.Popen(SLEEPER)

@scenario("T2", "leaves a process that hides")
def daemon(impl):
    # Two forks, a session and an environment of its own, and no parent. Returns when it has become its program.
    seen, told = os.pipe()
    if os.fork():
        os.close(told)
        os.wait()
        os.read(seen, 1)
        os.close(seen)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    os.execve(SLEEPER[0], SLEEPER, {})

@scenario("T3", "leaves a zombie")
def zombie(impl):
    child = subprocess.Popen(["true"])
    while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT) is None:
        pass
    globals()["kept"] = child

@scenario("T4", "leaves a segment and a semaphore")
def segment(impl):
    import _multiprocessing, _posixshmem
    os.close(_posixshmem.shm_open("/left_over", os.O_CREAT | os.O_RDWR, mode=0o600))
    _multiprocessing.SemLock(1, 1, 1, "/left_too", False)

@scenario("T5", "leaves a descriptor")
def descriptor(impl):
    globals()["kept"] = os.pipe()

@scenario("T6", "leaves a temporary file")
def temporary(impl):
    import tempfile
    os.close(tempfile.mkstemp(prefix="forgotten-")[0])

@scenario("T7", "is wrong and leaves a child")
def wrong_child(impl):
    subprocess.Popen(SLEEPER)
    raise Wrong("first things first")

@scenario("T8", "is cleaned up by nobody but itself", warm=lambda impl: os.open(os.devnull, os.O_RDONLY))
def tidy(impl):
    subprocess.Popen(["true"]).wait()
    os.close(os.open(os.devnull, os.O_RDONLY))
"""
)


def package(folder: Path, source: str) -> dict[str, str]:
    """Write a package of made-up scenarios; the environment in which the runner finds it."""
    place = folder / "madeup"
    place.mkdir()
    (place / "__init__.py").write_text("")
    (place / "scenarios.py").write_text(source)
    path = filter(None, [str(folder), os.environ.get("PYTHONPATH")])
    return {"PYTHONPATH": os.pathsep.join(path)}


def words(folder: Path, *more: str) -> list[object]:
    logs = folder / "logs"
    return [RUNNER, "--package", "madeup", "--logs", logs, "--json", folder / "verdicts", *more]


def run(folder: Path, *more: str, source: str, code: int = 0) -> tuple[str, dict[str, dict[str, Any]]]:
    """What the runner printed and its verdicts by scenario. `watched` sees to it that nothing is left by it."""
    env = package(folder, source)
    ended = watched.run(*words(folder, *more), env=env, code=code, deadline=60)
    assert not ended.err, ended.err
    verdicts = json.loads((folder / "verdicts").read_text())
    return ended.out, {verdict["case"]["name"]: verdict for verdict in verdicts}


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, dict[str, Any]], list[str]]:
    """One run of all that LEAVING has; and what is in /dev/shm afterwards that was not before."""
    before = set(os.listdir("/dev/shm"))
    folder = tmp_path_factory.mktemp("leaving")
    out, verdicts = run(folder, "--impl", "stdlib", "--jobs", "8", source=LEAVING, code=1)
    left = [
        name
        for name in os.listdir("/dev/shm")
        if name not in before and name.startswith(("left", "sem.left"))
    ]
    return out, verdicts, left


@pytest.mark.parametrize(
    ("name", "outcome", "note"),
    [
        ("fine", "ok", ""),
        ("not_fine", "wrong", "saw a heron, allowed are ducks"),
        ("endless", "hang", r"not ended after 6\.5 s: in waits_for_ever \(scenarios\.py:\d+\)"),
        ("broken", "error", r"KeyError: 'no such key'"),
        ("flying", "wrong", r"has no queue\.Queue\.fly"),
        ("stumbling", "error", r"no attribute 'no_such_thing'"),
        ("dying", "wrong", "was killed by SIGKILL before it returned"),
        ("nameless", "wrong", r"was killed by signal \d+ before it returned"),
        ("unguarded", "error", "its guardian was killed, or did not end"),
        ("chain", "wrong", r"left: process \d+ R "),
        ("staying", "hang", "did not exit afterwards: in waits_for_ever"),
        ("child", "wrong", r"left: process \d+ [RSD] .*time\.sleep"),
        ("daemon", "wrong", r"left: process \d+ [RSD] .*time\.sleep"),
        ("zombie", "wrong", r"left: zombie \d+"),
        ("segment", "wrong", r"left: segment /dev/shm/left_over; segment /dev/shm/sem\.left_too"),
        ("descriptor", "wrong", r"left: descriptor \d+ \(pipe:\[\d+\]\); descriptor \d+ \(pipe:\[\d+\]\)"),
        ("temporary", "wrong", r"left: file forgotten-\w+"),
        ("wrong_child", "wrong", r"first things first \(left: process \d+"),
        ("tidy", "ok", ""),
    ],
)
def test_it_says(everything: Any, name: str, outcome: str, note: str) -> None:
    verdict = everything[1][name]
    assert verdict["outcome"] == outcome
    assert re.search(note, verdict["note"]) if note else verdict["note"] == ""


def test_a_hang_shows_the_stacks_of_all_its_processes(everything: Any) -> None:
    log = Path(everything[1]["endless"]["log"]).read_text()
    assert log.index("in child_waits") < log.index("in waits_for_ever"), log


def test_nothing_that_a_scenario_left_outlives_the_run(everything: Any) -> None:
    assert everything[2] == []
    assert not [p for p in watched.processes() if LONG in p.title]


def test_the_table_is_sorted_by_area_and_the_last_line_counts(everything: Any) -> None:
    out = everything[0]
    rows = re.findall(r"^│(\w\d)", out, re.MULTILINE)
    assert rows == sorted(rows, key=lambda row: ("TQ".index(row[0]), row))
    last = out.splitlines()[-1]
    assert "2 ok, 12 wrong, 2 hang, 3 error" in last
    left = re.search(r"left behind: (\d+) processes, 1 zombie, 2 descriptors, 2 segments, 1 file", last)
    assert left
    # One each of four scenarios. Of a chain of forks more than one link may have been seen.
    assert int(left[1]) >= 4


GOOD = """
import sys
from faults.scenario import Wrong, scenario

@scenario("Q1", "is right, and sees plait and nothing else", reproduced=True)
def right(impl):
    impl.queue.Queue().put(1)
    impl.threading.Event().set()
    if impl.queue.__name__ == "queue":
        raise Wrong("that is the standard queue")
    came = {"threading", "subprocess", "multiprocessing", "queue", "concurrent.futures"} & set(sys.modules)
    if came:
        raise Wrong(f"{came} came along")

@scenario("Q2", "is not there yet", needs=("queue.Queue.fly",), reproduced="<3.0")
def absent(impl):
    impl.queue.Queue().fly()

@scenario("Q3", "is wrong because of the interpreter", hopeless=">3.0")
def hopeless(impl):
    raise Wrong("nobody can mend it")
"""


def test_plait_may_be_right_or_absent_and_need_not_mend_the_interpreter(tmp_path: Path) -> None:
    out, verdicts = run(tmp_path, "--repeat", "2", source=GOOD)
    assert [verdicts[name]["outcome"] for name in ("right", "absent", "hopeless")] == [
        "ok",
        "absent",
        "wrong",
    ]
    assert "wrong 2/2 (Python's)" in out
    assert "2 ok, 2 absent, 2 wrong; left behind: nothing" in out


def verdict(
    outcome: str, note: str = "", left: Any = (), claimed: bool = False, hopeless: bool = False
) -> Any:
    case = runner.Case("faults.queues", "any", "Q1", "a title", 1, claimed, claimed, [], False, hopeless)
    return runner.Verdict(case, outcome, note, 1.0, list(left), log="the.log")


@pytest.mark.parametrize("outcome", ["wrong", "hang", "error"])
def test_anything_else_of_plait_fails_the_run(outcome: str) -> None:
    assert runner.failures([verdict("ok"), verdict(outcome, "a heron")], "plait") == [
        f"Q1 any: {outcome}, a heron (the.log)"
    ]


@pytest.mark.parametrize(
    ("outcome", "left"),
    [("hang", []), ("error", []), ("wrong", ["process 1"])],
    ids=["hang", "error", "left"],
)
def test_nothing_worse_than_wrong_is_the_interpreters_fault(outcome: str, left: list[str]) -> None:
    assert runner.failures([verdict(outcome, left=left, hopeless=True)], "plait")


@pytest.mark.parametrize("outcome", ["wrong", "hang"])
def test_a_claim_is_borne_out_by_one_failure_of_several(outcome: str) -> None:
    runs = [verdict("ok", claimed=True), verdict(outcome, "as said", claimed=True)]
    assert runner.failures(runs, "stdlib") == []
    assert "1 of 1 said to fail did" in runner.closing_line(runs, "stdlib", 1)


@pytest.mark.parametrize(
    ("outcome", "note"),
    [("ok", ""), ("error", "KeyError"), ("wrong", "left: process 1")],
    ids=["ok", "error", "left"],
)
def test_a_claim_that_is_not_borne_out_fails_the_run(outcome: str, note: str) -> None:
    runs = [verdict(outcome, note, claimed=True)]
    assert runner.failures(runs, "stdlib")[-1].startswith("Q1 any: said to fail on")
    assert "0 of 1 said to fail did" in runner.closing_line(runs, "stdlib", 1)


def test_a_claim_that_this_system_cannot_try_fails_nothing() -> None:
    runs = [verdict("absent", claimed=True)]
    assert runner.failures(runs, "stdlib") == []
    assert "0 of 0 said to fail did" in runner.closing_line(runs, "stdlib", 1)


@pytest.mark.parametrize(
    ("word", "answers"),
    [
        ("q1", True),
        ("Q", True),
        ("Q*", True),
        ("queues", True),
        ("*_handler", True),
        ("Q12", False),
        ("MQ", False),
    ],
)
def test_a_scenario_answers_to_its_row_area_name_and_module(word: str, answers: bool) -> None:
    case = runner.Case("faults.queues", "put_in_a_handler", "Q1", "a title", 1, True, True, [], False)
    assert case.answers_to(word) is answers


def test_all_are_listed_with_their_claims(tmp_path: Path) -> None:
    listed = watched.run(*words(tmp_path, "--list", "Q[12]"), env=package(tmp_path, GOOD)).out.splitlines()
    assert [line.split()[:2] for line in listed] == [["Q1", "right"], ["Q2", "absent"]]
    assert "[R] " in listed[0]
    assert "[R <3.0]" in listed[1]


def test_a_name_that_nothing_answers_to_is_an_error(tmp_path: Path) -> None:
    env = package(tmp_path, GOOD)
    assert "no scenario answers to Q9" in watched.run(*words(tmp_path, "Q9"), env=env, code=2).out


STOPPING = (
    PREAMBLE
    + """
@scenario("Q1", "stops its guardian", deadline=1)
def stops(impl):
    os.kill(os.getppid(), signal.SIGSTOP)
    subprocess.Popen(SLEEPER).wait()
"""
)

IMPATIENT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("faults_runner", sys.argv[1])
runner = sys.modules["faults_runner"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(runner)
runner.PATIENCE = 1.0
del sys.argv[0]
sys.exit(runner.main())
"""


def test_a_guardian_that_is_stopped_is_not_waited_for(tmp_path: Path) -> None:
    script = tmp_path / "impatient.py"
    script.write_text(IMPATIENT)
    watched.run(script, *words(tmp_path), env=package(tmp_path, STOPPING), code=1, deadline=60)
    (verdict,) = json.loads((tmp_path / "verdicts").read_text())
    assert verdict["note"] == "its guardian was killed, or did not end"
    assert not [p for p in watched.processes() if LONG in p.title]


@pytest.mark.parametrize("option", ["--repeat", "--jobs"])
def test_nothing_run_is_no_success(tmp_path: Path, option: str) -> None:
    ended = watched.run(*words(tmp_path, option, "0"), env=package(tmp_path, GOOD), code=2)
    assert "0 is less than one" in ended.err


def test_a_file_that_could_not_be_written_is_refused_before_the_run(tmp_path: Path) -> None:
    more = ("--json", str(tmp_path / "nowhere" / "verdicts"))
    ended = watched.run(*words(tmp_path, *more), env=package(tmp_path, GOOD), code=2)
    assert "nowhere/verdicts: its folder does not exist" in ended.err
    assert not (tmp_path / "logs").exists()


BLUNT = (
    PREAMBLE
    + """
from types import SimpleNamespace
from faults.process_locks import killed_owner

class Unlocked:
    def acquire(self, block=True, timeout=None):
        return True
    def release(self):
        pass

@scenario("ML1", "a lock that does not lock")
def unlocked(impl):
    process = impl.multiprocessing.get_context("fork").Process
    killed_owner(SimpleNamespace(multiprocessing=SimpleNamespace(RLock=Unlocked, Process=process)), "RLock")
"""
)


def test_a_lock_that_does_not_lock_is_not_taken_for_one_that_its_owner_left(tmp_path: Path) -> None:
    _, verdicts = run(tmp_path, "--impl", "stdlib", source=BLUNT)
    assert verdicts["unlocked"]["outcome"] == "wrong"
    assert verdicts["unlocked"]["note"] == "the RLock was to be had while its owner was alive"


# ------------------------------------------------------------------------------------------ when it is ended itself

ENDLESS = (
    PREAMBLE
    + """
@scenario("Q1", "does not end, and has a child", deadline=60)
def endless(impl):
    subprocess.Popen(SLEEPER, start_new_session=True)
    print("begun", flush=True)
    waits_for_ever()
"""
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_a_runner_that_is_ended_ends_its_scenarios(tmp_path: Path, number: int) -> None:
    log = tmp_path / "logs" / "Q1-endless.log"
    with Watched(*words(tmp_path), env=package(tmp_path, ENDLESS), grace=10) as program:
        program.until("the scenario runs", lambda: log.exists() and "begun" in log.read_text())
        program.send(number)
        ended = program.end(within=20)
        assert ended.code == (130 if number == signal.SIGINT else -number)
        until(
            10,
            "what the scenario started is gone",
            lambda: not [p for p in watched.processes() if LONG in p.title],
        )
        # A killed runner cannot remove its folder any more; its guardian does.
        until(10, "its folders are gone", lambda: not [*program.folder.glob("f-*")])


# ------------------------------------------------------------------------- where the system gives less than it might

BARE = """
import sys
sys.path.insert(0, {tools!r})
import custody
custody.become_subreaper = custody.shared_memory_of_our_own = lambda: False
sys.exit(custody.main())
"""

ORPHANS = """
import mmap, os, subprocess, sys, time
with open("/dev/shm/{name}", "w+b") as file:
    file.truncate(4096)
    mapped = mmap.mmap(file.fileno(), 4096)
    time.sleep(2)
subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep({long})"], start_new_session=True)
"""


def test_without_the_help_of_the_kernel_it_finds_what_carries_its_mark(tmp_path: Path) -> None:
    name = f"left-{os.getpid()}"
    custody = [sys.executable, "-c", BARE.format(tools=str(ROOT / "tools"))]
    options = ["--deadline", "20", "--log", str(tmp_path / "log"), "--scratch", str(tmp_path)]
    life, line = os.pipe()
    try:
        ended = subprocess.run(
            [*custody, *options, "--", sys.executable, "-c", ORPHANS.format(name=name, long=LONG)],
            stdin=life,
            capture_output=True,
            timeout=60,
            text=True,
            check=False,
        )
    finally:
        os.close(life)
        os.close(line)
    assert ended.returncode == 0, ended.stderr
    account = json.loads(ended.stdout)
    assert account["ended"] == "exit", (tmp_path / "log").read_text()
    assert not account["exact"]
    process, segment = account["left"]
    assert "time.sleep" in process
    assert segment == f"segment /dev/shm/{name}"
    assert not os.path.exists(f"/dev/shm/{name}")
    assert not [p for p in watched.processes() if LONG in p.title]


# ---------------------------------------------------------------------------------------- what scenarios lean on


@pytest.mark.parametrize(
    ("reproduced", "version", "claimed"),
    [
        (True, (3, 12), True),
        (None, (3, 12), False),
        ("3.11", (3, 11), True),
        ("3.11", (3, 12), False),
        ("<3.15", (3, 14), True),
        ("<3.15", (3, 15), False),
        (">=3.12, <3.14", (3, 13), True),
        (">=3.12, <3.14", (3, 14), False),
    ],
)
def test_a_claim_holds_for_some_pythons(
    reproduced: bool | str | None, version: tuple[int, int], claimed: bool
) -> None:
    declared = Scenario("Q1", "", 1, reproduced, (), False, None, lambda impl: None)
    assert declared.claimed(version, pypy=False) is claimed
    assert declared.claimed(version, pypy=True) is False


def test_a_misspelt_claim_is_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"'3,11' is no Python|'3' is no Python"):
        scenario("Q1", "", reproduced="3,11")(lambda impl: None)


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        ("queue.Queue.put", True),
        ("queue.Queue.put(timeout)", True),
        ("queue.Queue.put(patience)", False),
        ("queue.Queue.fly", False),
        ("multiprocessing.connection.wait", True),
        ("subprocess.run(kill_tree)", False),  # only **keywords would take it
    ],
)
def test_it_knows_what_an_implementation_has(wanted: str, there: bool) -> None:
    assert Impl("stdlib").has(wanted) is there


def test_a_need_that_is_missing_is_named() -> None:
    with pytest.raises(Absent, match=r"has no queue\.Queue\.fly"):
        Impl("stdlib").find("queue.Queue.fly.away")


def test_returns_gives_the_result_or_the_exception_or_is_wrong_in_time() -> None:
    assert returns(5, divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        returns(5, divmod, 7, 0)
    event = threading.Event()
    with pytest.raises(Wrong, match=r"wait\(\) did not return in 0\.05 s"):
        returns(0.05, event.wait)
    event.set()


def test_until_is_wrong_if_the_condition_does_not_come_true() -> None:
    assert until(5, "it is 3", iter([0, None, 3]).__next__) == 3
    with pytest.raises(Wrong, match=r"it is true: not in 0\.05 s"):
        until(0.05, "it is true", lambda: False)


def test_descendants_are_found_and_zombies_when_asked_for() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        assert child.pid in descendants()
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert child.pid not in descendants()
        assert child.pid in descendants(zombies=True)
