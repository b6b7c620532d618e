# SPDX-License-Identifier: MIT
"""The surface: names, signatures, documentation, what an import costs, and the examples in the texts."""

from __future__ import annotations

import doctest
import importlib
import inspect
import sched as stdlib_sched
import subprocess
import sys
from pathlib import Path

import pytest

from plait.sched import scheduler

PACKAGE = scheduler.__module__
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


@pytest.mark.parametrize("name", MODULE.__all__)
def test_every_public_name_exists_and_is_documented(name):
    value = getattr(MODULE, name)
    if not name.startswith("__"):
        assert inspect.getdoc(value)
        for method, member in vars(value).items():
            if not method.startswith("_") and name != "Event":
                text = inspect.getdoc(value if inspect.ismemberdescriptor(member) else member)
                assert text, method
                assert not inspect.ismemberdescriptor(member) or f"`{method}`" in text, method


def test_nothing_of_the_standard_module_is_missing():
    public = [
        n for n, v in vars(stdlib_sched).items() if getattr(v, "__module__", None) == "sched" and n[0] != "_"
    ]
    assert set(public) | {"scheduler", "Event"} <= set(MODULE.__all__)
    assert {n for n in dir(stdlib_sched.scheduler) if n[0] != "_"} <= set(dir(scheduler))


@pytest.mark.parametrize("name", ["__init__", "cancel", "empty", "enter", "enterabs", "run"])
def test_signatures_are_those_of_the_standard_module_and_additions_are_optional_keywords(name):
    def shape(cls):
        return [
            (p.name, p.kind, p.default if type(p.default) is not object else "a marker")
            for p in inspect.signature(getattr(cls, name)).parameters.values()
        ]

    standard, ours = shape(stdlib_sched.scheduler), shape(scheduler)
    assert ours[: len(standard)] == standard
    for _, kind, default in ours[len(standard) :]:
        assert kind is inspect.Parameter.KEYWORD_ONLY
        assert default is not inspect.Parameter.empty


def test_the_attributes_of_a_scheduler_are_public():
    s = scheduler(len, print)
    assert s.timefunc is len
    assert s.delayfunc is print


@pytest.mark.parametrize("name", ["every", "at", "stop", "run_in_thread", "arun", "cancel_all", "next_due"])
def test_what_the_standard_module_has_not_says_so(name):
    assert "Not in the standard module." in inspect.getdoc(getattr(scheduler, name)).replace("\n", " ")


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        MODULE.nothing  # noqa: B018
    assert "SchedulerThread" in dir(MODULE)


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


def test_the_examples_in_the_texts_are_true():
    assert doctest.testmod(MODULE).failed == 0
    readme = Path(__file__).parent.parent / "README.md"
    if PACKAGE.count(".") == 1:  # vendored, the imports in the README are of another copy
        outcome = doctest.testfile(str(readme), module_relative=False)
        assert outcome.attempted > 5
        assert outcome.failed == 0
