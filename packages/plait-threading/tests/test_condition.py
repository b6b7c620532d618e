# SPDX-License-Identifier: MIT
"""Condition and Event: nobody is forgotten."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import pydoc
import signal
import sys
import threading as standard
import time
from abc import ABC, abstractmethod
from itertools import repeat
from operator import itemgetter
from typing import Protocol
from unittest import mock

import pytest

from plait import threading as ours
from plait.threading import Condition, Event, Lock, RLock, Thread


class PlainLock:
    """A lock with nothing but acquire and release."""

    def __init__(self):
        lock = Lock()
        self.acquire, self.release = lock.acquire, lock.release


LOCKS = [Lock, RLock, standard.Lock, standard.RLock, PlainLock]


@pytest.fixture(params=LOCKS, ids=lambda c: f"{c.__module__}.{c.__qualname__}")
def cond(request):
    return Condition(request.param())


def waiters(cond, count, log):
    def wait(n):
        with cond:
            queued.append(n)
            log.append((n, cond.wait()))

    queued, threads = [], []
    for n in range(count):
        threads.append(Thread(target=wait, args=(n,)))
        threads[-1].start()
        while True:
            with cond:
                if len(queued) > n:
                    break
    return threads


def test_notify_wakes_the_longest_waiting_first(cond):
    log = []
    threads = waiters(cond, 4, log)
    for n in range(4):
        with cond:
            cond.notify()
        threads[n].join(10)
        assert log[-1] == (n, True)


def test_notify_all_wakes_everyone(cond):
    log = []
    threads = waiters(cond, 4, log)
    with cond:
        cond.notify_all()
    for thread in threads:
        thread.join(10)
    assert sorted(log) == [(n, True) for n in range(4)]


def test_a_wait_that_times_out_says_so_and_has_the_lock(cond):
    with cond:
        assert cond.wait(0.01) is False
        assert cond.wait(0) is False
        assert cond.wait(-1) is False
        cond.notify()  # the bells of those three are gone
        assert cond.wait_for(lambda: 0, timeout=0.01) == 0
        assert cond.wait_for(lambda: "yes") == "yes"
    assert cond.acquire(False)
    cond.release()


@pytest.mark.parametrize("timeout", [0, -1, 0.0, 1e-9, 0.001], ids=str)
def test_however_short_a_wait_for_is_the_lock_is_let_go_of_and_the_predicate_asked_again(timeout):
    def course(threading):
        log = []
        inner = threading.Lock()

        class Watched:
            acquire = inner.acquire
            locked = inner.locked  # which the standard one wants from 3.14 on

            def release(self):
                log.append("release")
                inner.release()

        def ask():
            log.append("ask")
            time.sleep(0.002)  # longer than any of the timeouts
            return log.count("ask") == enough

        answers = []
        for enough in (1, 2, 3):
            log.append(f"true at the {enough}. time")
            cond = threading.Condition(Watched())
            cond.acquire()
            answers.append(cond.wait_for(ask, timeout))
            inner.release()
        return log, answers

    assert course(ours) == course(standard)


def test_it_mixes_with_classes_of_another_metaclass_by_one_that_descends_from_both():
    class Closes(Protocol):
        def close(self) -> None: ...

    with pytest.raises(TypeError, match="metaclass conflict"):
        type("Both", (Condition, Closes), {})

    class Meta(type(Condition), type(Closes)):
        pass

    class Both(Condition, Closes, metaclass=Meta):
        def close(self):
            with self:
                self.notify_all()

    both = Both()
    both.close()
    with contextlib.ExitStack() as stack:
        assert stack.enter_context(both)
        assert both.wait(0) is False
    assert not both.locked()


@pytest.mark.parametrize("timeout", [0, -1, 0.0, None], ids=str)
def test_without_the_lock_there_is_no_wait_for_either_unless_nothing_is_to_be_waited_for(cond, timeout):
    assert cond.wait_for(lambda: True, timeout) is True
    with pytest.raises(RuntimeError, match="un-acquired"):
        cond.wait_for(lambda: False, timeout)


def test_who_asks_with_wait_for_over_and_over_lets_others_have_the_lock():
    cond, box = Condition(), []

    def put():
        with cond:
            box.append("it")
            cond.notify()

    thread = Thread(target=put)
    with cond:
        thread.start()
        end = time.monotonic() + 10
        while not cond.wait_for(lambda: box, 0):
            assert time.monotonic() < end
    thread.join(10)


def test_without_the_lock_there_is_no_waiting_and_no_notifying(cond):
    for call in (cond.wait, cond.notify, cond.notify_all):
        with pytest.raises(RuntimeError, match="un-acquired lock"):
            call()


def test_an_rlock_is_let_go_of_altogether():
    cond, log = Condition(), []
    with cond, cond:
        thread = Thread(target=lambda: (cond.acquire(), log.append(1), cond.notify(), cond.release()))
        thread.start()
        assert cond.wait(10)
        assert log == [1]
        cond.release()
        cond.acquire()
    thread.join()


def test_a_subclass_may_extend_entering():
    class Counted(Condition):
        entered = 0

        def __enter__(self):
            self.entered += 1
            return super().__enter__()

    cond = Counted()
    with cond:
        cond.notify()
    assert cond.entered == 1


def test_entering_works_through_the_class_too():
    cond = Condition(Lock())
    assert Condition.__enter__(cond)
    assert cond.locked()
    Condition.__exit__(cond, None, None, None)
    with contextlib.ExitStack() as stack:
        assert stack.enter_context(cond)
        assert cond.locked()
    assert not cond.locked()


def test_a_subclass_that_enters_in_its_own_way_is_entered_so_through_the_class():
    class Loud(Condition):
        def __enter__(self):
            return "loud"

    class Louder(Loud, ABC):
        pass

    assert Louder.__enter__(Louder()) == "loud"
    assert Loud.__exit__ is not Condition.__dict__["__exit__"]
    with contextlib.ExitStack() as stack:
        louder = Louder()
        louder.acquire()  # what its __exit__, which it inherits, is going to release
        assert stack.enter_context(louder) == "loud"


def test_a_subclass_that_extends_entering_may_call_that_of_the_class():
    class Counted(Condition):
        entered = 0

        def __enter__(self):
            self.entered += 1
            return Condition.__enter__(self)

        def __exit__(self, *exception):
            self.entered += 1
            return Condition.__exit__(self, *exception)

    with (cond := Counted()):
        assert cond.locked()
    assert not cond.locked()
    assert cond.entered == 2


@pytest.mark.parametrize("name", ["__enter__", "__exit__"])
def test_entering_can_be_patched(name):
    class Mine(Condition):
        pass

    entered = []
    for cls in (Mine, Condition):
        before = getattr(cls, name)

        def note(self, *exception, before=before):
            entered.append(self)
            return before(self, *exception)

        with mock.patch.object(cls, name, note):
            with (cond := Mine()):
                assert cond.locked()
            assert entered == [cond]
            assert getattr(cls, name) is note
        with cond:
            pass
        assert entered.pop() is cond
        assert getattr(cls, name) is before
        assert entered == []
    Mine.__enter__ = lambda self: entered.append(self) or Condition.__enter__(self)
    with (cond := Mine()):
        assert entered == [cond]
    del Mine.__enter__
    with cond:
        assert entered == [cond]


def test_a_metaclass_of_ones_own_descends_from_that_of_conditions():
    class Meta(type(Condition)):
        pass

    class Mine(Condition, metaclass=Meta):
        pass

    with (cond := Mine()):
        assert cond.locked()


def test_help_tells_what_everything_is():
    shown = pydoc.plain(pydoc.render_doc(Condition))
    for hidden in ("__abstractmethods__", "_wait_carefully", "(instance"):
        assert hidden not in shown
    for name in ("wait", "wait_for", "notify", "__enter__", "__exit__"):
        assert f" {name}(self" in shown
        assert getattr(Condition, name).__qualname__.endswith(name)
    assert Condition.wait.__qualname__ == "Condition.wait"
    for name in ("acquire", "release", "__enter__", "__exit__", "wait", "locked"):
        assert inspect.getdoc(inspect.getattr_static(Condition, name)) or getattr(Condition, name).__doc__
    assert " acquire\n |      Take the lock" in shown
    assert not inspect.isabstract(Condition)


def test_it_mixes_with_abstract_classes():
    class Closable(ABC):
        @abstractmethod
        def close(self): ...

    class Both(Condition, Closable):
        def close(self):
            return self.locked()

    both = Both()
    with both:
        assert both.close()
    with pytest.raises(TypeError):
        type("Unfinished", (Condition, Closable), {})()


def test_old_names_warn():
    cond = Condition()
    with cond, pytest.warns(DeprecationWarning, match="notify_all"):
        cond.notifyAll()


def test_a_waiter_interrupted_when_already_notified_passes_the_wake_up_on(monkeypatch):
    # The bell's acquire() is where a signal handler's exception comes out; this one has been rung by then.
    module = importlib.import_module(f"{Condition.__module__}._condition")
    monkeypatch.setattr(module, "_ring", lambda bell: bell.release())  # a stand-in's, too
    cond, log = Condition(Lock()), []
    (second,) = (None,)

    class Struck:
        def __init__(self):
            self.lock, self.taken = Lock(), 0

        def locked(self):
            return True

        def acquire(self, *_args):
            self.taken += 1
            if self.taken == 1:
                return True
            with cond:
                cond.notify()  # for us, the first in the list
            raise KeyboardInterrupt

        def release(self):
            pass

    real = module.allocate_lock
    with cond:
        monkeypatch.setattr(module, "allocate_lock", Struck)
        second = Thread(target=lambda: [cond.__enter__(), log.append(cond.wait(10)), cond.release()])

        def start_second():
            monkeypatch.setattr(module, "allocate_lock", real)
            second.start()

        original = Struck.acquire

        def acquire(self, *args):
            if self.taken == 1:
                start_second()
                while True:
                    with cond:
                        if len(cond._bells) == 2:
                            break
            return original(self, *args)

        Struck.acquire = acquire
        with pytest.raises(KeyboardInterrupt):
            cond.wait()
        assert cond._lock.locked()
    second.join(10)
    assert log == [True]


# A handler that raises at whatever bytecode it interrupts, but only inside the function under test: between the
# caller's own `with condition:` and its body, an exception leaves any lock held on CPython 3.14 and PyPy.
STRIKE = """
    import random, signal, sys, time
    import {threading} as t
    class Struck(Exception): pass
    strikes = 0; target = None
    def strike(_number, frame):
        global strikes
        while frame is not None:
            if frame.f_code in target:
                strikes += 1
                raise Struck
            frame = frame.f_back
        signal.setitimer(signal.ITIMER_REAL, 0.00003)
    def within(*functions):
        global target
        target = [function.__code__ for function in functions]
        signal.signal(signal.SIGALRM, strike)
    def soon(): signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00001, {longest}))
    def until_struck(often, seconds, at_least):
        "Rounds, until so many have struck, or that time is over; but on a busy machine no fewer than the last number."
        end = time.monotonic() + seconds
        while strikes < often and (strikes < at_least or time.monotonic() < end): yield
    def peace():
        signal.signal(signal.SIGALRM, lambda *_: None)  # SIG_IGN: a late one is complained of
        signal.setitimer(signal.ITIMER_REAL, 0)  # one that comes while the process ends would kill it
