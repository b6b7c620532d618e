# SPDX-License-Identifier: MIT
"""The speed instrument finds factors that are known, finds none where there is none, and survives what it times."""

from __future__ import annotations

import ast
import importlib
import json
import math
import os
import platform
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SPDX = "# SPDX-License-Identifier: MIT\n"


def tool(name: str) -> ModuleType:
    """A module of tools/, which is no package: its modules find each other because their folder is on sys.path."""
    if str(ROOT / "tools") not in sys.path:
        sys.path.insert(0, str(ROOT / "tools"))
    return importlib.import_module(name)


contestants, results, rounds, stats, workloads = (
    tool(f"speed.{name}") for name in ("contestants", "results", "rounds", "stats", "workloads")
)

COUNT = """
class Counter:
    def count(self):
        for _ in range({loops}):
            pass
"""

# What came of each is asserted below; "queue" stands for any area.
HARMLESS = """
import time
from types import SimpleNamespace

AREA, STANDARD, PLAIT = "queue", "counts_slowly", "counts_fast"

def count(impl, n):
    counter = impl.Counter()
    yield
    for _ in range(n):
        counter.count()
    yield

def by_itself(impl, n):
    yield
    yield n * (0.002 if impl.__name__ == STANDARD else 0.001)

def stuck(impl, n):
    yield
    time.sleep(60)
    yield

def peer():
    return SimpleNamespace(Counter=__import__(STANDARD).Counter)

def stillborn():
    raise ImportError("no such peer here")

PEERS = {"twin": peer, "stillborn": stillborn}
WORKLOADS = [
    {"name": "counting & <more>", "run": count, "floor": 1.5, "goal": 2, "needs": "Counter.count"},
    {"name": "too slow", "run": count, "floor": 1000},
    {"name": "measured elsewhere", "run": by_itself, "peers": ()},
    {"name": "bound that hangs", "run": count, "bound": ("stuck", stuck), "peers": (), "deadline": 3},
    {"name": "of tomorrow", "run": count, "needs": "Counter.skip"},
]
"""

HARMFUL = """
import os, signal, subprocess, sys, time

AREA, STANDARD, PLAIT = "sched", "counts_slowly", "counts_fast"

def raises(impl, n):
    yield
    raise ValueError("not today")
    yield

def leaves(impl, n):
    yield
    os._exit(7)
    yield

def hangs(impl, n):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    with open(os.environ["BENCH_TEST_PIDS"], "a") as file:
        print(child.pid, file=file)
    yield
    while True:
        time.sleep(1)
    yield

def once(impl, n):
    yield

def fine(impl, n):
    yield
    for _ in range(n):
        impl.Counter().count()
    yield

def takes_no_time(impl, n):
    yield
    yield 0.0

def takes_no_number(impl, n):
    yield
    yield float("nan")

def signalled(impl, n):
    os.kill(os.getpid(), signal.SIGRTMIN + 3)  # has no name
    yield

def hides(impl, n):
    # Two forks, a session and an environment of its own, and no parent.
    if not os.fork():
        os.setsid()
        if not os.fork():
            with open(os.environ["BENCH_TEST_PIDS"], "a") as file:
                print(os.getpid(), file=file)
            os.execve(sys.executable, [sys.executable, "-S", "-c", "import time; time.sleep(60)"], {})
        os._exit(0)
    os.wait()
    raise ValueError("something is left")
    yield

WORKLOADS = [
    {"name": "takes no time", "run": takes_no_time},
    {"name": "takes no number", "run": takes_no_number},
    {"name": "signalled", "run": signalled},
    {"name": "hides", "run": hides},
    {"name": "raises", "run": raises},
    {"name": "leaves", "run": leaves},
    {"name": "hangs", "run": hangs, "deadline": 2.5},
    {"name": "yields once", "run": once},
    {"name": "goes on", "run": fine},
]
"""


