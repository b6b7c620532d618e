# SPDX-License-Identifier: MIT
"""Signal handlers that raise what is caught here for another reason: the ValueError of a `remove`, the RuntimeError of a
lock that has been released already. It is raised all the same, at whatever place it strikes, and nobody is left waiting.

CPython looks for signals at the head of a function and behind a call of C code. A profile function is called at just these
places, and may raise in the handler's stead.
"""

from __future__ import annotations

import gc
import importlib
import sys
from itertools import starmap

import pytest

from plait.threading import (
    Barrier,
    BoundedSemaphore,
    BrokenBarrierError,
    Condition,
    Event,
    Lock,
    RWLock,
    Semaphore,
    Thread,
    register_atexit,
    unregister_atexit,
)

_semaphore, _exit, _threads = (
    importlib.import_module(f"{Event.__module__}.{name}") for name in ("_semaphore", "_exit", "_threads")
)

pytestmark = pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="PyPy looks for signals at nearly every bytecode"
)


class Disguised(OSError, ValueError, RuntimeError, IndexError, KeyError):
    """What the signal handlers of these tests raise."""


KINDS = pytest.mark.parametrize("kind", [Disguised, StopIteration])


def struck_everywhere(kind, make, call, check=None):
    """Do it, struck at the first place; then at the second; and so on, until it comes to its end. In the code of this
    file nothing strikes: it stands for that of a user."""
    places = 0
    while True:
        subject, left = make(), [places]

        def strike(frame, event, _, left=left):
            if event in ("call", "c_return") and frame.f_code.co_filename != __file__:
                left[0] -= 1
                if left[0] < 0:
                    sys.setprofile(None)
                    raise kind

        gc.disable()  # what is called in a collection is not what is to be struck
        try:
            sys.setprofile(strike)
            try:
                call(subject)
            finally:
                sys.setprofile(None)
            struck = False
        except kind:
            struck = True
        finally:
            gc.enable()
        assert struck == (left[0] < 0), f"swallowed at place {places}"
        if check is not None:
            check(subject)
        if not struck:
            break
        places += 1
    assert places > 1


def bell():
    taken = Lock()
    taken.acquire()
    return taken


@KINDS
def test_an_event_that_is_set(kind):
    def make():
        event = Event()
        event._bells = {bell(): None, bell(): None}
        return event, [*event._bells]

    def check(subject):
        event, bells = subject
        assert not event.is_set() or not any(one.locked() for one in bells)

    struck_everywhere(kind, make, lambda subject: subject[0].set(), check)


@KINDS
@pytest.mark.parametrize("n", [1, 3])
def test_notifying_a_condition(kind, n):
    def make():
        condition = Condition()
        condition.acquire()
        condition._bells.extend([bell() for _ in range(4)])
        return condition, [*condition._bells]

    def check(subject):
        condition, bells = subject
        assert [one.locked() for one in bells] == [one in condition._bells for one in bells]
        assert len(condition._bells) in (4, 4 - n)  # all of them or none
        condition.release()

    struck_everywhere(kind, make, lambda subject: subject[0].notify(n), check)


@KINDS
@pytest.mark.parametrize("lock", [lambda: None, Lock, lambda: RWLock().write, lambda: RWLock("named").write])
def test_a_wait_that_times_out(kind, lock):
    def make():
        condition = Condition(lock())
        condition.acquire()
        return condition

    def check(condition):
        assert not condition._bells
        assert condition._is_owned()
        condition.release()
        assert condition.acquire(False)  # it is in order

    struck_everywhere(kind, make, lambda condition: condition.wait(0), check)


@KINDS
@pytest.mark.parametrize("make", [Semaphore, BoundedSemaphore])
def test_a_semaphore_that_is_released(kind, make):
    def waited_for():
        semaphore = make(2)
        for _ in range(2):
            semaphore.acquire()
        semaphore._line.extend([bell(), bell()])
        slip = _semaphore._Slip(bell())
        slip.ringing = map(_semaphore._ring, iter([slip.bell]))
        semaphore._front.append(slip)
        return semaphore, slip

    def check(subject):
        semaphore, slip = subject
        assert not (semaphore._tokens or semaphore._kept) or not slip.bell.locked()

    struck_everywhere(kind, waited_for, lambda subject: subject[0].release(), check)


