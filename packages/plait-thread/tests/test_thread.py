# SPDX-License-Identifier: MIT
"""Handles, forks and locks."""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module

import pytest

from plait import _thread as ours
from plait._thread import allocate_lock, register_after_fork, reset_lock, start_joinable_thread

handles = import_module(f"{ours.__name__}._handles")

# Forking with threads is what is tested here; newer interpreters warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def in_child(work):
    """Fork, run *work* in the child, and return whether it returned True."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            code = 0 if work() is True else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def held(count=1):
    locks = [allocate_lock() for _ in range(count)]
    for lock in locks:
        lock.acquire()
    return locks[0] if count == 1 else locks


def test_a_handle_tells_when_its_thread_has_ended():
    go = held()
    handle = start_joinable_thread(go.acquire)
    assert not handle.is_done()
    handle.join(0.01)
    assert not handle.is_done()
    go.release()
    handle.join()
    handle.join()
    assert handle.is_done()
    assert handle.ident


def test_a_handle_serves_many_joiners():
    go = held()
    handle = start_joinable_thread(go.acquire)
    joiners = [start_joinable_thread(handle.join) for _ in range(8)]
    go.release()
    for joiner in joiners:
        joiner.join(10)
        assert joiner.is_done()


def test_a_handle_is_given_beforehand_and_used_once():
    handle = ours._ThreadHandle()
    with pytest.raises(RuntimeError):
        handle.join()
    assert start_joinable_thread(int, handle) is handle
    with pytest.raises(RuntimeError, match="already started"):
        start_joinable_thread(int, handle)
    handle.join()
    with pytest.raises(TypeError):
        start_joinable_thread(None)


def test_a_thread_does_not_join_itself():
    errors, handle = [], ours._ThreadHandle()

    def work():
        try:
            handle.join()
        except RuntimeError as error:
            errors.append(error)

    start_joinable_thread(work, handle)
    handle.join(10)
    assert len(errors) == 1


def test_thread_local_values_are_gone_when_join_returns():
    if sys.implementation.name != "cpython":
        pytest.skip("needs prompt finalisers")
    gone, values = [], ours._local()

    class Value:
        def __del__(self):
            gone.append(1)

    def work():
        values.x = Value()

    for n in range(50):
        start_joinable_thread(work).join()
        assert len(gone) == n + 1


def test_a_child_knows_that_other_threads_stayed_behind():
    go = held()
    handles = [start_joinable_thread(lambda: (go.acquire(), go.release())) for _ in range(10)]

    def child():
        for handle in handles:
            handle.join()
        return all(handle.is_done() for handle in handles)

    assert in_child(child)
    go.release()
    for handle in handles:
        handle.join(10)
        assert handle.is_done()


def test_callbacks_run_in_order_in_the_child_only_and_survive_errors(monkeypatch):
    class Thing:
        pass

    log, things = [], [Thing() for _ in range(3)]
    monkeypatch.setattr(sys, "unraisablehook", lambda args: log.append(args.exc_type))
    register_after_fork(things[0], lambda thing: log.append(things.index(thing)))
    register_after_fork(things[1], lambda thing: 1 / 0)
    register_after_fork(things[2], lambda thing: log.append(things.index(thing)))
    assert in_child(lambda: log == [0, ZeroDivisionError, 2])
    assert log == []
    del things[0]
    gc.collect()
    assert in_child(lambda: log == [ZeroDivisionError, 1])


def test_a_registration_goes_with_its_object_and_no_handler_can_strike_there():
    # Were Python code called when the object goes, a signal handler could raise in it, and nobody would get that.
    class Equal:
        def __eq__(self, other):
            return True

        __hash__ = None

    module = sys.modules[register_after_fork.__module__]
    gc.collect()
    before, calls = len(module._registrations), []
    things = [Equal(), Equal()]
    for thing in (*things, things[0]):
        register_after_fork(thing, id)
    assert len(module._registrations) == before + 3
    del thing
    gc.disable()  # what is called in a collection is not what is asked
    try:
        sys.setprofile(
            lambda frame, event, _: calls.append(frame.f_code.co_name) if event == "call" else None
        )
        del things[0]
        sys.setprofile(None)
    finally:
        gc.enable()
    gc.collect()
    assert len(module._registrations) == before + 1
    assert calls == []
    del things[0]
    gc.collect()
    assert len(module._registrations) == before


def test_a_callback_that_a_signal_handler_strikes_is_called_again(monkeypatch):
    class Thing:
        pass

    log, things = [], [Thing(), Thing()]
    monkeypatch.setattr(sys, "unraisablehook", lambda args: log.append(args.exc_type))

    def struck(_thing):
        log.append("called")
        if log.count("called") == 1:
            raise KeyboardInterrupt  # as a handler would

    register_after_fork(things[0], struck)
    register_after_fork(things[1], lambda _thing: log.append("next"))
    # (Things of other tests may still be there and raise something else.)
    assert in_child(lambda: [said for said in log if isinstance(said, str)] == ["called", "called", "next"])


def test_generations_count_forks():
    mine = ours.fork_generation()
    assert in_child(
        lambda: ours.fork_generation() == mine + 1 and in_child(lambda: ours.fork_generation() == mine + 2)
    )
    assert ours.fork_generation() == mine


@pytest.mark.parametrize("kind", [ours.lock, ours.RLock])
def test_a_lock_held_by_a_lost_thread_is_freed_in_the_child(kind):
    lock, taken, go = kind(), held(), held()

    def hold():
        with lock:
            taken.release()
            go.acquire()

    handle = start_joinable_thread(hold)
    taken.acquire()

    def child():
        if lock.acquire(False):
            return False
        reset_lock(lock)
        return lock.acquire(False)

    assert in_child(child)
    go.release()
    handle.join(10)
    assert lock.acquire(False)


def test_the_type_of_locks_makes_and_recognises_them():
    assert isinstance(ours.lock(), ours.lock)
    assert isinstance(ours.allocate(), ours.LockType)
    assert not isinstance(3, ours.lock)


def test_the_main_thread_is_known_from_any_thread():
    seen = []
    start_joinable_thread(lambda: seen.append(ours.main_thread_ident())).join()
    assert seen == [ours.get_ident()] == [ours.main_thread_ident()]


def test_of_two_threads_that_start_one_on_the_same_handle_one_is_refused(monkeypatch):
    handle, started = ours._ThreadHandle(), []

    def work():
        started.append(None)

    def at_that_moment():
        with pytest.raises(RuntimeError, match="already started"):
            monkeypatch.undo()
            start_joinable_thread(work, handle)
            start_joinable_thread(work, handle)
        return True

    if handles.native("start_joinable_thread") is not None:
        pytest.skip("the interpreter's own")
    monkeypatch.setattr(handles, "daemon_threads_allowed", at_that_moment)
    with pytest.raises(RuntimeError, match="already started"):
        start_joinable_thread(work, handle)
    handle.join(20)
    assert started == [None]


def test_a_childs_child_of_the_same_number_is_another_process(monkeypatch):
    # As in PID namespaces, one in another: the first process of each is number 1.
    mine = ours.fork_generation()

    def numbered_alike():
        monkeypatch.setattr(os, "getpid", lambda: 1)
        return in_child(
            lambda: (
                ours.fork_generation() == mine + 2 and in_child(lambda: ours.fork_generation() == mine + 3)
            )
        )

    assert in_child(numbered_alike)
