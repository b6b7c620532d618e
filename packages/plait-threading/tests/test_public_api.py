# SPDX-License-Identifier: MIT
"""The surface: what it has, what it says, what it brings in."""

from __future__ import annotations

import doctest
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from plait.threading import Thread, __all__

MODULE = importlib.import_module(Thread.__module__.rpartition(".")[0])
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
