# SPDX-License-Identifier: MIT
# A workload file is packages/plait-*/benchmarks/bench_*.py. It is plain data and functions and imports nothing of this
# tool, so that the package can be measured without the repository. packages/plait-queue/benchmarks/bench_queue.py is the
# example to follow. At its top level are
#
#   AREA        one of AREAS below
#   STANDARD    the name of the standard module, "queue"; or names by role, {"futures": "concurrent.futures", ...}
#   PLAIT       the name of ours, in the same form
#   WORKLOADS   a list of dicts, see below
#   PEERS       optional: {"janus": function}: imports the peer and returns an implementation. Called only for --peers
#
# An implementation is what workloads are given: the module, or with names by role an object with one module per role
# (impl.futures, impl.multiprocessing), or whatever a peer's function returns that looks like it.
#
# The keys of a workload:
#
#   name        required: as performance tables call it
#   run         required, if there is no `imports`: a generator function run(impl, n) that performs n operations. What it
#               does before its first `yield` is set-up, what it does between the two is timed, what it does after the second
#               is tear-down. If the second hands over a number (`yield seconds`) that is the time, measured by the workload
#               in a place that the harness cannot see, e.g. a fresh interpreter. After it, `run` must have left no thread,
#               process or file.
#   imports     instead of `run`: the role of the module ("" for a single one) whose import is timed, in interpreters that
#               have imported nothing (imports.py)
#   needs       a name or tuple of names, dotted ones too, that an implementation must have for this workload ("Queue",
#               "Queue.shutdown", "futures.ThreadPoolExecutor"). Where plait has one of them not, the workload is "absent",
#               and lights up on the day it comes; a peer that has not is left out.
#   floor, goal the ratios to the standard module that must, and that should, be reached; left out where none is set
#   bound       (what it is, run): nothing that Python code does to this end can be faster; its `run` is given the
#               standard implementation
#   n           a fixed number of operations per call, where the cost of one depends on how many there are (fill+drain).
#               Otherwise n is chosen for each contestant such that a round takes some 30 ms.
#   at_most     the largest n that makes sense (as many cancellations as there are events)
#   hand_over   True if threads that take turns are what is timed (ping-pong): see bench.py for what follows
#   one_thread  True if one thread does all of the work but sleeps at times (sched): its time in the queue for a core, when
#               other programs are busy, can then be left out exactly
#   peers       names of the PEERS that this workload is for; all, if left out
#   note        a few words to print beside the figures
#   deadline    seconds after which the whole workload counts as hung, where the usual ones do not do
"""Find workload files, load them, and refuse wrong ones with a word about why."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from . import imports

AREAS = ("thread", "threading", "queue", "sched", "subprocess", "multiprocessing", "futures", "imports")

#: run(implementation, number of operations), see above.
Run = Callable[[Any, int], Iterator["float | None"]]


class WorkloadError(Exception):
    """A workload file does not keep to the rules at the top of this module."""


@dataclasses.dataclass(frozen=True)
class Workload:
    """One thing to time."""

    name: str
    run: Run
    needs: tuple[str, ...] = ()
    floor: float | None = None
    goal: float | None = None
    bound: tuple[str, Run] | None = None
    n: int | None = None
    at_most: int | None = None
    hand_over: bool = False
    one_thread: bool = False
    peers: tuple[str, ...] | None = None
    note: str = ""
    deadline: float | None = None

    def lacks(self, implementation: object) -> str:
        """The first name that *implementation* would need for this workload and has not, or nothing."""
        for dotted in self.needs:
            where = implementation
            for name in dotted.split("."):
                if not hasattr(where, name):
                    return dotted
                where = getattr(where, name)
        return ""


@dataclasses.dataclass(frozen=True)
class WorkloadFile:
    """What a bench_*.py says."""

    path: Path
    area: str
    standard: Mapping[str, str]
    plait: Mapping[str, str]
    workloads: tuple[Workload, ...]
    peers: Mapping[str, Callable[[], Any]]

    def named(self, name: str) -> Workload:
        (found,) = (workload for workload in self.workloads if workload.name == name)
        return found


def find(root: Path) -> list[Path]:
    """The workload files of a repository."""
    return sorted(root.glob("packages/*/benchmarks/bench_*.py"))


def load(path: Path) -> tuple[WorkloadFile, ModuleType]:
    """Import a workload file anew under its own name, its folder on sys.path: processes it starts must find it, too."""
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return _checked(path, module), module


def _checked(path: Path, module: ModuleType) -> WorkloadFile:
    said = vars(module)
    for name in ("AREA", "STANDARD", "PLAIT", "WORKLOADS"):
        if name not in said:
            raise WorkloadError(f"{path.name} does not say {name}; tools/speed/workloads.py says what it is")
    if said["AREA"] not in AREAS:
        raise WorkloadError(f"{path.name}: AREA is {said['AREA']!r}, not one of {', '.join(AREAS)}")
    workloads = tuple(_workload(path, raw) for raw in said["WORKLOADS"])
    names = [workload.name for workload in workloads]
    if twice := {name for name in names if names.count(name) > 1}:
        raise WorkloadError(f"{path.name} has two workloads named {', '.join(sorted(twice))}")
    peers = said.get("PEERS", {})
    for workload in workloads:
        if unknown := set(workload.peers or ()) - set(peers):
            raise WorkloadError(f"{path.name}: {workload.name!r} names peers that PEERS has not: {unknown}")
    return WorkloadFile(
        path, said["AREA"], _by_role(said["STANDARD"]), _by_role(said["PLAIT"]), workloads, peers
    )


def _by_role(names: str | Mapping[str, str]) -> Mapping[str, str]:
    """A single module has the empty role."""
    return {"": names} if isinstance(names, str) else dict(names)


def _workload(path: Path, raw: Mapping[str, Any]) -> Workload:
    known = {field.name for field in dataclasses.fields(Workload)} | {"imports"}
    if wrong := set(raw) - known:
        raise WorkloadError(
            f"{path.name}: {raw.get('name')!r} has {sorted(wrong)}; known are {sorted(known)}"
        )
    if "imports" in raw:
        role = raw["imports"]
        raw = {name: value for name, value in raw.items() if name != "imports"}
        raw.setdefault("needs", role or ())
        raw["run"] = imports.runner(role)
    if missing := {"name", "run"} - set(raw):
        raise WorkloadError(f"{path.name}: a workload lacks {sorted(missing)}: {raw!r}")
    for run in (raw["run"], *raw.get("bound", ())[1:]):
        if not inspect.isgeneratorfunction(run):
            raise WorkloadError(f"{path.name}: {raw['name']!r}: {run!r} is not a generator function")
    told = dict(raw)
    for name in ("needs", "peers"):
        if isinstance(told.get(name), str):
            told[name] = (told[name],)
    return Workload(**told)
