# SPDX-License-Identifier: MIT
"""What is lent to who waits for a child comes back, whatever strikes, and is not asked for where it cannot be had."""

from __future__ import annotations

import importlib
import os
import sys

import pytest
from patience import SOON

from plait.subprocess import PIPE, Popen, run

PACKAGE = Popen.__module__

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def script(code, *arguments):
    """Run *code* in a fresh interpreter that can import what we can."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, PACKAGE, *arguments]
    return run(command, timeout=100, env=env, text=True, capture_output=True)


# The child is there still, and so is its Popen, when it is looked for what is left.
SWEEP = r"""
import asyncio, importlib, os, sys
from descriptors import open_descriptors
from sweep import sweep
piece = importlib.import_module(sys.argv[1])
kernel = importlib.import_module(sys.argv[1] + "._kernel")
flight = importlib.import_module(sys.argv[1] + "._in_flight")
way, name = sys.argv[2:]
if way != "pidfd": kernel.pidfd_works = False
if way == "waitpid": kernel.waitid = None
PIPE = piece.PIPE
acts = {
    "poll": ("exit 5", {}, lambda p: p.poll()),
    "wait": ("exit 5", {}, lambda p: p.handle.wait()),
    "timed wait": ("exit 5", {}, lambda p: p.handle.wait(20)),
    "wait in vain": ("read x; exit 5", {"stdin": PIPE}, lambda p: p.handle.ended_within(0.0001)),
    "wait for a kept one": ("exit 5", {}, lambda p: (p.handle.wait(), p.handle.has_number(), p.handle.give_number_back())),
    "kill": ("exit 5", {}, lambda p: p.kill()),
    "hear": ("echo x; exit 5", {"stdout": PIPE}, lambda p: p.communicate(timeout=20)),
    "feed": ("cat; exit 5", {"stdin": PIPE, "stdout": PIPE}, lambda p: p.communicate(b"x" * 10, timeout=20)),
    "await": ("read x; exit 5", {"stdin": PIPE}, lambda p: asyncio.run(attend(p))),
}
command, options, act = acts[name]

async def attend(p):
    task = asyncio.ensure_future(p.await_exit())
    await asyncio.sleep(0)
    p.stdin.close()
    await task

def descriptors():
    return set(open_descriptors())

def start():
    before = descriptors()
    p = piece.Popen(["/bin/sh", "-c", command], **options)
    p.handle.keeps_number = name == "wait for a kept one"
    if not options: os.waitid(os.P_PID, p.pid, os.WEXITED | os.WNOWAIT)
    return before, p

def look(given, where):
    before, p = given
    if p.stdin is not None and not p.stdin.closed:
        assert os.get_blocking(p.stdin.fileno()), where
        assert not flight.feeding, where
        if name == "feed": p.communicate(timeout=20)
        else: p.stdin.close()
    if p.stdout is not None and not p.stdout.closed:
        assert os.get_blocking(p.stdout.fileno()), where
        p.communicate()
    assert p.wait() == 5 or name == "kill", where
    assert not p.handle.status_lost, where
    p.handle.give_number_back()
    assert descriptors() == before, where
    try: left = os.waitpid(p.pid, os.WNOHANG)
    except ChildProcessError: left = None
    assert not left, where

asyncio.run(asyncio.sleep(0))
print("places:", sweep(sys.argv[1], lambda given: act(given[1]), start, look))
"""


@pytest.mark.skipif(
    sys.implementation.name != "cpython" or sys.version_info < (3, 11), reason="needs to know the places"
)
# The others take their time: "pidfd feed", "pidfd hear", "pidfd await", "waitpid wait", ...
@pytest.mark.parametrize(
    "act",
    os.environ.get("PLAIT_LOANS", "pidfd wait,waitid timed wait,pidfd poll,pidfd wait for a kept one").split(
        ","
    ),
)
def test_a_handler_that_raises_anywhere_in_a_wait_keeps_nothing_of_it(act):
    way, _, name = act.partition(" ")
    result = script(SWEEP, way, name)
    assert result.stdout.startswith("places: "), result.stderr
    assert int(result.stdout.split()[1]) > 5


def test_a_forked_copy_asks_for_no_lock_that_a_thread_of_the_other_one_has():
    code = (
        "import importlib, os, signal, sys, threading\n"
        "piece = importlib.import_module(sys.argv[1])\n"
        "p = piece.Popen(['sh', '-c', 'echo x; read y'], stdin=piece.PIPE, stdout=piece.PIPE)\n"
        "held, enough = threading.Event(), threading.Event()\n"
        "def hold():\n"
        "    with p.handle._lock: held.set(); enough.wait()\n"
        "thread = threading.Thread(target=hold); thread.start(); held.wait()\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        f"    signal.alarm({int(SOON)})\n"
        "    try: p.communicate(timeout=0.3)\n"
        "    except piece.TimeoutExpired as late: print(late.output, p.handle.duplicate_descriptor([]), flush=True)\n"
        "    os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
        "enough.set(); thread.join()\n"
        "p.stdin.close(); p.stdout.close(); print(p.wait())\n"
    )
    assert script(code).stdout == "b'x\\n' -1\n1\n"


def test_a_status_that_was_taken_before_a_strike_is_not_asked_for_again(monkeypatch):
    # Its number may mean another child by then.
    kernel_module = importlib.import_module(f"{PACKAGE}._kernel")
    monkeypatch.setattr(kernel_module, "pidfd_works", False)
    monkeypatch.setattr(kernel_module, "waitid", None)
    with Popen(["sh", "-c", "read x; exit 5"], stdin=PIPE) as process:

        def strike(_status):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(os, "waitstatus_to_exitcode", strike)
            process.stdin.close()
            with pytest.raises(KeyboardInterrupt):
                process.handle.wait()
        monkeypatch.setattr(os, "waitpid", None)
        assert (process.poll(), process.handle.status_lost) == (5, False)


def test_an_input_that_is_the_callers_again_blocks_whatever_strikes(monkeypatch):
    class Strike(BaseException):
        pass

    set_blocking, strikes = os.set_blocking, [Strike]

    def struck(fd, blocking):
        if blocking and strikes:
            raise strikes.pop()
        set_blocking(fd, blocking)

    with Popen(["sleep", "60"], stdin=PIPE) as process:
        with monkeypatch.context() as patch:
            patch.setattr(os, "set_blocking", struck)
            with pytest.raises(Strike):
                process.communicate(b"x" * (1 << 21), timeout=0)
        assert process.stdin.closed or os.get_blocking(process.stdin.fileno())
        process.kill()
