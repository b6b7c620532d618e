# SPDX-License-Identifier: MIT
"""Signal handlers, exceptions out of handlers, fork: in child processes with a deadline."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from plait.sched import scheduler

PACKAGE = scheduler.__module__
PREAMBLE = """
import os, random, signal, sys, threading, time
sys.path[:] = {path!r}
from importlib import import_module
scheduler = import_module({package!r}).scheduler

def eventually(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.0005)

def alarm(handler):
    "Have it called once, by a signal that is repeated until then: in the last instructions before a sleep, none wakes."
    def once(*_):
        if armed:
            armed.clear()
            signal.setitimer(signal.ITIMER_REAL, 0)
            handler()
    armed = [True]
    signal.signal(signal.SIGALRM, once)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
"""
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX signals and fork")


def in_child(code, deadline=120, says=""):
    preamble = PREAMBLE.format(path=sys.path, package=PACKAGE)
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", preamble + textwrap.dedent(code)],
        capture_output=True, text=True, timeout=deadline, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert says in done.stdout


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
    n = 0
    while len(expected) - n < 1000:
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
    ran, turns = [], []
    signal.signal(signal.SIGALRM, lambda *_: turns.append(s.run(blocking=False)))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    n = 0
    while len(turns) < 800:
        for _ in range(60):
            s.enterabs(Slow(time.monotonic() + random.random() * 0.001), 1, ran.append, (n,))
            n += 1
        s.run()
    signal.setitimer(signal.ITIMER_REAL, 0)
    s.run()
    assert sorted(ran) == list(range(n))
    """)


def test_a_handler_wakes_the_run_that_it_interrupts():
    in_child("""
    s = scheduler()
    far = s.enter(1000, 1, print)
    ran = []
    alarm(lambda: s.enter(0.01, 1, lambda: (ran.append(1), s.cancel(far))))
    s.run()
    assert ran == [1] and not s._naps_
    """)


def test_an_exception_out_of_a_handler_loses_no_event():
    in_child("""
    class Struck(Exception): pass
    armed = False
    def strike(*_):
        # PyPy calls handlers a little later; what strikes outside the `try` below is of no interest.
        if armed: raise Struck
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
                armed = True
                signal.setitimer(signal.ITIMER_REAL, random.random() * 0.002 + 0.0001)
                s.run()
                armed = False
            except Struck:
                armed = False
                struck += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert len(set(ran)) == len(ran)
    # Between taking an event off the agenda and calling its action lie a few bytecodes.
    assert n - len(ran) <= struck // 10, (n, len(ran), struck)
    assert struck > 50, struck
    if sys.implementation.name == "pypy":
        # There the exception may strike in a `finally`, before anything is done. What is left goes at the next occasion.
        s.stop()
    assert not s._naps_
    assert not s._runs_
    # The lock of the index is free for other threads, and nothing passes for being rearranged.
    lock = s._agenda_._lock
    free = []
    thread = threading.Thread(target=lambda: free.append(lock.acquire(timeout=30)))
    thread.start(); thread.join()
    assert free == [True] and not s._agenda_._rearranging
    """)


LOOKS_ANYWHERE = pytest.mark.skipif(
    sys.implementation.name == "pypy" or sys.version_info < (3, 11), reason="they look for signals anywhere"
)

STRIKE_ONCE = """
    import datetime
    class Struck(Exception): pass
    def strike(*_): raise Struck
    signal.signal(signal.SIGALRM, strike)
    def struck(within, call, *args):
        "Strike once, in that call or after it."
        try:
            signal.setitimer(signal.ITIMER_REAL, random.random() * within + 1e-6)
            call(*args)
            while True: time.sleep(0.0001)
        except Struck:
            pass
"""


@LOOKS_ANYWHERE
@pytest.mark.parametrize("kind", ["at", "every"])
def test_an_exception_out_of_a_handler_loses_no_call_of_what_stands(kind):
    in_child(
        STRIKE_ONCE
        + f"    kind = {kind!r}\n"
        + """
    past = datetime.datetime(2000, 1, 1)
    for _ in range(2000):
        called = []
        if kind == "at":
            s = scheduler()
            for i in range(5): s.at(past, called.append, (i,))
        else:
            now = [0]
            s = scheduler(lambda: now[0], lambda _: None)
            s.every(1, called.append, (0,), misfire="catch_up")
            now[0] = 5
        struck(0.0001, s.run, False)
        s.run(False)
        assert sorted(called) == ([0, 1, 2, 3, 4] if kind == "at" else [0] * 5), called
    """
    )


