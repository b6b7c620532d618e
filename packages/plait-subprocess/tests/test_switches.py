# SPDX-License-Identifier: MIT
"""Names of the standard module that programs set or replace, and steps of Popen that its subclasses override."""

from __future__ import annotations

import importlib
import json
import os
import sys

import pytest
from descriptors import open_descriptors

from plait.subprocess import (
    PIPE,
    CompletedProcess,
    Popen,
    _platform,
    _start,
    call,
    check_call,
    check_output,
    getoutput,
    run,
)

PACKAGE = Popen.__module__
piece = importlib.import_module(PACKAGE)
popen_module = importlib.import_module(f"{PACKAGE}._popen")


@pytest.fixture
def used(monkeypatch):
    """The starters that have started something, in their order."""
    names = []

    def watched(name, starter):
        def start(request):
            starter(request)
            names.append(name)

        return start

    for name, starter in _start.STARTERS.items():
        monkeypatch.setitem(_start.STARTERS, name, watched(name, starter))
    return names


@pytest.fixture
def shape():
    if "fork_exec" not in _start.order or not _platform._shape():
        pytest.skip("the interpreter's fork_exec is not used here")
    return _platform._shape()


def test_without_use_vfork_no_start_shares_memory(used, monkeypatch):
    last = []
    if _platform._shape() == 23:
        real = piece._fork_exec
        monkeypatch.setattr(piece, "_fork_exec", lambda *a: [last.append(a[-1]), real(*a)][1], raising=False)
    assert piece._USE_VFORK is True
    monkeypatch.setattr(piece, "_USE_VFORK", False)
    assert run(["echo", "x"], stdout=PIPE).stdout == b"x\n"
    assert used == (["fork_exec"] if last else ["fork"])
    assert not any(last)


def test_without_use_posix_spawn_it_is_not_used(used, monkeypatch):
    monkeypatch.setattr(_start, "order", ["posix_spawn", "fork"])
    assert piece._USE_POSIX_SPAWN is True
    assert call(["true"], close_fds=False) == 0
    monkeypatch.setattr(piece, "_USE_POSIX_SPAWN", False)
    assert call(["true"], close_fds=False) == 0
    assert used == (["posix_spawn", "fork"] if hasattr(os, "posix_spawn") else ["fork", "fork"])


class Odd:
    def __bool__(self):
        raise RuntimeError("neither")


def test_a_switch_that_says_neither_yes_nor_no_forbids_nothing(used, monkeypatch, shape):
    monkeypatch.setattr(piece, "_USE_VFORK", Odd())
    assert call(["true"]) == 0
    monkeypatch.delattr(piece, "_USE_VFORK")
    assert call(["true"]) == 0
    assert used == ["fork_exec", "fork_exec"]


@pytest.mark.parametrize("place", ["package", "interpreter"])
@pytest.mark.parametrize("options", [{}, {"preexec_fn": os.getpid}, {"nice": 0, "spawn_timeout": 30}])
def test_what_replaces_fork_exec_is_called(place, options, monkeypatch, shape):
    seen = []
    real = piece._fork_exec

    def fork_exec(*arguments):
        seen.append(arguments[0])
        return real(*arguments)

    with monkeypatch.context() as patch:
        if place == "package":
            patch.setattr(piece, "_fork_exec", fork_exec, raising=False)
        else:
            patch.setattr(sys.modules["_posixsubprocess"], "fork_exec", fork_exec)
        assert call(["true"], **options) == 0
    assert call(["true"], **options) == 0
    assert seen == [["true"]]
    assert piece._fork_exec is real


def test_what_replaces_fork_exec_may_fail(monkeypatch, shape):
    def broken(*_):
        raise RuntimeError("not today")

    monkeypatch.setattr(piece, "_fork_exec", broken, raising=False)
    with pytest.raises(RuntimeError, match="not today"):
        Popen(["true"], stdin=PIPE, stdout=PIPE)


def test_the_number_of_no_child_is_not_signalled():
    for number in (0, -1):  # which would mean the caller's group, and everybody
        request = _start.StartRequest()
        request.started = [number]
        _start.end_unowned(request)
        assert request.started == []


class Fake:
    """Not a child process."""

    def __init__(self, args, **options):
        self.args, self.options, self.returncode = args, options, 7

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def communicate(self, given=None, timeout=None):
        return "out", "err"

    def wait(self, timeout=None):
        return self.returncode

    poll = wait


