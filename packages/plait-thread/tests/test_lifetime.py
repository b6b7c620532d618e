# SPDX-License-Identifier: MIT
"""When a thread has begun, and when it has ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from functools import partial
from importlib import import_module

import pytest

from plait import _thread as ours
from plait._thread import Course, Lifetime, allocate_lock, start_new_thread

module = import_module(f"{ours.__name__}._lifetime")


class Works(Course):
    __slots__ = ("work",)
    here = ours._local()

    def __call__(self):
        self.arrive()
        self.begin()
        try:
            self.work()
        finally:
            self.depart()


def launched(work, kind=Works, **how):
    lifetime, course = Lifetime(), kind()
    course.work = work
    lifetime.launch(course, **how)
    return lifetime


def held():
    lock = allocate_lock()
    lock.acquire()
    return lock


def begun(lifetime):
    end = time.monotonic() + 20
    while not lifetime.has_begun:
        assert time.monotonic() < end
        time.sleep(0.0005)
    return lifetime


def in_child(work):
    pid = os.fork()
    if not pid:
        code = 1
        try:
            code = 0 if work() is True else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_it_begins_and_ends():
    go = held()
    lifetime = launched(go.acquire)
    assert not lifetime.wait(0.01)
    assert begun(lifetime).started_as() == lifetime.ident
    assert not lifetime.is_over()
    go.release()
    assert lifetime.wait()
    assert lifetime.wait(0)
    assert lifetime.is_over()


@pytest.mark.parametrize("timeout", [-1, 10])
def test_any_number_of_threads_may_wait_for_it(timeout):
    go = held()
    lifetime = launched(go.acquire)
    waiters = [launched(lambda: lifetime.wait(timeout)) for _ in range(8)]
    go.release()
    assert all(waiter.wait(10) for waiter in waiters)


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="needs prompt finalisers")
@pytest.mark.parametrize("joinable", [False, True])
def test_it_has_ended_when_the_last_value_of_a_thread_local_is_destroyed(joinable):
    # Watches what the end is noticed by, from 3.13 on: that such values die in an order in which ours is the last.
    log, elsewhere = [], [ours._local() for _ in range(5)]

    class Value:
        def __init__(self, lifetime):
            self.lifetime = lifetime

        def __del__(self):
            log.append(self.lifetime.is_over())
            done = held()
            done.acquire(True, 0.001)  # lets others run, who must not be told yet

    class Touches(Works):
        __slots__ = ()

        def work(self):
            for local in (*elsewhere, *elsewhere[::-1]):
                local.first = Value(self.lifetime)
                local.second = Value(self.lifetime)

        def __call__(self):
            self.arrive()
            self.begin()
            self.work()

    for number in range(1, 4):
        lifetime = Lifetime()
        lifetime.launch(Touches(), joinable=joinable)
        assert lifetime.wait(10)
        assert len(log) == number * 20  # ten that were replaced, ten that were left
    assert not any(log)


def test_a_course_that_is_lost_was_never_begun():
    class Lost(Works):
        __slots__ = ()

    lifetime = Lifetime()
    real = module.start_detached
    try:
        module.start_detached = lambda course, args: start_new_thread(int, args)
        lifetime.launch(Lost())
    finally:
        module.start_detached = real
    if sys.implementation.name != "cpython":
        import gc

        gc.collect()
    assert lifetime.wait(10)
    assert lifetime.is_over()
    assert not lifetime.has_begun
    assert lifetime.started_as()


def test_giving_up_lets_the_starter_see_that_it_has_not_begun():
    class GivesUp(Works):
        __slots__ = ()

        def __call__(self):
            self.arrive()
            self.give_up()

    lifetime = launched(int, GivesUp)
    assert lifetime.gate.acquire(True, 10)
    assert not lifetime.has_begun
    assert lifetime.wait(10)


def test_it_can_be_waited_for_before_it_begins():
    go = held()

    class Slow(Works):
        __slots__ = ()

        def __call__(self):
            with go:
                super().__call__()

    lifetime = launched(int, Slow)
    assert lifetime.ident is None
    assert lifetime.started_as()
    assert not lifetime.is_over()
    assert not lifetime.wait(0.01)
    waiters = [launched(partial(lifetime.wait, timeout)) for timeout in (-1, 10)]
    go.release()
    assert all(waiter.wait(10) for waiter in waiters)
    assert lifetime.wait()


def test_what_was_started_elsewhere_ends_when_that_is_said():
    lifetime = Lifetime()
    lifetime.observe(ours.get_ident())
    assert not lifetime.is_over()
    assert not lifetime.wait(0.01)
    waiter = launched(lifetime.wait)
    lifetime.finish()
    lifetime.finish()
    assert waiter.wait(10)
    assert lifetime.is_over()


def test_a_farewell_waits_without_the_lifetime():
    go = held()
    lifetime = begun(launched(go.acquire, joinable=True))
    farewell = lifetime.farewell()
    del lifetime
    go.release()
    farewell()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_in_a_forked_child_only_the_thread_that_forked_goes_on():
    go, results = held(), []
    other = launched(lambda: (go.acquire(), go.release()))

    def fork():
        lifetime = mine[0]

        def child():
            lifetime.came_along()
            return other.is_over() and other.wait() and not lifetime.is_over() and not lifetime.wait(0.01)

        results.append(in_child(child))

    mine = [Lifetime()]
    course = Works()
    course.work = fork
    mine[0].launch(course)
    del course
    assert mine[0].wait(10)
    assert results == [True]
    assert not other.is_over()
    go.release()
    assert other.wait(10)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("by", ["finish", "depart"])
def test_the_thread_that_forked_ends_in_the_child_when_that_is_said_or_its_work_is_done(by):
    pids = []

    def fork():
        pid = os.fork()
        if pid:
            pids.append(pid)
            return
        lifetime = mine[0]
        lifetime.came_along()

        def watch():
            os._exit(0 if lifetime.wait(10) and lifetime.is_over() else 1)

        launched(watch)
        if by == "finish":
            lifetime.finish()
            lifetime.finish()
            held().acquire(True, 10)
            os._exit(2)

    mine = [Lifetime()]
    course = Works()
    course.work = fork
    mine[0].launch(course)
    del course
    assert mine[0].wait(10)
    assert os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]) == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc")
def test_a_fork_after_a_wait_finds_the_thread_gone(monkeypatch):
    monkeypatch.setattr(module, "LAST_STEPS", 20)  # a busy machine may let it take so long

    def threads():
        return len(os.listdir("/proc/self/task"))

    # A thread of somebody else may be leaving as well, so only afterwards it must be quiet.
    before = threads()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(50):
            assert launched(int).wait(10)
            if sys.version_info >= (3, 12) and before == 1:
                assert in_child(lambda: True)


INTERRUPTED = """
import os, signal, time
from {package} import get_native_id, _lifetime
def interrupted(_seconds):
    raise KeyboardInterrupt  # as the handler does
