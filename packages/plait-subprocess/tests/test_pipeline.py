# SPDX-License-Identifier: MIT
"""Commands that read what others write."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from descriptors import open_descriptors
from patience import SOON, late

from plait.subprocess import (
    DEVNULL,
    PIPE,
    STDOUT,
    CalledProcessError,
    Command,
    Pipeline,
    Popen,
    TimeoutExpired,
)

BIG = bytes(range(256)) * 12_000


def test_what_goes_in_comes_out_at_the_other_end():
    result = Pipeline([["cat"], ["cat"], ["cat"]]).run(input=BIG, capture_output=True)
    assert result.stdout == BIG
    assert result.returncodes == (0, 0, 0)
    assert result.stderr == (b"", b"", b"")


def test_commands_are_joined_by_a_bar():
    assert str(["echo", "x"] | (Command(["cat"]) | ["sort"])) == "echo x | cat | sort"
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


def test_the_outer_streams_may_be_files(tmp_path):
    loud = ["sh", "-c", "cat; echo complaint >&2"]
    (tmp_path / "in").write_text("b\na\n")
    before = open_descriptors()
    with (
        open(tmp_path / "in") as source,
        open(tmp_path / "out", "w") as sink,
        open(tmp_path / "err", "w") as err,
    ):
        result = Pipeline([loud, ["sort"], loud]).run(
            stdin=source, stdout=sink.fileno(), stderr=err, timeout=20
        )
        os.fstat(sink.fileno())  # is left open
    assert open_descriptors() == before
    assert (tmp_path / "out").read_text() == "a\nb\n"
    assert (tmp_path / "err").read_text() == "complaint\n" * 2
    assert (result.stdout, result.stderr) == (None, (None, None, None))
    assert Pipeline([["cat"], ["cat"]]).run(stdin=DEVNULL, stdout=PIPE).stdout == b""


def test_outputs_may_be_collected_one_by_one():
    loud = ["sh", "-c", "cat; echo complaint >&2"]
    line = Pipeline([loud, ["tr", "a-z", "A-Z"]])
    result = line.run(input="x\n", stdout=PIPE, stderr=STDOUT, text=True)
    assert (result.stdout, result.stderr) == ("X\nCOMPLAINT\n", (None, None))
    result = line.run(stdin=PIPE, stdout=DEVNULL, stderr=PIPE, text=True)
    assert (result.stdout, result.stderr) == (None, ("complaint\n", ""))
    with pytest.raises(TimeoutExpired) as caught:
        Pipeline([["cat"], ["sh", "-c", "echo x; exec sleep 60"]]).run(
            stdin=DEVNULL, stdout=PIPE, timeout=0.3
        )
    assert (caught.value.stdout, caught.value.stderr) == (b"x\n", None)


def test_streams_that_contradict_each_other_are_refused():
    line = Pipeline([["true"], ["true"]])
    for options in ({"stdout": DEVNULL}, {"stderr": STDOUT}):
        with pytest.raises(ValueError, match="capture_output sets"):
            line.run(capture_output=True, **options)
    with pytest.raises(ValueError, match="either input or stdin"):
        line.run(input=b"", stdin=DEVNULL)


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
    line = Pipeline([["sh", "-c", "echo so far; sleep 60"], ["sh", "-c", "head -n1; echo e >&2; sleep 61"]])
    expired = late(
        lambda limit: line.run(capture_output=True, text=True, timeout=limit, kill_tree=kill_tree),
        lambda expired: expired.stderr,
    )
    assert (expired.stdout, expired.stderr) == ("so far\n", "e\n")


def test_a_pipeline_is_shown_as_one_would_type_it():
    line = Pipeline(
        [["sleep", "60"], "cat", Command("cat | cat", shell=True), [b"a b", Path("/x")], [5], Path("y")]
    )
    assert str(line) == "sleep 60 | cat | cat | cat | 'a b' /x | [5] | y"
    with pytest.raises(TimeoutExpired, match=r"^Command 'sleep 60 \| cat -n' timed out after 0.05 seconds$"):
        Pipeline([["sleep", "60"], ["cat", "-n"]]).run(timeout=0.05)


def test_words_that_were_given_as_commands_are_hinted_at():
    with pytest.raises(FileNotFoundError) as caught:
        Pipeline(["echo", "no-such-program"]).run(capture_output=True)
    if hasattr(caught.value, "add_note"):
        (note,) = caught.value.__notes__
        assert "2 commands, echo | no-such-program;" in note
        assert "[['echo', 'no-such-program']]" in note


def test_if_one_cannot_be_started_none_is_left():
    before = len(open_descriptors())
    with pytest.raises(FileNotFoundError):
        Pipeline([["sleep", "60"], ["/absent/program"]]).run(capture_output=True)
    assert len(open_descriptors()) == before


def no_child():
    try:
        return os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return True


@pytest.mark.parametrize("at", [0, 1, 2])
def test_whichever_cannot_be_started_the_others_end_at_once(at):
    before, begun = open_descriptors(), time.monotonic()
    commands = [["sh", "-c", "trap '' TERM PIPE; sleep 60"] for _ in range(3)]
    commands[at] = ["/absent/program"]
    with pytest.raises(FileNotFoundError) as caught:
        Pipeline(commands).run(input=BIG, capture_output=True)
    assert caught.value.phase == "exec"
    assert time.monotonic() - begun < SOON
    assert open_descriptors() == before
    assert no_child() is True


def test_all_are_killed_though_one_refuses(monkeypatch):
    def refuse(self, *, grace=0.0):
        raise PermissionError("for the test")

    monkeypatch.setattr(Popen, "kill_tree", refuse)
    begun = time.monotonic()
    with pytest.raises(PermissionError):
        Pipeline([["sleep", "60"], ["sleep", "60"], ["sleep", "60"]]).run(timeout=0.1, kill_tree=True)
    assert time.monotonic() - begun < SOON
    assert no_child() is True


@pytest.mark.parametrize("kill_tree", [False, True])
def test_grace_is_for_all_at_once(kill_tree):
    tidy = ["sh", "-c", "trap 'echo tidy >&2; exit 5' TERM; echo on; while :; do sleep 0.01; done"]
    stubborn = ["sh", "-c", "trap '' TERM; echo deaf >&2; while :; do sleep 0.01; done"]
    for limit in (0.2, 1, 8):  # more than one only if the machine is busy, and they were not ready in time
        begun = time.monotonic()
        with pytest.raises(TimeoutExpired) as caught:
            Pipeline([tidy, tidy, stubborn]).run(
                capture_output=True, text=True, timeout=limit, grace=2 * limit, kill_tree=kill_tree
            )
        took = time.monotonic() - begun
        told = sorted(line for line in caught.value.stderr.split() if line != "Terminated")
        if told == ["deaf", "tidy", "tidy"]:
            break
    assert told == ["deaf", "tidy", "tidy"]
    assert 3 * limit <= took < 3 * limit + 18
    assert no_child() is True


def test_bad_descriptions_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        Pipeline([])
    with pytest.raises(TypeError, match="stdin"):
        Command(["cat"], stdin=0)
    for line in ("echo a | cat", b"cat", Command(["cat"])):
        with pytest.raises(TypeError, match=r"list of commands, not .*shell=True"):
            Pipeline(line)
    for wrong in (3, None):
        with pytest.raises(TypeError, match="a command is a list of arguments"):
            Command(["cat"]) | wrong
