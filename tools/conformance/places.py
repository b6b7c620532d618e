# SPDX-License-Identifier: MIT
"""Which test modules there are, whose package each of them tests, and the environments that they run in."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import redirect
import wheelhouse
import workspace

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

#: Portion of ours -> the interpreter's test modules and test packages for what it replaces.
TABLE = {
    "_thread": ("test_thread", "test_threadsignals", "test_dummy_thread"),
    "threading": ("test_threading", "test_threading_local", "test_dummy_threading"),
    "queue": ("test_queue",),
    "sched": ("test_sched",),
    "subprocess": ("test_subprocess",),
    "multiprocessing": (
        "test_multiprocessing_fork",
        "test_multiprocessing_forkserver",
        "test_multiprocessing_spawn",
        "test_multiprocessing_main_handling",
    ),
    "futures": ("test_concurrent_futures",),
}

#: The implementations that can be asked for; the first is what everything is measured by.
IMPLEMENTATIONS = ("standard", "plait", "fallback", "passthrough", "sabotaged")

#: What the implementation `fallback` does without: module, and the statement that is run at its end.
WITHOUT = ("subprocess", "_start.order.remove('fork_exec')")

#: What the file names of the data files are made of: `thread` for `_thread`.
PORTIONS = tuple(TABLE)


class PlaceError(Exception):
    """An environment cannot be made; the message says why and what to do."""


def portion_of(test: str) -> str:
    """The portion whose tests the module of this test holds."""
    name = test.partition(".")[0]
    return next(portion for portion, names in TABLE.items() if name in names)


def selected(words: list[str]) -> list[str]:
    """Names of the table for `queue`, `plait-queue`, `test_queue` or `test_concurrent_futures.test_wait`; all for none."""
    if not words:
        return [name for names in TABLE.values() for name in names]
    found: list[str] = []
    for word in words:
        bare = word.removeprefix("plait-").removeprefix("plait.").removeprefix("test.")
        portions = [p for p in TABLE if bare in (p, p.lstrip("_"))]
        if portions:
            found += TABLE[portions[0]]
        elif any(bare.partition(".")[0] in names for names in TABLE.values()):
            found.append(bare)
        else:
            known = ", ".join(
                [*(p.lstrip("_") for p in TABLE), *(n for names in TABLE.values() for n in names)]
            )
            raise PlaceError(f"{word!r} is neither a package nor a test module; there are {known}")
    return list(dict.fromkeys(found))


@dataclass(frozen=True)
class Interpreter:
    """The Python under test."""

    name: str  # 3.12, pypy3.11
    executable: Path
    identity: str  # version, path and a hash over the test files
    version: str


PROBE = """
import os, sys
import test.support
folder = os.path.dirname(test.__file__)
print(sys.version.split()[0], "%d.%d" % sys.version_info[:2], sys.implementation.name, folder, sep="\\n")
"""


def interpreter(executable: str) -> Interpreter:
    """Ask a Python who it is; PlaceError when it has no tests."""
    done = subprocess.run(
        [executable, "-I", "-c", PROBE], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        raise PlaceError(
            f"{executable} does not have its test package, so there is nothing to run:\n{done.stderr}"
        )
    version, minor, implementation, folder = done.stdout.splitlines()
    name = minor if implementation == "cpython" else f"{implementation}{minor}"
    digest = hashlib.sha256(f"{version}\0{executable}\0{done.stdout}".encode())
    files = [
        path
        for names in TABLE.values()
        for test in (*names, "_test_multiprocessing", "lock_tests")
        for path in [Path(folder, f"{test}.py"), *sorted(Path(folder, test).glob("*.py"))]
        if path.is_file()
    ]
    for path in files:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return Interpreter(name, Path(executable), digest.hexdigest()[:16], version)


def sources(*files: Path) -> str:
    """A hash over some of this tool's own sources."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@dataclass
class Place:
    """An environment that is ready, and whether it had to be made."""

    python: Path
    fresh: bool


def place(python: Interpreter, implementation: str, build: Path, siblings: Path | None) -> Place:
    """The environment for one implementation, made anew unless it is there already with just the same contents.

    *siblings* are the constraints that pin our wheels; without them the sources of this tree are used as they lie.
    """
    folder = build / implementation
    redirecting = [HERE / "redirect.py", HERE / "implementations.py", *sorted(HERE.glob("redirecting/*.py"))]
    own = sources(*redirecting)
    ours = ""
    if implementation in ("plait", "fallback"):
        stamp = siblings.with_name("built-from") if siblings else None
        ours = stamp.read_text() if stamp and stamp.exists() else "live"
    identity = " ".join(
        [implementation, python.identity, own, ours, *(WITHOUT * (implementation == "fallback"))]
    )
    stamp_file = folder / "made-from"
    inside = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if stamp_file.exists() and stamp_file.read_text() == identity:
        return Place(inside, fresh=False)
    wheelhouse.environment(folder, str(python.executable))
    filled: str | Path
    if implementation in ("plait", "fallback") and siblings is None:
        filled = _live(build / "live-modules")
    elif implementation in ("plait", "fallback"):
        wheelhouse.install(inside, ["-c", str(siblings), *(package.name for package in workspace.packages())])
        filled = "plait"
    elif implementation == "standard":
        filled = "standard"
    else:
        filled = redirect.pass_through(build / "passthrough-modules", inside)
        if implementation == "sabotaged":
            filled = redirect.sabotaged(build / "sabotaged-modules", filled)
    if implementation == "fallback":
        original = redirect.site_packages(folder) if filled == "plait" else Path(filled)
        filled = redirect.sabotaged(build / "fallback-modules", original, *WITHOUT)
    redirect.install(folder, filled)
    stamp_file.write_text(identity)
    return Place(inside, fresh=True)


def _live(folder: Path) -> Path:
    """A namespace of links to the sources of this tree: what a change needs no wheel for."""
    inside = folder / workspace.NAMESPACE
    inside.mkdir(parents=True, exist_ok=True)
    for package in workspace.packages():
        for portion in package.source.parent.iterdir():
            link = inside / portion.name
            link.unlink(missing_ok=True)
            link.symlink_to(portion)
    return folder
