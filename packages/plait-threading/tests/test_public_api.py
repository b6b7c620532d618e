# SPDX-License-Identifier: MIT
"""The surface: what it has, what it says, what it brings in."""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import subprocess
import sys
import threading as standard
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


@pytest.mark.parametrize("name", ["", ".debug", "._iterators", "._named", "._rwlock"])
def test_the_examples_are_true(name):
    module = importlib.import_module(MODULE.__name__ + name)
    found = doctest.testmod(module, extraglobs=vars(MODULE) if name else None)
    assert found.failed == 0
    assert found.attempted


# What the documentation of 3.15 has, and what that of 3.7 had in addition.
DOCUMENTED = (
    "Barrier",
    "BoundedSemaphore",
    "BrokenBarrierError",
    "Condition",
    "Event",
    "ExceptHookArgs",
    "Lock",
    "RLock",
    "Semaphore",
    "TIMEOUT_MAX",
    "Thread",
    "ThreadError",
    "Timer",
    "active_count",
    "activeCount",
    "concurrent_tee",
    "current_thread",
    "currentThread",
    "enumerate",
    "excepthook",
    "__excepthook__",
    "get_ident",
    "get_native_id",
    "getprofile",
    "gettrace",
    "local",
    "main_thread",
    "serialize_iterator",
    "setprofile",
    "setprofile_all_threads",
    "settrace",
    "settrace_all_threads",
    "stack_size",
    "synchronized_iterator",
)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_it_has_what_any_version_has_documented(name):
    assert hasattr(MODULE, name)
    assert name in __all__ or name.startswith("__") or name in ("activeCount", "currentThread")


@pytest.mark.skipif(sys.version_info < (3, 15), reason="compares with the newest")
@pytest.mark.parametrize(
    "name", sorted({*standard.__all__} - {"RLock", "excepthook"})
)  # no signature; pytest's
def test_signatures_are_those_of_the_newest_version_and_more(name):
    pairs = [(getattr(standard, name), getattr(MODULE, name))]
    if isinstance(pairs[0][0], type):
        pairs += [
            (method, getattr(pairs[0][1], called))
            for called, method in vars(pairs[0][0]).items()
            if inspect.isfunction(method) and not called.startswith("_")
        ]
    for theirs, ours in pairs:
        try:
            expected = inspect.signature(theirs).parameters
        except (TypeError, ValueError):
            continue
        have = inspect.signature(ours).parameters
        for parameter in expected.values():
            mine = have[parameter.name]
            assert (mine.kind, mine.default) == (parameter.kind, parameter.default), (theirs, mine)
        for extra in [*have.values()][len(expected) :]:
            assert extra.kind is inspect.Parameter.KEYWORD_ONLY


def test_the_readme_is_true():
    readme = Path(__file__).parent.parent / "README.md"
    if readme.exists() and MODULE.__name__.startswith("plait."):
        assert doctest.testfile(str(readme), module_relative=False).failed == 0
