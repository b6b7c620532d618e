# SPDX-License-Identifier: MIT
# Who is killed cannot clean up. So a run that has children in sessions of their own starts a sitter first, and holds the
# only writing end of its standard input. When that ends, because the run is over or was killed, the sitter kills all that
# carries the run's mark in its environment, what descends from that and what shares its session, and removes the folders
# that were made for it (the parents of TMPDIR, and those that it is told of). After an orderly end there is none.
"""`python sitter.py NAME=VALUE [FOLDER]`: when standard input ends, end what has such a variable in its environment."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests-integration"))

from watched import carries, processes


@contextmanager
def sitter(mark: str, *folders: str) -> Iterator[None]:
    """Have somebody end all that carries *mark*, and remove *folders*, when this process ends, however it does."""
    process = subprocess.Popen(
        [sys.executable, __file__, mark, *folders],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def end_all(mark: bytes) -> None:
    """Kill, again and again until nothing new turns up, and remove the folders."""
    limit = time.monotonic() + 10
    folders: set[Path] = set()
    seen: set[tuple[int, int]] = set()
    while time.monotonic() < limit:
        living = [process for process in processes() if process.state not in "ZX"]
        found = {p.pid for p in living if p.identity in seen or carries(p.pid, mark)} - {os.getpid()}
        sessions = {process.session for process in living if process.pid in found} & found
        grown = True
        while grown:
            more = {p.pid for p in living if p.parent in found or p.session in sessions}
            grown = not more <= found
            found |= more
        if not found:
            break
        seen |= {process.identity for process in living if process.pid in found}
        folders.update(folder for pid in found if (folder := folder_of(pid, mark)))
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it has just gone
        time.sleep(0.02)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def folder_of(pid: int, mark: bytes) -> Path | None:
    """What was made for a marked process, if its own leader says so."""
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    temporary = next((Path(os.fsdecode(word[7:])) for word in words if word.startswith(b"TMPDIR=")), None)
    marked = any(word.startswith(mark) for word in words)
    # The tools' own are FOLDER/tmp with a name that says whose it is; anything else is not ours to remove.
    if temporary is None or not marked or temporary.name != "tmp":
        return None
    return temporary.parent if re.match(r"(pc|bench)-", temporary.parent.name) else None


def main() -> None:
    mark = sys.argv[1].encode()
    while os.read(0, 4096):
        pass
    if os.path.isdir("/proc/self"):
        end_all(mark)
    for folder in sys.argv[2:]:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