def bench(*args: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the tool."""
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / "bench.py"), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=90,
        env={**os.environ, **environment},
        check=False,
    )


def rows_of(file: Path) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads(file.read_text(encoding="utf-8"))["rows"]}


def put(folder: Path, **files: str) -> Path:
    """Workload files, and the modules that they compare: one counts to 300, the other to 100."""
    for name, loops in (("counts_slowly", 3_000), ("counts_fast", 1_000)):
        (folder / f"{name}.py").write_text(SPDX + COUNT.format(loops=loops), encoding="utf-8")
    for name, text in files.items():
        (folder / f"{name}.py").write_text(SPDX + text, encoding="utf-8")
    return folder


class Run:
    """One run of the tool over made-up workloads, for many tests to look at."""

    def __init__(self, folder: Path, *args: str, **files: str) -> None:
        put(folder, **files)
        self.pids = folder / "pids"
        self.ended = bench(
            *("--from", folder, "--json", folder / "all.json", "--html", folder / "page.html", *args),
            BENCH_TEST_PIDS=str(self.pids),
        )
        self.rows = rows_of(folder / "all.json")
        self.page = (folder / "page.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("harmless"), "--time", "0.4", "--peers", bench_harmless=HARMLESS)


@pytest.fixture(scope="module")
def harmful(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(
        tmp_path_factory.mktemp("harmful"),
        "--time",
        "0.2",
        bench_harmful=HARMFUL,
        bench_wrong="AREA = 'queue'",
    )


def test_it_finds_a_factor_that_is_known(harmless: Run) -> None:
    row = harmless.rows["counting & <more>"]
    assert 2.5 < row["ratios"]["plait"]["middle"] < 3.5
    assert row["verdict"] == "goal"
    assert harmless.rows["too slow"]["verdict"] == "below floor"


def test_it_takes_the_time_that_a_workload_measured_itself(harmless: Run) -> None:
    row = harmless.rows["measured elsewhere"]
    assert row["ratios"]["plait"]["middle"] == pytest.approx(2)
    assert row["ratios"]["plait"]["clock"] == "wall"
    assert row["per_second"] == pytest.approx(500)


def test_what_a_workload_measured_itself_is_not_cut_by_how_long_this_process_had_to_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter(range(10))
    monkeypatch.setattr(rounds, "queued_for", lambda: next(clock))

    def elsewhere(impl: object, n: int) -> Iterator[float | None]:
        yield None
        yield 0.25

    contestant = SimpleNamespace(run=elsewhere, implementation=None, n=1, repeats=1)
    assert rounds.one(contestant).undisturbed == 0.25


def test_the_import_of_a_module_is_a_workload(tmp_path: Path) -> None:
    file = tmp_path / "bench_import.py"
    file.write_text(
        SPDX + 'AREA, STANDARD, PLAIT = "imports", "colorsys", "plait.queue"\n'
        'WORKLOADS = [{"name": "import one", "imports": ""}]\n'
    )
    described, _ = workloads.load(file)
    steps = described.named("import one").run(importlib.import_module("colorsys"), 2)
    assert next(steps) is None
    assert 0 < next(steps) < 10


def test_a_slow_result_is_no_failure(harmless: Run) -> None:
    assert harmless.ended.returncode == 0, harmless.ended.stdout + harmless.ended.stderr


def test_what_plait_lacks_is_absent(harmless: Run) -> None:
    row = harmless.rows["of tomorrow"]
    assert (row["status"], row["verdict"]) == ("absent", "absent")
    assert "Counter.skip" in row["reason"]


def test_a_peer_takes_part_and_one_that_cannot_is_said(harmless: Run) -> None:
    row = harmless.rows["counting & <more>"]
    assert 0.75 < row["ratios"]["twin"]["middle"] < 1.33
    assert "no such peer here" in row["refused"]["stillborn"]


def test_a_bound_that_hangs_costs_only_itself(harmless: Run) -> None:
    row = harmless.rows["bound that hangs"]
    assert row["status"] == "measured"
    assert row["refused"]["stuck"].startswith("hung")
    assert row["ratios"].keys() == {"plait"}


def test_two_copies_are_the_same(tmp_path: Path) -> None:
    run = Run(tmp_path, "--time", "0.5", "-k", "COUNTING", "--same", "queue", bench_harmless=HARMLESS)
    (row,) = run.rows.values()
    assert 0.85 < row["ratios"]["second copy"]["middle"] < 1.18
    assert run.ended.returncode == 0


def test_a_second_copy_of_plait_is_its_source_under_another_name(tmp_path: Path) -> None:
    ended = bench(
        *("queue", "-k", "Queue() creation", "--same-plait", "--rounds", "4"),
        *("--json", tmp_path / "all.json", "--html", tmp_path / "page.html"),
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (row,) = rows_of(tmp_path / "all.json").values()
    assert 0.5 < row["ratios"]["second copy"]["middle"] < 2


def test_one_that_raises_dies_or_hangs_is_said_and_the_run_goes_on(harmful: Run) -> None:
    said = {name: (row["status"], row["reason"]) for name, row in harmful.rows.items()}
    assert said["raises"] == ("failed", "ValueError: not today")
    assert said["leaves"][0] == "died"
    assert "exit code 7" in said["leaves"][1]
    assert said["hangs"][0] == "hung"
    assert "in hangs" in said["hangs"][1]  # with file and line, by faulthandler
    assert "second yield" in said["yields once"][1]
    assert "took 0.0 s" in said["takes no time"][1]
    assert "took nan s" in said["takes no number"][1]
    assert said["signalled"][0] == "died"
    assert "signal 37" in said["signalled"][1]
    assert said["bench_wrong.py"] == (
        "failed",
        "WorkloadError: bench_wrong.py does not say STANDARD; tools/speed/workloads.py says what it is",
    )
    assert said["goes on"][0] == "measured"
    assert harmful.ended.returncode == 1
    for name in ("raises", "leaves", "hangs", "bench_wrong.py"):
        assert name in harmful.ended.stdout


def test_one_that_raises_is_shown_with_its_traceback(harmful: Run) -> None:
    area = harmful.rows["raises"]["area"]
    before, found, _ = harmful.ended.stdout.partition(f"failed: {area}, raises: ValueError: not today")
    assert found
    traceback = before.rpartition("Traceback (most recent call last)")[2]
    assert "in raises" in traceback
    assert traceback.rstrip().endswith("ValueError: not today")


def test_what_a_hung_workload_started_is_ended(harmful: Run) -> None:
    pids = [int(line) for line in harmful.pids.read_text().split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 20
    while alive := [pid for pid in pids if running(pid)]:
        assert time.monotonic() < deadline, f"still there: {alive}"
        time.sleep(0.05)


def test_what_runs_is_ended_when_the_tool_is_killed(tmp_path: Path) -> None:
    pids, temporary = tmp_path / "pids", tmp_path / "temporary"
    temporary.mkdir()
    put(tmp_path, bench_harmful=HARMFUL)
    words = [ROOT / "tools" / "bench.py", "--from", tmp_path, "-k", "hangs", "--deadline", 60]
    environment = {**os.environ, "BENCH_TEST_PIDS": str(pids), "TMPDIR": str(temporary)}
    with subprocess.Popen(
        [sys.executable, *map(str, words)],
        env={**environment, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.DEVNULL,
    ) as tool:
        try:
            deadline = time.monotonic() + 30
            while not (pids.exists() and pids.read_text()):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            tool.kill()
    deadline = time.monotonic() + 20
    while any(running(int(line)) for line in pids.read_text().split()) or [*temporary.glob("bench-*")]:
        assert time.monotonic() < deadline, [*temporary.iterdir()]
        time.sleep(0.05)


def running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"  # init may take its time


@pytest.mark.parametrize("which", ["harmless", "harmful"])
def test_the_page_is_well_formed_complete_and_needs_nothing_else(
    which: str, request: pytest.FixtureRequest
) -> None:
    run = request.getfixturevalue(which)
    root = ElementTree.fromstring(run.page)
    text = {(cell.text or "") for cell in root.iter("td")}
    assert run.rows.keys() <= text
    for word in ("http:", "https:", "//", "url(", "@import", "<script", "<link", "<img", "src=", "href="):
        assert word not in run.page, word
    assert platform.node() not in run.page
    assert platform.python_version() in run.page
    assert "prefers-color-scheme: dark" in run.page


def test_every_measured_workload_has_a_bar(harmless: Run) -> None:
    root = ElementTree.fromstring(harmless.page)
    measured = [row for row in harmless.rows.values() if row["status"] == "measured"]
    assert len([*root.iterfind(".//td/svg")]) == len(measured)


@pytest.mark.parametrize(
    "words",
    [["nonsense"], ["-k", "no workload has this"], ["--time", "0"], ["--rounds", "1"], ["--same", "janus"],
     ["--json", "/nowhere/at/all.json"], ["--from", "/nowhere"]],
)  # fmt: skip
def test_a_wrong_call_is_refused_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        tool("bench").main(words)
    assert ended.value.code == 2
    assert "error" in capsys.readouterr().err


def test_the_list_names_workloads_and_runs_none() -> None:
    ended = bench("queue", "--list")
    assert ended.returncode == 0
    assert "put+get, one thread" in ended.stdout
    assert "page:" not in ended.stdout


def test_the_list_tells_of_a_workload_file_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "bench_wrong.py").write_text("AREA = 'queue'\nWORKLOADS = [{'name': 'x', 'flor': 1}]\n")
    ended = bench("--list", "--from", tmp_path)
    assert ended.returncode == 1
    assert "bench_wrong.py: " in ended.stdout


# ---- what rounds say


def these(*walls: float, share: float = 1.0, queued: float = 0.0) -> list[Any]:
    return [stats.Round(wall, wall * share, wall * queued) for wall in walls]


def test_a_few_disturbed_blocks_do_not_move_the_ratio() -> None:
    theirs = these(*[2.0] * 40)
    ours = these(*[1.0] * 30, *[10.0] * 10)
    found = stats.compare(theirs, ours, False)
    assert (found.middle, found.best) == (2.0, 2.0)


def test_a_machine_that_changes_its_speed_does_not_move_the_ratio() -> None:
    speeds = [1.0, 1.0, 2.0, 2.0, 1.5, 1.5, 3.0, 3.0] * 5
    found = stats.compare(these(*(3 * s for s in speeds)), these(*speeds), False)
    assert (found.low, found.middle, found.high) == (3.0, 3.0, 3.0)


def test_who_sleeps_is_judged_by_the_clock_on_the_wall() -> None:
    busy, sleepy = these(*[1.0] * 20), these(*[2.0] * 20, share=0.1)
    for one_core in (False, True):
        found = stats.compare(busy, sleepy, one_core)
        assert (found.clock, found.middle) == ("wall", 0.5)


def test_who_sleeps_in_some_rounds_only_is_judged_by_the_clock_on_the_wall() -> None:
    busy = these(*[1.0] * 24)
    now_and_then = [*these(*[1.0] * 16), *these(*[9.0] * 8, share=0.1)]
    assert stats.compare(busy, now_and_then, False).clock == "wall"
    mostly = [*these(1.0, 1.0), *these(*[2.0] * 22, share=0.5)]
    found = stats.compare(busy, mostly, True)
    assert (found.clock, found.middle) == ("wall", 0.5)


def test_a_core_that_both_had_to_share_is_not_held_against_one() -> None:
    crowded = these(1.0, *[2.0] * 11, share=0.95)[:1] + these(*[2.0, 3.0] * 6, share=0.5)[1:]
    twice = [stats.Round(each.wall * 2, each.cpu * 2) for each in crowded]
    found = stats.compare(twice, crowded, True)
    assert (found.clock, found.middle) == ("cpu", 2.0)


def test_standing_in_the_queue_for_a_core_is_not_held_against_anyone() -> None:
    waited = these(*[1.0, 3.0] * 10, share=0.5, queued=0.5)
    found = stats.compare(waited, these(*[0.5] * 20), False)
    assert found.clock == "cpu"
    assert found.middle == pytest.approx(2)


def test_sleep_counts_for_a_single_thread_and_its_queue_does_not() -> None:
    slept = these(*[3.0] * 20, share=0.2, queued=1 / 3)
    found = stats.compare(slept, these(*[1.0] * 20, share=0.2), False, True)
    assert found.clock == "without queues"
    assert found.middle == pytest.approx(2)


def test_few_blocks_or_wide_ones_are_noisy() -> None:
    assert math.isinf(stats.compare(these(*[1.0] * 10), these(*[1.0] * 10), False).width)
    wild = stats.compare(these(*[1.0] * 40), these(*[1.0, 1.0, 2.0, 2.0] * 10), False)
    assert wild.width > results.NOISY


def test_the_interval_of_fair_rounds_holds_the_true_ratio() -> None:
    dice = __import__("random").Random(3)
    held = 0
    for _ in range(200):
        ours = these(*(dice.lognormvariate(0, 0.3) for _ in range(60)))
        theirs = these(*(2 * dice.lognormvariate(0, 0.3) for _ in range(60)))
        found = stats.compare(theirs, ours, False)
        held += found.low <= 2 <= found.high
    assert held >= 180


# ---- second copies, and the repository's own workload files


def test_a_second_standard_module_is_another_one_and_hides_again() -> None:
    import concurrent.futures as first

    second, (hidden,) = contestants.second_standard({"": "concurrent.futures"})
    assert second is not first
    assert second.Future is not first.Future
    assert sys.modules["concurrent.futures"] is first
    with hidden.shown():
        assert sys.modules["concurrent.futures"] is second
        import concurrent.futures as shown

        assert shown is second
    assert importlib.import_module("concurrent.futures") is first


FILES = workloads.find(ROOT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_workload_files_are_complete_in_themselves(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert not {name for name in names if name.split(".")[0] in ("speed", "bench", "pytest", "rich")}
    file, _ = workloads.load(path)
    assert file.workloads
    for workload in file.workloads:
        assert workload.goal is None or workload.floor is None or workload.floor <= workload.goal, (
            workload.name
        )


def test_every_area_has_workloads() -> None:
    assert {workloads.load(path)[0].area for path in FILES} == set(workloads.AREAS)
