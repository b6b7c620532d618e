# SPDX-License-Identifier: MIT
"""What cannot work is refused: at once, by the name of the argument, and as the standard module refuses it."""

from __future__ import annotations

import asyncio
import errno
import importlib
import math
import os
import pickle
import socket
import subprocess as stdlib_subprocess
import sys
from unittest import mock

import pytest

from plait.subprocess import (
    PIPE,
    Pipeline,
    Popen,
    ProcessHandle,
    TimeoutExpired,
    arun,
    call,
    getoutput,
    run,
)

kernel_module = importlib.import_module(Popen.__module__ + "._kernel")
NAMELESS = 2**22 + 1  # no kernel gives such a number

WRONG = [
    ({"timeout": "5"}, TypeError, "timeout must be a number"),
    ({"timeout": math.nan}, ValueError, "timeout must be a number"),
    ({"timeout": 5, "grace": "x"}, TypeError, "grace must be a number"),
    ({"grace": -1}, ValueError, "grace must be a number of seconds, 0 or more"),
    ({"grace": math.nan, "kill_tree": True}, ValueError, "grace"),
    ({"spawn_timeout": "x"}, TypeError, "spawn_timeout must be"),
    ({"max_output": "x"}, TypeError, "max_output is a number of bytes"),
    ({"max_output": 1e6}, TypeError, "max_output"),
    ({"rlimits": 5}, TypeError, "rlimits is a mapping"),
    ({"rlimits": {0: None}}, ValueError, "soft, hard"),
    ({"env": "PATH=1"}, AttributeError, "env must be a mapping"),
    ({"env": ["PATH=1"]}, AttributeError, "env must be a mapping"),
    ({"env": {"A": 5}}, TypeError, "variable 'A'"),
    ({"pass_fds": "x"}, ValueError, "pass_fds must be"),
    ({"pass_fds": 5}, TypeError, "pass_fds must be"),
    ({"pass_fds": [None]}, TypeError, "pass_fds must be"),
    ({"process_group": "x"}, TypeError, "process_group must be an integer"),
    ({"umask": "x"}, TypeError, "umask must be an integer"),
    ({"pipesize": "x"}, TypeError, "pipesize must be an integer"),
    ({"pass_fds": (0, -1)}, ValueError, "pass_fds must be a sequence of file descriptors"),
    ({"bufsize": "x"}, TypeError, "bufsize must be an integer"),
]
OURS = {"grace", "spawn_timeout", "max_output", "rlimits"}
if sys.version_info < (3, 11):
    OURS.add("process_group")


@pytest.mark.parametrize(("options", "kind", "words"), WRONG, ids=str)
def test_a_wrong_argument_is_named_before_anything_is_started(options, kind, words, tmp_path):
    command = ["touch", tmp_path / "started"]
    with pytest.raises(kind, match=words):
        run(command, **options)
    assert not os.listdir(tmp_path)
    if not OURS & set(options) and type(options.get("timeout")) is not float:
        with pytest.raises(kind):
            stdlib_subprocess.run(["true"], **options)


def test_grace_is_looked_at_wherever_it_can_be_given():
    for act in (
        lambda: call(["true"], grace="x"),
        lambda: getoutput("true", grace="x"),
        lambda: Pipeline([["true"]]).run(grace="x"),
        lambda: asyncio.run(arun(["true"], grace="x")),
    ):
        with pytest.raises(TypeError, match="grace must be"):
            act()
    with Popen(["cat"], stdin=PIPE) as process:
        with pytest.raises(ValueError, match="grace must be"):
            process.kill_tree(grace=-1)
        assert process.poll() is None
        with pytest.raises(TypeError, match="timeout must be a number"):
            process.wait("5")


@pytest.mark.parametrize("options", [{}, {"timeout": 5}, {"capture_output": True}, {"cwd": "/"}], ids=str)
def test_a_command_of_nothing_says_so(options):
    with pytest.raises(IndexError, match=r"args is \[\]: it has to have a program"):
        run([], **options)


def test_text_for_a_command_that_takes_bytes_is_told_what_makes_it_text():
    with pytest.raises(TypeError, match="the input is bytes, not str, unless text=True"):
        run(["cat"], input="text")


def test_what_the_standard_class_takes_is_taken():
    with Popen(["cat"], stdin=PIPE, stdout=PIPE, pipesize=None) as process:
        assert process.communicate(b"x") == (b"x", None)
        assert process.pipesize == -1
    read_end, write_end = os.pipe()
    assert run(["test", "-e", f"/dev/fd/{write_end}"], pass_fds=[str(write_end)]).returncode == 0
    os.close(write_end)
    os.close(read_end)


def test_what_has_ended_in_time_has_no_time_limit():
    with Popen(["true"]) as process:
        process.handle.wait(10)
        assert process.wait(0) == process.wait(-1) == 0
    with pytest.raises(TimeoutExpired):
        run(["sleep", "60"], timeout=-1)


