# SPDX-License-Identifier: MIT
"""The stress programs in a size that a suite can bear. stress.py and streaming.py tell how to run them in full."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from plait.subprocess import run

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="they count by /proc")
HERE = Path(__file__).parent
RUN = "import runpy, sys; sys.path[:] = {path!r}; sys.argv = {argv!r}; runpy.run_path({file!r}, run_name='__main__')"


def program(name, *arguments, deadline=110):
    code = RUN.format(path=sys.path, argv=[name, *map(str, arguments)], file=str(HERE / name))
    command = [sys.executable, "-X", "faulthandler", "-c", code]
    done = run(command, capture_output=True, text=True, timeout=deadline, kill_tree=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_many_threads_with_many_children_leave_nothing():
    children = os.environ.get("PLAIT_STRESS_CHILDREN", "12")
    assert " steps in " in program("stress.py", "--threads", 5, "--children", children, "--patience", 100)


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="another's collector lets garbage gather")
def test_much_passes_through_in_little_memory():
    assert "the same came back" in program("streaming.py", "--mebibytes", 32)
