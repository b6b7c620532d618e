# SPDX-License-Identifier: MIT
# One test module in a child process, and whatever it does: pass, hang, crash, or leave things behind.
#
# How a hang is told from slowness. The child says when each test begins, and each test has a deadline of its own. What
# lies between tests (import, fixtures of classes and modules, the end of the process) has one too.
#
# What happens to a hang. The child is asked to write the stack of each of its threads into its log. Then what it
# started is aborted: often it waits for a script that has a stack to show, and tells that in the message of its
# failure. Then it is aborted itself, and everything it started is killed, found by session, by parents and by a mark
# in the environment (as in tests-integration/watched.py, whose look at /proc is used here), and the shared memory that
# they held is removed. The test that was running is charged with it, and the rest of the module goes on in a new
# child. A crash likewise.
#
# Every child has a session, a working folder and a TMPDIR of its own. The folder's path is short on purpose: sockets
# with longer names than 107 characters do not exist.
"""Run tests of one module in a child process that cannot hang, crash or litter its way out."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tests-integration"))

import watched

INSIDE = Path(__file__).with_name("inside.py")
MARKER = "PLAIT_CONFORMANCE_CHILD"
#: What the marks of all children of this process begin with.
RUN = uuid.uuid4().hex

#: Seconds for what lies between tests, and for the end of the process after the last one.
FIXTURE_DEADLINE, EXIT_DEADLINE = 60.0, 5.0

#: So many times the latter for a child whose tests passed, all of them: nothing excuses that it stays, or dies of a signal.
NO_EXCUSE = 3

#: What a child may still do after it was told to dump its stacks.
DUMPING = 3.0

#: After so many children that came to nothing before a test began, the rest of a unit is given up.
STRIKES = 3

#: Variables of ours or of whoever started us, which would change what the tests see.
FOREIGN = re.compile(r"PYTHON|NOX|PYTEST|UV_|VIRTUAL_ENV$|COVERAGE|FORCE_COLOR$|NO_COLOR$|TMPDIR$|PLAIT_")

PASSED = frozenset({"pass"})
BROKEN = frozenset({"hang", "crash"})


@dataclass
class Record:
    """What became of one test."""

    outcome: str  # pass fail error skip "expected failure" hang crash absent
    seconds: float = 0.0
    detail: str = ""
    log: str = ""

    @property
    def passed(self) -> bool:
        return self.outcome in PASSED

    @property
    def last_line(self) -> str:
        """What the traceback comes down to."""
        if self.detail.startswith(f"{self.outcome}: "):
            return self.detail  # it was this line already
        if self.outcome in ("skip", "hang"):
            first = (self.detail.strip() or "no reason").splitlines()[0]
            return f"{self.outcome}: {first.partition(' (')[0] if self.outcome == 'hang' else first}"
        lines = [line for line in self.detail.splitlines() if line.strip() and not line.startswith("[")]
        # Messages may have several lines; what begins at the margin after the last frame is the exception itself.
        outdented = [n for n, line in enumerate(lines) if re.match(r"[A-Za-z_][\w.]*(:|$)", line)]
        line = lines[outdented[-1]] if outdented else (lines[-1] if lines else "")
        return (
            line[:200] if self.outcome in ("fail", "error") else f"{self.outcome}: {line}"[:200].rstrip(": ")
        )


@dataclass
class Life:
    """What one child, or several one after the other, had to say."""

    records: dict[str, Record] = field(default_factory=dict)
    loaded: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    fixtures: dict[str, Record] = field(default_factory=dict)
    finished: bool = False
    culprit: Record | None = None  # what happened to a child outside any test
    answer: dict[str, list[str]] = field(default_factory=dict)


class Stopped(Exception):
    """The run was interrupted; the child is gone."""


@dataclass(frozen=True)
class Host:
    """Where children run: the environment's python, and what holds for all of them."""

    python: Path
    stop: threading.Event
    resources: tuple[str, ...] = ("cpu", "subprocess", "walltime")
    fixture_deadline: float = FIXTURE_DEADLINE
    exit_deadline: float = EXIT_DEADLINE
    keep: bool = False
    loud: bool = False  # the child's output goes to our own


def environment(mark: str, temporary: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}
    return {**clean, MARKER: mark, "TMPDIR": str(temporary)}


