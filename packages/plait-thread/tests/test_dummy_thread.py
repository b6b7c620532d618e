# SPDX-License-Identifier: MIT
"""`_thread` without threads."""

from __future__ import annotations

import doctest
import gc
import importlib
import inspect
import os
import signal
import subprocess
import sys
import time

import pytest

from plait import _dummy_thread as dummy
from plait import _thread as real


@pytest.fixture
def no_sleep(monkeypatch):
    """Sleeping takes no time, and is noted."""
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


def test_its_example_is_true_and_its_names_are_documented():
    module = importlib.import_module(dummy.__name__)
    assert doctest.testmod(module).failed == 0
    for name in dummy.__all__:
        value = getattr(dummy, name)
        if getattr(value, "__module__", "").startswith(dummy.__name__):
            assert value.__doc__, name


def test_it_has_all_names_of_the_real_one_and_they_take_the_same():
    assert set(real.__all__) <= set(dummy.__all__)
    for name in set(dummy.__all__) & set(real.__all__):
        mine, its = getattr(dummy, name), getattr(real, name)
        if inspect.isfunction(its):
            assert [*inspect.signature(mine).parameters] == [*inspect.signature(its).parameters], name
        elif isinstance(its, type):
            lacks = {n for n in dir(its) if not n.startswith("_")} - set(dir(mine))
            assert lacks - {"count", "index", "n_fields", "n_sequence_fields", "n_unnamed_fields"} == set(), (
                name
            )
    for private in ("_is_owned", "_release_save", "_acquire_restore", "_recursion_count", "_at_fork_reinit"):
        assert hasattr(dummy.RLock, private)


def test_a_started_function_has_run_when_the_call_returns():
    seen = []
    assert dummy.start_new_thread(lambda *a, **k: seen.append((a, k)), (1,), {"b": 2}) == dummy.get_ident()
    assert seen == [((1,), {"b": 2})]


def test_what_ends_it_is_printed_but_an_exit_is_not(capsys):
    dummy.start_new_thread(lambda: {}["key"], ())
    said = capsys.readouterr().err
    assert said.startswith("Traceback")
    assert said.rstrip().endswith("KeyError: 'key'")
    dummy.start_new_thread(dummy.exit, ())
    assert capsys.readouterr().err == ""


def test_arguments_are_checked_before_anything_runs():
    for wrong in (((1,), []), ([], {})):
        with pytest.raises(TypeError):
            dummy.start_new_thread(pytest.fail, *wrong)


def test_an_interrupt_waits_for_the_end_of_the_outermost_call():
    log = []

    def inner():
        dummy.interrupt_main()
        log.append("inner goes on")

    def outer():
        dummy.start_new_thread(inner, ())
        log.append(f"outer goes on, {dummy._count()} deep")

    with pytest.raises(KeyboardInterrupt):
        dummy.start_new_thread(outer, ())
    assert log == ["inner goes on", "outer goes on, 1 deep"]
    with pytest.raises(KeyboardInterrupt):
        dummy.interrupt_main()
    dummy.start_new_thread(int, ())  # and is not repeated


def test_another_signal_goes_to_its_handler():
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda number, _frame: seen.append(number))
    try:
        dummy.interrupt_main(signal.SIGUSR1)
        dummy.start_new_thread(dummy.interrupt_main, (signal.SIGUSR1,))
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        dummy.interrupt_main(signal.SIGUSR1)  # which would have ended this process
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [signal.SIGUSR1] * 2


def test_ctrl_c_in_a_started_function_reaches_the_caller():
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dummy.start_new_thread(interrupted, ())
    assert dummy._count() == 0


def test_a_handle_is_done_at_once_and_serves_one_call():
    handle = dummy._ThreadHandle()
    with pytest.raises(RuntimeError, match="no thread yet"):
        handle.join()
    errors = []

    def work():
        try:
            handle.join()
        except RuntimeError as error:
            errors.append(str(error))

    assert dummy.start_joinable_thread(work, handle) is handle
    handle.join()
    assert handle.is_done()
    assert "current thread" in errors[0]
    with pytest.raises(RuntimeError, match="already started"):
        dummy.start_joinable_thread(int, handle)
    with pytest.raises(TypeError):
        dummy.start_joinable_thread(None)


