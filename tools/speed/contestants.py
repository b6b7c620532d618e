# SPDX-License-Identifier: MIT
# Who is timed: the standard module, plait, the bound, peers; or, to test the instrument, two copies of one of them.
#
# A second copy of plait is its source under another package name, as if vendored. A second copy of a standard module
# must keep its name, because pickles and modules of its own package find it by that: it is imported anew while the first
# is hidden, and each copy is in sys.modules only during its own rounds. A module written in C has no second copy; another
# namespace with the same functions stands for it.
"""The implementations that take part in a workload."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from .workloads import Run, Workload, WorkloadFile, load

STANDARD, PLAIT, SECOND = "standard", "plait", "second copy"

#: The package that holds the copied `plait`.
COPIED = "second_copy"


class Contestant:
    """An implementation, what it runs, and as how many operations.

    Each has a copy of the workload file of its own: the interpreter writes into code what types it met there, and what one
    contestant taught it must not cost the next.
    """

    def __init__(
        self, label: str, implementation: Any, path: Path, name: str, bound: bool = False, *hidden: Hidden
    ) -> None:
        self.label = label
        self.implementation = implementation
        file, module = load(path)
        workload = file.named(name)
        self.run: Run = workload.bound[1] if bound and workload.bound else workload.run
        self.n = 1
        self.repeats = 1
        self._hidden = (Hidden((path.stem,), {path.stem: module}), *hidden)

    @contextmanager
    def present(self) -> Iterator[None]:
        """While its modules are the ones that their names lead to."""
        with ExitStack() as stack:
            for hidden in self._hidden:
                stack.enter_context(hidden.shown())
            yield


class Hidden:
    """Modules that have the names of others, and are in sys.modules only now and then."""

    def __init__(self, roots: tuple[str, ...], mine: dict[str, ModuleType] | None = None) -> None:
        self._roots = roots
        self._mine = mine or {}

    def _take_out(self) -> dict[str, ModuleType]:
        names = [
            name
            for name in sys.modules
            if any(name == root or name.startswith(f"{root}.") for root in self._roots)
        ]
        return {name: sys.modules.pop(name) for name in names}

    def _put_in(self, modules: dict[str, ModuleType]) -> None:
        sys.modules.update(modules)
        for name, module in modules.items():
            parent, _, child = name.rpartition(".")
            if parent in sys.modules:
                setattr(sys.modules[parent], child, module)

    @contextmanager
    def shown(self) -> Iterator[None]:
        others = self._take_out()
        self._put_in(self._mine)
        try:
            yield
        finally:
            self._mine = self._take_out()
            self._put_in(others)


def implementation(names: Mapping[str, str]) -> Any:
    """The module of that name, or modules by role."""
    modules = {role: importlib.import_module(name) for role, name in names.items()}
    return modules[""] if "" in modules else SimpleNamespace(**modules)


def second_standard(names: Mapping[str, str]) -> tuple[Any, Sequence[Hidden]]:
    """The standard modules once more."""
    first = {role: importlib.import_module(name) for role, name in names.items()}
    if all(getattr(module, "__file__", None) is None for module in first.values()):
        return SimpleNamespace(**vars(first[""])) if "" in first else implementation(names), ()
    hidden = Hidden(tuple(names.values()))
    with hidden.shown():
        return implementation(names), (hidden,)


def copy_plait(folder: Path) -> None:
    """Put the source of every portion of plait that can be imported below *folder*."""
    target = folder / COPIED / "plait"
    target.mkdir(parents=True)
    for place in importlib.import_module("plait").__path__:
        for portion in Path(place).iterdir():
            if portion.is_dir() and portion.name != "__pycache__":
                shutil.copytree(portion, target / portion.name, ignore=shutil.ignore_patterns("__pycache__"))


def second_plait(names: Mapping[str, str]) -> Any:
    """plait under another name; `copy_plait` has put it where imports find it."""
    return implementation({role: f"{COPIED}.{name}" for role, name in names.items()})


class AbsentError(Exception):
    """An implementation has not what a workload is about."""


def take_part(
    file: WorkloadFile, workload: Workload, same: str, peers: bool, left_out: Mapping[str, str]
) -> tuple[list[Contestant], dict[str, str]]:
    """The contestants of a workload, the standard module and its rival first; and those that cannot, with the reason."""
    refused = dict(left_out)

    def contestant(label: str, found: Any, *hidden: Hidden, bound: bool = False) -> Contestant:
        return Contestant(label, found, file.path, workload.name, bound, *hidden)

    first = _present(STANDARD, lambda: implementation(file.standard), workload)
    if same == STANDARD:
        second, hidden = second_standard(file.standard)
        return [contestant(STANDARD, first), contestant(SECOND, second, *hidden)], refused
    ours = _present(PLAIT, lambda: implementation(file.plait), workload)
    if same == PLAIT:
        return [contestant(PLAIT, ours), contestant(SECOND, second_plait(file.plait))], refused
    chosen = [contestant(STANDARD, first), contestant(PLAIT, ours)]
    if workload.bound and workload.bound[0] not in refused:
        chosen.append(contestant(workload.bound[0], first, bound=True))
    for name in (file.peers if workload.peers is None else workload.peers) if peers else ():
        if name in refused:
            continue
        try:
            chosen.append(contestant(name, _present(name, file.peers[name], workload)))
        except AbsentError:
            continue  # what it has not it cannot be beaten at
        except Exception as error:  # noqa: BLE001 - whatever a stranger's import raises, the rest goes on
            refused[name] = f"{type(error).__name__}: {error}"
    return chosen, refused


def _present(label: str, load: Callable[[], Any], workload: Workload) -> Any:
    try:
        found = load()
    except ModuleNotFoundError as error:
        if label != PLAIT:
            raise
        raise AbsentError(f"plait has no {error.name}") from error
    if lacking := workload.lacks(found):
        raise AbsentError(f"{label} has no {lacking}")
    return found
