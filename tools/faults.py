# SPDX-License-Identifier: MIT
# The faults instrument. What a scenario is stands in tests-integration/faults/scenario.py. Here each runs in a process of
# its own, in custody (tools/custody.py), which ends it at its deadline and counts what it leaves.
#
# Why the standard modules have to fail where a row says so: an instrument that cannot be seen to find the fault would prove
# nothing when it finds none in plait. Only wrong and hang bear a claim out; what is left over, or an error, does not.
"""Scenarios of hangs, losses and leaks, run as black boxes against plait or against the standard modules.

    python3 tools/run.py faults                                  everything, on 3.11 and on 3.13
    python3 tools/run.py faults -p 3.12 -- --list                what there is
    python3 tools/run.py faults -p 3.12 -- Q MP1 '*_at_exit'     an area, a row, scenarios by a pattern of their names
    python3 tools/run.py faults -p 3.12 -- --impl stdlib Q       the same with the standard modules

A row is one known fault of the standard modules (Q1), its letters are the area: T threads, Q queues, D schedulers,
S subprocesses, MP pools, MQ queues and connections of processes, ML their locks, MS shared memory, MM managers,
MF start methods, F futures. A row may have several scenarios. [R] marks those whose fault has been reproduced with the
standard modules, [R <3.14] only on such Pythons. What comes of a scenario:

    ok      it did what the row asks for, and left nothing behind
    wrong   it did something else, which the note tells, or its process died, or something was left
    hang    it did not end by its deadline, or its process did not exit afterwards; the log has all stacks
    absent  plait does not have yet what the scenario needs, or this system cannot show what it is about
    error   the scenario itself is broken: an exception that it does not expect

With plait the run fails unless all are ok or absent, or wrong because of this interpreter, which is then said. With the
standard modules it fails if one that is marked [R] for this Python is not seen to fail ("but [R]"), or is an error. Below
the table stands a line for each reason to fail, with the scenario's log: traceback, stacks, and what it printed.

Ends with 0, or 1 when the run fails or the call is wrong, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import fnmatch
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

sys.path.insert(0, str(Path(__file__).resolve().parent))

import custody

ROOT = Path(__file__).resolve().parent.parent
INTEGRATION = ROOT / "tests-integration"
CUSTODY = Path(__file__).resolve().with_name("custody.py")

#: Seconds that a guardian has for its account, once its scenario's time is up or it is told to stop. A guess: a busy
#: machine needs a few.
PATIENCE = 30.0

#: Areas in the order of the packages, bottom layer first.
AREAS = ("T", "Q", "D", "S", "MP", "MQ", "ML", "MS", "MM", "MF", "F")
#: From the best to the worst.
OUTCOMES = ("ok", "absent", "wrong", "hang", "error")
STYLES = {"ok": "green", "absent": "dim", "wrong": "red", "hang": "bold red", "error": "bold magenta"}
KINDS = {
    "process": "processes",
    "zombie": "zombies",
    "descriptor": "descriptors",
    "segment": "segments",
    "file": "files",
}


@dataclass(frozen=True)
class Case:
    """A scenario as `python -m faults list` tells it."""

    module: str
    name: str
    row: str
    title: str
    deadline: float
    reproduced: bool | str | None
    claimed: bool
    needs: list[str]
    alone: bool
    hopeless: bool = False

    @property
    def area(self) -> str:
        return self.row.rstrip("0123456789")

    @property
    def place(self) -> tuple[int, int, str]:
        number = self.row[len(self.area) :]
        rank = AREAS.index(self.area) if self.area in AREAS else len(AREAS)
        return rank, int(number or 0), self.name

    def answers_to(self, word: str) -> bool:
        names = (self.row, self.area, self.name, self.module.rpartition(".")[2])
        return any(fnmatch.fnmatchcase(name.lower(), word.lower()) for name in names)


@dataclass
class Verdict:
    """What came out of one run of one scenario."""

    case: Case
    outcome: str
    note: str
    seconds: float
    left: list[str] = field(default_factory=list)
    exact: bool = True  # was the count of what is left exact?
    log: str = ""

    @property
    def passes(self) -> bool:
        """May plait have this verdict? A wrong answer may be the interpreter's own; a hang or something left may not."""
        if self.outcome == "wrong" and self.case.hopeless:
            return not self.left
        return self.outcome in ("ok", "absent")

    @property
    def bears_out(self) -> bool:
        """Is this the failure that a claim speaks of?"""
        return self.outcome in ("wrong", "hang") and not self.note.startswith("left: ")


