# SPDX-License-Identifier: MIT
"""How calls leave their children: in time, with their last words, and whatever a signal handler raises meanwhile."""

from __future__ import annotations

import asyncio
import importlib
import math
import os
import pickle
import signal
import sys
import time

import pytest
from patience import SOON, late

from plait.subprocess import (
    PIPE,
    Pipeline,
    Popen,
    TimeoutExpired,
    _tree,
    arun,
    call,
    run,
)

PACKAGE = Popen.__module__
handle_module = importlib.import_module(PACKAGE + "._handle")
SLEEP = ["sleep", "60"]


def script(code, *arguments, timeout=100.0, **options):
    """Run *code* in a fresh interpreter that can import what we can."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, PACKAGE, *arguments]
    return run(command, timeout=timeout, env=env, text=True, capture_output=True, **options)


# A signal handler raises what this package raises itself when the time is up. Nobody takes the one for the other.
# (What strikes in a callback of a loop's is lost to the loop. So in a coroutine it has to come when the loop sleeps.)
STRANGERS = r"""
import asyncio, importlib, signal, sys
piece = importlib.import_module(sys.argv[1])
mine = None
def handler(*_): raise mine
signal.signal(signal.SIGALRM, handler)
sleep, closed = ["sleep", "60"], ["sh", "-c", "exec >&- 2>&-; exec sleep 60"]
process = piece.Popen(sleep)
acts = {
    "wait": process.wait, "wait(10)": lambda: process.wait(10), "handle": process.handle.wait,
    "communicate": process.communicate, "communicate(10)": lambda: process.communicate(timeout=10),
    "call": lambda: piece.call(sleep), "call(10)": lambda: piece.call(sleep, timeout=10),
    "run": lambda: piece.run(sleep), "run(10)": lambda: piece.run(sleep, timeout=10),
    "closed": lambda: piece.run(closed, capture_output=True),
    "closed(10)": lambda: piece.run(closed, capture_output=True, timeout=10),
    "pipeline": lambda: piece.Pipeline([sleep, ["cat"]]).run(),
    "pipeline(10)": lambda: piece.Pipeline([sleep, ["cat"]]).run(timeout=10),
    "with": lambda: process.__exit__(None, None, None),
    "arun": lambda: asyncio.run(piece.arun(closed, capture_output=True, timeout=10)),
}
for mine in (TimeoutError("mine"), piece.TimeoutExpired("other", 5, "mine")):
    for name, act in acts.items():
        for after in (0.02, 1, 5) if name == "arun" else (0.02,):
            raised = None
            try:
                signal.setitimer(signal.ITIMER_REAL, after)
                act()
            except BaseException as error: raised = error
            if raised is mine: break
        else: print(name, "raised", repr(raised), "for", repr(mine))
    if getattr(mine, "output", "mine") != "mine": print("the stranger was told what is not its own")
process.kill(); process.wait()
print("done")
"""


def test_what_a_handler_raises_is_not_taken_for_the_time_limit():
    result = script(STRANGERS)
    assert (result.stdout, result.returncode) == ("done\n", 0), result.stderr


# Raises on the entry of each function that runs once a clean-up has begun, one after the other.
CLEAN_UPS = r"""
import asyncio, importlib, os, sys, time
piece = importlib.import_module(sys.argv[1])
folder = os.path.dirname(piece.__file__)
class Strike(BaseException): pass
sleep = ["sleep", "60"]
acts = {
    "call": lambda: piece.call(sleep, timeout=0),
    "run": lambda: piece.run(sleep, timeout=0, capture_output=True),
    "grace": lambda: piece.run(sleep, timeout=0, grace=0.01, stdout=piece.PIPE),
    "arun": lambda: asyncio.run(piece.arun(sleep, timeout=0, capture_output=True)),
    "pipeline": lambda: piece.Pipeline([sleep, sleep]).run(timeout=0, capture_output=True),
}
BEGIN = {"wind_up", "_wind_up", "_wind_up_all"}
for name in sys.argv[2:]:
    act, number = acts[name], 0
    while True:
        count, begun = 0, False
        def trace(frame, event, arg):
            global count, begun
            code = frame.f_code
            if not code.co_filename.startswith(folder) or code.co_name == "__del__": return
            begun = begun or code.co_name in BEGIN
            count += begun
            if begun and count == number + 1: raise Strike(code.co_name)
        start = time.monotonic()
        sys.settrace(trace)
        try: act()
        except Strike as strike: where = strike.args[0]
        except piece.TimeoutExpired: where = None
        finally: sys.settrace(None)
        if time.monotonic() - start > 20: print(name, where, "held up")
        try: print(name, where, "left", os.waitpid(-1, os.WNOHANG))
        except ChildProcessError: pass
        if where is None and count <= number: break
        number += 1
    if number < 5: print(name, "has too few places:", number)
