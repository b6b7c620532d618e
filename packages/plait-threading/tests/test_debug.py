# SPDX-License-Identifier: MIT
"""Named locks, and what is found out about them when they are watched."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import random
import signal
import sys
import textwrap

import pytest

from plait import _thread
from plait.threading import (
    Condition,
    Event,
    Lock,
    NamedLock,
    NamedRLock,
    RLock,
    RWLock,
    Thread,
    _named,
    debug,
)


@pytest.fixture
def watched():
    debug.enable()
    yield debug
    debug.disable()


@pytest.fixture(params=[NamedLock, NamedRLock], ids=lambda c: c.__name__)
def kind(request):
    return request.param


def inside(name):
    return importlib.import_module(f"{debug.__name__}.{name}")


def orders_seen():
    return inside("_switch").watcher().orders


def names(stack):
    return [frame.name for frame in stack]


def run(target, *args, name=None):
    thread = Thread(target=target, args=args, name=name, daemon=True)
    thread.start()
    return thread


def until(condition):
    pause = Event()
    while not condition():
        pause.wait(0.001)


def state_of(report, name):
    return next(thread for thread in report.threads if thread.name == name)


@pytest.mark.parametrize("watching", [False, True])
def test_a_named_lock_does_what_its_plain_twin_does(kind, watching):
    if watching:
        debug.enable()
    try:
        for lock in (kind("n"), {NamedLock: Lock, NamedRLock: RLock}[kind]()):
            assert lock.acquire() is True
            again = lock.acquire(blocking=False)
            assert again is (kind is NamedRLock)
            if again:
                lock.release()
            assert run(lock.acquire, True, 0.01).result(10) is False
            assert run(lock.acquire, False).result(10) is False
            with pytest.raises(ValueError, match="timeout"):
                lock.acquire(False, 1)
            assert lock.locked()
            assert lock.release() is None
            assert not lock.locked()
            with lock as entered:
                assert entered
                assert lock.locked()
            with pytest.raises(RuntimeError):
                lock.release()
        assert "'n'" in repr(kind("n"))
    finally:
        debug.disable()


def test_while_nobody_watches_its_methods_are_those_of_the_lock_inside(kind):
    lock = kind("n")
    plain = (lock.acquire, lock.release)
    assert all(type(method).__name__ in ("builtin_function_or_method", "method") for method in plain)
    assert plain == (lock._lock.acquire, lock._lock.release)
    debug.enable()
    assert lock.acquire != plain[0]
    debug.disable()
    assert (lock.acquire, lock.release) == plain


def test_a_condition_on_a_named_lock_works_before_and_while_it_is_watched(kind):
    lock = kind("n")
    cond, box = Condition(lock), []

    def fill():
        with cond:
            box.append(1)
            cond.notify()

    for switch in (debug.disable, debug.enable, debug.disable):
        switch()
        with cond:
            run(fill)
            assert cond.wait_for(lambda: box, 10)
            box.clear()
            assert lock.locked()
            if debug.is_enabled():
                (me,) = debug.report().threads
                assert [held.lock for held in me.holds] == ["n"]
        assert not lock.locked()


@pytest.mark.usefixtures("watched")
def test_a_waiting_condition_does_not_hold_its_lock():
    lock = NamedRLock("n")
    cond = Condition(lock)

    def wait():
        with lock, cond:
            cond.wait(20)

    thread = run(wait)
    until(lambda: cond._bells)
    with cond:
        (me,) = debug.report().threads
        assert me.name == "MainThread"
        cond.notify()
    thread.join(10)
    assert debug.report().threads == ()


def test_without_watching_there_is_no_report():
    with pytest.raises(RuntimeError, match="enable"):
        debug.report()
    with pytest.raises(ValueError, match="limit"):
        debug.enable(limit=0)


BAD = [
    ((), {"timeout": -2}),
    ((), {"timeout": "a"}),
    ((), {"timeout": None}),
    ((), {"timeout": 1e30}),
    ((), {"timeout": float("nan")}),
    ((False, 1), {}),
    ((True, 1, 2), {}),
    ((), {"seconds": 1}),
]


def answer(call, *args, **kwargs):
    try:
        return call(*args, **kwargs)
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("held", [False, True], ids=["free", "held"])
def test_bad_arguments_are_refused_in_the_locks_own_words_though_it_is_watched(kind, held):
    plain = {NamedLock: Lock, NamedRLock: RLock}[kind]()
    named = kind("n")
    debug.enable(limit=0.05, on_long_wait=None)
    try:
        for lock in (plain, named):
            if held:
                run(lock.acquire).join(10)
        for args, kwargs in BAD:
            expected = answer(plain.acquire, *args, **kwargs)
            assert isinstance(expected, tuple)
            assert answer(named.acquire, *args, **kwargs) == expected
        for args in ((1,), (1, 2)):
            assert answer(named.release, *args) == answer(plain.release, *args)
        assert answer(named.release, x=1) == answer(plain.release, x=1)
        assert named.locked() is plain.locked() is held
        assert [h.lock for thread in debug.report().threads for h in thread.holds] == ["n"] * held
    finally:
        debug.disable()


@pytest.mark.parametrize("watching", [False, True])
def test_an_rwlock_refuses_bad_timeouts_watched_or_not(watching):
    if watching:
        debug.enable()
    try:
        lock = RWLock("n")
        for side in (lock.read, lock.write):
            for timeout, kind in (
                (-2, ValueError),
                ("a", TypeError),
                (None, TypeError),
                (1e30, OverflowError),
            ):
                with pytest.raises(kind, match="timeout"):
                    side.acquire(timeout=timeout)
            with pytest.raises(ValueError, match="timeout"):
                side.acquire(timeout=float("nan"))
        assert not lock.locked()
    finally:
        debug.disable()


def test_it_has_everything_that_its_plain_twin_has(kind):
    plain = {NamedLock: Lock, NamedRLock: RLock}[kind]()
    lacks = [n for n in dir(plain) if not n.startswith("__") and not hasattr(kind("n"), n)]
    assert lacks == []


@pytest.mark.usefixtures("watched")
def test_old_names_of_methods_are_watched_too():
    lock = NamedLock("n")
    assert lock.acquire_lock(timeout=1)
    assert lock.locked_lock()
    assert [h.lock for thread in debug.report().threads for h in thread.holds] == ["n"]
    lock.release_lock()
    assert debug.report().threads == ()


@pytest.mark.usefixtures("watched")
def test_a_lock_that_is_set_free_by_force_is_held_by_nobody(kind):
    lock = kind("n")
    run(lock.acquire).join(10)
    lock._at_fork_reinit()
    assert not lock.locked()
    assert debug.report().threads == ()


@pytest.mark.usefixtures("watched")
def test_a_release_that_fails_is_none(kind):
    lock, free = kind("n"), kind("free")
    with lock:
        with pytest.raises(TypeError):
            lock.release(1)
        with pytest.raises(RuntimeError):
            free.release()
        (me,) = debug.report().threads
        assert [(held.lock, held.count) for held in me.holds] == [("n", 1)]
        if kind is NamedRLock:
            with lock:
                with pytest.raises(TypeError):
                    lock.release(1)
                (me,) = debug.report().threads
                assert [held.count for held in me.holds] == [2]
            run(lambda: answer(lock.release)).join(10)  # not its holder
            assert debug.report().threads[0].holds[0].count == 1
    assert debug.report().threads == ()


@pytest.mark.usefixtures("watched")
def test_a_release_of_the_wrong_side_leaves_the_holder_in_the_report():
    lock = RWLock("n")
    lock.write.acquire()
    lock.downgrade()
    with pytest.raises(RuntimeError, match="writing"):
        lock.write.release()
    (me,) = debug.report().threads
    assert [(held.lock, held.mode, held.exclusive) for held in me.holds] == [("n", "reading", False)]
    lock.read.release()
    assert debug.report().threads == ()


@pytest.mark.usefixtures("watched")
def test_nobody_ever_sees_two_holders():
    lock, stop, pauses, seen = NamedLock("n"), Event(), Event(), []

    def work():
        while not stop.is_set():
            with lock:
                pauses.wait(0.0001)
                answer(lock.release, "refused")

    threads = [run(work) for _ in range(3)]
    while len(seen) < 300 or not max(seen):
        seen.append(sum(bool(thread.holds) for thread in debug.report().threads))
        pauses.wait(0.0001)
    stop.set()
    for thread in threads:
        thread.join(10)
    assert max(seen) == 1


@pytest.mark.usefixtures("watched")
def test_it_tells_for_what_a_rwlock_is_held_and_waited_for():
    lock, go = RWLock("table"), Event()

    def hold(side):
        with side:
            go.wait(20)

    writer = run(hold, lock.write, name="writer")
    until(lock.write.locked)
    others = [run(hold, lock.read, name="reader"), run(hold, lock.write, name="second")]
    until(lambda: len(debug.report().threads) == 3)
    report = debug.report()
    assert [(h.mode, h.exclusive) for h in state_of(report, "writer").holds] == [("writing", True)]
    for name, mode in (("reader", "reading"), ("second", "writing")):
        waits = state_of(report, name).waits_for
        assert (waits.mode, waits.exclusive) == (mode, mode == "writing")
    for words in ("holds 'table' (writing)", "waits for 'table' (reading)", "waits for 'table' (writing)"):
        assert words in str(report)
    go.set()
    for thread in (writer, *others):
        thread.join(10)


@pytest.mark.usefixtures("watched")
def test_stacks_begin_and_end_in_the_program():
    lock, go = RWLock("table"), Event()

    def hold():
        with lock.write:
            go.wait(20)

    def want():
        with lock.read:
            pass

    threads = [run(hold, name="holder")]
    until(lock.write.locked)
    threads.append(run(want, name="waiter"))
    until(lambda: len(debug.report().threads) == 2)
    report = debug.report()
    for name, function in (("holder", "hold"), ("waiter", "want")):
        assert names(state_of(report, name).stack) == [function]
    assert names(state_of(report, "holder").holds[0].stack) == ["hold"]
    go.set()
    for thread in threads:
        thread.join(10)


def test_threads_are_counted_in_english():
    debug.enable()
    try:
        lock = NamedLock("n")
        assert "no threads hold or wait for any" in str(debug.report())
        with lock:
            assert "1 thread holds or waits for some" in str(debug.report())
            waiter = run(lock.acquire, True, 60)
            until(lambda: len(debug.report().threads) == 2)
            assert "2 threads hold or wait for some" in str(debug.report())
        assert waiter.result(10)
    finally:
        debug.disable()


def test_the_same_inversion_of_other_locks_is_counted_and_they_are_forgotten():
    told = []
    debug.enable(on_inversion=told.append)
    try:

        def both_orders(first, second):
            for one, other in ((first, second), (second, first)):
                with one, other:
                    pass

        orders = orders_seen()
        for _ in range(50):
            both_orders(NamedLock("x"), NamedLock("y"))
        (inversion,) = debug.report().inversions
        assert inversion.count == 50
        assert "with 50 sets of locks" in str(inversion)
        assert [told_of.steps for told_of in told] == [inversion.steps]
        gc.collect()
        assert not orders.nodes
        lasting = NamedLock("lasting")
        with lasting:
            for _ in range(50):
                with NamedLock("short-lived"):
                    pass
            gc.collect()
            assert len(orders.nodes[lasting._number].after) == 0
    finally:
        debug.disable()


def test_of_very_many_inversions_the_first_are_kept_and_the_rest_counted(monkeypatch):
    monkeypatch.setattr(inside("_orders"), "_MOST_INVERSIONS", 3)
    told = []
    debug.enable(on_inversion=told.append)
    try:
        for n in range(5):
            first, second = NamedLock(f"a{n}"), NamedLock(f"b{n}")
            for one, other in ((first, second), (second, first)):
                with one, other:
                    pass
        report = debug.report()
        assert (len(report.inversions), report.inversions_left_out, len(told)) == (3, 2, 3)
        assert "not shown: 2" in str(report)
    finally:
        debug.disable()


# A strike in somebody's gc callback or finaliser is reported by the interpreter, and is not what is tested.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it may strike a finaliser
@pytest.mark.usefixtures("watched")
def test_wherever_an_exception_of_a_signal_handler_strikes_a_watched_lock_is_free_or_held_and_known(kind):
    class Struck(Exception):
        pass

    armed = False

    def strike(_number, _frame):
        if armed:  # a signal may arrive late, when its timer has long been stopped
            raise Struck

    rng, lock, struck = random.Random(11), kind("n"), 0
    old = signal.signal(signal.SIGALRM, strike)
    try:
        for _ in range(300):
            inside = False
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.00002, 0.0006))
                for _ in range(50):
                    inside = True
                    lock.acquire()
                    lock.release()
                    inside = False
                signal.setitimer(signal.ITIMER_REAL, 0)
                armed = False
            except Struck:
                armed = False
                struck += 1
            # Between the two calls it may rightly be held; the report then has to say so.
            holds = [(h.lock, h.count) for thread in debug.report().threads for h in thread.holds]
            if lock.locked():
                assert inside
                assert holds == [("n", 1)]
                lock.release()
            assert not lock.locked()
            assert debug.report().threads == ()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert struck > 50


@pytest.mark.usefixtures("watched")
def test_it_tells_who_holds_and_who_waits():
    ledger, go = NamedRLock("ledger"), Event()

    def hold_ledger():
        with ledger, ledger:
            go.wait(20)

    def want_ledger():
        with ledger:
            pass

    holder = run(hold_ledger, name="holder")
    until(lambda: any(thread.holds and thread.holds[0].count == 2 for thread in debug.report().threads))
    waiter = run(want_ledger, name="waiter")
    until(lambda: len(debug.report().threads) == 2)
    report = debug.report()
    held = state_of(report, "holder")
    assert [(h.lock, h.count) for h in held.holds] == [("ledger", 2)]
    assert "hold_ledger" in names(held.stack)
    assert names(held.holds[0].stack)[-1] == "hold_ledger"
    waits = state_of(report, "waiter").waits_for
    assert (waits.lock, waits.held_by, waits.exclusive) == ("ledger", ("holder",), True)
    assert names(state_of(report, "waiter").stack)[-1] == "want_ledger"
    assert report.cycles == report.inversions == ()
    text = str(report)
    for words in ("holds 'ledger' 2 times", "waits for 'ledger'", "held by holder", "in hold_ledger"):
        assert words in text
    go.set()
    holder.join(10), waiter.join(10)
    assert debug.report().threads == ()


def test_a_planted_inversion_is_found_with_the_stacks_of_both_threads():
    told = []
    debug.enable(on_inversion=told.append)
    try:
        left, right = NamedLock("left"), NamedRLock("right")

        def left_first():
            with left, right:
                pass

        def right_first():
            with right, left:
                pass

        for _ in range(2):
            run(left_first, name="one").join(10)
            run(right_first, name="two").join(10)
        (inversion,) = debug.report().inversions
        assert told == [inversion]
        assert {(s.first, s.second, s.thread, names(s.stack)[-1]) for s in inversion.steps} == {
            ("left", "right", "one", "left_first"),
            ("right", "left", "two", "right_first"),
        }
        for words in ("inversion", "'left'", "one asked for 'right'", "two asked for 'left'", "right_first"):
            assert words in str(inversion)
    finally:
        debug.disable()


@pytest.mark.usefixtures("watched")
def test_an_inversion_may_go_round_more_than_two_locks_and_through_a_rwlock():
    a, b, c = NamedLock("a"), RWLock("b"), NamedLock("c")

    def take(first, second):
        with first, second:
            pass

    for pair in ((a, b.write), (b.read, c), (a, c), (a, b.read)):
        run(take, *pair).join(10)
        assert debug.report().inversions == ()
    run(take, c, a).join(10)
    steps = [step for inversion in debug.report().inversions for step in inversion.steps]
    assert ("c", "a") in [(step.first, step.second) for step in steps]
    # Attempts that do not wait cannot wait for ever.
    with c:
        assert b.write.acquire(False)
        b.write.release()
    assert len(debug.report().inversions) == 1


def test_a_planted_deadlock_is_found_while_it_lasts_with_the_stacks_of_both_threads():
    reports = []
    debug.enable(limit=0.05, on_long_wait=reports.append)
    try:
        left, right, both = NamedLock("left"), NamedLock("right"), [Event(), Event()]

        def cross(mine, other, me):
            mine.acquire()
            both[me].set()
            both[1 - me].wait(10)
            return other.acquire(timeout=100)

        threads = [run(cross, left, right, 0, name="one"), run(cross, right, left, 1, name="two")]
        until(lambda: debug.report().cycles)
        (cycle,) = debug.report().cycles
        assert {thread.name for thread in cycle.threads} == {"one", "two"}
        assert {(t.holds[0].lock, t.waits_for.lock) for t in cycle.threads} == {
            ("left", "right"),
            ("right", "left"),
        }
        for thread in cycle.threads:
            assert "cross" in names(thread.stack)
        assert "one waits for 'right', which two holds" in str(cycle)
        until(lambda: len(reports) == 2)
        for lock in (left, right):
            lock.release()  # of whichever thread it was; so each gets the other
        assert [thread.result(10) for thread in threads] == [True, True]
        assert {report.late.name for report in reports} == {"one", "two"}
        assert any(report.cycles for report in reports)
        assert len(debug.report().inversions) == 1
    finally:
        debug.disable()


def test_a_long_wait_is_told_once_and_the_wait_goes_on():
    reports = []
    debug.enable(limit=0.02, on_long_wait=lambda report: reports.append(report) or {}["a failing hook"])
    unraisable, sys.unraisablehook = sys.unraisablehook, lambda _args: None
    try:
        lock = RWLock("slow")
        with lock.write:
            thread = run(lock.read.acquire, name="patient")
            until(lambda: reports)
            assert run(lambda: lock.read.acquire(timeout=0.01)).result(10) is False
        assert thread.result(10) is True
        (report,) = reports
        assert (report.late.name, report.late.waits_for.lock) == ("patient", "slow")
        assert "patient has waited long for 'slow'" in str(report)
    finally:
        sys.unraisablehook = unraisable
        debug.disable()


@pytest.mark.usefixtures("watched")
def test_a_lock_held_by_a_thread_that_has_ended_is_a_finding():
    lock = NamedLock("orphan")
    run(lock.acquire, name="gone").join(10)
    state = state_of(debug.report(), "gone")
    assert not state.alive
    assert [held.lock for held in state.holds] == ["orphan"]
    assert "has ended" in str(state)
    lock.release()
    assert debug.report().threads == ()


@pytest.mark.usefixtures("watched")
def test_a_thread_that_waits_for_itself_is_a_deadlock_of_one():
    lock = NamedLock("again")

    def twice():
        with lock:
            return lock.acquire(timeout=100)

    thread = run(twice, name="lonely")
    until(lambda: debug.report().cycles)
    (cycle,) = debug.report().cycles
    assert [t.name for t in cycle.threads] == ["lonely"]
    lock.release()
    assert thread.result(10)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR2"), reason="no such signal here")
def test_a_signal_prints_the_report_of_a_process_that_is_stuck(run_script):
    done = run_script(
        """
        import os, signal
        from {threading} import Event, NamedLock, Thread, debug, main_thread
        debug.enable()
        a, b, ready, told = NamedLock("first"), NamedLock("second"), Event(), Event()
        debug.report_on_signal(signal.SIGUSR2)
        report = signal.getsignal(signal.SIGUSR2)
        signal.signal(signal.SIGUSR2, lambda *args: (report(*args), told.set()))

        def main_waits():
            return any(t.waits_for for t in debug.report().threads if t.ident == main_thread().ident)

        def other_side():
            with b:
                ready.set()
                a.acquire(timeout=0.01)
                while not main_waits():
                    told.wait(0.001)
                # Again, should it have come in the last instructions before the main thread went to sleep.
                while not told.is_set():
                    os.kill(os.getpid(), signal.SIGUSR2)
                    told.wait(0.1)

        with a:
            thread = Thread(target=other_side, name="other")
            thread.start()
            ready.wait()
            b.acquire(timeout=80)
        thread.join()
        """
    )
    assert done.returncode == 0, done.err
    assert "MainThread" in done.err
    assert "other_side" in done.err
    assert "waits for 'second'" in done.err
    assert "inversion" in done.err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.usefixtures("watched")
def test_a_forked_child_reports_its_own_thread_only():
    mine, other, go = NamedLock("mine"), NamedLock("other"), Event()

    def hold():
        with other:
            go.wait(20)

    thread = run(hold)
    until(other.locked)
    with mine:
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            report = debug.report()
            os._exit(0 if [[h.lock for h in t.holds] for t in report.threads] == [["mine"]] else 1)
    assert os.waitpid(child, 0)[1] == 0
    go.set()
    thread.join(10)


def test_importing_the_package_does_not_load_it(run_script):
    done = run_script(
        textwrap.dedent(
            """
            import sys, {threading}
            print("{threading}.debug" in sys.modules)
            """
        )
    )
    assert done.out == "False\n"


def steps_found():
    return [
        {(step.first, step.second) for step in inversion.steps} for inversion in debug.report().inversions
    ]


def take(*locks):
    with contextlib.ExitStack() as stack:
        for lock in locks:
            stack.enter_context(lock)


BOTH_WAYS = {("a", "b"), ("b", "a")}


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("outside", ["first", "second"])
def test_opposite_orders_behind_one_gate_are_no_inversion_until_one_is_taken_outside(outside):
    gate, a, b = NamedLock("gate"), NamedLock("a"), NamedRLock("b")
    for _ in range(2):
        take(gate, a, b)
        take(gate, b, a)
    assert steps_found() == []
    take(*((a, b) if outside == "first" else (b, a)))
    assert steps_found() == [BOTH_WAYS]
    take(a, b), take(b, a)  # known by now
    assert [found.count for found in debug.report().inversions] == [1]


@pytest.mark.usefixtures("watched")
def test_different_gates_keep_nobody_apart_and_are_forgotten():
    a, b = NamedLock("a"), NamedLock("b")
    for _ in range(5):
        take(NamedLock("gate"), a, b)
        gc.collect()
    (link,) = orders_seen().nodes[a._number].after.values()
    assert len(link.edges) == 1
    take(NamedLock("gate"), b, a)
    assert steps_found() == [BOTH_WAYS]


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("sides", [("read", "read"), ("read", "write"), ("write", "write")])
def test_a_gate_that_both_only_read_keeps_nobody_apart(sides):
    gate, a, b = RWLock("gate"), NamedLock("a"), NamedLock("b")
    take(getattr(gate, sides[0]), a, b)
    take(getattr(gate, sides[1]), b, a)
    assert steps_found() == ([BOTH_WAYS] if sides == ("read", "read") else [])


@pytest.mark.usefixtures("watched")
def test_a_gate_keeps_two_of_three_apart():
    gate, a, b, c = (NamedLock(name) for name in ("gate", "a", "b", "c"))
    take(gate, a, b)
    take(b, c)
    take(gate, c, a)
    assert steps_found() == []
    take(c, a)
    assert steps_found() == [{("a", "b"), ("b", "c"), ("c", "a")}]


@pytest.mark.usefixtures("watched")
def test_a_longer_circle_is_found_where_a_shorter_one_is_none():
    gate, a, b, c = (NamedLock(name) for name in ("gate", "a", "b", "c"))
    take(gate, a, b)
    take(a, c), take(c, b)
    assert steps_found() == []
    take(gate, b, a)
    assert steps_found() == [{("b", "a"), ("a", "c"), ("c", "b")}]


@pytest.mark.usefixtures("watched")
def test_readers_alone_do_not_wait_for_each_other_but_for_a_writer_between_them():
    a, b = RWLock("a"), RWLock("b")
    take(a.read, b.read)
    take(b.read, a.read)
    assert a.write.acquire(False)  # who does not wait stands between nobody
    a.write.release()
    assert steps_found() == []
    take(a.write)
    assert steps_found() == []  # readers of b still get it
    take(b.write)
    assert steps_found() == [BOTH_WAYS]


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("order", [0, 1])
def test_a_reader_and_a_writer_wait_for_each_other(order):
    a, b = RWLock("a"), NamedLock("b")
    for locks in ((a.read, b), (b, a.write))[:: 1 - 2 * order]:
        take(*locks)
    assert steps_found() == [BOTH_WAYS]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"on_inversion": 5}, "on_inversion"),
        ({"on_long_wait": "x"}, "on_long_wait"),
        ({"limit": "1"}, "limit"),
    ],
)
def test_what_cannot_be_is_refused_at_once(wrong, named):
    with pytest.raises(TypeError, match=named):
        debug.enable(**wrong)
    assert not debug.is_enabled()
    with pytest.raises(TypeError, match="fileno"):
        debug.report_on_signal(signal.SIGINT, fileno="stderr")


@pytest.mark.skipif(not hasattr(gc, "set_threshold"), reason="no thresholds here")
def test_a_report_does_not_hang_on_garbage_that_has_a_thread_local_in_it(run_script):
    ended = run_script("""
        import gc
        from {threading} import debug, local
        debug.enable()
        for threshold in range(1, 150):
            gc.set_threshold(threshold)
            circle = [local()]; circle[0].x = circle; circle.append(circle); del circle
            debug.report()
        assert gc.isenabled()
        gc.disable(); debug.report(); assert not gc.isenabled()
        print("reported")
    """)
    assert (ended.returncode, ended.out) == (0, "reported\n"), ended.err


@pytest.mark.parametrize("how", ["as its target", "in a thread without a Thread"])
def test_a_place_in_no_code_of_the_program_is_none_of_ours(watched, kind, how):
    lock = kind("kept")
    if how == "as its target":
        run(lock.acquire, name="gone").join(10)
    else:
        _thread.start_new_thread(lock.acquire, ())
    # That it is taken is noted a moment later.
    until(lambda: [thread.alive for thread in watched.report().threads] == [False])
    report = watched.report()
    (held,) = report.threads[0].holds
    assert list(held.stack) == []
    assert os.path.dirname(_named.__file__) not in str(report)
    assert "taken by what it was started with" in str(report)


def test_a_thread_in_no_code_of_the_program_is_nowhere(watched, kind):
    lock = kind("wanted")
    with lock:
        waiter = run(lock.acquire, name="waiter")
        until(lambda: any(thread.waits_for for thread in watched.report().threads))
        report = watched.report()
        assert list(state_of(report, "waiter").stack) == []
        assert os.path.dirname(_named.__file__) not in str(report)
    waiter.join(10)
