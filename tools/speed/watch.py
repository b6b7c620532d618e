# SPDX-License-Identifier: MIT
"""Run one workload in a process of its own, and see to it that nothing of it is left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from custody import become_subreaper, processes, signal_name

TOOLS = Path(__file__).resolve().parent.parent
MARKER = "PLAIT_BENCH_CHILD"
#: What the marks of all children of this process begin with.
RUN = uuid.uuid4().hex


def run(orders: dict[str, Any], path: list[Path]) -> dict[str, Any]:
    """Let a child carry out *orders*; its answer, or what became of it. *path* goes in front of its sys.path."""
    mark = f"{RUN}-{uuid.uuid4().hex}"
    become_subreaper()
    before = descendants()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        files = {"answer": str(folder / "answer"), "turn": str(folder / "turn")}
        (folder / "orders").write_text(json.dumps({**orders, **files}), encoding="utf-8")
        (folder / "tmp").mkdir()
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, [TOOLS, *path])),
            "PYTHONHASHSEED": "0",
            "TMPDIR": str(folder / "tmp"),
            MARKER: mark,
        }
        with open(folder / "said", "w+b") as said:
            child = subprocess.Popen(
                # Not a script: processes that the workload spawns would run it again.
                [sys.executable, "-c", "from speed.child import main; main()", str(folder / "orders")],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=environment,
                start_new_session=True,
            )
            try:
                code: int | None = child.wait(orders["deadline"])
            except subprocess.TimeoutExpired:
                code = None
            finally:
                end_all(child.pid, mark)
                child.wait()
                end_orphans(before)
            said.seek(0)
            words = said.read().decode("utf-8", "replace")
        turn = Path(files["turn"]).read_text().strip() if Path(files["turn"]).exists() else ""
        if code == 0 and Path(files["answer"]).exists():
            answer: dict[str, Any] = json.loads(Path(files["answer"]).read_text(encoding="utf-8"))
        elif code is None:
            answer = {
                "status": "hung",
                "reason": f"not done within {orders['deadline']:.0f} s{_where(words)}",
            }
        else:
            how = f"exit code {code}" if code >= 0 else f"killed by {signal_name(-code)}"
            last = words.strip().splitlines()[-1:] or [""]
            answer = {"status": "died", "reason": f"{how} {last[0][:120]}".strip()}
        if answer["status"] not in ("measured", "absent"):
            answer["said"] = words  # traceback or stacks
        return {"turn": turn, **answer}


def _where(words: str) -> str:
    """The first place in a workload file that faulthandler saw a thread at."""
    found = re.search(r'File "[^"]*?(bench_\w+\.py)", line (\d+) in (\S+)', words)
    return f", at {found[1]}:{found[2]} in {found[3]}" if found else ""


def descendants() -> set[tuple[int, int]]:
    """All that live below this process, by id and start time."""
    if not os.path.isdir("/proc/self"):
        return set()
    everything = [process for process in processes() if process.state not in "ZX"]
    below, grown = {os.getpid()}, True
    while grown:
        children = {process.pid for process in everything if process.parent in below}
        grown = not children <= below
        below |= children
    return {process.identity for process in everything if process.pid in below - {os.getpid()}}


def end_orphans(before: set[tuple[int, int]]) -> None:
    """Kill what came to us, who are its subreaper, since *before*: whatever environment and session it gave itself."""
    limit = time.monotonic() + 10
    while (left := descendants() - before) and time.monotonic() < limit:
        for pid, _ in left:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                continue  # it has just gone, or its parent has to go first


def end_all(pid: int, mark: str) -> None:
    """Kill the child's process group, and whatever else carries its mark in its environment."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it left nothing
    if not os.path.isdir("/proc/self"):
        return
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and mark.encode() in Path(f"/proc/{entry}/environ").read_bytes():
                os.kill(int(entry), signal.SIGKILL)
        except OSError:
            continue  # it has just gone, or is somebody else's
