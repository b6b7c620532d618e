# SPDX-License-Identifier: MIT
"""Locks that are watched, and signal handlers that raise exceptions or take locks themselves."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import textwrap
import time

import pytest

from plait.threading import Condition, Event, NamedLock, NamedRLock, RWLock, Thread, debug, get_ident

pytestmark = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to send here")


@pytest.fixture
def watched():
    debug.enable()
    yield debug
    debug.disable()


@pytest.fixture
def handled():
    """Have a signal handled for the time of a test."""
    before = []

    def handle(number, handler):
        before.append((number, signal.signal(number, handler)))

    yield handle
    for number, handler in before:
        signal.signal(number, handler)


def until(condition):
    pause, end = Event(), time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        pause.wait(0.001)


def signalled(ident, number, condition):
    """Send it to a thread until that has had an effect: one that comes in the last instructions before the thread goes to
    sleep in C has none."""
    while not condition():
        signal.pthread_kill(ident, number)
        for _ in range(50):
            if condition():
                break
            time.sleep(0.001)


def waited_for(ident):
    waits = [thread.waits_for for thread in debug.report().threads if thread.ident == ident]
    return waits[0].lock if waits and waits[0] else None


def held_by(ident):
    return [
        (held.lock, held.count)
        for thread in debug.report().threads
        if thread.ident == ident
        for held in thread.holds
    ]


WAITERS_LOCK = textwrap.dedent(
    """
    import signal, time
    from {threading} import *
    from {threading} import debug

    class Struck(Exception):
        pass

    def strike(*_):
        raise Struck

    def waits():
        return any(thread.waits_for for thread in debug.report().threads if thread.ident == main)

    def notify_and_strike():
        with condition:
            condition.notify()
            while not waits():
                time.sleep(0.001)
            signal.pthread_kill(main, signal.SIGUSR1)
            time.sleep(0.02)

    signal.signal(signal.SIGUSR1, strike)
    debug.enable()
    main, lock = get_ident(), make("x")
    condition = Condition(lock)
    thread = Thread(target=notify_and_strike, daemon=True)
    with condition:
        thread.start()
        try:
            condition.wait(60)
        except Struck:
            print(lock._is_owned(), [(held.lock, held.count) for held in debug.report().threads[0].holds])
    thread.join(30)
    print(lock.locked(), debug.report().threads)
    """
)


@pytest.mark.parametrize("kind", ["NamedLock", "NamedRLock", "lambda name: RWLock(name).write"])
def test_a_signal_while_a_waiter_waits_to_have_its_lock_back_ends_the_wait(run_script, kind):
    ended = run_script(WAITERS_LOCK.replace("make(", f"({kind})("))
    assert ended.out.split("\n")[:2] == ["True [('x', 1)]", "False ()"], ended.err


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("how", ["acquire", "wait"])
def test_what_was_waited_for_before_a_handler_waits_is_waited_for_afterwards(handled, how):
    outer, inner = NamedLock("outer"), NamedLock("inner")
    condition, me, handled_all, begun, seen = Condition(outer), get_ident(), Event(), [], []

    def handle(*_):
        if not begun:
            begun.append(True)
            with inner:
                pass
            handled_all.set()

    def interrupt():
        with outer:
            condition.notify()
            with inner:
                until(lambda: waited_for(me) == "outer")
                signalled(me, signal.SIGUSR1, lambda: begun)
                until(lambda: waited_for(me) == "inner")
            handled_all.wait(30)
            seen.append(waited_for(me))

    handled(signal.SIGUSR1, handle)
    thread = Thread(target=interrupt, daemon=True)
    if how == "wait":
        with condition:
            thread.start()
            assert condition.wait(80)
    else:
        thread.start()
        until(outer.locked)
        assert outer.acquire(timeout=80)
        outer.release()
    thread.join(10)
    assert seen == ["outer"]
    assert held_by(me) == []


@pytest.mark.usefixtures("watched")
def test_a_handler_may_wait_for_the_condition_that_its_own_thread_waits_for(handled):
    lock = NamedRLock("n")
    condition, me, begun, told = Condition(lock), get_ident(), [], []

    def handle(*_):
        if not begun:
            begun.append(True)
            with condition:
                condition.wait(0.01)
                told.append(held_by(me))

    def interrupt():
        until(lambda: condition._bells and not lock.locked())
        signalled(me, signal.SIGUSR1, lambda: begun)
        until(lambda: told)
        with condition:
            condition.notify_all()

    handled(signal.SIGUSR1, handle)
    thread = Thread(target=interrupt, daemon=True)
    with lock, condition:
        thread.start()
        assert condition.wait(80)
        assert held_by(me) == [("n", 2)]
    thread.join(10)
    assert told == [[("n", 1)]]
    assert held_by(me) == []


@pytest.mark.skipif(not hasattr(signal, "SIGUSR2"), reason="no such signal here")
@pytest.mark.usefixtures("watched")
def test_a_report_that_cannot_be_written_on_a_signal_does_not_end_what_was_interrupted(handled, monkeypatch):
    failed = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: failed.append((args.exc_type, args.object)))
    handled(signal.SIGUSR2, signal.SIG_IGN)
    reads, writes = os.pipe()
    try:
        os.set_blocking(writes, False)
        while True:
            try:
                os.write(writes, b"x" * 65536)
            except BlockingIOError:
                break
        debug.report_on_signal(signal.SIGUSR2, fileno=writes)
        os.kill(os.getpid(), signal.SIGUSR2)
        until(lambda: failed)
    finally:
        os.close(reads)
        os.close(writes)
    assert failed == [(BlockingIOError, writes)]


@pytest.mark.parametrize("kind", [NamedLock, NamedRLock])
def test_a_lock_is_not_missed_that_is_made_while_watching_begins(kind):
    class JustThen(kind):
        def _bind_for_conditions(self, by):
            if begins:
                begins.pop()()
            return super()._bind_for_conditions(by)

    begins = [debug.enable]

    try:
        lock = JustThen("n")
        with lock:
            assert held_by(get_ident()) == [("n", 1)]
    finally:
        debug.disable()


@pytest.mark.parametrize("kind", [NamedLock, NamedRLock])
def test_a_condition_is_not_missed_that_is_made_while_watching_begins(kind):
    class JustThen(kind):
        def follow(self, condition):
            super().follow(condition)
            debug.enable()

    try:
        condition = Condition(JustThen("n"))
        condition.acquire()
        assert held_by(get_ident()) == [("n", 1)]
        condition.wait(0)
        condition.release()
        assert held_by(get_ident()) == []
    finally:
        debug.disable()


@pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="elsewhere nobody can say when something is dropped"
)
@pytest.mark.parametrize("kind", [NamedLock, NamedRLock])
@pytest.mark.usefixtures("watched")
def test_no_python_code_runs_when_a_lock_is_dropped_so_that_no_exception_is_lost_there(kind):
    lock, other = kind("n"), kind("other")
    orders, called = importlib.import_module(f"{debug.__name__}._switch").watcher().orders, []
    for first, second in ((lock, other), (other, lock)):
        with first, second:
            pass
    debug.disable()
    orders.circles.clear()
    assert len(orders.nodes) == 2
    gc.disable()  # what is called in a collection is not what is asked
    sys.setprofile(lambda frame, event, _: event == "call" and called.append(frame.f_code.co_name))
    try:
        lock = first = second = None
    finally:
        sys.setprofile(None)
        gc.enable()
    assert called == []
    assert len(orders.nodes) == 1
    assert not next(iter(orders.nodes.values())).after


@pytest.mark.usefixtures("watched")
def test_names_need_not_be_strings_to_be_told():
    locks = [NamedLock(name) for name in ("n", 5, ["list"])]
    for first, second in (locks[:2], locks[1:], locks[::2][::-1], locks[1::-1]):
        with first, second:
            pass
    assert len(debug.report().inversions) == 2
    assert "5" in str(debug.report())


EVERYWHERE = """
    import os, sys
    from {threading} import *
    from {threading} import debug

    class Struck(Exception):
        pass

    monitoring, me = sys.monitoring, get_ident()
    monitoring.use_tool_id(4, "struck")
    place = last = 0

    def strikes(code, *_):
        global place
        if place < last and get_ident() == me and "/threading/" in code.co_filename.replace("\\\\", "/"):
            place += 1
            if place == last:
                raise Struck

    for kind in (monitoring.events.PY_START, monitoring.events.C_RETURN):
        monitoring.register_callback(4, kind, strikes)

    def calm():
        global last
        last = 0

    def wherever_it_strikes(call, state):
        "Again and again, struck at the second place, the third, ...; the first is the first instruction of the call."
        global place, last
        wrong, n = {}, 1
        while True:
            n += 1
            debug.enable()
            lock = make("x")
            monitoring.set_events(4, monitoring.events.PY_START | monitoring.events.CALL)
            place, last = 0, n
            try:
                call(lock)
                struck = False
            except Struck:
                struck = True
            calm()
            monitoring.set_events(4, 0)
            holds = [(held.lock, held.count) for thread in debug.report().threads for held in thread.holds]
            if (lock.locked(), holds) != state:
                wrong[n] = lock.locked(), holds
            if not struck:
                break
        print(n > 10, wrong)

    FREE, HELD = (False, []), (True, [("x", 1)])

    def acquires(lock):
        lock.acquire()
        calm()
        lock.release()

    def enters(lock):
        with lock:
            calm()

    def releases(lock):
        unnoticed(lock.acquire)
        lock.release()

    def leaves(lock):
        unnoticed(lock.acquire)
        lock.__exit__(None, None, None)

    def waits(lock):
        condition = unnoticed(Condition, lock)
        unnoticed(lock.acquire)
        condition.wait(0)

    def unnoticed(call, *args):
        global place, last
        n, last = last, 0
        got = call(*args)
        place, last = 0, n
        return got
    """


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no sys.monitoring")
@pytest.mark.skipif(sys.implementation.name == "pypy", reason="PyPy looks for signals anywhere")
@pytest.mark.parametrize(
    "kind", ["NamedLock", "NamedRLock", "lambda name: RWLock(name).read", "lambda name: RWLock(name).write"]
)
def test_a_watched_lock_is_taken_and_given_as_a_whole_wherever_it_is_struck(run_script, kind):
    source, calls = textwrap.dedent(EVERYWHERE).replace("make(", f"({kind})("), 0
    for call, state in (
        ("acquires", "FREE"),
        ("enters", "FREE"),
        ("releases", "FREE"),
        ("leaves", "FREE"),
        ("waits", "HELD"),
    ):
        if call != "waits" or "read" not in kind:  # readers cannot be waited for
            source += f"wherever_it_strikes({call}, {state})\n"
            calls += 1
    ended = run_script(source)
    assert ended.out.splitlines() == ["True {}"] * calls, ended.err


def stop_once(handled):
    """SIGUSR1 has its handler raise StopIteration, but the first time only."""
    struck = []

    def strike(*_):
        if not struck:
            struck.append(True)
            raise StopIteration

    handled(signal.SIGUSR1, strike)
    return struck


@pytest.mark.parametrize("limit", [None, 0.001])
@pytest.mark.parametrize("timeout", [-1, 30])
def test_a_stop_iteration_out_of_a_handler_is_no_answer(watched, handled, limit, timeout):
    debug.enable(limit=limit, on_long_wait=None)
    lock, main, struck = NamedLock("lock"), get_ident(), stop_once(handled)
    lock.acquire()

    def send():
        until(lambda: waited_for(main))
        signalled(main, signal.SIGUSR1, lambda: struck)

    sender = Thread(target=send)
    sender.start()
    with pytest.raises(StopIteration):
        lock.acquire(timeout=timeout)
    sender.join(30)


@pytest.mark.parametrize("make", [NamedLock, lambda name: RWLock(name).write])
def test_a_stop_iteration_out_of_a_handler_ends_no_wait_without_the_lock(watched, handled, make):
    lock, main, free, struck = make("lock"), get_ident(), [], stop_once(handled)
    condition = Condition(lock)

    def keep_it():
        with lock:
            condition.notify()
            until(lambda: waited_for(main))
            signalled(main, signal.SIGUSR1, lambda: struck)
            free.append(True)

    keeper = Thread(target=keep_it)
    with condition:
        keeper.start()
        with pytest.raises(StopIteration):
            condition.wait(30)
        assert free
    keeper.join(30)
    assert not lock.locked()
