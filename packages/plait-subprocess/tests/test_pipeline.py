# SPDX-License-Identifier: MIT
"""Commands that read what others write."""

from __future__ import annotations

import os
import time

import pytest

from plait.subprocess import CalledProcessError, Command, Pipeline, TimeoutExpired

BIG = bytes(range(256)) * 12_000


def test_what_goes_in_comes_out_at_the_other_end():
    result = Pipeline([["cat"], ["cat"], ["cat"]]).run(input=BIG, capture_output=True)
    assert result.stdout == BIG
    assert result.returncodes == (0, 0, 0)
    assert result.stderr == (b"", b"", b"")


def test_commands_are_joined_by_a_bar():
    line = Command(["printf", r"b\na\n"]) | ["sort"] | Command("tr a-z A-Z", shell=True)
    assert line.run(capture_output=True, text=True).stdout == "A\nB\n"
    assert (line | Pipeline([["tail", "-n1"]])).run(capture_output=True, text=True).stdout == "B\n"
    assert (["echo", "x"] | Command(["cat"])).run(capture_output=True).stdout == b"x\n"
    assert len(line.commands) == 3


def test_every_status_is_reported():
    line = Pipeline([["sh", "-c", "echo one >&2; exit 3"], ["false"], ["sh", "-c", "cat; echo three >&2"]])
    result = line.run(capture_output=True, text=True)
    assert result.returncodes == (3, 1, 0)
    assert result.returncode == 1
    assert result.stderr == ("one\n", "", "three\n")
    with pytest.raises(CalledProcessError) as caught:
        line.run(capture_output=True, check=True)
    assert caught.value.cmd == ["false"]


def test_a_writer_that_nobody_reads_gets_sigpipe():
    result = Pipeline([["yes"], ["head", "-n1"]]).run(capture_output=True, timeout=20)
    assert (result.stdout, result.returncodes) == (b"y\n", (-13, 0))


def test_much_on_every_stderr_blocks_nobody():
    loud = ["sh", "-c", "head -c 300000 /dev/zero >&2; cat"]
    result = Pipeline([loud, loud, loud]).run(input=BIG, capture_output=True, timeout=30)
    assert result.stdout == BIG
    assert [len(said) for said in result.stderr] == [300_000] * 3


@pytest.mark.parametrize("kill_tree", [False, True])
def test_a_time_limit_ends_all_of_them(kill_tree):
    begun = time.monotonic()
    line = Pipeline([["sh", "-c", "echo so far; sleep 60"], ["sh", "-c", "head -n1; echo e >&2; sleep 61"]])
    with pytest.raises(TimeoutExpired) as caught:
        line.run(capture_output=True, text=True, timeout=0.5, kill_tree=kill_tree)
    assert time.monotonic() - begun < 5
    assert (caught.value.stdout, caught.value.stderr) == ("so far\n", "e\n")


def test_if_one_cannot_be_started_none_is_left():
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(FileNotFoundError):
        Pipeline([["sleep", "60"], ["/absent/program"]]).run(capture_output=True)
    assert len(os.listdir("/dev/fd")) == before


def test_bad_descriptions_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        Pipeline([])
    with pytest.raises(TypeError, match="stdin"):
        Command(["cat"], stdin=0)
