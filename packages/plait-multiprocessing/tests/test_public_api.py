# SPDX-License-Identifier: MIT
"""The surface: what is there, is documented, and costs nothing to import."""

from __future__ import annotations

import doctest
import importlib
import inspect
import multiprocessing as standard
import subprocess
import sys
from pathlib import Path

import pytest

from plait import multiprocessing as mp

MODULES = [
    "",
    ".connection",
    ".context",
    ".process",
    ".queues",
    ".reduction",
    ".sharedctypes",
    ".spawn",
    ".synchronize",
]


@pytest.mark.parametrize("suffix", MODULES)
def test_every_public_name_is_there_and_documented(suffix):
    module = importlib.import_module(mp.__name__ + suffix)
    assert module.__doc__
    for name in module.__all__:
        if name != "__version__":
            assert inspect.getdoc(getattr(module, name)), name


@pytest.mark.parametrize(
    "name", [n for n in mp.__all__ if hasattr(standard, n) and inspect.ismethod(getattr(mp, n))]
)
def test_signatures_are_those_of_the_standard_module(name):
    ours = inspect.signature(getattr(mp, name)).parameters
    theirs = inspect.signature(getattr(standard, name)).parameters
    assert list(ours) == list(theirs)


def test_import_pulls_in_none_of_the_replaced_modules():
    code = f"""
import sys
import {mp.__name__}
banned = {{'threading', 'queue', 'sched', 'subprocess', 'multiprocessing', 'concurrent.futures', 'socket', 'pickle',
           'ctypes', 'tempfile', 'logging', 'asyncio'}}
print(*sorted(banned & set(sys.modules)))
"""
    path = repr([p for p in sys.path if p])
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:] = {path}\n{code}"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "\n"


def test_readme_examples_work():
    readme = Path(__file__).parent.parent / "README.md"
    assert doctest.testfile(str(readme), module_relative=False).failed == 0