def environment(impl: str) -> dict[str, str]:
    """What a scenario's process and all that it starts see. Paths of ours stand first, then the caller's."""
    env = {
        key: value for key, value in os.environ.items() if key not in ("PYTHONSTARTUP", "PYTHONASYNCIODEBUG")
    }
    path = [str(INTEGRATION), *filter(None, [env.get("PYTHONPATH")])]
    # faulthandler for workers too, so that a hang shows their stacks; hash seeds and buffers as users have them.
    return {**env, "PYTHONPATH": os.pathsep.join(path), "PYTHONFAULTHANDLER": "1", "FAULTS_IMPL": impl}


def cases(package: str, impl: str) -> list[Case]:
    with tempfile.TemporaryDirectory() as folder:
        told = subprocess.run(
            [sys.executable, "-m", "faults", "list", package],
            env=environment(impl),
            cwd=folder,
            stdout=subprocess.PIPE,
            check=False,
            text=True,
        )
    if told.returncode:
        raise SystemExit(f"the scenarios of {package} cannot be listed, see above")
    found = [Case(**row) for row in json.loads(told.stdout)]
    twice = [name for name, times in Counter(case.name for case in found).items() if times > 1]
    if twice:
        raise SystemExit(f"two scenarios have the same name: {', '.join(twice)}")
    return sorted(found, key=lambda case: case.place)


# ------------------------------------------------------------------------------------------------------ one scenario


