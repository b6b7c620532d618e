# SPDX-License-Identifier: MIT
# One program in custody: a deadline for it, and an account of all that it leaves behind.
#
#   python custody.py --deadline 20 --log FILE --scratch FOLDER [--result FILE] -- COMMAND...
#
# starts COMMAND, waits, and prints one JSON object: how it ended and what was left. One process per program, because the
# account rests on being the program's only guardian:
#
#   - It is the subreaper of the program's descendants, so an orphan, however often it forked and whatever session,
#     environment and title it gave itself, becomes our child and is found by the chain of parents. Where the kernel has no
#     subreaper, the session and a mark in the environment find most. A chain of forks whose every link ends at once is
#     over before /proc can be read to its end; but the kernel still says that we have a child.
#   - It has a /dev/shm of its own, an empty file system mounted in a name space of its own, so what is in there afterwards
#     is the program's and nobody else's. Where the system does not permit that, segments are noted while some process of
#     the program has them mapped, by a look every fifth of a second; a segment that nobody keeps that long may escape then.
#   - TMPDIR is an empty folder: whatever is in it afterwards was left.
#
# A program that reaches its deadline is first stopped, all of it, so that nobody reacts to what follows; then each Python
# in it, children before parents, dumps the stacks of its threads (SIGABRT to faulthandler) where they were; then all is
# killed. The same befalls a program that has written its result but does not exit within EXIT_GRACE.
#
# Our standard input is a life line: when it ends, because whoever started us was interrupted or killed, the program is
# ended too, and its folder is removed.
"""Run one command with a deadline and tell what it leaves behind."""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests-integration"))

from watched import Process, carries, processes

MARK = "IN_CUSTODY"

#: For a program that has its result, to come to its end. Generous: joining threads at exit is part of many scenarios.
EXIT_GRACE = 6.0
#: For what is dying already when the program has ended: helpers that notice it by the end of a pipe.
DYING_GRACE = 2.0

_SET_CHILD_SUBREAPER = 36
_NEW_MOUNTS, _NEW_USERS = 0x00020000, 0x10000000
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18


def libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def signal_name(number: int) -> str:
    """Most of the real-time signals have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def become_subreaper() -> bool:
    try:
        return bool(libc().prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def shared_memory_of_our_own() -> bool:
    """Mount an empty /dev/shm that only we and our children see; False where that is not permitted."""
    if not os.path.isdir("/dev/shm"):
        return False
    uid, gid = os.geteuid(), os.getegid()
    try:
        c = libc()
        if c.unshare(_NEW_MOUNTS) != 0:
            if c.unshare(_NEW_MOUNTS | _NEW_USERS) != 0:
                return False
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
            Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
        private = c.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None) == 0
        return bool(private and c.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 0, b"mode=1777") == 0)
    except (OSError, AttributeError):
        return False


class Custody:
    """The program, from its start to the account."""

    def __init__(self, command: list[str], scratch: Path, log: Path) -> None:
        self.subreaper = become_subreaper()
        self.own_memory = shared_memory_of_our_own()
        self.temporary, self.work = scratch / "tmp", scratch / "cwd"
        self.temporary.mkdir()
        self.work.mkdir()
        self._mark = f"{MARK}={uuid.uuid4().hex}"
        self._segments: set[str] = set()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        name, _, value = self._mark.partition("=")
        log.unlink(missing_ok=True)
        self._log = open(log, "ab")  # noqa: SIM115 - for as long as we are
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            cwd=self.work,
            env={**os.environ, "TMPDIR": str(self.temporary), name: value},
            start_new_session=True,
        )

    # --- while it runs ----------------------------------------------------------------------------------------------

    def wait(self, deadline: float, result: Path | None) -> str:
        """How it came to its end: "exit", "deadline", "lingers" (it has its result and stays) or "abandoned"."""
        begun = time.monotonic()
        limit = begun + deadline
        try:
            pidfd = os.pidfd_open(self._child.pid)
        except (AttributeError, OSError):
            pidfd = -1
        try:
            answered = False
            while self._child.poll() is None:
                now = time.monotonic()
                if not answered and result is not None and result.exists():
                    answered, limit = True, min(limit, now + EXIT_GRACE)
                if now >= limit:
                    return "lingers" if answered else "deadline"
                if not self.own_memory:
                    self._note_segments(self.family())
                # The result is looked for now and then only: scenarios measure time, and we are not to disturb them.
                pause = min(limit - now, 0.2 if pidfd >= 0 else 0.05)
                ready, _, _ = select.select([0, pidfd] if pidfd >= 0 else [0], [], [], pause)
                if 0 in ready and not os.read(0, 4096):
                    return "abandoned"
            return "exit"
        finally:
            if pidfd >= 0:
                os.close(pidfd)

    def family(self) -> list[Process]:
        """All that descends from the program, and itself, dead or alive; parents before their children."""
        everything = {process.pid: process for process in processes()}
        me = os.getpid()
        mark = self._mark.encode()
        found = {
            pid
            for pid, process in everything.items()
            if process.session == self._child.pid or (not self.subreaper and carries(pid, mark))
        }
        below = {me}
        grown = True
        while grown:
            children = {process.pid for process in everything.values() if process.parent in below | found}
            grown = not children <= found
            found |= children
        found.discard(me)
        return sorted((everything[pid] for pid in found), key=lambda process: (process.started, process.pid))

    def _note_segments(self, family: list[Process]) -> None:
        for process in family:
            try:
                maps = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue  # it has just gone
            self._segments.update(re.findall(r"(/dev/shm/\S+)$", maps, re.MULTILINE))

    # --- its end ----------------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        self._log.write(f"--- {text}\n".encode())
        self._log.flush()

    def dump(self) -> None:
        """Stop everything, then have every Python in it, children first, say where its threads were, and die of it."""
        family = [process for process in self.family() if process.state != "Z"]
        for process in family:
            self._signal(process.pid, signal.SIGSTOP)
        self.say("not ended in time; its processes:")
        for process in family:
            self.say(f"{process.pid} (parent {process.parent}) {process.state} {process.title[:200]}")
        for process in reversed(family):
            if not self._is_python(process.pid):
                continue
            self.say(f"stacks of {process.pid}:")
            self._signal(process.pid, signal.SIGABRT)
            self._signal(process.pid, signal.SIGCONT)
            limit = time.monotonic() + 2
            while self._runs(process) and time.monotonic() < limit:
                time.sleep(0.01)

    @staticmethod
    def _is_python(pid: int) -> bool:
        try:
            name = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
        except OSError:
            return False
        return name.startswith(("python", "pypy"))

    @staticmethod
    def _runs(process: Process) -> bool:
        return any(p.identity == process.identity and p.state not in "ZX" for p in processes())

    @staticmethod
    def _signal(pid: int, number: int) -> None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass

    def _reap(self) -> None:
        """Collect what was orphaned to us; the program itself is left to its Popen."""
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None or found.si_pid == self._child.pid:
                return
            os.waitpid(found.si_pid, 0)

    def _unseen(self) -> bool:
        """Whether there is a child that was not seen. Only the kernel's word that there is none at all denies it."""
        if not self.subreaper:
            return False
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True

    def _catch(self) -> None:
        """Kill children as they turn up, quicker than /proc can be read as a whole."""
        children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
        limit = time.monotonic() + 0.5
        while self._unseen() and time.monotonic() < limit:
            try:
                found = children.read_text(encoding="ascii")
            except OSError:
                return  # this kernel does not tell
            # What has ended is a zombie until we reap it: its number is nobody else's.
            for pid in found.split():
                self._signal(int(pid), signal.SIGKILL)
            self._child.poll()
            self._reap()

    def left_behind(self, grace: float) -> list[Process]:
        """What still lives after the program's end. A zombie counts if its parent is among it: nobody else can reap it."""
        limit = time.monotonic() + grace
        while True:
            self._reap()
            family = [process for process in self.family() if process.pid != self._child.pid]
            living = {process.pid for process in family if process.state not in "ZX"}
            left = [process for process in family if process.pid in living or process.parent in living]
            unseen = not left and self._unseen()
            if not (left or unseen):
                return []
            if time.monotonic() > limit:
                quick = Process(0, os.getpid(), 0, "R", 0, "that forks and ends before it can be looked at")
                return [quick] if unseen else left
            time.sleep(0.02)

    def kill(self) -> None:
        """Everything, again and again until nothing new turns up."""
        limit = time.monotonic() + 10
        while True:
            living = [p for p in self.family() if p.state not in "ZX"]
            for process in living:
                self._signal(process.pid, signal.SIGKILL)
            self._child.poll()
            self._reap()
            unseen = not living and self._unseen()
            if unseen:
                self._catch()
            if not (living or unseen) or time.monotonic() > limit:
                break
            time.sleep(0.01)
        self._child.wait(5)

    def files(self) -> list[str]:
        """Temporary files that are still there, and segments and semaphores, which are removed."""
        found = [
            f"file {path.relative_to(self.temporary)}"
            for path in sorted(self.temporary.rglob("*"))
            if not path.is_dir() or not any(path.iterdir())
        ]
        if self.own_memory:
            segments = sorted(os.path.join("/dev/shm", name) for name in os.listdir("/dev/shm"))
        else:
            segments = sorted(path for path in self._segments if os.path.exists(path))
        for path in segments:
            Path(path).unlink(missing_ok=True)
        return found + [f"segment {path}" for path in segments]

    def run(self, deadline: float, result: Path | None) -> dict[str, Any]:
        begun = time.monotonic()
        ended = self.wait(deadline, result)
        took = time.monotonic() - begun
        left: list[str] = []
        if ended == "exit":
            left = [f"process {p.pid} {p.state} {p.title[:160]}" for p in self.left_behind(DYING_GRACE)]
        elif ended != "abandoned":
            self.dump()
        self.kill()
        if ended == "abandoned":
            shutil.rmtree(self.temporary.parent, ignore_errors=True)
        else:
            left += self.files()
        return {
            "ended": ended,
            "code": self._child.returncode,
            "seconds": took,
            "left": left,
            "exact": self.subreaper and self.own_memory,
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deadline", type=float, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--result", type=Path)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    # Whoever started us decides, by the life line. A handler and not SIG_IGN, which the program would inherit.
    signal.signal(signal.SIGINT, lambda *_: None)
    custody = Custody(options.command, options.scratch, options.log)

    def stop(*_: object) -> None:
        custody.kill()
        sys.exit(143)

    signal.signal(signal.SIGTERM, stop)
    account = custody.run(options.deadline, options.result)
    print(json.dumps(account), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