@KINDS
def test_a_semaphore_that_is_waited_for_in_vain(kind):
    def check(semaphore):
        assert not semaphore._line
        assert not semaphore._front
        assert semaphore._value == 0

    struck_everywhere(kind, lambda: Semaphore(0), lambda semaphore: semaphore.acquire(timeout=1e-6), check)


@KINDS
def test_a_semaphore_that_is_waited_for_carefully(kind):
    def make():
        return Semaphore(1)

    def check(semaphore):
        assert not semaphore._line
        assert not semaphore._front
        assert semaphore._value + semaphore.__dict__.pop("got", 0) == 1

    def call(semaphore):
        semaphore.got = semaphore._wait_carefully(1)

    struck_everywhere(kind, make, call, check)


@KINDS
@pytest.mark.parametrize("action", [None, lambda: None])
def test_who_comes_last_to_a_barrier(kind, action):
    def make():
        return Barrier(1, action)

    def check(barrier):
        # Nobody is left in it, and it goes on, or is broken and says so.
        assert not barrier._claims
        if barrier.broken:
            assert action is not None
        else:
            assert barrier.wait(5) == 0

    struck_everywhere(kind, make, lambda barrier: barrier.wait(5), check)


@KINDS
def test_who_comes_to_a_barrier_too_early(kind):
    def call(barrier):
        try:
            barrier.wait(0)
        except BrokenBarrierError:
            pass

    def check(barrier):
        assert not barrier._claims

    def broken():
        barrier = Barrier(2)
        barrier.abort()
        return barrier

    struck_everywhere(kind, lambda: Barrier(2), call, check)
    struck_everywhere(kind, broken, call, check)


@KINDS
def test_an_rwlock(kind):
    def make():
        lock = RWLock()
        lock.write.acquire()
        return lock

    def check(lock):
        assert not lock._tickets

    struck_everywhere(kind, make, lambda lock: lock.write.release(), check)
    struck_everywhere(kind, make, lambda lock: lock.downgrade(), check)


def test_an_rwlock_that_is_refused():
    def make():
        lock = RWLock()
        lock.read.acquire()
        return lock

    def call(lock):
        try:
            lock.write.acquire()
        except RuntimeError as error:
            if type(error) is not RuntimeError:
                raise

    def check(lock):
        lock.read.release()
        assert not lock.locked()
        assert not lock._tickets

    struck_everywhere(Disguised, make, call, check)


def test_exit_hooks(monkeypatch):
    def hook():
        pass

    def make():
        unregister_atexit(hook)
        register_atexit(hook)

    def call(_):
        unregister_atexit(hook)

    kept = [*_exit._ending.hooks]
    monkeypatch.setattr(_exit._ending, "hooks", kept)
    struck_everywhere(Disguised, make, call)
    monkeypatch.setattr(_exit._ending, "hooks", [])
    struck_everywhere(Disguised, lambda: None, lambda _: _exit._run_hooks())


def test_a_start_that_is_left(monkeypatch):
    def make():
        thread = Thread()
        thread._life_.claims.extend([object(), _threads.ATTENDED])
        return thread

    struck_everywhere(Disguised, make, lambda thread: thread._life_.unattend())

    def struck(*_):
        raise Disguised

    monkeypatch.setattr(_threads, "starmap", struck)
    thread = make()
    with pytest.raises(Disguised):
        _threads._leave_alone(thread, [])
    assert _threads.ATTENDED in thread._life_.claims


def test_a_stop_iteration_out_of_a_handler_while_a_thread_begins(monkeypatch):
    ran, thread = [], None
    iterators = iter([iter(())])
    monkeypatch.setattr(_threads, "starmap", lambda *given: next(iterators, None) or starmap(*given))
    thread = Thread(target=ran.append, args=(1,))
    with pytest.raises(StopIteration):
        thread.start()
    thread.join(10)
    assert ran == [1]
    assert thread._life_.gate.acquire(False)  # others may pass it, too
