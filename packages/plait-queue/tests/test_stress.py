# SPDX-License-Identifier: MIT
"""The stress programs in a size that a suite can bear. stress.py and stress_async.py tell how to run them in full."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RUN = "import runpy, sys; sys.path[:] = {path!r}; sys.argv = {argv!r}; runpy.run_path({file!r}, run_name='__main__')"


def run(name, *arguments, deadline=140):
    code = RUN.format(path=sys.path, argv=[name, *map(str, arguments)], file=str(HERE / name))
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code],
        capture_output=True, text=True, timeout=deadline, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_every_kind_of_queue_keeps_its_word_under_stress():
    lines = run("stress.py", "--items", os.environ.get("PLAIT_STRESS_ITEMS", 3000), "--patience", 120)
    assert len(lines) == 15


def test_threads_and_loops_and_cancellations_lose_nothing():
    lines = run("stress_async.py", "--items", os.environ.get("PLAIT_STRESS_ITEMS", 1500), "--patience", 120)
    assert len(lines) == 6


def test_runs_of_other_libraries_and_their_cancelled_scopes_lose_nothing():
    pytest.importorskip("trio")
    pytest.importorskip("anyio")
    lines = run("stress_runs.py", "--items", os.environ.get("PLAIT_STRESS_ITEMS", 500), "--patience", 120)
    assert len(lines) == 5