class Child:
    """A running child. Call `attend` until it returns False, then `end` it, whatever happened."""

    def __init__(
        self, host: Host, plan: dict[str, object], deadline_of: Callable[[str], float], life: Life
    ) -> None:
        self._host = host
        self._deadline_of = deadline_of
        self._life = life
        self._module = str(plan.get("module", "")).removeprefix("test.")
        self._mark = f"{RUN}-{uuid.uuid4().hex}"
        self.folder = Path(tempfile.mkdtemp(prefix="pc-"))
        for name in ("tmp", "cwd"):
            (self.folder / name).mkdir()
        self._journal = self.folder / "journal"
        self._log_path = self.folder / "log"
        self._journal.touch()
        (self.folder / "plan").write_text(json.dumps({**plan, "journal": str(self._journal)}))
        self._read = 0
        self._seen: set[tuple[int, int]] = set()
        self._current: str | None = None
        self._log_at: int | None = 0
        self._since = time.monotonic()
        self._aborted = ""
        self._afterwards: str | None = None
        self._hung = 0.0
        self._shared: set[str] = set()
        with open(self._log_path, "ab") as log:
            self._process = subprocess.Popen(
                [str(host.python), str(INSIDE), str(self.folder / "plan")],
                stdin=subprocess.DEVNULL,
                stdout=None if host.loud else log,
                stderr=None if host.loud else log,
                cwd=self.folder / "cwd",
                env=environment(self._mark, self.folder / "tmp"),
                start_new_session=True,
            )

    # --- listening --------------------------------------------------------------------------------------------------

    def attend(self) -> bool:
        """Listen for a moment; False when the child has ended, or had to be ended."""
        ended = self._process.poll() is not None
        self._listen()
        if ended:
            return False
        if self._host.stop.is_set():
            raise Stopped
        if time.monotonic() - self._since > self._limit():
            self._abort()
            return False
        time.sleep(0.03)
        return True

    def _limit(self) -> float:
        if self._life.finished:
            return self._host.exit_deadline * (NO_EXCUSE if self._all_passed() else 1)
        return self._host.fixture_deadline if self._current is None else self._deadline_of(self._current)

    def _listen(self) -> None:
        with open(self._journal, "rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            self._hear(json.loads(line))
            self._since = time.monotonic()

    def _hear(self, event: dict[str, object]) -> None:
        kind, life = event.pop("event"), self._life
        if self._aborted:
            # The verdict stands. What the test says now that its children are gone may tell why.
            if kind == "end" and event["id"] == self._current:
                self._afterwards = str(event["detail"])
        elif kind == "start":
            self._current = str(event["id"])
            self._log_at = event["log"]  # type: ignore[assignment]
        elif kind == "end":
            name = str(event["id"])
            record = Record(str(event["outcome"]), float(str(event["seconds"])), str(event["detail"]))
            if not record.passed:
                record.log = self._log(self._log_at, event["log"])  # type: ignore[arg-type]
            before = life.records.get(name)
            if (
                before is None or before.passed
            ):  # a name may stand for several tests; the worst of them counts
                life.records[name] = record
            self._current = None
        elif kind == "fixture":
            name = f"{event['where']}:{event['what']}"
            life.fixtures[name] = Record(str(event["outcome"]), 0.0, f"in {event['what']}: {event['detail']}")
        elif kind == "import":
            detail = str(event["detail"])
            life.culprit = Record(
                str(event["outcome"]), 0.0, detail if event["outcome"] == "skip" else f"at import:\n{detail}"
            )
            life.finished = True
        elif kind == "loaded":
            life.loaded = [str(name) for name in event["tests"]]  # type: ignore[attr-defined]
        elif kind == "shape":
            life.answer = event["modules"]  # type: ignore[assignment]
            life.finished = True
        elif kind == "done":
            life.finished = True
        elif kind == "escaped":
            self._aborted = f"an exception ended the run:\n{event['detail']}"

    def _log(self, start: int | None, end: int | None) -> str:
        """This part of the child's output; the whole when a test played with its descriptors."""
        with open(self._log_path, "rb") as file:
            if start is not None and end is not None and end >= start:
                file.seek(start)
                data = file.read(end - start)
            else:
                data = file.read()
        text = data.decode("utf-8", "replace")
        return text if len(text) < 40_000 else f"{text[:20_000]}\n[...]\n{text[-20_000:]}"

    # --- ending -----------------------------------------------------------------------------------------------------

    def _abort(self) -> None:
        """The deadline has passed: have the stacks written down."""
        waited = self._limit()
        self._hung = time.monotonic() - self._since
        where = "after the last test" if self._life.finished else (self._current or "between tests")
        family = "\n".join(f"  {p.pid} {p.state} {p.title[:200]}" for p in self._descendants())
        self._aborted = f"no end after {waited:.0f} s ({where})"
        if not self._host.loud:
            with open(self._log_path, "ab") as log:
                log.write(f"\n=== {self._aborted}; its descendants:\n{family}\n=== its stacks:\n".encode())
        self._signal(self._process.pid, signal.SIGCONT)
        if self._catches(signal.SIGUSR1):
            self._signal(self._process.pid, signal.SIGUSR1)
            self._wait(0.3)
        if self._life.finished:
            return
        descendants = self._descendants()
        self._shared |= self._shared_memory([self._process.pid, *(process.pid for process in descendants)])
        for process in descendants:
            self._signal(process.pid, signal.SIGABRT)
        self._wait(1.5)
        if self._afterwards is None:
            self._signal(self._process.pid, signal.SIGABRT)
            self._wait(DUMPING)

    def _signal(self, pid: int, signum: int) -> None:
        try:
            os.kill(pid, signum)
        except ProcessLookupError:
            pass  # it has just ended

    def _catches(self, signum: int) -> bool:
        """Whether a signal would be handled; otherwise it would kill."""
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="utf-8")
        except OSError:
            return False
        caught = re.search(r"^SigCgt:\s*([0-9a-f]+)", status, re.MULTILINE)
        return caught is not None and bool(int(caught[1], 16) >> (signum - 1) & 1)

    def _wait(self, seconds: float) -> None:
        """Until it has ended, or the test that hung has: no longer than that."""
        limit = time.monotonic() + seconds
        while self._process.poll() is None and self._afterwards is None and time.monotonic() < limit:
            time.sleep(0.02)
            self._listen()

    def end(self) -> None:
        """Kill what is left of it, judge how it went, and remove its folder."""
        try:
            self._kill()
            self._judge()
        finally:
            if self._host.keep:
                self._life.notes.append(f"kept {self.folder}")
            else:
                self._remove_folder()

    def _kill(self) -> None:
        if self._process.poll() is None:
            self._shared |= self._shared_memory([self._process.pid])
            self._process.kill()
        self._process.wait()
        limit = time.monotonic() + 5
        grace = time.monotonic() + (
            0.3 if not self._aborted else 0.0
        )  # helpers see their pipes close, and go
        while left := self._descendants():
            if time.monotonic() > grace:
                self._shared |= self._shared_memory([process.pid for process in left])
                for process in left:
                    try:
                        os.kill(process.pid, signal.SIGKILL)
                    except ProcessLookupError:
                        continue
            if time.monotonic() > limit:
                names = ", ".join(f"{process.pid} {process.title[:80]}" for process in left)
                self._life.notes.append(f"could not be killed: {names}")
                break
            time.sleep(0.02)
        for path in self._shared:
            Path(path).unlink(missing_ok=True)

    def _descendants(self) -> list[watched.Process]:
        """What it started and has not ended: by session, by parents, by mark, and what was seen to be so before."""
        everything = {process.pid: process for process in watched.processes() if process.state not in "ZX"}
        family = {self._process.pid}
        grown = True
        while grown:
            children = {process.pid for process in everything.values() if process.parent in family}
            grown = not children <= family
            family |= children
        mark = f"{MARKER}={self._mark}".encode()
        found = [
            process
            for process in everything.values()
            if process.pid != self._process.pid
            and (
                process.session == self._process.pid
                or process.pid in family
                or process.identity in self._seen
                or watched.carries(process.pid, mark)
            )
        ]
        self._seen |= {process.identity for process in found}
        return found

    def _shared_memory(self, pids: Sequence[int]) -> set[str]:
        paths: set[str] = set()
        for pid in pids:
            try:
                maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            paths.update(re.findall(r"(/dev/shm/\S+)$", maps, re.MULTILINE))
        return paths

    def _all_passed(self) -> bool:
        excused = (
            record.outcome in (*PASSED, "skip", "expected failure") for record in self._life.records.values()
        )
        return bool(self._life.records) and all(excused) and not self._life.fixtures

    def _judge(self) -> None:
        """Charge the test that was running with the end of the child."""
        self._listen()
        life, code = self._life, self._process.returncode
        if life.finished:
            if self._all_passed() and (self._aborted or code < 0):
                # A test that fails may leave threads behind, and they may not end. Here none has failed.
                record = Record("hang" if self._aborted else "crash", 0.0, self._aborted or described(code))
                record.log = self._log(None, None)
                life.fixtures[f"{self._module}:exit"] = record
            elif self._aborted:
                life.notes.append(f"had to be killed: {self._aborted}")
            elif code:
                life.notes.append(f"ended with {described(code)} after its last test")
            return
        if self._aborted.startswith("no end"):
            record = Record("hang", self._hung, self._aborted)
            if self._afterwards:
                record.detail += f"\nonce its children were aborted:\n{self._afterwards}"
        else:
            record = Record("crash", time.monotonic() - self._since, self._aborted or described(code))
        record.log = self._log(self._log_at if self._current else 0, self._log_path.stat().st_size)
        if self._current is not None:
            life.records[self._current] = record
        else:
            life.culprit = record

    def _remove_folder(self) -> None:
        def again(function: Callable[..., object], path: str, _error: object) -> None:
            os.chmod(os.path.dirname(path), 0o700)
            function(path)

        try:
            shutil.rmtree(self.folder, onerror=again)
        except OSError as error:
            self._life.notes.append(f"could not remove {self.folder}: {error}")


