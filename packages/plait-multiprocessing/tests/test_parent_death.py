# SPDX-License-Identifier: MIT
"""A daemonic child ends with its parent, however the parent ends; and the programs that start children."""

from __future__ import annotations

import signal
import sys

import pytest
from conftest_helpers import gone

DAEMON = """
import os, signal, sys, time
import {mp} as mp

def work(conn):
    conn.send(os.getpid())
    time.sleep(600)

if __name__ == "__main__":
    here, there = mp.Pipe()
    mp.get_context(sys.argv[1]).Process(target=work, args=(there,), daemon=True).start()
    print(here.recv(), flush=True)
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="F_SETSIG is Linux only")
@pytest.mark.parametrize("how", ["killed", "exits"])
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_daemonic_child_ends_with_its_parent(script, method, how):
    result = script(DAEMON, method, how)
    assert result.returncode == (-signal.SIGKILL if how == "killed" else 0), result.stderr
    assert gone(int(result.stdout), within=2)


def test_missing_guard_is_explained(script):
    result = script(
        "import {mp} as mp\np = mp.Process(target=print)\np.start()\np.join()\nprint(p.exitcode)\n"
    )
    assert result.stdout == "1\n"
    assert "if __name__ == '__main__':" in result.stderr
