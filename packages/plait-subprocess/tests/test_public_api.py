# SPDX-License-Identifier: MIT
"""The public surface: what it names, what it documents, what importing it costs."""

from __future__ import annotations

import copy
import doctest
import importlib
import inspect
import os
import pickle
import subprocess as stdlib_subprocess
import sys
import traceback
from pathlib import Path

import pytest

from plait.subprocess import (
    CalledProcessError,
    CompletedProcess,
    OutputTooLarge,
    Popen,
    SubprocessError,
    TimeoutExpired,
    run,
)

PACKAGE = Popen.__module__
piece = importlib.import_module(PACKAGE)
PICKLED = [
    lambda thing, protocol=protocol: pickle.loads(pickle.dumps(thing, protocol))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
]
BANNED = {
    "threading",
    "queue",
    "sched",
    "subprocess",
    "multiprocessing",
    "concurrent",
    "concurrent.futures",
    "asyncio",
    "logging",
    "socket",
    "selectors",
    "signal",
    "locale",
    "typing",
    "enum",
}
# What this package adds, all of it to be given by name.
EXTRA = {
    "Popen": {"mark_tree", "rlimits", "nice", "die_with_parent", "spawn_timeout"},
    "call": {"kill_tree", "grace"},
    "getoutput": {"timeout", "kill_tree", "grace"},
    "getstatusoutput": {"timeout", "kill_tree", "grace"},
    "communicate": {"on_stdout", "on_stderr", "max_output"},
    "run": {"kill_tree", "grace", "on_stdout", "on_stderr", "max_output"},
}


@pytest.mark.parametrize("name", piece.__all__)
def test_every_public_name_exists_and_is_documented(name):
    thing = getattr(piece, name)
    if callable(thing):
        assert thing.__doc__
        for attribute, member in vars(thing).items() if isinstance(thing, type) else ():
            if not attribute.startswith("_") and callable(member):
                assert member.__doc__, f"{name}.{attribute}"


def test_import_pulls_in_none_of_what_it_replaces():
    code = (
        f"import sys; before = set(sys.modules); import {PACKAGE}; print(*sorted(set(sys.modules) - before))"
    )
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}; {code}"]
    loaded = set(run(command, capture_output=True, text=True, check=True).stdout.split())
    assert PACKAGE in loaded
    if not PACKAGE.startswith("app."):
        assert not loaded & BANNED


def test_parameters_of_popen_are_those_of_the_standard_class():
    ours = inspect.signature(Popen.__init__).parameters
    theirs = inspect.signature(stdlib_subprocess.Popen.__init__).parameters
    for (our_name, one), (their_name, other) in zip(ours.items(), theirs.items(), strict=False):
        assert (our_name, one.default, one.kind) == (their_name, other.default, other.kind)
    # 3.10 has no process_group yet; nothing else may be missing, and what is ours can only be given by name.
    assert set(ours) ^ set(theirs) <= {"process_group", *EXTRA["Popen"]}
    assert all(ours[name].kind is ours[name].KEYWORD_ONLY for name in EXTRA["Popen"])


@pytest.mark.parametrize(
    "name", ["run", "call", "check_call", "check_output", "getoutput", "getstatusoutput"]
)
def test_parameters_of_functions_are_those_of_the_standard_module(name):
    if name.startswith("get") and sys.version_info < (3, 11):
        pytest.skip("takes no encoding and errors there yet")

    def shape(module):
        return [
            (p.name, p.default, p.kind)
            for p in inspect.signature(getattr(module, name)).parameters.values()
            if module is not piece or p.name not in EXTRA.get(name, ())
        ]

    assert shape(piece) == shape(stdlib_subprocess)


def test_methods_have_the_standard_parameters():
    for name in ("poll", "wait", "communicate", "send_signal", "kill", "terminate", "__enter__", "__exit__"):
        ours = inspect.signature(getattr(Popen, name)).parameters
        theirs = inspect.signature(getattr(stdlib_subprocess.Popen, name)).parameters
        assert [one for one in ours if one not in EXTRA.get(name, ())] == list(theirs), name