def described(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _live(host: Host, plan: dict[str, object], deadline_of: Callable[[str], float]) -> Life:
    life = Life()
    child = Child(host, {"resources": list(host.resources), **plan}, deadline_of, life)
    try:
        while child.attend():
            pass
    finally:
        child.end()
    return life


def shape(host: Host, names: Sequence[str]) -> dict[str, list[str]]:
    """Which of these test modules the interpreter ships, and what to import for each."""
    life = _live(host, {"mode": "shape", "names": list(names)}, lambda _: host.fixture_deadline)
    if not life.answer:
        told = life.culprit.log if life.culprit else ""
        raise RuntimeError(f"{host.python} could not say which tests it ships:\n{told}")
    return life.answer


def listing(host: Host, module: str) -> tuple[list[str], Record | None]:
    """The tests of a module in their order; or why it cannot be imported."""
    life = _live(host, {"mode": "list", "module": module}, lambda _: host.fixture_deadline)
    return life.loaded, None if life.loaded else (life.culprit or Record("skip", detail="it has no tests"))


def run(
    host: Host,
    module: str,
    tests: Sequence[str],
    deadline_of: Callable[[str], float],
) -> Life:
    """Run these tests of a module, in as many children as it takes, until each has a record."""
    total = Life()
    left = list(dict.fromkeys(tests))
    strikes = 0
    while left:
        life = _live(host, {"mode": "run", "module": module, "tests": left}, deadline_of)
        total.notes += life.notes
        total.records.update(life.records)
        for name, record in life.fixtures.items():
            where, _, what = name.rpartition(":")
            hit = [t for t in left if t not in total.records and (t.startswith(f"{where}."))]
            if what.startswith("setUp"):
                total.records.update(dict.fromkeys(hit, record))
            if not hit or not what.startswith("setUp"):
                total.fixtures[f"{where}.{what}"] = record
        if life.finished or life.culprit is None:
            rest = [test for test in left if test not in total.records]
            if life.finished:
                # Where the module was imported, a test that did not run is not there.
                reason = life.culprit or Record("absent", detail="the module does not have this test")
                total.records.update(dict.fromkeys(rest, reason))
                break
        else:
            strikes += 1
            rest = [test for test in left if test not in total.records]
            charged = rest if strikes >= STRIKES else rest[:1]
            total.records.update(dict.fromkeys(charged, life.culprit))
        left = [test for test in left if test not in total.records]
    return total