"""

SIGNAL_STORM = """
    cond = t.Condition(t.{lock}())
    tokens = 0; stop = False
    def consume():
        global tokens
        while True:
            with cond:
                while not tokens and not stop: cond.wait()
                if stop: return
                tokens -= 1
                cond.notify_all()
    other = t.Thread(target=consume, daemon=True); other.start()
    within(t.Condition.wait)
    for _ in until_struck(700, 1.2, 21):
        soon()
        held = 0
        cond.acquire(); held += 1
        for _ in range(again): cond.acquire(); held += 1
        try:
            while True: cond.wait(random.choice([0, 0.0002, 0.0005]))
        except Struck: pass
        for _ in range(held): cond.release()
        try: cond.release()
        except RuntimeError: pass
        else: sys.exit("released once too often")
    peace()
    if not cond.acquire(timeout=20): sys.exit("lock lost")
    cond.release()
    for n in range(100):
        with cond:
            tokens += 1; cond.notify()
            if not cond.wait_for(lambda: not tokens, 20): sys.exit("wake-up lost")
    with cond: stop = True; cond.notify_all()
    other.join(20)
    assert not other.is_alive() and not cond._bells and strikes > 20, (strikes, cond)
"""


@pytest.mark.parametrize("lock", ["Lock", "RLock"])
def test_signals_at_any_moment_of_wait_leave_no_waiter_and_no_lock_behind(run_script, lock):
    source = STRIKE + f"    again = {int(lock == 'RLock')}\n" + SIGNAL_STORM.replace("{lock}", lock)
    ended = run_script(source.replace("{longest}", "0.0015"))
    assert (ended.returncode, ended.err) == (0, "")


def test_a_wait_that_is_struck_while_others_hold_the_lock_takes_it_back(run_script):
    source = """
    cond = t.Condition(t.Lock())
    inside = 0; stop = False
    def compete():
        while not stop:
            with cond:
                global inside
                inside += 1
                assert inside == 1
                time.sleep(0)
                inside -= 1
                cond.notify()
    others = [t.Thread(target=compete, daemon=True) for _ in range(2)]
    for other in others: other.start()
    within(t.Condition.wait)
    for _ in until_struck(150, 1.0, 6):
        soon()
        cond.acquire()
        try:
            while True: cond.wait(0.0005)
        except Struck: pass
        inside += 1
        if inside != 1: sys.exit("somebody else is inside")
        inside -= 1
        cond.release()
    peace()
    stop = True
    for other in others: other.join(20)
    assert not any(other.is_alive() for other in others) and not cond._bells and strikes > 5, (strikes, cond)
    """
    ended = run_script(STRIKE.replace("{longest}", "0.003") + source)
    assert (ended.returncode, ended.err) == (0, "")


def test_a_condition_serves_an_exit_stack_and_calls_through_the_class():
    with contextlib.ExitStack() as stack:
        cond = stack.enter_context(contextlib.nullcontext(Condition(Lock())))
        stack.enter_context(cond)
        assert cond.locked()
    assert not cond.locked()
    assert Condition.__enter__(cond)
    Condition.__exit__(cond, None, None, None)
    assert not cond.locked()


def test_waiting_longer_than_the_system_can_is_refused_with_the_lock_held(cond):
    with cond, pytest.raises(OverflowError):
        cond.wait(1e20)
    with cond, pytest.raises(OverflowError):
        cond.wait_for(lambda: False, 1e20)
    with cond:
        assert not cond._bells
        assert not cond.wait(0)
    with pytest.raises(OverflowError):
        Event().wait(1e20)


def test_a_handler_may_notify_the_condition_it_interrupted(run_script):
    ended = run_script("""
        import signal, time
        import {threading} as t
        cond, woken = t.Condition(), []
        def handler(*_):
            with cond: cond.notify()
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        end = time.monotonic() + 0.8
        while len(woken) < 700 and (len(woken) < 21 or time.monotonic() < end):
            with cond:
                woken.append(cond.wait(30)); cond.notify_all()
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert len(woken) > 20 and all(woken) and not cond._bells
    """)
    assert (ended.returncode, ended.err) == (0, "")


def test_a_childs_notify_is_not_spent_on_the_dead(run_script):
    ended = run_script("""
        import os
        import {threading} as t
        cond = t.Condition(); queued = []
        def wait():
            with cond: queued.append(1); cond.wait()
        dead = [t.Thread(target=wait, daemon=True) for _ in range(3)]
        for thread in dead: thread.start()
        while True:
            with cond:
                if len(queued) == 3: break
        with cond: pid = os.fork()
        if not pid:
            got = []
            def wait():
                with cond: queued.append(1); got.append(cond.wait(20))
            new = t.Thread(target=wait); new.start()
            while True:
                with cond:
                    if len(queued) == 4: cond.notify(); break
            new.join()
            os._exit(got != [True])
        assert os.waitpid(pid, 0)[1] == 0
        with cond: cond.notify_all()
        for thread in dead: thread.join(20)
    """)
    assert (ended.returncode, ended.err) == (0, "")


def test_two_waiters_in_a_loop_get_equal_shares():
    cond, counts, tokens, stop = Condition(Lock()), [0, 0], [0], []

    def consume(n):
        while True:
            with cond:
                while not tokens[0]:
                    if stop:
                        return
                    cond.wait()
                tokens[0] -= 1
                counts[n] += 1

    threads = [Thread(target=consume, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(400):
        while True:
            with cond:
                if len(cond._bells) == 2 and not tokens[0]:
                    tokens[0] += 1
                    cond.notify()
                    break
            time.sleep(0)
    while True:
        with cond:
            if sum(counts) == 400:
                stop.append(1)
                cond.notify_all()
                break
    for thread in threads:
        thread.join(10)
    assert min(counts) >= 160


def test_event_waits_until_set_and_tells():
    event = Event()
    assert event.wait(0) is False
    assert event.wait(0.01) is False
    threads = [Thread(target=event.wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    event.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert event.wait() is True
    assert event.is_set()
    event.clear()
    with pytest.warns(DeprecationWarning, match="is_set"):
        assert not event.isSet()
    assert not event._bells


def test_event_may_be_set_from_a_handler_that_interrupts_it(run_script):
    ended = run_script("""
        import signal, time
        import {threading} as t
        event = t.Event()
        signal.signal(signal.SIGALRM, lambda *_: event.set())
        signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
        end = time.monotonic() + 0.8
        while time.monotonic() < end:
            assert event.wait(30); event.clear(); event.set(); event.clear()
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert not event._bells
    """)
    assert (ended.returncode, ended.err) == (0, "")


def test_event_interrupted_by_exceptions_never_forgets_a_waiter(run_script):
    source = """
    within(t.Event.set)
    # PyPy delivers signals at the ends of compiled loops, hardly ever inside set().
    for _ in until_struck(300, 1.0, 21 if sys.implementation.name == "cpython" else 0):
        event = t.Event()
        threads = [t.Thread(target=event.wait, daemon=True) for _ in range(3)]
        for thread in threads: thread.start()
        try:
            soon()
            for _ in range(300): event.set(); event.clear(); event.set()
        except Struck:
            if not event.is_set(): event.set()  # struck before it began, or after clear()
        for thread in threads:
            thread.join(20)
            if thread.is_alive(): sys.exit("forgotten")
    peace()
    """
    ended = run_script(STRIKE.replace("{longest}", "0.0001") + source)
    assert (ended.returncode, ended.err) == (0, "")


def test_event_waits_that_are_interrupted_leave_nothing_behind(run_script):
    source = """
    event = t.Event()
    within(t.Event.wait)
    for _ in until_struck(500, 0.7, 21):
        try:
            soon()
            while True: event.wait(0.0005)
        except Struck: pass
    peace()
    assert not event._bells, event._bells
    """
    ended = run_script(STRIKE.replace("{longest}", "0.001") + source)
    assert (ended.returncode, ended.err) == (0, "")


STRUCK_TWICE = """
    import os, signal, time
    import {threading} as t
    class Term(Exception): pass
    def term(*_): raise Term
    signal.signal(signal.SIGTERM, term)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    me = os.getpid()
    cond = t.Condition({lock})
    there, here = os.pipe()
    def let_it_fall_asleep():
        os.read(there, 1)
        times = 0
        try:
            while times < 5:
                time.sleep(0.01)
                with open(f"/proc/{me}/stat") as stat:
                    times = times + 1 if stat.read().rpartition(")")[2].split()[0] == "S" else 0
        except OSError:
            time.sleep(0.3)
    if not os.fork():
        # Both are pending when the process goes on: the second is raised while the first is being handled.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        let_it_fall_asleep()
        for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
            os.kill(me, number)
            time.sleep(0.05)
        os._exit(0)
    with cond:
        try:
            try:
                os.write(here, b"x")
                cond.wait(60)
            finally:
                signal.signal(signal.SIGTERM, lambda *_: None)
                signal.signal(signal.SIGINT, lambda *_: None)
        except (KeyboardInterrupt, Term) as struck:
            print(type(struck).__name__, cond.locked(), len(cond._bells))
    os.wait()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("lock", ["", "t.Lock()"], ids=["RLock", "Lock"])
