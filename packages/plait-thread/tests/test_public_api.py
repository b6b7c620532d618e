# SPDX-License-Identifier: MIT
"""The surface: what it has, what it says, what it brings in."""

from __future__ import annotations

import doctest
import importlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from plait._thread import __all__, fork_generation

MODULE = importlib.import_module(fork_generation.__module__.rpartition(".")[0])
BANNED = (
    "threading",
    "queue",
    "sched",
    "subprocess",
    "multiprocessing",
    "concurrent.futures",
    "asyncio",
    "logging",
    "socket",
)


@pytest.mark.parametrize("name", __all__)
def test_every_public_name_exists_and_is_documented(name):
    value = getattr(MODULE, name)
    if callable(value) and getattr(value, "__module__", "").startswith(MODULE.__name__):
        assert value.__doc__


@pytest.mark.parametrize("name", [name for name in __all__ if isinstance(getattr(MODULE, name), type)])
def test_a_class_says_where_it_is_to_be_had(name):
    found = getattr(MODULE, name)
    if found.__module__.startswith(MODULE.__name__) and found.__name__ == name:
        assert found.__module__ == MODULE.__name__
        assert pickle.loads(pickle.dumps(found)) is found


def test_importing_brings_in_none_of_the_modules_it_replaces():
    source = f"import sys, {MODULE.__name__}; print([m for m in {BANNED} if m in sys.modules])"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    plain = subprocess.run(
        [sys.executable, "-S", "-c", source], capture_output=True, text=True, env=env, check=True, timeout=30
    )
    assert plain.stdout == "[]\n"


def test_the_examples_are_true():
    assert doctest.testmod(MODULE).failed == 0
    readme = Path(__file__).parent.parent / "README.md"
    if readme.exists() and MODULE.__name__.startswith("plait."):
        assert doctest.testfile(str(readme), module_relative=False).failed == 0


def test_who_imports_everything_keeps_a_version_of_its_own():
    assert "__version__" not in __all__
    assert MODULE.__version__
