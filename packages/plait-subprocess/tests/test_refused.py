# SPDX-License-Identifier: MIT
"""Under a filter of system calls that refuses waitid."""

from __future__ import annotations

import errno
import importlib
import os
import platform
import signal
import sys

import pytest

from plait.subprocess import PIPE, Popen, ProcessHandle, run

PACKAGE = Popen.__module__
kernel_module = importlib.import_module(f"{PACKAGE}._kernel")
SoleHandle = importlib.import_module(f"{PACKAGE}._handle").SoleHandle

pytestmark = pytest.mark.skipif(not hasattr(os, "waitid"), reason="there is nothing to refuse")

# A program of the kernel's packet filter: load the number of the call; if it is waitid's, answer EPERM, else let it pass.
FILTER = r"""
import ctypes, importlib, os, sys

class Step(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("k", ctypes.c_uint32)]

class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.POINTER(Step))]

def refuse():
    steps = (Step * 4)(Step(0x20, 0, 0, 0), Step(0x15, 0, 1, WAITID), Step(0x6, 0, 0, 0x50001), Step(0x6, 0, 0, 0x7FFF0000))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    no_new_privileges, set_seccomp, filter_mode = 38, 22, 2
    if prctl(no_new_privileges, 1, 0, 0, 0) or prctl(set_seccomp, filter_mode, ctypes.byref(Program(4, steps)), 0, 0):
        print("no filter")
        raise SystemExit

piece = importlib.import_module(sys.argv[1])
if sys.argv[2] == "early": refuse()
said = []
p, q, r, s = (piece.Popen(["sh", "-c", f"read x; exit {n}"], stdin=piece.PIPE, stdout=piece.PIPE) for n in range(1, 5))
if sys.argv[2] == "late":
    assert p.poll() is None
    refuse()
said.append(p.handle.ended_within(0.001))
p.stdin.close()
said += [p.wait(20), piece.run(["sh", "-c", "exit 6"], timeout=20).returncode]
q.stdin.close()
said += [q.wait(), piece.run(["sh", "-c", "exit 7"]).returncode]
r.kill()
said += [r.communicate(timeout=20)[0], r.returncode]
s.communicate(b"x", timeout=20)
said.append(s.poll())
try: os.waitpid(-1, os.WNOHANG)
except ChildProcessError: said.append("none left")
print(*said)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="such filters are Linux's")
@pytest.mark.parametrize("when", ["early", "late"])
def test_a_real_filter_costs_only_the_better_ways(when):
    waitid = {"x86_64": 247, "aarch64": 95}.get(platform.machine())
    if waitid is None or sys.maxsize < 2**32:
        pytest.skip("what is the number of waitid here?")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    code = FILTER.replace("WAITID", str(waitid))
    done = run(
        [sys.executable, "-c", code, PACKAGE, when], env=env, timeout=100, text=True, capture_output=True
    )
    if done.stdout == "no filter\n":
        pytest.skip("no such filter can be had here")
    assert (done.stdout, done.stderr) == ("None 1 6 2 7 b'' -9 4 none left\n", "")


@pytest.fixture(params=["pidfd", "waitid"])
def refuse(request, monkeypatch):
    """A function from whose call on waitid is refused."""
    monkeypatch.setattr(kernel_module, "waitid", os.waitid)
    monkeypatch.setattr(kernel_module, "pidfd_works", None if request.param == "pidfd" else False)

    def refused(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    def refuse():
        monkeypatch.setattr(kernel_module, "waitid", refused)
        # What stands in for the kernel has a frame, as only handlers have otherwise.
        monkeypatch.setattr(kernel_module, "is_from_handler", lambda _problem: False)

    return refuse


def look_at_its_end(handle):
    os.waitid(os.P_PID, handle.pid, os.WEXITED | os.WNOWAIT)
    return handle.poll()


ACTS = [
    look_at_its_end,
    lambda handle: handle.poll() or handle.wait(20),
    lambda handle: handle.wait(),
    lambda handle: handle.wait(20),
    lambda handle: handle.send_signal(0) or handle.wait(20),
    lambda handle: handle._look() or handle.wait(),
]


@pytest.mark.parametrize("act", ACTS)
def test_each_question_is_answered_otherwise(act, refuse):
    with Popen(["sh", "-c", "read x; exit 5"], stdin=PIPE) as process:
        refuse()
        process.stdin.close()
        assert act(process.handle) == 5
        assert (kernel_module.waitid, process.handle.status_lost, process.handle._fd) == (None, False, -1)
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)


def test_who_waits_for_a_child_of_his_own_waits_otherwise(refuse):
    with Popen(["sh", "-c", "exit 5"]) as process:
        handle = SoleHandle(process.pid, True)
        refuse()
        assert (handle.wait(), handle._fd) == (5, -1)


def test_a_status_that_was_kept_is_taken_otherwise(refuse):
    process = Popen(["sh", "-c", "exit 5"])
    process.handle.keeps_number = True
    assert process.wait() == 5
    refuse()
    assert process.handle.has_number()
    process.handle.give_number_back()
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)


def test_a_new_handle_is_made_all_the_same(refuse):
    process = Popen(["sh", "-c", "exit 5"])
    refuse()
    handle = ProcessHandle(process.pid)
    assert handle.returncode is None
    assert handle.wait(20) == 5
    process.wait()


def test_what_a_handler_raises_is_no_refusal(monkeypatch):
    def handler(*_):
        raise PermissionError(errno.EPERM, "of the handler")

    def struck(*_):
        signal.raise_signal(signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with Popen(["cat"], stdin=PIPE) as process, monkeypatch.context() as patch:
            patch.setattr(kernel_module, "waitid", struck)
            for act in (process.poll, process.wait, process.handle._look):
                with pytest.raises(PermissionError, match="of the handler"):
                    act()
            assert kernel_module.waitid is struck
            patch.undo()
    finally:
        signal.signal(signal.SIGALRM, before)