@LOOKS_ANYWHERE
@pytest.mark.parametrize("call", ["cancel", "stop"])
def test_what_was_cancelled_or_stopped_ends_the_sleep_though_it_was_struck(call):
    in_child(
        STRIKE_ONCE
        + f"    call = {call!r}\n"
        + """
    for _ in range(150):
        s = scheduler()
        event = s.enter(100, 0, bool)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        thread = threading.Thread(target=s.run); thread.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
        while not s._naps_: time.sleep(0.0001)
        run = next(iter(s._runs_))
        struck(0.000012, *((s.cancel, event) if call == "cancel" else (s.stop,)))
        if not (run.stopped if call == "stop" else not s.queue):
            s.stop()  # it was struck before it had begun
        thread.join(30)
        assert not thread.is_alive()
    """
    )


@LOOKS_ANYWHERE
def test_what_is_to_stand_and_was_struck_stands_with_a_handle_or_not_at_all():
    in_child(
        STRIKE_ONCE
        + """
    some_day = datetime.datetime(2100, 1, 1)
    for enter in (lambda s: s.every(100, bool), lambda s: s.at(some_day, bool)):
        for _ in range(1500):
            s, handles = scheduler(), []
            def call():
                handle = enter(s)
                handles[:] = handle,  # nothing can strike between these two
            struck(0.00004, call)
            assert len(s.queue) == len(s._repeating_) + len(s._by_wall_clock_) == len(handles), (s.queue, handles)
            for handle in handles: s.cancel(handle)
            assert s.empty()
    """
    )


@LOOKS_ANYWHERE
def test_what_repeats_survives_two_exceptions_that_strike_one_upon_the_other():
    # At the start of every function from the taking of the event to its action: there the interpreter looks for signals.
    in_child("""
    class Struck(Exception): pass
    BOTH = (signal.SIGINT, signal.SIGTERM)
    def strike(*_): raise Struck
    for number in BOTH: signal.signal(number, strike)
    left = [0]
    def trace(frame, event, _):
        if frame.f_code.co_name not in ("__call__", "_advance", "_enter", "_newest", "_next_time", "_due"):
            return
        left[0] -= 1
        if left[0] == 0:
            sys.settrace(None)
            signal.pthread_sigmask(signal.SIG_BLOCK, BOTH)
            for number in BOTH: os.kill(os.getpid(), number)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, BOTH)
    struck = 0
    for moment in range(1, 20):
        s = scheduler()
        ran = []
        ticking = s.every(0.001, ran.append, (1,))
        time.sleep(0.002)
        left[0] = moment
        try:
            try:
                sys.settrace(trace)
                s.run(blocking=False)
            except Struck:
                struck += 1
                for _ in range(3): signal.pthread_sigmask(signal.SIG_BLOCK, ())  # looks for signals, whatever else
        except Struck:
            pass
        sys.settrace(None)
        assert ticking.event is not None and len(s.queue) == 1, (moment, s.queue)
        del ran[:]
        time.sleep(0.002)
        s.run(blocking=False)
        assert ran, moment
        s.cancel(ticking)
        assert s.empty()
    assert struck > 5, struck
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
            signal.alarm(60)
            mine = []
            for event in s.queue: s.cancel(event)
            s.enter(0.001, 1, mine.append, ("child",))
            s.run()
            assert mine == ["child"]
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    stop.set()
    for t in threads: t.join(60)
    """)


def test_a_child_can_use_a_scheduler_whose_lock_another_thread_held_at_the_fork():
    in_child("""
    import warnings; warnings.simplefilter("ignore")
    s = scheduler()
    ran = []
    s.enter(0.001, 1, ran.append, (1,))
    held, release = threading.Event(), threading.Event()
    def hold():
        with s._agenda_._lock:
            s._agenda_._rearranging = True
            held.set(); release.wait()
            s._agenda_._rearranging = False
    threading.Thread(target=hold).start()
    held.wait()
    pid = os.fork()
    if not pid:
        signal.alarm(60)
        s.run()
        assert ran == [1]
        os._exit(7)
    release.set()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    s.run()
    assert ran == [1]
    """)


def test_a_handler_stops_the_run_that_it_interrupts():
    in_child("""
    s = scheduler()
    s.enter(1000, 1, print)
    signal.signal(signal.SIGALRM, lambda *_: s.stop())
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    for _ in range(5):
        s.run(forever=True)
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert len(s.queue) == 1 and not s._naps_ and not s._runs_
    """)


