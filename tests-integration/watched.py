# SPDX-License-Identifier: MIT
# A program under watch: run as a child with a deadline, and afterwards held to account for what it left behind.
#
# Guarantees
#   - a program that does not end is ended, and the failure shows the stack of each of its threads
#   - whatever the program started is found, even after it was orphaned, made its own session or changed its title;
#     it is counted, named in the failure, and killed, so that one bad test does not spoil the next
#
# How descendants are found. Three ways, each of which misses what another finds: the session (the program is started
# as the leader of its own), the chain of parents (holds until a parent dies), and a marker in the environment that no
# two runs share (holds for everything that was not started with an environment of its own). Processes that were seen
# while the program lived are remembered by id and start time, so that an id used again is not mistaken for them.
#
# A zombie whose parent still lives under watch counts as left behind. One that init has not collected yet does not:
# nobody but init can do anything about it.
"""Run programs as children that cannot hang a test and cannot leave anything behind unnoticed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

W = TypeVar("W", bound="Watched")
MARKER = "CENSUS_OF_CHILDREN"

#: For what is dying already. Generous, because two processors may be shared by many suites.
GRACE = 15.0
#: What ends within this many seconds does not hang, however busy the machine is.
SOON = 20.0


class Process(NamedTuple):
    """One row of /proc."""

    pid: int
    parent: int
    session: int
    state: str
    started: int
    title: str

    @property
    def identity(self) -> tuple[int, int]:
        return self.pid, self.started


def processes() -> Iterator[Process]:
    """Every process that this user may look at."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = Path("/proc", entry, "stat").read_text(encoding="utf-8", errors="replace")
            title = (
                Path("/proc", entry, "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            )
        except OSError:
            continue  # it has just gone
        # The name in brackets may itself hold brackets and spaces.
        name, fields = stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 2 :].split()
        yield Process(
            int(entry), int(fields[1]), int(fields[3]), fields[0], int(fields[19]), title.strip() or name
        )


def carries(pid: int, mark: bytes) -> bool:
    try:
        return mark in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


class LeftBehind(AssertionError):
    """Processes or files outlived the program that made them."""


class Ended(NamedTuple):
    """How a program ended, and what it had to say."""

    code: int
    out: str
    err: str
    seconds: float

    def __str__(self) -> str:
        return f"exit code {self.code} after {self.seconds:.1f} s\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Watched:
    """A running program. Use as a context manager: leaving it ends and checks whatever is still there.

    *argv* follows the interpreter. The program gets its own session, its own TMPDIR (which must be empty at the end),
    and files for its output, so that nothing it starts can keep us reading. What is dying at the end has *grace* seconds.
    """

    def __init__(
        self, *argv: object, deadline: float = 50.0, env: dict[str, str] | None = None, grace: float = GRACE
    ) -> None:
        self.deadline = deadline
        self._grace = grace
        self._mark = uuid.uuid4().hex
        self._temporary = tempfile.TemporaryDirectory(prefix="watched-")
        self.folder = Path(self._temporary.name, "tmp")
        self.folder.mkdir()
        self._out = open(Path(self._temporary.name, "out"), "w+b")  # noqa: SIM115
        self._err = open(Path(self._temporary.name, "err"), "w+b")  # noqa: SIM115
        environment = {**os.environ, **(env or {}), MARKER: self._mark, "TMPDIR": str(self.folder)}
        environment.pop("PYTEST_CURRENT_TEST", None)
        self.started = time.monotonic()
        self._child = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", *map(str, argv)],
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            env=environment,
            start_new_session=True,
        )
        self.pid = self._child.pid
        self._seen: set[tuple[int, int]] = set()
        self._shared: set[str] = set()

    def __enter__(self: W) -> W:  # noqa: PYI019 - Self came with 3.11
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if self._child.poll() is None:
                self._child.kill()
                self._child.wait()
            left = self._left_behind(grace=self._grace if kind is None else 0.2)
            self._end(left)
            files = sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))
            shared = sorted(path for path in self._shared if os.path.exists(path))
        finally:
            self._out.close()
            self._err.close()
            self._temporary.cleanup()
        if kind is None and (left or files or shared):
            listed = [f"{process.pid} {process.state} {process.title}" for process in left]
            raise LeftBehind("\n  ".join(["left behind:", *listed, *files, *shared]))

    # --- what it says -----------------------------------------------------------------------------------------------

    @property
    def out(self) -> str:
        return Path(self._temporary.name, "out").read_text(encoding="utf-8", errors="replace")

    @property
    def err(self) -> str:
        return Path(self._temporary.name, "err").read_text(encoding="utf-8", errors="replace")

    def until(self, what: str, condition: Callable[[], object], within: float | None = None) -> None:
        """Return as soon as *condition* holds; a program that ended, or too long a wait, is a failure."""
        limit = time.monotonic() + (within or self.deadline)
        while not condition():
            ended = self._child.poll()
            if condition():
                return
            assert ended is None, f"ended before {what}: {self._ended(ended)}"
            assert time.monotonic() < limit, f"not in time: {what}\n{self._stacks()}"
            time.sleep(0.02)

    def until_out(self, pattern: str, within: float | None = None) -> re.Match[str]:
        """Wait until the output matches, and return the match."""
        self.until(f"output {pattern!r}", lambda: re.search(pattern, self.out), within)
        found = re.search(pattern, self.out)
        assert found
        return found

    # --- its descendants --------------------------------------------------------------------------------------------

    def descendants(self) -> list[Process]:
        """Everything it started, found as told above, itself excepted."""
        everything = {process.pid: process for process in processes()}
        mark = f"{MARKER}={self._mark}".encode()
        mine = set(self._seen)
        family = {self.pid}
        grown = True
        while grown:
            children = {process.pid for process in everything.values() if process.parent in family}
            grown = not children <= family
            family |= children
        found = [
            process
            for process in everything.values()
            if process.pid != self.pid
            and (
                process.session == self.pid
                or process.pid in family
                or process.identity in mine
                or carries(process.pid, mark)
            )
        ]
        self._seen |= {process.identity for process in found}
        for process in found:
            self._note_shared_memory(process.pid)
        self._note_shared_memory(self.pid)
        return found

    def pythons(self) -> list[Process]:
        """Its descendants that run Python, by order of age: worker processes."""
        name = Path(sys.executable).resolve().name
        found = []
        for process in self.descendants():
            try:
                executable = os.path.basename(os.readlink(f"/proc/{process.pid}/exe"))
            except OSError:
                continue
            if process.state != "Z" and executable == name:
                found.append(process)
        return sorted(found, key=lambda process: process.started)

    def _note_shared_memory(self, pid: int) -> None:
        """Remember what it has open or mapped below /dev/shm, to look whether it is still there at the end."""
        try:
            maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return
        self._shared.update(re.findall(r"(/dev/shm/\S+)$", maps, re.MULTILINE))

    def _left_behind(self, grace: float) -> list[Process]:
        limit = time.monotonic() + grace
        while True:
            found = self.descendants()
            alive = {process.pid for process in found if process.state != "Z"}
            left = [process for process in found if process.pid in alive or process.parent in alive]
            if not left or time.monotonic() > limit:
                return left
            time.sleep(0.02)

    def _end(self, left: list[Process]) -> None:
        for process in left:
            try:
                os.kill(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    # --- its end ----------------------------------------------------------------------------------------------------

    def send(self, signum: int) -> None:
        """Signal the program alone."""
        self._child.send_signal(signum)

    def send_to_group(self, signum: int) -> None:
        """Signal the program and all it started, as a terminal does on Ctrl-C."""
        os.killpg(self.pid, signum)

    def end(self, within: float | None = None) -> Ended:
        """Wait for the end, at most *within* seconds from now (otherwise up to the deadline from the start)."""
        limit = self.started + self.deadline - time.monotonic() if within is None else within
        try:
            code = self._child.wait(max(0.1, limit))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end within {limit:.1f} s\n{self._stacks()}") from None
        return self._ended(code)

    def _ended(self, code: int) -> Ended:
        return Ended(code, self.out, self.err, time.monotonic() - self.started)

    def _stacks(self) -> str:
        """Make the program print the stack of each thread, and die of it; then everything it said."""
        lines = [f"{process.pid} {process.state} {process.title}" for process in self.descendants()]
        self._child.send_signal(signal.SIGABRT)
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        return "\n".join(["its descendants:", *lines, str(self._ended(self._child.returncode))])


def run(
    *argv: object, deadline: float = 50.0, code: int | None = 0, env: dict[str, str] | None = None
) -> Ended:
    """Run a program to its end under watch; it must end with *code* (None: any) and leave nothing behind."""
    with Watched(*argv, deadline=deadline, env=env) as program:
        ended = program.end()
    assert code is None or ended.code == code, str(ended)
    return ended