def test_every_standard_public_name_is_there():
    assert set(stdlib_subprocess.__all__) <= set(piece.__all__)


def test_arun_takes_what_run_takes():
    ours = inspect.signature(piece.arun).parameters
    assert list(ours) == list(inspect.signature(piece.run).parameters)
    assert [p.default for p in ours.values()] == [
        p.default for p in inspect.signature(piece.run).parameters.values()
    ]


@pytest.mark.parametrize(
    "error",
    [
        CalledProcessError(3, ["x"], b"o", b"e"),
        TimeoutExpired("x", 1.5, "o", "e"),
        OutputTooLarge("x", 1, "o", "e"),
    ],
)
def test_errors_survive_pickling(error):
    there = pickle.loads(pickle.dumps(error))
    assert type(there) is type(error)
    assert vars(there) == vars(error)
    assert isinstance(there, SubprocessError)
    assert there.stdout == there.output
    there.stdout = 1
    assert there.output == 1


class BuildFailed(CalledProcessError):
    """What applications derive: with arguments of its own."""

    def __init__(self, target, *, log):
        super().__init__(2, ["make", target], stderr=log)
        self.target = target


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, *PICKLED])
def test_errors_survive_pickling_whatever_arguments_they_were_made_with(copied):
    for error in (
        BuildFailed("all", log="no rule"),
        CalledProcessError(returncode=3, cmd=["x"], stderr="e"),
        TimeoutExpired(cmd="x", timeout=1),
    ):
        there = copied(error)
        assert type(there) is type(error)
        assert (vars(there), there.args, str(there)) == (vars(error), error.args, str(error))


def test_public_names_say_where_they_are_to_be_had():
    for name in piece.__all__:
        thing = getattr(piece, name)
        if hasattr(thing, "__module__"):
            assert thing.__module__ == PACKAGE, name
            assert pickle.loads(pickle.dumps(thing)) is thing
    assert f"{PACKAGE}.CalledProcessError" in "".join(
        traceback.format_exception_only(CalledProcessError(1, "x"))
    )


THERE_AND_BACK = """
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
things = pickle.load(sys.stdin.buffer)
pickle.dump([(thing, type(thing).__module__) for thing in things], sys.stdout.buffer)
"""


def test_results_and_errors_go_to_another_process_and_back():
    things = [
        CompletedProcess(["x"], 3, b"o", "e"),
        CalledProcessError(-9, ["x"], b"o", b"e"),
        TimeoutExpired("x", 1.5, "o", "e"),
        OutputTooLarge("x", 1, "o", "e"),
        SubprocessError("said"),
    ]
    try:
        run(["/absent/program"], cwd="/")
    except OSError as problem:
        things.append(problem)
    things[2].phase = "before exec"
    sent = b"".join(map(pickle.dumps, (sys.path, things)))
    back = pickle.loads(run([sys.executable, "-c", THERE_AND_BACK], input=sent, stdout=-1).stdout)
    assert [module for _, module in back] == [PACKAGE] * 5 + ["builtins"]
    for sent_one, (got, _) in zip(things, back, strict=True):
        assert type(got) is type(sent_one)
        assert vars(got) == vars(sent_one)
        assert repr(got) == repr(sent_one)
        assert str(got) == str(sent_one)


def test_popen_and_completed_process_can_be_subscripted():
    assert Popen[bytes].__origin__ is Popen
    assert CompletedProcess[str].__args__ == (str,)


def test_docstring_and_readme_examples_hold():
    names = {piece.__name__: piece}
    if PACKAGE.startswith("app."):
        pytest.skip("the examples spell the installed name")
    readme = Path(__file__).parent.parent / "README.md"
    for module in names.values():
        assert doctest.testmod(module).failed == 0
    result = doctest.testfile(os.fspath(readme), module_relative=False)
    assert result.attempted
    assert result.failed == 0
