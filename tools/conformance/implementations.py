# SPDX-License-Identifier: MIT
# Two kinds of implementations that are made at run time, to test the instrument itself.
#
# A pass-through is the interpreter's own modules under the implementation's names: whatever the tests do with it must
# come out as without any redirect. A plain module replaces itself by the standard one while it is being imported. A
# package cannot, because its submodules would then be looked for (and loaded a second time) in the standard package's
# folder; it hands reading, setting and deleting of attributes through instead.
#
# A sabotaged one is a copy of another, in which one statement was run too many: results must get worse.
"""Implementations for testing the instrument: one that changes nothing, and one that breaks something."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

PLAIN = """\
import sys

import {standard} as module

sys.modules[__name__] = sys.modules[{standard!r}]
"""

PACKAGE = """\
import sys
from types import ModuleType

import {standard}


class Through(ModuleType):
    def __getattr__(self, name, standard=sys.modules[{standard!r}]):
        return getattr(standard, name)

    def __setattr__(self, name, value, standard=sys.modules[{standard!r}]):
        if name[:2] == "__":
            super().__setattr__(name, value)
        else:
            setattr(standard, name, value)

    def __delattr__(self, name, standard=sys.modules[{standard!r}]):
        delattr(standard, name)

    def __dir__(self, standard=sys.modules[{standard!r}]):
        return dir(standard)


__all__ = getattr(sys.modules[{standard!r}], "__all__", None)
sys.modules[__name__].__class__ = Through
for name in ("sys", "ModuleType", {first!r}, "Through", "name"):
    del globals()[name]
"""

#: The standard modules that are handed through, and their names below the namespace.
PARTS = {
    "_thread": "_thread",
    "threading": "threading",
    "queue": "queue",
    "sched": "sched",
    "subprocess": "subprocess",
    "multiprocessing": "multiprocessing",
    "concurrent.futures": "futures",
}

#: Asked of the interpreter in question, without what its start-up adds: the submodules that its packages have.
LIST = """\
import importlib, json, os, sys
found = {}
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    for folder in getattr(module, "__path__", ()):
        for at, folders, files in os.walk(folder):
            folders[:] = [each for each in folders if each != "__pycache__"]
            part = os.path.relpath(at, folder)
            inside = [] if part == os.curdir else part.split(os.sep)
            for file in files:
                if file.endswith(".py"):
                    stem = [] if file == "__init__.py" else [file[:-3]]
                    found[".".join([name, *inside, *stem])] = file == "__init__.py"
    found.setdefault(name, False)
print(json.dumps(found))
"""


def pass_through(folder: Path, python: Path | str) -> Path:
    """Fill `folder` with an implementation that hands through the modules of the interpreter `python`."""
    said = subprocess.run(
        [str(python), "-I", "-S", "-c", LIST, *PARTS], check=True, capture_output=True, text=True
    ).stdout
    shutil.rmtree(folder / "plait", ignore_errors=True)
    found: dict[str, bool] = json.loads(said)
    for standard, is_package in found.items():
        root = max((name for name in PARTS if f"{standard}.".startswith(f"{name}.")), key=len)
        steps = [PARTS[root], *standard[len(root) :].split(".")[1:]]
        place = folder.joinpath("plait", *steps)
        path = place / "__init__.py" if is_package else place.with_name(place.name + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        template = PACKAGE if is_package else PLAIN
        path.write_text(
            template.format(standard=standard, first=standard.partition(".")[0]), encoding="utf-8"
        )
    return folder


def sabotaged(
    folder: Path, original: Path, module: str = "queue", statement: str = "Queue.join = lambda self: None"
) -> Path:
    """Fill `folder` with a copy of `original` in which `statement` is run at the end of `module`."""
    source = original / "plait"
    if not source.is_dir():
        raise ValueError(f"{original} holds no implementation to break")
    shutil.rmtree(folder / "plait", ignore_errors=True)
    shutil.copytree(source, folder / "plait", ignore=shutil.ignore_patterns("__pycache__"))
    place = folder.joinpath("plait", *module.split("."))
    path = place / "__init__.py" if place.is_dir() else place.with_name(place.name + ".py")
    # It may have replaced itself by another module while it was imported: then that one is broken.
    with path.open("a", encoding="utf-8") as stream:
        stream.write(f"\nexec({statement!r}, vars(__import__('sys').modules[__name__]))\n")
    return folder
