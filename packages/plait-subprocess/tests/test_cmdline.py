# SPDX-License-Identifier: MIT
"""Command lines as one string."""

from __future__ import annotations

import subprocess as stdlib_subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait.subprocess import getoutput, getstatusoutput, list2cmdline


@pytest.mark.parametrize(
    "command",
    [
        "echo out; echo err >&2; exit 3",
        "kill -9 $$",
        "printf 'a\\r\\nb\\n\\n'",
        "true",
        "absent-program 2>/dev/null",
    ],
)
def test_the_shell_gives_what_it_gives_the_standard_module(command):
    code, output = stdlib_subprocess.getstatusoutput(command)
    assert getstatusoutput(command) == (code, output)
    assert getoutput(command) == output


def test_the_encoding_may_be_named():
    assert getoutput(r"printf '\261'", encoding="iso-8859-2") == "ą"
    assert getstatusoutput(r"printf '\261'", encoding="ascii", errors="replace") == (0, "�")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # as a busy machine is
@given(st.lists(st.text(alphabet='ab \t\\"', max_size=8), max_size=4))
def test_a_windows_command_line_is_the_standard_one(arguments):
    assert list2cmdline(arguments) == stdlib_subprocess.list2cmdline(arguments)