def test_a_handle_of_a_call_that_was_made_otherwise_is_done_when_it_is_said_to_be():
    handle = dummy._make_thread_handle(dummy.get_ident())
    assert not handle.is_done()
    with pytest.raises(RuntimeError, match="itself"):
        handle.join()
    handle._set_done()
    handle.join()
    assert handle.is_done()
    with pytest.raises(RuntimeError, match="no thread yet"):
        dummy._ThreadHandle()._set_done()
    assert dummy._shutdown() is None


def test_a_parker_remembers_one_call_and_refuses_to_wait_for_ever(no_sleep):
    parker = dummy.Parker()
    assert parker.unpark()
    assert parker.unpark()
    assert "unparked" in repr(parker)
    assert parker.park() is True
    assert parker.park(3) is False
    assert parker.park(0) is False
    with pytest.raises(RuntimeError, match="for ever"):
        parker.park()
    for kind, refused in ((ValueError, float("nan")), (TypeError, "1")):
        with pytest.raises(kind, match="must be a number of seconds"):
            parker.park(refused)
    assert parker.park(-(10**400)) is False
    assert no_sleep == [3]


def test_a_parker_that_a_handler_rings_during_its_sleep_is_woken(monkeypatch):
    parker = dummy.Parker()
    monkeypatch.setattr(time, "sleep", lambda _seconds: parker.unpark())
    assert parker.park(1)


def test_a_wait_queue_wakes_those_who_came_first(monkeypatch, no_sleep):
    line = dummy.WaitQueue()
    parkers = [dummy.Parker() for _ in range(3)]
    for parker in parkers:
        line.enter(parker)
    assert (len(line), [*line]) == (3, parkers)
    assert "3 waiting" in repr(line)
    assert line.leave(parkers[1])
    assert not line.leave(parkers[1])
    assert line.wake() == 1
    assert parkers[0].park(0)
    assert line.wake_all() == 1
    assert line.wake(5) == 0
    assert line.wait(unless=lambda: True)
    assert not line.wait(2, unless=lambda: False)
    with pytest.raises(RuntimeError, match="for ever"):
        line.wait()
    assert (len(line), no_sleep) == (0, [2])
    monkeypatch.setattr(time, "sleep", lambda _seconds: line.wake())
    assert line.wait(1)


def test_a_name_is_remembered():
    before = dummy._get_name()
    try:
        dummy.set_name("long-" * 3 + "\N{SNOWMAN}")
        assert dummy._get_name() == "long-" * 3
        dummy.set_name("14 bytes and " + "\N{SNOWMAN}")
        assert dummy._get_name() == "14 bytes and "
        with pytest.raises(TypeError):
            dummy.set_name(3)
    finally:
        dummy.set_name(before)


def test_exceptions_without_a_caller_are_told(capsys, monkeypatch):
    error = KeyError("lost")
    dummy._excepthook(dummy._ExceptHookArgs((KeyError, error, None, None)))
    assert capsys.readouterr().err == "Exception in thread 1:\nKeyError: 'lost'\n"
    dummy._excepthook(dummy._ExceptHookArgs((SystemExit, SystemExit(), None, None)))
    assert capsys.readouterr().err == ""
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    dummy.report_unraisable(error, "Exception ignored in it", 3)
    assert (told[0].exc_value, told[0].err_msg, told[0].object) == (error, "Exception ignored in it", 3)
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    dummy.report_unraisable(error, "Exception ignored in it", 3)
    assert capsys.readouterr().err == "Exception ignored in it 3\nKeyError: 'lost'\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_is_told_what_to_mend():
    lock, gone = dummy.LockType(), dummy.LockType()
    parker = dummy.Parker()
    lock.acquire()
    dummy.register_after_fork(lock, lambda _lock: 1 / 0)
    dummy.register_after_fork(lock, dummy.reset_lock)
    dummy.register_after_fork(gone, pytest.fail)
    del gone
    gc.collect()
    before = dummy.fork_generation()
    child = os.fork()
    if child == 0:
        os.close(2)
        good = (lock.locked(), dummy.fork_generation(), parker.unpark()) == (False, before + 1, False)
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert lock.locked()
    assert dummy.fork_generation() == before


def test_a_lock_keeps_account(no_sleep):
    lock = dummy.allocate_lock()
    assert isinstance(lock, dummy.LockType)
    assert "<unlocked" in repr(lock)
    assert lock.acquire()
    assert lock.locked()
    assert "<locked" in repr(lock)
    assert not lock.acquire(False)
    assert not lock.acquire(0, 2)
    assert not lock.acquire(timeout=0.5)
    assert not lock.acquire(blocking=False)
    assert lock.acquire(), "whoever would have waited would have waited for itself"
    lock.release()
    with pytest.raises(dummy.error):
        lock.release()
    assert lock.acquire_lock(timeout=9)
    assert lock.locked_lock()
    lock.release_lock()
    assert no_sleep == [2, 0.5]