def test_what_replaces_popen_is_what_is_started(monkeypatch):
    monkeypatch.setattr(piece, "Popen", Fake)
    done = run(["absent"], stdout=PIPE)
    assert (done.returncode, done.stdout, done.stderr) == (7, "out", "err")
    assert call(["absent"]) == 7
    for function in (check_call, check_output):
        with pytest.raises(piece.CalledProcessError) as told:
            function(["absent"])
        assert told.value.returncode == 7
    assert getoutput("absent") == "out"
    monkeypatch.setattr(
        Fake, "communicate", lambda *_, **__: (_ for _ in ()).throw(piece.TimeoutExpired("absent", 1))
    )
    monkeypatch.setattr(Fake, "kill", lambda self: None, raising=False)
    with pytest.raises(piece.TimeoutExpired):
        run(["absent"])


class Steps(Popen):
    failing = False

    def _execute_child(self, *what):
        self.steps = ["start"]
        if self.failing:
            raise RuntimeError("not today")
        super()._execute_child(*what)

    def _wait(self, timeout):
        self.steps.append(timeout)
        return super()._wait(timeout)


def test_subclasses_may_override_the_steps_of_popen():
    process = Steps(["sleep", "60"])
    with pytest.raises(piece.TimeoutExpired):
        process.wait(0.01)
    process.kill()
    assert process.wait() == process.wait() == -9
    assert process.steps == ["start", 0.01, None]


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="needs to count descriptors")
def test_a_step_that_raises_leaves_no_descriptor(monkeypatch):
    monkeypatch.setattr(Steps, "failing", True)
    before = open_descriptors()
    with pytest.raises(RuntimeError, match="not today"):
        Steps(["true"], stdin=PIPE, stdout=PIPE, stderr=PIPE)
    assert open_descriptors() == before


def test_a_popen_that_was_not_started_can_be_shown_and_dropped(monkeypatch):
    monkeypatch.setattr(Popen, "_execute_child", lambda *_: None)
    assert repr(Popen(["x"])) == "<Popen: returncode: None args: ['x']>"


def test_a_long_command_is_shown_in_part():
    with Popen(["true", "a" * 100]) as process:
        shown = repr(process)
    assert shown.startswith("<Popen: returncode: None args: ['true', 'aaa")
    assert shown.endswith("aaa...>")
    assert len(shown) == 80


def test_what_replaces_cleanup_is_called_before_a_start(monkeypatch):
    assert piece._active is popen_module.abandoned
    piece._cleanup()
    assert piece._active == []
    process = Popen(["true"])
    monkeypatch.setattr(popen_module, "abandoned", [process.handle])
    process.wait()
    called = []
    monkeypatch.setattr(piece, "_cleanup", lambda: called.append(True))
    assert call(["true"]) == 0
    assert called == [True]
    assert popen_module.abandoned == [process.handle]
    popen_module.reap_abandoned()
    assert popen_module.abandoned == []


SETTINGS = """
import importlib, json, sys
settings = [list(sys.flags), sys.warnoptions, sys._xoptions]
if len(sys.argv) > 1:
    sys.path[:] = json.loads(sys.argv[2])
    piece = importlib.import_module(sys.argv[1])
    again = piece._args_from_interpreter_flags()
    assert (piece._optim_args_from_interpreter_flags() or [""])[0] in ["", *again]
    settings = [settings, json.loads(piece.check_output([sys.executable, *again, "-c", sys.argv[3]]))]
print(json.dumps(settings))
"""


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="about options that others lack")
@pytest.mark.parametrize(
    "options", [[], ["-OO", "-B", "-s", "-E"], ["-I", "-bb", "-Wignore:x", "-Xutf8=1"], ["-Xdev", "-b", "-S"]]
)
def test_an_interpreter_like_this_one_can_be_started(options):
    command = [sys.executable, *options, "-c", SETTINGS, PACKAGE, json.dumps(sys.path), SETTINGS]
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    mine, other = json.loads(check_output(command, env=environment))
    assert mine == other


AT_THE_END = """
import importlib, sys
sys.path[:] = sys.argv[2].split("|")
piece = importlib.import_module(sys.argv[1])
class Last:
    def __del__(self, given=sys.argv[3]):
        try:
            process = piece.Popen(["/bin/echo", "started"], preexec_fn=print if given else None)
            process.wait()
        except RuntimeError as problem:
            print(problem)
last = Last()
"""


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="finalisers need not run at the end")
@pytest.mark.parametrize("given", ["", "preexec_fn"])
def test_a_first_start_at_the_very_end_works_or_says_why_not(given):
    command = [sys.executable, "-c", AT_THE_END, PACKAGE, "|".join(sys.path), given]
    done = run(command, stdout=PIPE, stderr=PIPE, text=True)
    refused = f"{given or 'a start by fork()'} not supported at interpreter shutdown\n"
    assert done.stdout in ({refused} if given else {refused, "started\n"})
    assert done.stderr == ""


def test_the_private_names_are_no_part_of_a_star():
    assert not [name for name in piece.__all__ if name.startswith("_")]
    with pytest.raises(AttributeError, match="_no_such_name"):
        piece._no_such_name  # noqa: B018
    assert CompletedProcess is piece.CompletedProcess