def test_a_handler_may_do_all_that_is_not_waiting():
    in_child("""
    s = scheduler()
    ran = []
    turns = [0]
    standing = []
    busy = []
    def handler(*_):
        if busy: return  # it interrupts itself
        busy.append(1)
        turns[0] += 1
        standing.append(s.every(0.0007, ran.append, ("tick",)))
        if len(standing) > 5:
            s.cancel(standing.pop(0))
        s.next_due(); s.queue; s.empty()
        if turns[0] % 5 == 0:
            s.cancel_all()
            standing.clear()
        busy.clear()
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    while turns[0] < 600:
        for _ in range(30):
            s.enter(random.random() * 0.001, 1, ran.append, (1,))
        s.enter(0.002, 1, s.stop)
        s.run()
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert ran
    s.cancel_all()
    assert s.empty() and not s._repeating_ and s.run() is None
    """)


def test_a_signal_strikes_cancel_without_leaving_the_index_locked():
    in_child("""
    class Struck(Exception): pass
    armed = False
    def strike(*_):
        if armed: raise Struck
    signal.signal(signal.SIGALRM, strike)
    s = scheduler()
    keep = s.enter(1000, 1, print)
    struck = 0
    while struck < 1000:
        try:
            armed = True
            signal.setitimer(signal.ITIMER_REAL, random.random() * 0.0005 + 0.00002)
            while True:
                for event in [s.enter(5, 1, print) for _ in range(40)]:
                    s.cancel(event)
        except Struck:
            armed = False
            struck += 1
            for event in s.queue[:-1]:
                s.cancel(event)
    assert s.queue == [keep]
    free = []
    lock = s._agenda_._lock
    thread = threading.Thread(target=lambda: free.append(lock.acquire(timeout=30)))
    thread.start(); thread.join()
    assert free == [True]
    """)


def test_a_child_goes_on_with_what_stands_and_is_not_disturbed_by_the_threads_of_its_parent():
    in_child("""
    import warnings; warnings.simplefilter("ignore")
    import datetime
    s = scheduler()
    ran = []
    ticking = s.every(0.01, ran.append, ("tick",))
    soon = s.at(datetime.datetime.now() + datetime.timedelta(seconds=3600), ran.append, ("at",))
    background = s.run_in_thread()
    eventually(lambda: len(ran) > 3)
    for _ in range(10):
        pid = os.fork()
        if not pid:
            signal.alarm(60)
            assert not background.is_alive() and not s._naps_
            del ran[:]
            enough = s.every(0.02, lambda: ran.count("tick") >= 2 and s.stop())
            s.run()
            s.cancel(enough)
            s.cancel(ticking); s.cancel(soon)
            assert s.run() is None
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    background.stop(); background.join(30)
    assert not background.is_alive()
    """)


def test_a_fork_in_a_handler_that_interrupts_a_sleep_leaves_both_sleeping_well():
    in_child("""
    import warnings; warnings.simplefilter("ignore")
    for clock in (time.monotonic, time.time):
        s = scheduler(clock)
        ran = []
        far = s.enter(1000, 1, print)
        pid = None
        def handler():
            global pid
            pid = os.fork()
            if not pid: signal.signal(signal.SIGALRM, signal.SIG_DFL); signal.alarm(60)
            s.enter(0.2, 1, lambda: (ran.append(1), s.cancel(far)))
            s.enter(0.1, 1, ran.append, (0,))
        alarm(handler)
        s.run()
        assert ran == [0, 1], ran
        if pid == 0:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    """)


@pytest.mark.parametrize("daemon", [True, False])
def test_a_process_ends_although_a_background_thread_waits_for_new_events(daemon):
    in_child(f"""
    s = scheduler()
    s.enter(0.2, 1, print, ("done",))
    s.run_in_thread(daemon={daemon})
    """)


def test_a_process_waits_for_what_is_pending_in_a_thread_that_is_no_daemon():
    in_child("""
    s = scheduler()
    s.enter(0.3, 1, lambda: os.write(1, b"done"))
    s.run_in_thread(daemon=False)
    sys.stdout.flush()
    """, says="done")  # fmt: skip


def test_a_run_pauses_for_other_threads_and_only_if_there_are_some():
    # Counted, not timed.
    in_child("""
    module = sys.modules[scheduler.run.__module__]
    pauses = []
    module.sleep = pauses.append
    s = scheduler()
    def run_many():
        for _ in range(4000): s.enter(0, 1, int)
        s.run()
    run_many()
    assert not pauses
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    begun = time.monotonic()
    run_many()
    assert 1 <= len(pauses) <= (time.monotonic() - begun) / module.PAUSE + 1, len(pauses)
    assert set(pauses) == {0}
    stop.set()
    thread.join()
    """)
