# SPDX-License-Identifier: MIT
"""What is in this repository: its packages, bottom layer first, and the interpreters that can run them.

The package list, the order and the siblings are read from `packages/*/pyproject.toml`; nothing repeats them. The layers
are the one thing that stands here, because a layer is a decision and not a consequence.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
NAMESPACE = "plait"

# Bottom first. Members of one layer do not know each other. Of a package's several portions the main one stands here;
# how they stand to each other is said in importlinter.ini.
LAYERS = (
    ("_thread",),
    ("threading",),
    ("queue", "sched", "subprocess"),
    ("multiprocessing",),
    ("futures",),
)

# Every supported Python: a missing one of the first row is reported as skipped, the second row only joins when present.
SUPPORTED = ("3.10", "3.11", "3.12", "3.13")
ALSO = ("3.14", "3.15", "pypy3.11")


@dataclass(frozen=True)
class Package:
    """One distribution of the repository."""

    name: str  # plait-queue
    portion: str  # queue: the one that the package is named for, and that has its version
    portions: tuple[str, ...]  # that one, and others beside it: threading, dummy_threading
    folder: Path
    siblings: tuple[str, ...]  # names of the distributions of ours that it declares
    requirements: tuple[str, ...]  # everything that it declares
    project: dict[str, Any]

    @property
    def source(self) -> Path:
        return self.folder / "src" / NAMESPACE / self.portion

    @property
    def import_name(self) -> str:
        return f"{NAMESPACE}.{self.portion}"

    @property
    def import_names(self) -> tuple[str, ...]:
        return tuple(f"{NAMESPACE}.{portion}" for portion in self.portions)


def requirement_name(requirement: str) -> str:
    """`plait-queue` of `plait-queue[x]>=0.1,<0.2; python_version < "3.11"`."""
    end = next((i for i, c in enumerate(requirement) if not (c.isalnum() or c in "-_.")), len(requirement))
    return requirement[:end].lower().replace("_", "-").replace(".", "-")


def packages(root: Path = ROOT) -> list[Package]:
    """Every package under `root`, a sibling always before those that depend on it."""
    found = []
    for config in root.glob("packages/*/pyproject.toml"):
        data = tomllib.loads(config.read_text(encoding="utf-8"))
        project = data["project"]
        portion = Path(data["tool"]["hatch"]["version"]["path"]).parent.name
        declared = [name.rpartition(".")[2] for name in project.get("import-names", ())]
        portions = (portion, *(name for name in declared if name != portion))
        wanted = tuple(project.get("dependencies", ()))
        names = [requirement_name(r) for r in wanted]
        ours = tuple(n for n in names if n.startswith(f"{NAMESPACE}-"))
        found.append(Package(project["name"], portion, portions, config.parent, ours, wanted, data))
    rank = {portion: (level, place) for level, row in enumerate(LAYERS) for place, portion in enumerate(row)}
    return sorted(found, key=lambda p: (rank.get(p.portion, (len(LAYERS), 0)), p.name))


def closure(package: Package, known: dict[str, Package]) -> set[str]:
    """The package and every distribution of ours that its declarations pull in."""
    names = {package.name}
    for sibling in package.siblings:
        names |= closure(known[sibling], known)
    return names


def fingerprint(*folders: Path) -> str:
    """A hash over every file below the folders that a build can read."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            ignored = any(part == "__pycache__" or part.startswith(".") for part in inside.parts)
            if path.is_file() and not ignored:
                digest.update(str(inside).encode() + b"\0")
                digest.update(path.read_bytes())
    return digest.hexdigest()


# ---------------------------------------------------------------------------------------------------- interpreters

PROBE = (
    "import sys; print(sys.implementation.name, '%d.%d' % sys.version_info[:2], '%d.%d.%d' % sys.version_info[:3],"
    " getattr(sys, '_base_executable', None) or sys.executable, sep='\\n')"
)


def _describe(command: str) -> tuple[str, tuple[int, ...], str] | None:
    """(our name, full version, real executable) of what answers to `command`, or None when nothing does.

    A pyenv shim of a version that is not selected is there and executable, but answers 127: hence the question.
    """
    try:
        answer = subprocess.run(
            [command, "-I", "-S", "-c", PROBE], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = answer.stdout.splitlines()
    if answer.returncode or len(lines) != 4:
        return None
    name = lines[1] if lines[0] == "cpython" else f"{lines[0]}{lines[1]}"
    return name, tuple(map(int, lines[2].split("."))), lines[3]


def _pyenv_roots() -> list[Path]:
    roots = [os.environ.get("PYENV_ROOT"), str(Path.home() / ".pyenv")]
    on_path = os.environ.get("PATH", "").split(os.pathsep)
    roots += [str(Path(folder).parent) for folder in on_path if folder.endswith("shims")]
    return [p for p in dict.fromkeys(Path(r) for r in roots if r) if (p / "versions").is_dir()]


def interpreters(wanted: tuple[str, ...] = SUPPORTED + ALSO) -> dict[str, str]:
    """Name ("3.12", "pypy3.11") -> executable, for each that is installed.

    What is on PATH wins; then the newest patch release that any pyenv has; then the one that runs this.
    """
    found: dict[str, str] = {}
    for name in wanted:
        spelled = [name, name.split(".")[0]] if name.startswith("pypy") else [f"python{name}"]
        for command in spelled:
            for folder in os.environ.get("PATH", "").split(os.pathsep):
                hit = shutil.which(command, path=folder) if folder else None
                about = _describe(hit) if hit else None
                if about and about[0] == name:
                    found.setdefault(name, about[2])
                    break
        if name not in found:
            found.update(_newest_of_pyenv(name, spelled))
    own = _describe(sys.executable)
    if own and own[0] in wanted:
        found.setdefault(own[0], own[2])
    return {name: found[name] for name in wanted if name in found}


def _newest_of_pyenv(name: str, spelled: list[str]) -> dict[str, str]:
    hits = [
        about
        for root in _pyenv_roots()
        for command in spelled
        for exe in (root / "versions").glob(f"*/bin/{command}")
        if (about := _describe(str(exe))) and about[0] == name
    ]
    return {name: max(hits, key=lambda about: about[1])[2]} if hits else {}


def make_findable(folder: Path) -> dict[str, str]:
    """Put one small launcher per interpreter into `folder` and the folder first on PATH; return the interpreters.

    Launchers and not links: started through a link an interpreter reports the link as its home, and environments made
    from it look for their standard library there.
    """
    known = interpreters()
    folder.mkdir(parents=True, exist_ok=True)
    for name, executable in known.items():
        launcher = folder / (name if name.startswith("pypy") else f"python{name}")
        quoted = executable.replace("'", "'\\''")
        text = f"#!/bin/sh\nexec '{quoted}' \"$@\"\n"
        if not launcher.exists() or launcher.read_text() != text:
            fresh = launcher.with_suffix(f".{os.getpid()}")
            fresh.write_text(text)
            fresh.chmod(0o755)
            fresh.replace(launcher)
    path = [p for p in os.environ.get("PATH", "").split(os.pathsep) if p != str(folder)]
    os.environ["PATH"] = os.pathsep.join([str(folder), *path])
    return known