def test_a_lock_that_a_handler_releases_meanwhile_is_taken(monkeypatch):
    lock = dummy.LockType()
    lock.acquire()
    monkeypatch.setattr(time, "sleep", lambda _seconds: lock.release())
    assert lock.acquire(True, 1)


def test_an_rlock_counts():
    lock = dummy.RLock()
    with lock:
        assert lock.acquire(False)
        saved = lock._release_save()
        assert not lock.locked()
        lock._acquire_restore(saved)
        lock.release()
        assert lock._is_owned()
        assert lock._recursion_count() == 1
        assert lock.acquire(blocking=True)
        lock.release()
    with pytest.raises(RuntimeError):
        lock.release()
    with pytest.raises(RuntimeError):
        lock._release_save()


def test_a_local_takes_arguments_if_a_subclass_does():
    class Local(dummy._local):
        def __init__(self, x):
            self.x = x

    assert Local(1).x == 1
    with pytest.raises(TypeError):
        dummy._local(1)


def test_the_stack_is_the_callers():
    assert dummy.stack_size() == dummy.stack_size(0) == dummy.stack_size(None) == 0
    with pytest.raises(dummy.error):
        dummy.stack_size(1 << 20)
    assert dummy.get_native_id() == os.getpid()
    assert dummy.daemon_threads_allowed()


WITHOUT_THREADS = """
import sys
sys.modules["_thread"] = None  # an interpreter that was built without
from {thread} import *
import {thread} as t
lock, rlock = t.allocate_lock(), t.RLock()
with lock, rlock:
    assert lock.locked() and rlock.locked()
assert isinstance(lock, t.lock) and isinstance(t.lock(), t.LockType)
t.reset_lock(lock); t.reset_lock(rlock)
assert t.get_ident() == t.main_thread_ident()
t._local().x = 1
assert not t.can_start_threads()
parker = t.Parker()
parker.unpark()
assert parker.park() and not parker.park(0.01)
try:
    parker.park()
except RuntimeError as error:
    assert "one thread" in str(error), error
else:
    raise AssertionError("came back")
assert t.WaitQueue().wake() == 0
t.set_name("alone"); t._count(); t._shutdown()
for start in (lambda: t.start_new_thread(int, ()), lambda: t.start_joinable_thread(int)):
    try:
        start()
    except RuntimeError as error:
        assert "cannot start threads" in str(error), error
        assert "calling thread" in str(error), error
    else:
        raise AssertionError("started")
print("alone")
"""


def test_the_real_one_falls_back_to_it_where_the_interpreter_has_no_threads():
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    script = WITHOUT_THREADS.replace("{thread}", real.__name__)
    ended = subprocess.run(
        [sys.executable, "-S", "-c", script], capture_output=True, text=True, env=env, timeout=80, check=False
    )
    assert (ended.stdout, ended.returncode) == ("alone\n", 0), ended.stderr


class _Works(dummy.Course):
    def __init__(self, work):
        self.work = work

    def __call__(self):
        self.arrive()
        self.begin()
        self.work()


def test_a_lifetime_has_passed_when_launch_returns(no_sleep):
    lifetime, seen = dummy.Lifetime(), []

    def within():
        with pytest.raises(RuntimeError, match="for ever"):
            lifetime.wait()
        seen.append((lifetime.has_begun, lifetime.is_over(), lifetime.wait(2), lifetime.started_as()))

    lifetime.launch(_Works(within))
    assert seen == [(True, False, False, dummy.get_ident())]
    assert no_sleep == [2]
    assert lifetime.is_over()
    assert lifetime.wait()
    assert not lifetime.gate.locked()
    lifetime.farewell()()


def test_a_lifetime_that_never_began_has_passed_too(capsys):
    lifetime = dummy.Lifetime()
    lifetime.launch(dummy.Course())
    assert "must override" in capsys.readouterr().err
    assert (lifetime.has_begun, lifetime.ident, lifetime.is_over()) == (False, None, True)
    assert not lifetime.gate.locked()


def test_what_was_started_elsewhere_ends_when_that_is_said():
    lifetime = dummy.Lifetime()
    lifetime.observe(7)
    assert (lifetime.ident, lifetime.is_over(), lifetime.started_as()) == (7, False, None)
    lifetime.finish()
    assert lifetime.wait()