def test_two_signals_at_once_leave_the_lock_held_and_no_bell(run_script, lock):
    ended = run_script(STRUCK_TWICE.replace("{lock}", lock))
    assert ended.err == ""
    assert ended.out.split() in (["KeyboardInterrupt", "True", "0"], ["Term", "True", "0"])


@pytest.mark.parametrize("lock", ["t.RLock()", "t.Lock()", "t.RWLock().write", "t.NamedRLock('x')"])
def test_near_the_recursion_limit_a_wait_ends_with_the_lock_held_and_no_bell(run_script, lock):
    ended = run_script(
        """
        import sys
        import {threading} as t

        cond, limit, refused = t.Condition({lock}), sys.getrecursionlimit(), 0

        def wait(depth):
            return wait(depth - 1) if depth else cond.wait(0)

        for depth in range(limit - 60, limit):
            with cond:
                try:
                    wait(depth)
                except RecursionError:
                    refused += 1
                assert not cond._bells and cond._is_owned(), depth
        print(refused)
    """.replace("{lock}", lock)
    )
    assert ended.err == ""
    # PyPy asks how much of the stack has been used.
    assert int(ended.out) > 0 or sys.implementation.name == "pypy"


@pytest.mark.skipif(sys.implementation.name == "pypy", reason="PyPy asks how much of the stack has been used")
def test_near_the_recursion_limit_an_event_is_set_for_all_or_not_at_all(run_script):
    ended = run_script(
        """
        import sys, time
        import {threading} as t

        def set_it(depth, event):
            return set_it(depth - 1, event) if depth else event.set()

        limit, woken, refused = sys.getrecursionlimit(), 0, 0
        for depth in range(limit - 40, limit):
            event = t.Event()
            waiter = t.Thread(target=event.wait, daemon=True)
            waiter.start()
            while not event._bells:
                time.sleep(0.0001)
            try:
                set_it(depth, event)
            except RecursionError:
                refused += 1
            if event.is_set():
                waiter.join(20)
                assert not waiter.is_alive(), depth
                woken += 1
        print(refused > 0, woken > 0, woken + refused >= 40)
        """
    )
    assert ended.out.split() == ["True", "True", "True"], ended.err


