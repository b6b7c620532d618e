# SPDX-License-Identifier: MIT
"""What the documentation tells to write in place of older calls."""

from __future__ import annotations

import os
import subprocess as stdlib_subprocess

import pytest

from plait.subprocess import PIPE, STDOUT, Popen, call, check_output, run


def test_command_substitution():
    assert check_output(["printf", "%s", "a b"]) == b"a b"


def test_a_pipeline_of_two():
    first = Popen(["printf", r"b\na\n"], stdout=PIPE)
    second = Popen(["sort"], stdin=first.stdout, stdout=PIPE)
    first.stdout.close()  # so that the first would get SIGPIPE if the second ended
    assert second.communicate() == (b"a\nb\n", None)
    assert first.wait() == 0


def test_the_first_of_a_pipeline_ends_by_sigpipe_when_nobody_reads():
    with Popen(["yes"], stdout=PIPE) as first:
        with Popen(["head", "-n", "1"], stdin=first.stdout, stdout=PIPE) as second:
            first.stdout.close()
            assert second.communicate()[0] == b"y\n"
        assert first.wait(30) == -13


def test_a_pipeline_by_the_shell():
    assert check_output("printf 'b\\na\\n' | sort", shell=True) == b"a\nb\n"


@pytest.mark.parametrize("command", ["true", "exit 3", "kill -15 $$"])
def test_in_place_of_os_system(command):
    assert call(command, shell=True) == os.waitstatus_to_exitcode(os.system(command))


def test_in_place_of_os_spawn():
    with Popen(["/bin/sh", "-c", "exit 4"]) as process:  # P_NOWAIT
        pid = process.pid
        assert pid > 0
    assert process.returncode == os.spawnlp(os.P_WAIT, "sh", "sh", "-c", "exit 4")  # P_WAIT
    assert call(["sh", "-c", 'exit "$WANTED"'], env={**os.environ, "WANTED": "6"}) == 6  # spawnve


def test_in_place_of_os_popen():
    with Popen("read line; echo got $line", shell=True, stdin=PIPE, stdout=PIPE, text=True) as process:
        process.stdin.write("this\n")
        process.stdin.close()
        assert process.stdout.read() == "got this\n"
    with Popen("cat >/dev/null; exit 3", shell=True, stdin=PIPE) as process:
        process.stdin.close()
    assert process.wait() == 3
    with Popen("echo out; echo err >&2", shell=True, stdout=PIPE, stderr=STDOUT, bufsize=-1) as process:
        assert process.stdout.read() == b"out\nerr\n"


def test_the_older_functions_of_today_in_terms_of_run():
    for command in ("exit 0", "exit 9"):
        ours = run(command, shell=True)
        theirs = stdlib_subprocess.run(command, shell=True)
        assert (ours.args, ours.returncode) == (theirs.args, theirs.returncode)
