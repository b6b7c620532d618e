# SPDX-License-Identifier: MIT
"""Signal handlers, exceptions out of handlers, fork: in child processes with a deadline."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from plait.sched import scheduler

PACKAGE = scheduler.__module__.rpartition(".")[0]
PREAMBLE = """
import os, random, signal, sys, threading, time
sys.path[:] = {path!r}
from importlib import import_module
scheduler = import_module({package!r}).scheduler

def eventually(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.0005)
"""
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX signals and fork")


def in_child(code, deadline=30):
    preamble = PREAMBLE.format(path=sys.path, package=PACKAGE)
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", preamble + textwrap.dedent(code)],
        capture_output=True, text=True, timeout=deadline, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""


def test_a_signal_handler_may_enter_and_cancel_whatever_it_interrupts():
    in_child("""
    s = scheduler()
    ran, expected, numbers = [], [], iter(range(10**9))
    def handler(*_):
        mine = ("handler", next(numbers))
        s.enter(random.random() * 0.001, 1, ran.append, (mine,))
        expected.append(mine)
        s.cancel(s.enter(0, 0, ran.append, ("never",)))
        s.queue
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    stop = time.monotonic() + 1.5
    n = 0
    while time.monotonic() < stop:
        for _ in range(50):
            s.enter(random.random() * 0.001, 1, ran.append, (("main", n),))
            expected.append(("main", n))
            n += 1
        event = s.enter(0.0005, 1, ran.append, ("never",))
        s.cancel(event)
        s.run()
    signal.setitimer(signal.ITIMER_REAL, 0)
    s.run()
    assert sorted(ran) == sorted(expected)
    assert len(expected) > n
    """)


def test_a_signal_handler_may_run_the_scheduler_that_it_interrupts():
    in_child("""
    class Slow(float):
        # Compares in Python, so that a handler can strike in the middle of the agenda's work.
        def __lt__(self, other): return float(self) < float(other)
    s = scheduler()
    ran = []
    signal.signal(signal.SIGALRM, lambda *_: s.run(blocking=False))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    n = 0
    stop = time.monotonic() + 1
    while time.monotonic() < stop:
        for _ in range(60):
            s.enterabs(Slow(time.monotonic() + random.random() * 0.001), 1, ran.append, (n,))
            n += 1
        s.run()
    signal.setitimer(signal.ITIMER_REAL, 0)
    s.run()
    assert sorted(ran) == list(range(n))
    """)


def test_a_handler_wakes_the_run_that_it_interrupts():
    in_child(
        """
    s = scheduler()
    far = s.enter(1000, 1, print)
    ran = []
    def handler(*_):
        s.enter(0.01, 1, lambda: (ran.append(1), s.cancel(far)))
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    s.run()
    assert ran == [1] and not s._naps
    """,
        deadline=10,
    )


def test_an_exception_out_of_a_handler_loses_no_event():
    in_child("""
    class Struck(Exception): pass
    def strike(*_): raise Struck
    signal.signal(signal.SIGALRM, strike)
    s = scheduler()
    ran = []
    n = struck = 0
    class Action:
        # What strikes in here has not lost the event: the call has begun.
        def __init__(self, n): self.n = n
        def __call__(self): ran.append(self.n)
    for round in range(300):
        signal.setitimer(signal.ITIMER_REAL, 0)
        for _ in range(40):
            s.enter(random.random() * 0.002, 1, Action(n))
            n += 1
        while not s.empty():
            try:
                signal.setitimer(signal.ITIMER_REAL, random.random() * 0.002 + 0.0001)
                s.run()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Struck:
                struck += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert len(set(ran)) == len(ran)
    # Between taking an event off the agenda and calling its action lie a few bytecodes.
    assert n - len(ran) <= struck // 10, (n, len(ran), struck)
    assert struck > 50, struck
    assert not s._naps
    """)


def test_a_child_can_use_a_scheduler_that_another_thread_runs_at_the_fork():
    in_child("""
    import warnings; warnings.simplefilter("ignore")
    s = scheduler()
    ran = []
    stop = threading.Event()
    def churn():
        while not stop.is_set():
            s.enter(0.0001, 1, ran.append, (1,))
            s.run()
    threads = [threading.Thread(target=churn) for _ in range(2)]
    for t in threads: t.start()
    for _ in range(30):
        pid = os.fork()
        if not pid:
            signal.alarm(10)
            mine = []
            for event in s.queue: s.cancel(event)
            s.enter(0.001, 1, mine.append, ("child",))
            s.run()
            assert mine == ["child"]
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    stop.set()
    for t in threads: t.join(10)
    """)


def test_a_child_can_use_a_scheduler_whose_lock_another_thread_held_at_the_fork():
    in_child("""
    import warnings; warnings.simplefilter("ignore")
    s = scheduler()
    ran = []
    s.enter(0.001, 1, ran.append, (1,))
    held, release = threading.Event(), threading.Event()
    def hold():
        with s._agenda._lock:
            s._agenda._rearranging = True
            held.set(); release.wait()
            s._agenda._rearranging = False
    threading.Thread(target=hold).start()
    held.wait()
    pid = os.fork()
    if not pid:
        signal.alarm(10)
        s.run()
        assert ran == [1]
        os._exit(7)
    release.set()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    s.run()
    assert ran == [1]
    """)