def test_notifying_nobody_hides_nobody_who_comes_later(cond):
    for notify in (cond.notify, cond.notify_all) * 2:
        with cond:
            notify()
            notify()
        with pytest.raises(RuntimeError, match="un-acquired"):
            notify()
        log = []
        (thread,) = waiters(cond, 1, log)
        with cond:
            notify()
        thread.join(10)
        assert log == [(0, True)]


class Struck(Exception):
    pass


@pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="a strike between two steps cannot be arranged"
)
@pytest.mark.parametrize("times", [1, 2])
def test_a_notify_all_that_is_struck_wakes_all_the_same(times):
    def strike(*_):
        for error in left:
            raise error

    cond, log, left = Condition(), [], iter([Struck] * times)
    threads = waiters(cond, 5, log)
    # The signal arrives when a bell has been rung, and is seen when the next step begins.
    arrives = map(importlib.import_module("_thread").interrupt_main, repeat(signal.SIGTERM))
    cond._strike = map(itemgetter(0), zip(cond._strike, arrives, strict=False))
    old = signal.signal(signal.SIGTERM, strike)
    try:
        with pytest.raises(Struck), cond:
            cond.notify_all()
    finally:
        signal.signal(signal.SIGTERM, old)
    for thread in threads:
        thread.join(10)
    assert sorted(log) == [(n, True) for n in range(5)]
    assert [*left] == []