print("done")
"""


# "call" and "run" are there too; they leave by the same lines as "grace".
@pytest.mark.parametrize("act", os.environ.get("PLAIT_CLEAN_UPS", "grace,arun,pipeline").split(","))
def test_a_handler_that_raises_during_a_clean_up_leaves_no_child_and_waits_for_none(act):
    result = script(CLEAN_UPS, act)
    assert (result.stdout, result.returncode) == ("done\n", 0), result.stderr


# Raises as soon as Popen.__init__() has returned to a call that does not know its child yet.
STARTED = r"""
import asyncio, importlib, os, sys
piece = importlib.import_module(sys.argv[1])
class Strike(BaseException): pass
sleep = ["sleep", "60"]
for act in (
    lambda: piece.run(sleep, stdout=piece.PIPE), lambda: piece.call(sleep), lambda: asyncio.run(piece.arun(sleep)),
    lambda: piece.Pipeline([["true"], sleep]).run(),
):
    returned = False
    def trace(frame, event, arg):
        global returned
        code = frame.f_code
        if code is piece.Popen.__init__.__code__ and event == "return": returned = True
        elif code.co_name == "run_plainly": returned = bool(frame.f_locals.get("started"))
        if returned and event == "line" and code.co_name in ("run", "call", "arun", "_start", "run_plainly"):
            sys.settrace(None)
            raise Strike
        return trace
    sys.settrace(trace)
    try: act()
    except Strike: print("struck", end=" ")
    finally: sys.settrace(None)
    try: print("left", os.waitpid(-1, os.WNOHANG))
    except ChildProcessError: pass
