# SPDX-License-Identifier: MIT
"""The wheelhouse: sdist and wheel of every package of a tree, and the constraints that pin siblings to them.

`dist/siblings.txt` holds a `plait-x @ file:///...whl` line per package. Given as a constraint it makes every resolver
take the siblings of this commit, and a bound that they violate still fails to resolve.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import again
import uv
import workspace
from workspace import Package

PINS = workspace.ROOT / "tools" / "requirements-wheels.txt"
BACKEND = workspace.ROOT / ".nox" / "build-backend"

# What this process has built already: None for a success, otherwise the error, which would be the same again.
_built: dict[Path, WheelhouseError | None] = {}


class WheelhouseError(Exception):
    """A step failed; the message holds the command and what it said."""


def run_uv(*args: str | Path, cwd: Path | None = None) -> None:
    """Run uv; what it said is told only when it fails."""
    command = [uv.find_uv_bin(), *map(str, args)]
    done = subprocess.run(
        command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        raise WheelhouseError(f"uv {' '.join(command[1:])} failed (exit {done.returncode}):\n{done.stdout}")


def environment(place: Path, python: str) -> Path:
    """A new, empty environment; returns its python."""
    run_uv("venv", "--clear", "--python", python, place)
    return place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def install(python: Path, args: Sequence[str]) -> None:
    """Install into the environment of `python`; a failure is tried again, for it may be the network's."""

    def attempt() -> None:
        run_uv("pip", "install", "--python", python, *args)

    again.tried_again(attempt, WheelhouseError, lambda text: print(text, file=sys.stderr, flush=True))


def build(root: Path, out: Path, *, log: Callable[[str], object] = print) -> None:
    """Build what is under `root/packages` into `out`, unless that was done for these very files already."""
    if out not in _built:
        try:
            _build(root, out, log)
            _built[out] = None
        except WheelhouseError as error:
            _built[out] = error
    if failure := _built[out]:
        raise failure


def _build(root: Path, out: Path, log: Callable[[str], object]) -> None:
    folders = workspace.packages(root)
    stamp = out / "built-from"
    identity = workspace.fingerprint(root / "packages") + " " + str(out)
    if not (stamp.exists() and stamp.read_text() == identity):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        backend = environment(BACKEND, sys.executable)
        install(backend, ["-r", str(PINS)])
        for package in folders:
            # No isolation: the backend is pinned and installed once, not fetched and unpacked seven times. The wheel
            # is built from the sdist, not from the tree: what the sdist lacks, the wheel lacks too.
            run_uv(
                "build",
                "--no-build-isolation",
                "--python",
                backend,
                "--out-dir",
                out,
                package.folder,
            )
        lines = [f"{p.name} @ {wheel_of(p, out).as_uri()}\n" for p in folders]
        (out / "siblings.txt").write_text("".join(lines))
        stamp.write_text(identity)
        log(f"built {len(folders)} sdists and {len(folders)} wheels into {out.relative_to(root)}/")


def wheel_of(package: Package, out: Path) -> Path:
    return _only(out, f"{package.name.replace('-', '_')}-*.whl")


def sdist_of(package: Package, out: Path) -> Path:
    return _only(out, f"{package.name.replace('-', '_')}-*.tar.gz")


def _only(out: Path, pattern: str) -> Path:
    found = sorted(out.glob(pattern))
    if len(found) != 1:
        raise WheelhouseError(
            f"expected one {pattern} in {out}, found {[p.name for p in found]}; remove the folder and build anew"
        )
    return found[0]


def unpack_sdist(package: Package, out: Path, target: Path) -> Path:
    """Unpack the sdist below `target`; returns the folder inside it."""
    with tarfile.open(sdist_of(package, out)) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(target, filter="data")
        else:
            archive.extractall(target)
    (folder,) = target.iterdir()
    return folder


def install_alone(package: Package, out: Path, place: Path, python: str) -> list[str]:
    """Install one wheel into an empty environment and import it there; returns what of ours came with it."""
    inside = environment(place, python)
    install(inside, ["-c", str(out / "siblings.txt"), package.name])
    script = (
        f"import importlib, importlib.metadata as m; [*map(importlib.import_module, {package.import_names!r})]; "
        "print(*sorted(d.metadata['Name'] for d in m.distributions()))"
    )
    done = subprocess.run([str(inside), "-I", "-c", script], capture_output=True, text=True, check=False)
    if done.returncode:
        raise WheelhouseError(f"{package.name}, installed alone, does not import:\n{done.stderr}")
    return done.stdout.split()
