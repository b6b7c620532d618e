# SPDX-License-Identifier: MIT
"""One thread that plays all parts."""

from __future__ import annotations

import doctest
import importlib
import os
import subprocess
import sys
import time
from contextvars import ContextVar, copy_context

import pytest

from plait import dummy_threading as dummy
from plait import threading as real
from plait.dummy_threading import Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, Semaphore, Thread

# What the documentation of 3.7 promises: the interface of threading as it was then.
OF_3_7 = """
    Barrier BoundedSemaphore BrokenBarrierError Condition Event Lock RLock Semaphore TIMEOUT_MAX Thread ThreadError
    Timer active_count current_thread enumerate get_ident local main_thread setprofile settrace stack_size
""".split()  # noqa: SIM905 - a list of as many strings would fill a screen


@pytest.fixture
def no_sleep(monkeypatch):
    """Sleeping takes no time, and is noted."""
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


def test_it_has_the_interface_of_3_7_and_nothing_undocumented():
    assert set(OF_3_7) <= set(dummy.__all__)
    for name in dummy.__all__:
        value = getattr(dummy, name)
        if getattr(value, "__module__", "").startswith(dummy.__name__):
            assert value.__doc__, name


def test_its_example_is_true():
    module = importlib.import_module(Thread.__module__.rpartition(".")[0])
    assert doctest.testmod(module).failed == 0


def test_importing_it_starts_nothing_and_brings_in_no_standard_module():
    banned = ("threading", "queue", "dummy_threading", "_dummy_thread", "asyncio", "logging")
    source = f"import sys, {dummy.__name__}; print([m for m in {banned} if m in sys.modules])"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    plain = subprocess.run(
        [sys.executable, "-S", "-c", source], capture_output=True, text=True, env=env, check=True, timeout=30
    )
    assert plain.stdout == "[]\n"


# ------------------------------------------------------------------------------------------------------------- threads


def test_start_runs_the_thread_to_its_end():
    seen = []
    thread = Thread(target=lambda *a, **k: seen.append((a, k)), args=(1,), kwargs={"two": 2}, name="t")
    assert (thread.ident, thread.is_alive()) == (None, False)
    thread.start()
    assert seen == [((1,), {"two": 2})]
    assert not thread.is_alive()
    assert thread.ident == dummy.get_ident()
    thread.join()
    thread.join(1)
    with pytest.raises(RuntimeError, match="once"):
        thread.start()


def test_a_thread_is_current_while_it_runs_and_others_wait_below_it():
    seen = []

    def inner():
        seen.append([t.name for t in dummy.enumerate()])
        seen.append(dummy.current_thread().is_alive())

    def outer():
        Thread(target=inner, name="inner").start()
        seen.append((dummy.current_thread().name, dummy.active_count()))

    Thread(target=outer, name="outer").start()
    assert seen == [["MainThread", "outer", "inner"], True, ("outer", 2)]
    assert dummy.enumerate() == [dummy.main_thread()] == [dummy.current_thread()]


def test_a_thread_cannot_be_joined_before_it_starts_nor_by_itself():
    with pytest.raises(RuntimeError, match="before it is started"):
        Thread().join()
    errors = []

    def work():
        try:
            dummy.current_thread().join()
        except RuntimeError as error:
            errors.append(str(error))

    Thread(target=work).start()
    assert "current thread" in errors[0]


def test_what_ends_a_thread_is_printed_and_the_caller_goes_on(capsys):
    Thread(target=lambda: 1 / 0, name="doomed").start()
    said = capsys.readouterr().err
    assert said.startswith("Exception in thread doomed:")
    assert said.rstrip().endswith("ZeroDivisionError: division by zero")
    Thread(target=sys.exit).start()
    assert capsys.readouterr().err == ""
    assert dummy.active_count() == 1


def test_ctrl_c_is_the_users_and_not_the_threads():
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Thread(target=interrupted).start()
    assert dummy.active_count() == 1


def test_a_subclass_overrides_run_and_must_call_init():
    class Careless(Thread):
        def __init__(self):
            pass

    class Worker(Thread):
        def run(self):
            self.done = True

    with pytest.raises(RuntimeError, match="__init__"):
        Careless().start()
    assert "did not call" in repr(Careless())
    worker = Worker()
    worker.start()
    assert worker.done


def test_threads_have_names_and_daemons_and_contexts():
    value = ContextVar("value", default="outside")
    context = copy_context()
    context.run(value.set, "inside")
    seen = []
    thread = Thread(target=lambda: seen.append(value.get()), context=context, daemon=True)
    thread.setName("Jim")
    thread.name += "my"
    assert (thread.getName(), thread.isDaemon()) == ("Jimmy", True)
    thread.setDaemon(False)
    assert repr(thread) == "<Thread(Jimmy, initial)>"
    thread.start()
    assert repr(thread) == "<Thread(Jimmy, stopped)>"
    assert seen == ["inside"]
    assert Thread().name != Thread().name