"""


def test_a_handler_that_raises_right_after_the_start_leaves_no_child():
    result = script(STARTED)
    assert (result.stdout, result.returncode) == ("struck struck struck struck ", 0), result.stderr


class Strike(BaseException):
    pass


class Striking:
    """A stream while whose close() a signal handler raises."""

    def __init__(self, stream):
        self.stream = stream

    def close(self):
        self.stream.close()
        raise Strike


def test_a_handler_that_raises_while_pipes_are_closed_leaves_with_at_once():
    process = Popen(SLEEP, stdin=PIPE, stdout=PIPE)
    process.stdout = Striking(process.stdout)
    begun = time.monotonic()
    with pytest.raises(Strike), process:
        pass
    assert time.monotonic() - begun < SOON
    assert process.stdin.closed
    assert process.returncode is None
    process.kill()
    process.wait()


def test_input_that_the_child_does_not_want_is_told_when_it_has_ended():
    process = Popen("exec <&-; echo on; exit 3", shell=True, stdin=PIPE, stdout=PIPE)
    process.stdout.readline()
    process.stdin.write(b"x")
    with pytest.raises(BrokenPipeError), process:
        pass
    assert process.returncode == 3
    assert process.stdin.closed


def in_all_ways(command, **options):
    """*command* with a time limit, by each of those who have a grace; what TimeoutExpired has to say, and their names."""
    for name, act in (
        ("run", lambda: run(command, **options)),
        ("arun", lambda: asyncio.run(arun(command, **options))),
        ("Pipeline", lambda: Pipeline([command]).run(**options)),
    ):
        with pytest.raises(TimeoutExpired) as caught:
            act()
        yield name, caught.value.stdout


@pytest.mark.parametrize("kill_tree", [False, True])
def test_who_has_much_to_say_is_read_out_during_the_grace(kill_tree):
    code = "trap 'head -c 300000 /dev/zero; echo; echo end; exit' TERM; echo on; while :; do sleep 0.01; done"
    for limit in (0.3, 2, 8):  # more than one only if the machine is busy
        how = {"capture_output": True, "timeout": limit, "grace": 20, "kill_tree": kill_tree}
        said = dict(in_all_ways(["sh", "-c", code], **how))
        if all(len(one) == 300_008 for one in said.values()):
            break
    assert {name: len(one) for name, one in said.items()} == dict.fromkeys(said, 300_008)


def test_everybody_in_a_tree_has_the_grace(tmp_path):
    code = "(trap 'sleep 0.05; : >%s; exit' TERM; echo on; while :; do sleep 0.01; done) & trap 'exit' TERM; sleep 60 & wait"
    for limit in (0.1, 1, 8):  # more than one only if the machine is busy
        mark = tmp_path / str(limit)
        how = {"timeout": limit, "grace": 20, "kill_tree": True}
        tidy = [
            mark.exists() and mark.unlink() is None for _ in in_all_ways(["sh", "-c", code % mark], **how)
        ]
        if all(tidy):
            break
    assert tidy == [True, True, True]


def test_without_proc_the_group_is_ended_after_its_leader_too(monkeypatch):
    if not hasattr(os, "waitid"):
        pytest.skip("the leader's status cannot be looked at without taking it")
    monkeypatch.setattr(_tree, "can_search", lambda: False)
    with Popen("sleep 60 & echo $!", shell=True, stdout=PIPE, mark_tree=True) as process:
        process.stdout.readline()
        assert process.wait() == 0
        assert process.handle.has_number()
        assert process.poll() == 0
        process.kill_tree()
        assert process.stdout.read() == b""  # who held it is gone
        assert not process.handle.has_number()
        process.kill_tree()
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    # Who is not killed gives his number back as well.
    done = run(["true"], kill_tree=True)
    assert done.returncode == 0
    importlib.import_module("gc").collect()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize("way", ["call", "run", "arun", "Pipeline"])
def test_a_child_that_may_not_be_killed_does_not_keep_us(way, monkeypatch):
    handles = []
    with monkeypatch.context() as patch:

        def refuse(self, sig):
            handles.append(self)
            raise PermissionError("for the test")

        patch.setattr(handle_module.ProcessHandle, "send_signal", refuse)
        begun = time.monotonic()
        with pytest.raises(TimeoutExpired) as caught:
            {
                "call": lambda: call(SLEEP, timeout=0.05),
                "run": lambda: run(SLEEP, timeout=0.05, capture_output=True),
                "arun": lambda: asyncio.run(arun(SLEEP, timeout=0.05, capture_output=True)),
                "Pipeline": lambda: Pipeline([SLEEP]).run(timeout=0.05, capture_output=True),
            }[way]()
        assert time.monotonic() - begun < SOON
        assert isinstance(caught.value.__cause__, PermissionError)
    assert handles[0].poll() is None
    handles[0].send_signal(signal.SIGKILL)
    assert handles[0].wait() == -9


def test_any_number_is_a_time_limit():
    forever = 10**400
    assert run(["true"], timeout=forever).returncode == 0
    assert run(["echo"], timeout=forever, capture_output=True).stdout == b"\n"
    assert call(["true"], timeout=forever) == 0
    assert Pipeline([["true"]]).run(timeout=forever).returncode == 0
    assert run(["true"], spawn_timeout=forever).returncode == 0
    for options in ({}, {"kill_tree": True}):
        with pytest.raises(TimeoutExpired):
            run(SLEEP, timeout=0.02, grace=forever, **options)
    with Popen(SLEEP) as process:
        with pytest.raises(TimeoutExpired):
            process.wait(-forever)
        process.kill()
    assert handle_module.deadline_after(-forever) == -math.inf


def test_a_pickled_error_still_knows_its_phase():
    error = TimeoutExpired(["x"], 1.5, b"out", b"err")
    error.phase = "before exec"
    copy = pickle.loads(pickle.dumps(error))
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)


@pytest.mark.parametrize("encoding", ["utf-16", "UTF-32"])
@pytest.mark.parametrize("marked", [True, False])
def test_text_needs_no_byte_order_mark_in_pieces_either(encoding, marked):
    text = "a\nż😀\nb"
    data = text.encode(encoding if marked else f"{encoding}-{sys.byteorder[0]}e")
    pieces = "; ".join(f"printf '\\{byte:03o}'" for byte in data)  # each byte on its own
    heard = []
    done = run(["sh", "-c", pieces], stdout=PIPE, encoding=encoding, on_stdout=heard.append)
    assert done.stdout == "".join(heard) == text
    with pytest.raises(TimeoutExpired) as caught:
        run(["sh", "-c", f"{pieces}; exec sleep 60"], stdout=PIPE, encoding=encoding, timeout=0.2)
    assert text.startswith(caught.value.stdout)


# Says, when it is asked to end, what is no text, and comes to its end half a second later.
LAST_WORDS = (
    "trap 'printf \\\\377\\\\n; sleep 0.1; echo saved >$0; exit 0' TERM; printf 'one\\ntwo\\n'; "
    "while :; do sleep 0.02; done"
)


class Slow:
    """Takes its time for one line and raises for the next, when the time is up."""

    def __init__(self, limit):
        self.limit, self.seen = limit, []

    def __call__(self, line):
        if self.seen:
            raise LookupError("late")
        self.seen.append(line)
        time.sleep(self.limit + 0.05)


@pytest.mark.parametrize("way", ["run", "arun"])
@pytest.mark.parametrize("callback", [Slow, None])
def test_no_listener_hides_the_time_limit_or_cuts_the_grace_short(way, callback, tmp_path):
    saved = tmp_path / "saved"
    command = ["sh", "-c", LAST_WORDS, str(saved)]

    def act(limit):
        listen = callback(limit) if callback else len
        options = {"stdout": PIPE, "encoding": "utf-8", "on_stdout": listen, "timeout": limit, "grace": 15}
        run(command, **options) if way == "run" else asyncio.run(arun(command, **options))

    expired = late(act, lambda expired: saved.exists() and expired.stdout)
    assert saved.exists()
    assert expired.stdout.startswith("one\ntwo\n")
    assert isinstance(expired.__cause__, LookupError if callback else type(None))


def test_one_command_that_may_not_be_asked_keeps_no_other_from_its_grace(tmp_path, monkeypatch):
    saved = tmp_path / "saved"
    refused, send_signal = [], handle_module.ProcessHandle.send_signal
    other = ["sh", "-c", "trap 'echo saved >$0; exit 0' TERM; while :; do sleep 0.02; done", str(saved)]

    def refuse_the_first(self, sig):
        if sig == signal.SIGTERM and not refused:
            refused.append(self)
            raise PermissionError("for the test")
        send_signal(self, sig)

    def act(limit):
        refused.clear()
        Pipeline([SLEEP, other]).run(timeout=limit, grace=15)

    monkeypatch.setattr(handle_module.ProcessHandle, "send_signal", refuse_the_first)
    late(act, lambda _: saved.exists())
    assert saved.exists()
