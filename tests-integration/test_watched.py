# SPDX-License-Identifier: MIT
"""The watch itself: a test that relies on it is only as good as what it notices."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest
import watched
from watched import LeftBehind, Watched

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="descendants are found in /proc")

SLEEPER = f"[{sys.executable!r}, '-c', 'import time; print(1, flush=True); time.sleep(60)']"


def gone(pid: int) -> bool:
    for _ in range(1000):
        if all(process.pid != pid or process.state == "Z" for process in watched.processes()):
            return True
        time.sleep(0.02)
    return False


def test_a_clean_program_passes_with_its_output_and_code():
    ended = watched.run("-c", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)", code=3)
    assert (ended.out, ended.err) == ("out\n", "err\n")


def test_it_shows_the_stacks_of_a_program_that_hangs():
    program = (
        "import time\ndef waits_for_ever():\n    time.sleep(60)\nprint('up', flush=True)\nwaits_for_ever()"
    )
    with Watched("-c", program) as hanging:
        hanging.until_out("up")
        with pytest.raises(AssertionError, match="waits_for_ever"):
            hanging.end(within=0.3)


@pytest.mark.parametrize(
    "options",
    ["", "start_new_session=True", "env={}"],
    ids=["a child", "in its own session", "with its own environment"],
)
def test_it_finds_names_and_kills_an_orphan(options: str):
    program = f"import subprocess; print(subprocess.Popen({SLEEPER}, {options}).pid, flush=True)"
    with pytest.raises(LeftBehind, match=r"time\.sleep"), Watched("-c", program, grace=0.2) as parent:
        pid = int(parent.until_out(r"(\d+)\n").group(1))
        assert parent.end().code == 0
    assert gone(pid)


def test_it_reports_a_forgotten_temporary_file():
    with pytest.raises(LeftBehind, match=r"forgotten\.txt"):
        watched.run("-c", "import os; open(os.path.join(os.environ['TMPDIR'], 'forgotten.txt'), 'w').close()")


def test_it_waits_no_longer_than_told_for_output_and_sees_an_early_end():
    with (
        Watched("-c", "print('something else')") as program,
        pytest.raises(AssertionError, match="ended before"),
    ):
        program.until_out("never said")


def test_it_signals_the_whole_group():
    children = f"import subprocess, time; a = subprocess.Popen({SLEEPER}); time.sleep(60)"
    with Watched("-c", children) as program:
        program.until_out("1")
        program.send_to_group(signal.SIGKILL)
        assert program.end(within=watched.SOON).code == -signal.SIGKILL