class Runner:
    """Runs scenarios in custody; `stop` ends those that run."""

    def __init__(self, impl: str, logs: Path) -> None:
        self.impl = impl
        self.logs = logs
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False

    def run(self, case: Case, number: int = 1) -> Verdict:
        log = self.logs / (f"{case.row}-{case.name}" + (f".{number}" if number > 1 else "") + ".log")
        # A short name: addresses of AF_UNIX sockets below it have to fit into 108 bytes.
        with tempfile.TemporaryDirectory(prefix="f-", ignore_cleanup_errors=True) as folder:
            result = Path(folder, "result")
            scenario = ["-m", "faults", "run", case.module, case.name, self.impl, str(result)]
            told = self._in_custody(
                case.deadline,
                [
                    "--deadline",
                    str(case.deadline),
                    "--log",
                    str(log),
                    "--scratch",
                    folder,
                    "--result",
                    str(result),
                ],
                [sys.executable, *scenario],
            )
            try:
                answer = json.loads(result.read_text(encoding="utf-8"))
            except FileNotFoundError:
                answer = None
        account = (
            json.loads(told) if told else {"ended": "unguarded", "code": None, "left": [], "exact": True}
        )
        return self.judge(case, account, answer, log)

    def _in_custody(self, deadline: float, options: list[str], command: list[str]) -> str:
        """The account as text, nothing if its guardian died. Its standard input is the life line that `stop` cuts."""
        with self._lock:
            if self._stopped:
                raise KeyboardInterrupt
            guardian = subprocess.Popen(
                [sys.executable, str(CUSTODY), *options, "--", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment(self.impl),
                start_new_session=True,
            )
            self._running.add(guardian)
        # A guardian ends its scenario at the deadline. One that does not is stopped or stuck itself.
        patience = threading.Timer(deadline + PATIENCE, guardian.kill)
        patience.daemon = True
        patience.start()
        try:
            assert guardian.stdout is not None
            told = guardian.stdout.read()
            code = guardian.wait(30)
        finally:
            patience.cancel()
            with self._lock:
                self._running.discard(guardian)
            guardian.kill()
            for stream in (guardian.stdin, guardian.stdout):
                if stream is not None:
                    stream.close()
        if not code:
            return told
        self._end_orphans()
        if code > 0:
            raise RuntimeError(f"the guardian of {command[-3]} ended with {code}")
        return ""

    def _end_orphans(self) -> None:
        """Kill what a guardian that was killed leaves: it came to us, who are its subreaper."""
        limit = time.monotonic() + 10
        with self._lock:  # nobody starts a guardian meanwhile
            while time.monotonic() < limit:
                everything = [process for process in custody.processes() if process.state not in "ZX"]
                guarded = {guardian.pid for guardian in self._running}
                below = {process.pid for process in everything if process.parent == os.getpid()} - guarded
                grown = True
                while grown:
                    children = {process.pid for process in everything if process.parent in below} - guarded
                    grown = not children <= below
                    below |= children
                if not below:
                    return
                for pid in below:
                    try:
                        os.kill(pid, signal.SIGKILL)
                        os.waitpid(pid, 0)
                    except (ProcessLookupError, ChildProcessError):
                        continue  # it has just gone, or is another's child, and will be ours

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            for guardian in self._running:
                if guardian.stdin is not None:
                    guardian.stdin.close()
                patience = threading.Timer(PATIENCE, guardian.kill)
                patience.daemon = True
                patience.start()

    @staticmethod
    def judge(case: Case, account: dict[str, Any], answer: dict[str, Any] | None, log: Path) -> Verdict:
        """Put together what the scenario said of itself and what its guardian saw."""
        ended, code = account["ended"], account["code"]
        left = [*(answer["left"] if answer else []), *account["left"]]
        if ended == "unguarded":
            outcome, note, seconds = "error", "its guardian was killed, or did not end", 0.0
        elif answer is None:
            outcome, note, seconds = (
                "wrong",
                f"its process {_ending(code)} before it returned",
                account["seconds"],
            )
            if ended == "deadline":
                outcome, note = "hang", f"not ended after {case.deadline:g} s{_where(log)}"
            elif ended == "abandoned":
                outcome, note = "error", "interrupted"
        else:
            outcome, note, seconds = answer["outcome"], answer["note"], answer["seconds"]
            trouble = "" if ended == "exit" else f"its process did not exit afterwards{_where(log)}"
            if ended == "exit" and code:
                trouble = f"its process {_ending(code)} afterwards"
            if trouble and outcome in ("ok", "absent"):
                outcome, note = "wrong" if ended == "exit" else "hang", trouble
            elif trouble:
                note = f"{note}; {trouble}"
        if left and outcome == "ok":
            outcome, note = "wrong", f"left: {_some(left)}"
        elif left:
            note = f"{note} (left: {_some(left)})"
        return Verdict(case, outcome, note, seconds, left, account["exact"], str(log))


def _some(left: list[str]) -> str:
    """What is left, all of it only in the file that --json writes."""
    more = f"; and {len(left) - 4} more" if len(left) > 4 else ""
    return "; ".join(left[:4]) + more


def _where(log: Path) -> str:
    """Where the scenario's main thread stood when it was stopped: it is the last of the last process in the log."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    tops = re.findall(r'\(most recent call first\):\n  File "([^"]+)", line (\d+) in (\S+)', text)
    if not tops:
        return ""
    file, line, function = tops[-1]
    return f": in {function} ({os.path.basename(file)}:{line})"


def _ending(code: int) -> str:
    if code < 0:
        return f"was killed by {custody.signal_name(-code)}"
    return f"ended with exit code {code}"


def run_all(runner: Runner, chosen: list[Case], repeat: int, jobs: int, say: Any) -> list[Verdict]:
    """Every case *repeat* times: those that may have company first, *jobs* at a time, then the others one by one."""
    rounds = [(case, number) for number in range(1, repeat + 1) for case in chosen]
    verdicts = []
    for workers, part in (
        (jobs, [pair for pair in rounds if not pair[0].alone]),
        (1, [pair for pair in rounds if pair[0].alone]),
    ):
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(runner.run, case, number) for case, number in part]
            try:
                for future in concurrent.futures.as_completed(futures):
                    verdicts.append(future.result())
                    say(verdicts[-1])
            except BaseException:
                runner.stop()
                pool.shutdown(cancel_futures=True)
                raise
    return verdicts


# -------------------------------------------------------------------------------------------------------- the report


def one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def by_case(verdicts: list[Verdict]) -> list[tuple[Case, list[Verdict]]]:
    """Every scenario in its place, with all of its runs."""
    found: dict[str, tuple[Case, list[Verdict]]] = {}
    for verdict in sorted(verdicts, key=lambda verdict: verdict.case.place):
        found.setdefault(verdict.case.name, (verdict.case, []))[1].append(verdict)
    return list(found.values())


def claim_tried(case: Case, runs: list[Verdict]) -> bool:
    """A claim of failure that this system gave a chance to show."""
    return case.claimed and any(verdict.outcome != "absent" for verdict in runs)


def table(verdicts: list[Verdict], impl: str) -> Table:
    """One line per scenario: its worst outcome, how often, and what was seen."""
    shown = Table(title=f"faults: {impl} on {python_name()}", title_justify="left", pad_edge=False)
    shown.add_column("row", no_wrap=True)
    shown.add_column("scenario", ratio=5)
    shown.add_column("outcome", no_wrap=True)
    shown.add_column("seconds", justify="right", no_wrap=True)
    shown.add_column("note", ratio=6)
    area = None
    for case in sorted(
        {verdict.case.name: verdict.case for verdict in verdicts}.values(), key=lambda c: c.place
    ):
        runs = [verdict for verdict in verdicts if verdict.case.name == case.name]
        worst = max(runs, key=lambda verdict: OUTCOMES.index(verdict.outcome))
        times = sum(verdict.outcome == worst.outcome for verdict in runs)
        if area not in (None, case.area):
            shown.add_section()
        area = case.area
        word = worst.outcome + (f" {times}/{len(runs)}" if len(runs) > 1 else "")
        claim = " (Python's)" if case.hopeless and worst.outcome == "wrong" else ""
        if impl == "stdlib" and claim_tried(case, runs):
            claim = " [R]" if any(verdict.bears_out for verdict in runs) else " but [R]"
        shown.add_row(
            case.row,
            Text(case.title),
            Text(word + claim, STYLES[worst.outcome]),
            f"{sum(verdict.seconds for verdict in runs) / len(runs):.1f}",
            Text(one_line(worst.note)[:400]),
        )
    return shown


def python_name() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}"


def failures(verdicts: list[Verdict], impl: str) -> list[str]:
    """Why the exit code is 1; nothing if it is 0."""
    found = [
        f"{verdict.case.row} {verdict.case.name}: {verdict.outcome}, {one_line(verdict.note)[:300]} ({verdict.log})"
        for verdict in sorted(verdicts, key=lambda verdict: verdict.case.place)
        if verdict.outcome == "error" or (impl == "plait" and not verdict.passes)
    ]
    if impl == "stdlib":
        found += [
            f"{case.row} {case.name}: said to fail on {python_name()}, but was not seen to"
            for case, runs in by_case(verdicts)
            if claim_tried(case, runs) and not any(verdict.bears_out for verdict in runs)
        ]
    return found


def closing_line(verdicts: list[Verdict], impl: str, seconds: float) -> str:
    counts = Counter(verdict.outcome for verdict in verdicts)
    kinds = Counter(item.split(" ", 1)[0] for verdict in verdicts for item in verdict.left)
    shown = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])
    left = (
        ", ".join(
            f"{kinds[one]} {one if kinds[one] == 1 else many}" for one, many in KINDS.items() if kinds[one]
        )
        or "nothing"
    )
    claimed = [runs for case, runs in by_case(verdicts) if claim_tried(case, runs)]
    borne_out = sum(any(verdict.bears_out for verdict in runs) for runs in claimed)
    claims = f"; {borne_out} of {len(claimed)} said to fail did" if impl == "stdlib" else ""
    return f"=== {impl} on {python_name()}: {shown}{claims}; left behind: {left}; {seconds:.0f} s ==="


def busyness() -> str:
    """A remark for whoever wonders about a missed time limit; empty on a machine that has nothing else to do."""
    load, processors = os.getloadavg()[0], os.cpu_count() or 1
    if load < 2 * processors + 2:
        return ""
    return f"the machine is busy (load {load:.0f} on {processors} processors): time limits may be missed for that"


def at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than one")
    return number


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python3 tools/run.py faults --",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="row, area, module, scenario, or a pattern of them"
    )
    parser.add_argument("--impl", default="plait", choices=("plait", "stdlib"))
    parser.add_argument("--repeat", type=at_least_one, default=1, metavar="N", help="run everything N times")
    parser.add_argument("--jobs", type=at_least_one, default=2, help="how many at a time (default: 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every verdict there, too")
    parser.add_argument("--list", action="store_true", help="only list the scenarios")
    parser.add_argument(
        "--logs", type=Path, help="folder for what scenarios print (default: build/faults/...)"
    )
    parser.add_argument(
        "--package", default="faults", help="the package that holds the scenarios (default: faults)"
    )
    options = parser.parse_args()
    if options.json and not options.json.absolute().parent.is_dir():
        parser.error(f"{options.json}: its folder does not exist")
    return options


def main() -> int:
    options = arguments()
    console = Console()
    if not console.is_terminal:
        console = Console(width=150)
    chosen = cases(options.package, options.impl)
    unknown = [word for word in options.names if not any(case.answers_to(word) for case in chosen)]
    if unknown:
        console.print(f"no scenario answers to {', '.join(unknown)}; --list shows them", markup=False)
        return 2
    if options.names:
        chosen = [case for case in chosen if any(case.answers_to(word) for word in options.names)]
    if options.list:
        for case in chosen:
            mark = "[R]" if case.reproduced is True else f"[R {case.reproduced}]" if case.reproduced else ""
            console.print(
                f"{case.row:5}{case.name:45}{mark:12}{case.title}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
        return 0
    python = f"{sys.implementation.name}{sys.version_info[0]}.{sys.version_info[1]}"
    logs = options.logs or ROOT / "build" / "faults" / f"{options.impl}-{python}"
    logs.mkdir(parents=True, exist_ok=True)

    def say(verdict: Verdict) -> None:
        text = Text(f"{verdict.case.row:5}{verdict.case.name:45}")
        text.append(f"{verdict.outcome:8}", STYLES[verdict.outcome])
        console.print(text.append(f"{verdict.seconds:6.1f} s"), highlight=False)

    begun = time.monotonic()
    custody.become_subreaper()
    runner = Runner(options.impl, logs)
    try:
        verdicts = run_all(runner, chosen, options.repeat, options.jobs, say)
    except KeyboardInterrupt:
        console.print("interrupted; all that ran was ended")
        return 130
    console.print(table(verdicts, options.impl))
    if not all(verdict.exact for verdict in verdicts):
        console.print("no /dev/shm of our own, or no subreaper, here: what is left may have been missed")
    if options.json:
        rows = [{**asdict(verdict), "impl": options.impl, "python": python_name()} for verdict in verdicts]
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    bad = failures(verdicts, options.impl)
    for line in bad:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if any(verdict.outcome in ("wrong", "hang") for verdict in verdicts) and busyness():
        console.print(busyness(), highlight=False)
    last = closing_line(verdicts, options.impl, time.monotonic() - begun)
    console.print(last, markup=False, highlight=False, soft_wrap=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
