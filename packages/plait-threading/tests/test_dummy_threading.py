# SPDX-License-Identifier: MIT
"""One thread that plays all parts."""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import subprocess
import sys
import time
from contextvars import ContextVar, copy_context

import pytest

from plait import dummy_threading as dummy
from plait import threading as real
from plait.dummy_threading import Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, Semaphore, Thread
from plait.threading import debug

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


def test_it_has_all_names_of_the_real_one_and_they_take_the_same():
    assert set(real.__all__) - set(dummy.__all__) == set()
    for name in (*real.__all__, "__excepthook__", "activeCount", "currentThread"):
        mine, its = getattr(dummy, name), getattr(real, name)
        if inspect.isfunction(its):
            assert [*inspect.signature(mine).parameters] == [*inspect.signature(its).parameters], name
        if not isinstance(its, type):
            continue
        assert isinstance(mine, type), name
        for method in (n for n in dir(its) if not n.startswith("_") or n == "__init__"):
            assert hasattr(mine, method), (name, method)
            if inspect.isfunction(getattr(its, method)) and "Lock" not in name:
                takes = [*inspect.signature(getattr(its, method)).parameters]
                assert [*inspect.signature(getattr(mine, method)).parameters] == takes, (name, method)


def test_a_lock_is_a_type():
    def hold(lock: Lock | None):
        return isinstance(lock, Lock)

    assert hold(Lock())
    assert not hold(None)
    assert isinstance(RLock(), RLock)


@pytest.mark.parametrize("name", ["", ".debug"])
def test_its_example_is_true(name):
    assert doctest.testmod(importlib.import_module(dummy.__name__ + name)).failed == 0


def test_its_debug_is_that_of_the_real_one():
    mine = importlib.import_module(f"{dummy.__name__}.debug")
    assert mine.__all__ == debug.__all__
    assert all(getattr(mine, name) is getattr(debug, name) for name in mine.__all__)


def test_a_held_lock_is_granted_once_more_and_freed_once():
    lock = Lock()
    assert lock.acquire()
    assert lock.acquire()
    lock.release()
    assert not lock.locked()
    with pytest.raises(RuntimeError, match="un-acquired"):
        lock.release()


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


def test_a_thread_has_a_result():
    def doomed():
        raise KeyError("lost")

    thread = Thread(target=lambda: 3)
    with pytest.raises(RuntimeError, match="before it is started"):
        thread.result()
    thread.start()
    assert (thread.result(), thread.result(timeout=1), thread.join(reraise=True)) == (3, 3, None)
    thread = Thread(target=sys.exit)
    thread.start()
    assert (thread.result(), thread.join(reraise=True)) == (None, None)
    told, dummy.excepthook = [], lambda args: told.append(args)
    try:
        thread = Thread(target=doomed)
        thread.start()
    finally:
        dummy.excepthook = dummy.__excepthook__
    assert [(args.exc_type, args.thread) for args in told] == [(KeyError, thread)]
    thread.join()
    for ask in (thread.result, lambda: thread.join(reraise=True), thread.result):
        with pytest.raises(KeyError, match="lost") as failed:
            ask()
        assert failed.traceback[-1].name == "doomed"


def test_a_failing_excepthook_is_told_and_the_caller_goes_on(monkeypatch):
    failures = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, _error, _traceback: failures.append(kind))
    monkeypatch.setattr(dummy, "excepthook", lambda _args: {}["a failing hook"])
    Thread(target=lambda: 1 / 0).start()
    assert failures == [KeyError]
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
    assert dummy.getprofile() is None
    func, traced = (lambda *_: None), sys.gettrace()
    for all_threads, get, now, back in (
        (dummy.setprofile_all_threads, dummy.getprofile, sys.getprofile, before),
        (dummy.settrace_all_threads, dummy.gettrace, sys.gettrace, traced),
    ):
        real_one = (real.getprofile(), real.gettrace())
        try:
            all_threads(func)
            seen = get() is func, now() is func
        finally:
            all_threads(None)
            (sys.setprofile if now is sys.getprofile else sys.settrace)(back)
        assert seen == (True, True)
        assert (real.getprofile(), real.gettrace()) == real_one