def test_trace_functions_are_for_the_time_of_a_thread():
    calls, before = [], sys.getprofile()
    dummy.setprofile(lambda frame, event, arg: calls.append(event))
    try:
        Thread(target=int).start()
    finally:
        dummy.setprofile(None)
    assert "call" in calls
    assert sys.getprofile() is before


def test_a_timer_sleeps_and_calls_unless_cancelled(no_sleep):
    seen = []
    timer = dummy.Timer(3, seen.append, ("rang",))
    timer.start()
    assert (seen, no_sleep) == (["rang"], [3])
    timer = dummy.Timer(3, seen.append, ("rang",))
    timer.cancel()
    timer.start()
    assert seen == ["rang"]


def test_locals_are_plain_objects():
    class Local(dummy.local):
        def __init__(self, value):
            self.value = value

    assert Local(3).value == 3
    with pytest.raises(TypeError):
        dummy.local(3)


# --------------------------------------------------------------------------------------------------------------- waiting


def test_a_condition_is_notified_by_whoever_ran_before(no_sleep):
    condition, log = Condition(), []

    def announce():
        with condition:
            log.append("announced")
            condition.notify()
            condition.notify_all()
            condition.notifyAll()

    with condition:
        Thread(target=announce).start()
        assert condition.wait()
        assert condition.wait_for(lambda: log)
        assert not condition.wait(2)
        assert not condition.wait(-1)
        assert condition.wait_for(lambda: 0, timeout=5) == 0
    assert no_sleep == [2, 5]


@pytest.mark.parametrize("lock", [Lock, RLock, real.Lock, real.RLock])
def test_a_condition_takes_any_lock_and_insists_on_it(lock):
    condition = Condition(lock())
    for use in (condition.wait, condition.notify, condition.notify_all, lambda: condition.wait_for(int)):
        with pytest.raises(RuntimeError, match="un-acquired"):
            use()
    with condition:
        assert condition.wait()
    assert condition.acquire()
    condition.release()


def wait_for_nothing():
    condition = Condition()
    with condition:
        condition.wait_for(lambda: False)


@pytest.mark.parametrize(
    ("wait", "who"),
    [
        (lambda: Event().wait(), "set it"),
        (lambda: Semaphore(0).acquire(), "release it"),
        (wait_for_nothing, "true"),
    ],
    ids=["event", "semaphore", "wait_for"],
)
def test_waiting_for_what_can_never_be_is_an_error_that_says_so(wait, who):
    with pytest.raises(RuntimeError, match=f"only one thread.*{who}"):
        wait()


def test_an_event_is_a_flag(no_sleep):
    event = Event()
    assert not event.wait(7)
    assert not event.wait(0)
    event.set()
    assert event.wait()
    assert event.is_set()
    assert event.isSet()
    event.clear()
    assert not event.is_set()
    assert no_sleep == [7]


def test_an_event_that_a_handler_sets_during_the_wait_is_seen(monkeypatch):
    event = Event()
    monkeypatch.setattr(time, "sleep", lambda _seconds: event.set())
    assert event.wait(1)


def test_semaphores_count(no_sleep):
    semaphore = Semaphore(2)
    with semaphore:
        assert semaphore.acquire(blocking=False)
        assert not semaphore.acquire(blocking=False)
        assert not semaphore.acquire(timeout=4)
    semaphore.release(2)
    assert semaphore.acquire(timeout=4)
    assert no_sleep == [4]
    for wrong in (lambda: Semaphore(-1), lambda: semaphore.release(0), lambda: semaphore.acquire(False, 1)):
        with pytest.raises(ValueError):
            wrong()
    bounded = BoundedSemaphore()
    with bounded:
        pass
    with pytest.raises(ValueError, match="too many"):
        bounded.release()


def test_a_barrier_of_one_opens_and_of_two_breaks(no_sleep):
    acted = []
    barrier = Barrier(1, lambda: acted.append(1))
    assert barrier.wait() == 0
    assert (barrier.parties, barrier.n_waiting, barrier.broken, acted) == (1, 0, False, [1])
    barrier.abort()
    with pytest.raises(real.BrokenBarrierError):
        barrier.wait()
    barrier.reset()
    assert barrier.wait() == 0
    barrier = Barrier(2, timeout=6)
    for _ in range(2):
        with pytest.raises(dummy.BrokenBarrierError):
            barrier.wait()
    assert barrier.broken
    assert no_sleep == [6]
    barrier = Barrier(1, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        barrier.wait()
    assert barrier.broken


def test_locks_are_those_of_the_layer_below(no_sleep):
    lock = Lock()
    with lock:
        assert lock.locked()
        assert not lock.acquire(False)
        assert not lock.acquire(True, 2)
        assert lock.acquire()
    with pytest.raises(dummy.ThreadError):
        lock.release()
    assert no_sleep == [2]