signal.signal(signal.SIGINT, signal.default_int_handler)
time.sleep = interrupted
_lifetime._departed[0] = get_native_id()
try:
    if not os.fork():
        os._exit(0)
    for _ in range(1000):
        pass
except KeyboardInterrupt:
    print("told")
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or sys.version_info < (3, 12), reason="forks wait for nobody here"
)
def test_a_ctrl_c_that_comes_while_a_fork_waits_for_threads_is_not_lost():
    script = INTERRUPTED.replace("{package}", ours.__name__)
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=80, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "told\n", "")


FIRST_TO_IMPORT = """
import sys
from {package} import start_joinable_thread
assert "threading" not in sys.modules
def work():
    import threading
handle = start_joinable_thread(work)
handle.join(20)
print(handle.is_done(), flush=True)
import os
os._exit(0)  # what the standard module thinks of its main thread at the end is not the question
"""


def test_a_thread_that_is_the_first_to_import_the_standard_module_ends_for_all_who_wait():
    # Up to 3.12 that module gives the thread a sentinel of its own, and the interpreter forgets ours.
    script = FIRST_TO_IMPORT.replace("{package}", ours.__name__)
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=80, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "True\n", "")


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX signals")
def test_a_stop_iteration_out_of_a_handler_is_no_answer():
    struck = []

    def stop(_number, frame):
        if frame.f_code.co_name == "passes" and not struck:
            struck.append(True)
            raise StopIteration

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.05)
    try:
        with pytest.raises(StopIteration):
            module.passes(held(), -1)
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
