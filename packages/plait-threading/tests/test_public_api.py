# SPDX-License-Identifier: MIT
"""The surface: what it has, what it says, what it brings in."""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import pickle
import pydoc
import subprocess
import sys
import threading as standard
from pathlib import Path

import pytest

from plait.threading import Thread, __all__

MODULE = importlib.import_module(Thread.__module__)
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


def test_who_imports_everything_keeps_his_own_version():
    dummy = importlib.import_module(f"{MODULE.__name__.rpartition('.')[0]}.dummy_threading")
    assert "__version__" not in {*MODULE.__all__, *dummy.__all__}
    assert MODULE.__version__


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


def test_documentation_lists_what_is_public_by_its_public_name():
    text = pydoc.plain(pydoc.render_doc(MODULE))
    for name in ("Thread", "Condition", "RWLock", "NamedLock"):
        assert f"    class {name}(" in text
        assert f"._{name}" not in text


def test_importing_brings_in_none_of_the_modules_it_replaces():
    source = f"import sys, {MODULE.__name__}; print([m for m in {BANNED} if m in sys.modules])"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    plain = subprocess.run(
        [sys.executable, "-S", "-c", source], capture_output=True, text=True, env=env, check=True, timeout=30
    )
    assert plain.stdout == "[]\n"


@pytest.mark.parametrize("name", ["", ".debug"])
def test_the_examples_of_modules_are_true(name):
    found = doctest.testmod(importlib.import_module(MODULE.__name__ + name))
    assert found.failed == 0
    assert found.attempted


def test_the_examples_are_true():
    found = [
        example
        for name in __all__
        if getattr(getattr(MODULE, name), "__module__", "").startswith(MODULE.__name__)
        for example in doctest.DocTestFinder().find(
            getattr(MODULE, name), name, module=False, globs=dict(vars(MODULE))
        )
    ]
    runner = doctest.DocTestRunner()
    for example in found:
        runner.run(example)
    assert runner.failures == 0
    told = {example.name for example in found if example.examples}
    assert {"RWLock", "RWLock.downgrade", "NamedLock", "concurrent_tee"} <= told


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
