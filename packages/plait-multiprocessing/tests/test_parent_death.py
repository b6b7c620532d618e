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
    assert gone(int(result.stdout), within=20)


ORPHAN = """
import os, signal, sys, time
import {mp} as mp

def wait(what, q, conn):
    conn.send(os.getpid())
    try:
        if what == "get":
            q.get()
        else:
            q.put(2)
    except (EOFError, BrokenPipeError) as error:
        os.write(1, f"{type(error).__name__}: {error}".encode())

if __name__ == "__main__":
    ctx = mp.get_context(sys.argv[1])
    here, there = mp.Pipe()
    q = ctx.Queue(1)
    if sys.argv[2] == "put":
        q.put(1)
    ctx.Process(target=wait, args=(sys.argv[2], q, there), name="waits").start()
    here.recv()
    time.sleep(0.2)
    os.write(1, f"{os.getpid()} ".encode())
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("what", "error"), [("get", "EOFError"), ("put", "BrokenPipeError")])
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_wait_at_a_queue_ends_with_the_parent_and_names_it(script, method, what, error):
    result = script(ORPHAN, method, what)  # the pipe of stdout closes when the child has ended too
    assert result.returncode == -signal.SIGKILL, result.stderr
    pid, _, said = result.stdout.partition(" ")
    assert said.startswith(error)
    assert f"'MainProcess' (pid {pid})" in said


SIBLING = """
import os, signal, sys, time
import {mp} as mp

def produce(q, parent):
    q.put(0)
    while os.getppid() == parent:
        time.sleep(0.01)
    time.sleep(1)
    q.put("after its death")

def consume(q, conn):
    conn.send(q.get())
    os.write(1, q.get().encode())
    try:
        q.get()
    except EOFError:
        os.write(1, b", then the end")

if __name__ == "__main__":
    ctx = mp.get_context(sys.argv[1])
    here, there = mp.Pipe()
    q = ctx.Queue()
    ctx.Process(target=produce, args=(q, os.getpid())).start()
    ctx.Process(target=consume, args=(q, there)).start()
    here.recv()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_wait_at_a_queue_goes_on_while_a_sibling_that_puts_is_alive(script, method):
    result = script(SIBLING, method)
    assert result.stdout == "after its death, then the end", result.stderr


def test_missing_guard_is_explained(script):
    result = script(
        "import {mp} as mp\np = mp.Process(target=print)\np.start()\np.join()\nprint(p.exitcode)\n"
    )
    assert result.stdout == "1\n"
    assert "if __name__ == '__main__':" in result.stderr