def test_a_popen_says_that_it_cannot_be_pickled():
    with Popen(["true"]) as process:
        with pytest.raises(TypeError, match=r"cannot pickle <Popen: .*'true'"):
            pickle.dumps(process)
        with pytest.raises(TypeError, match="cannot pickle <ProcessHandle pid="):
            pickle.dumps(process.handle)


# -- what is no child ---------------------------------------------------------------------------------------------

needs_waitid = pytest.mark.skipif(not hasattr(os, "waitid"), reason="cannot be found out without waitid")


@needs_waitid
@pytest.mark.parametrize("pid", [1, os.getpid(), os.getppid()])
def test_a_process_that_is_no_child_is_refused(pid):
    with pytest.raises(ChildProcessError, match=f"process {pid} is no child"):
        ProcessHandle(pid)


@needs_waitid
def test_a_grandchild_is_refused():
    with Popen("sleep 60 & echo $!; wait", shell=True, stdout=PIPE, mark_tree=True) as process:
        grandchild = int(process.stdout.readline())
        with pytest.raises(ChildProcessError):
            ProcessHandle(grandchild)
        assert ProcessHandle(process.pid).poll() is None
        process.kill_tree()


@pytest.mark.parametrize(
    ("pid", "kind"),
    [(0, ValueError), (-1, ValueError), (True, TypeError), ("5", TypeError), (5.0, TypeError)],
)
def test_what_can_be_no_process_is_refused(pid, kind):
    with pytest.raises(kind, match=f"number of a child process.*{pid}"):
        ProcessHandle(pid)


@needs_waitid
def test_a_number_beyond_all_numbers_is_refused():
    with pytest.raises(ValueError, match="no process has the number"):
        ProcessHandle(2**80)


@needs_waitid
def test_a_child_that_was_reaped_before_is_one_whose_status_was_taken():
    process = Popen(["false"])
    os.waitpid(process.pid, 0)
    for pid in (process.pid, NAMELESS):
        handle = ProcessHandle(pid)
        assert handle.status_lost
        assert handle.wait(1) == handle.poll() == handle.returncode == 0
        assert repr(handle) == f"<ProcessHandle pid={pid} its status was taken by somebody else>"
        handle.send_signal(9)
    assert process.wait() == 0


@needs_waitid
def test_looking_at_a_child_leaves_its_status():
    process = Popen(["false"])
    process.stdin = None
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert ProcessHandle(process.pid).returncode is None
    assert process.wait() == 1


def test_without_waitid_it_is_a_lost_status(monkeypatch):
    monkeypatch.setattr(kernel_module, "waitid", None)
    monkeypatch.setattr(kernel_module, "pidfd_works", False)
    handle = ProcessHandle(NAMELESS)
    assert (handle.poll(), handle.status_lost) == (0, True)


# -- what was closed ----------------------------------------------------------------------------------------------

CLOSED = [
    (closed, timeout, given, pipes)
    for pipes in (("stdout",), ("stderr",), ("stdout", "stderr"), ("stdin", "stdout"), ("stdin",))
    for closed in pipes
    for timeout in (None, 10)
    for given in (None, "x")
    if not (given and "stdin" not in pipes)
    # Beside other pipes a closed stdin is an error up to 3.14 or so.
    and not (closed == "stdin" and (len(pipes) > 1 or timeout))
]


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize(("closed", "timeout", "given", "pipes"), CLOSED)
def test_what_the_caller_has_closed_is_as_in_the_standard_class(closed, timeout, given, pipes, text):
    said = []
    for kind in (Popen, stdlib_subprocess.Popen):
        process = kind(
            "cat >&2" if "stdin" in pipes else "true", shell=True, text=text, **dict.fromkeys(pipes, PIPE)
        )
        getattr(process, closed).close()
        try:
            said.append(process.communicate(given if text or given is None else given.encode(), timeout))
        except ValueError as problem:
            said.append("closed file" in str(problem))
        for name in pipes:
            getattr(process, name).close()
        process.wait(10)
    assert said[0] == said[1]


def test_a_closed_stdin_is_no_error_beside_other_pipes():
    process = Popen(["cat"], stdin=PIPE, stdout=PIPE)
    process.stdin.close()
    assert process.communicate(b"x") == (b"", None)


def test_a_mock_in_the_place_of_stdin_is_not_taken_for_closed():
    with Popen(["true"], stdin=PIPE) as process, mock.patch.object(process, "stdin") as stdin:
        assert process.communicate(b"x") == (None, None)
        stdin.write.assert_called_once_with(b"x")


def test_a_number_that_is_no_descriptor_is_refused_as_by_the_standard_module():
    for number in (-7, 99999):
        for start in (Popen, stdlib_subprocess.Popen):
            with pytest.raises(OSError) as caught:
                start(["true"], stdin=number)
            assert caught.value.errno == errno.EBADF
    ours, theirs = socket.socketpair()
    ours.close()
    theirs.close()
    with pytest.raises(ValueError, match="closed"):
        Popen(["true"], stdin=ours)