def test_a_timer_sleeps_and_calls_unless_cancelled(no_sleep):
    seen = []
    timer = dummy.Timer(3, seen.append, ("rang",))
    timer.start()
    assert (seen, no_sleep) == (["rang"], [3])
    timer = dummy.Timer(3, seen.append, ("rang",))
    timer.cancel()
    timer.start()
    assert seen == ["rang"]
    assert timer.result() is None
    timer = dummy.Timer(1, lambda: "tea", name="kettle", daemon=True)
    timer.start()
    assert (timer.result(), timer.name, timer.daemon) == ("tea", "kettle", True)


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
        assert condition.locked()
        assert not condition.wait(0)
        with pytest.raises(RuntimeError, match=r"only one thread.*notify"):
            condition.wait()
    assert condition.acquire()
    condition.release()
    assert not condition.locked()


def test_a_loop_around_a_wait_that_nobody_ends_is_an_error_and_does_not_spin():
    condition, box, looks = Condition(), [], []

    def announce_something_else():
        with condition:
            condition.notify_all()

    with condition:
        Thread(target=announce_something_else).start()
        with pytest.raises(RuntimeError, match="nobody can notify"):
            while not box:
                looks.append(1)
                condition.wait()
    assert len(looks) == 2


def test_notifications_are_for_as_many_as_may_be_about_to_wait():
    condition, waited = Condition(), []

    def announce():
        with condition:
            condition.notify_all()

    def middle():
        with condition:
            Thread(target=announce).start()
            waited.append(condition.wait())

    with condition:
        condition.notify_all()  # which is lost: who gives it does not wait, and nobody else does
        assert not condition.wait(0)
        Thread(target=middle).start()
        assert waited == [True]
        assert condition.wait()
        assert not condition.wait(0)
        Thread(target=announce).start()
        assert condition.wait(9)


def test_a_notification_of_a_handler_during_the_wait_is_one(monkeypatch):
    condition = Condition()
    monkeypatch.setattr(time, "sleep", lambda _seconds: condition.notify())
    with condition:
        assert condition.wait(1)


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


@pytest.mark.parametrize("watching", [False, True])
@pytest.mark.parametrize("kind", [dummy.NamedLock, dummy.NamedRLock], ids=lambda c: c.__name__)
def test_locks_with_a_name_are_granted_like_others_and_can_be_watched(kind, watching):
    if watching:
        debug.enable()
    try:
        lock = kind("n")
        condition = Condition(lock)
        with condition:
            if kind is dummy.NamedRLock:
                Thread(target=lambda: lock.acquire() and lock.release()).start()
            if watching:
                (me,) = debug.report().threads
                assert [held.lock for held in me.holds] == ["n"]
            assert lock.locked()
            assert lock.acquire(blocking=False) is (kind is dummy.NamedRLock)
            if kind is dummy.NamedRLock:
                lock.release()
        assert not lock.locked()
        if watching:
            assert debug.report().threads == ()
    finally:
        debug.disable()


def test_what_works_with_one_thread_is_the_real_one():
    ticket = dummy.serialize_iterator(iter("abc"))
    Thread(target=lambda: next(ticket)).start()
    assert next(ticket) == "b"
    lock = dummy.RWLock()
    with lock.read:
        Thread(target=lambda: lock.read.acquire() and lock.read.release()).start()
        thread = Thread(target=lambda: lock.write.acquire(False))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dummy, "excepthook", lambda _args: None)
            thread.start()
        with pytest.raises(RuntimeError, match="cannot become the writer"):
            thread.result()
    assert dummy.register_atexit is real.register_atexit


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
