# SPDX-License-Identifier: MIT
"""The surface: names, signatures, documentation, what an import costs, and the examples in the texts."""

from __future__ import annotations

import doctest
import importlib
import inspect
import queue as stdlib_queue
import subprocess
import sys
from pathlib import Path

import pytest

from plait.queue import Queue

PACKAGE = Queue.__module__
MODULE = importlib.import_module(PACKAGE)
BANNED = (
    "threading",
    "queue",
    "sched",
    "subprocess",
    "multiprocessing",
    "concurrent",
    "asyncio",
    "logging",
    "socket",
)


def modules_after(code):
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_who_imports_everything_keeps_his_own_version():
    assert "__version__" not in MODULE.__all__
    assert MODULE.__version__


@pytest.mark.parametrize("name", MODULE.__all__)
def test_every_public_name_exists_and_is_documented(name):
    value = getattr(MODULE, name)
    if not name.startswith("__"):
        assert inspect.getdoc(value)
        for base in inspect.getmro(value) if isinstance(value, type) else ():
            for method, member in vars(base).items():
                if base.__module__.startswith(PACKAGE) and not method.startswith("_"):
                    assert inspect.getdoc(member), method


def test_a_queue_has_every_public_name_of_the_standard_one():
    assert {n for n in dir(stdlib_queue.Queue(1)) if n[0] != "_"} <= set(dir(Queue(1)))
    assert {"_init", "_put", "_get", "_qsize"} <= set(dir(Queue))


@pytest.mark.parametrize(
    "name",
    ["__init__", "empty", "full", "get", "get_nowait", "put", "put_nowait", "qsize", "task_done"],
)
def test_signatures_are_those_of_the_standard_module(name):
    def shape(cls):
        return [
            (p.name, p.kind, p.default) for p in inspect.signature(getattr(cls, name)).parameters.values()
        ]

    assert shape(Queue) == shape(stdlib_queue.Queue)


def test_join_has_a_timeout_more_than_the_standard_one():
    (_, timeout) = inspect.signature(Queue.join).parameters.values()
    assert (timeout.name, timeout.default) == ("timeout", None)


def test_shutdown_has_the_documented_signature():
    (_, immediate) = inspect.signature(Queue.shutdown).parameters.values()
    assert (immediate.name, immediate.default, immediate.kind) == (
        "immediate",
        False,
        immediate.POSITIONAL_OR_KEYWORD,
    )


def test_import_brings_in_no_other_module_of_the_chapter():
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; before = set(sys.modules); import {PACKAGE}; "
        "print(*(set(sys.modules) - before))"
    )
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert PACKAGE in loaded
    assert not {name.partition(".")[0] for name in loaded} & set(BANNED)


def test_the_conditions_bring_in_none_either():
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; import {PACKAGE} as p; q = p.Queue(); "
        "q.not_empty, q.not_full; print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {name.partition(".")[0] for name in loaded} & set(BANNED)


def test_the_examples_in_the_texts_are_true():
    assert doctest.testmod(MODULE).failed == 0
    readme = Path(__file__).parent.parent / "README.md"
    if PACKAGE.count(".") == 1:  # vendored, the imports in the README are of another copy
        outcome = doctest.testfile(str(readme), module_relative=False)
        assert outcome.attempted > 5
        assert outcome.failed == 0
