# SPDX-License-Identifier: MIT
"""Whatever waits takes the same for a timeout, and refuses the rest in the same words."""

from __future__ import annotations

import importlib
import math
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from plait import dummy_threading
from plait.threading import (
    TIMEOUT_MAX,
    Barrier,
    BrokenBarrierError,
    Condition,
    Event,
    RWLock,
    Semaphore,
    Thread,
    Timer,
)


def semaphore(module, timeout):
    return module.Semaphore(0).acquire(timeout=timeout)


def event(module, timeout):
    return module.Event().wait(timeout)


def condition(module, timeout):
    waits = module.Condition()
    with waits:
        try:
            return waits.wait(timeout)
        finally:
            assert waits.locked()
            assert not getattr(waits, "_bells", None)


def predicate(module, timeout):
    waits = module.Condition()
    with waits:
        return waits.wait_for(lambda: False, timeout)


def barrier(module, timeout):
    waits = module.Barrier(2)
    try:
        waits.wait(timeout)
    except module.BrokenBarrierError:
        return False
    finally:
        # A timeout that is refused breaks nothing.
        assert waits.n_waiting == 0
    raise AssertionError


def join(module, timeout):
    thread = module.Thread(target=module.Event().wait, args=(0.05,))
    thread.start()
    thread.join(timeout)
    return False


def result(module, timeout):
    thread = module.Thread(target=module.Event().wait, args=(0.05,))
    thread.start()
    try:
        return thread.result(timeout)
    except TimeoutError:
        return False


@pytest.fixture(
    params=[semaphore, event, condition, predicate, barrier, join, result], ids=lambda f: f.__name__
)
def wait(request):
    return request.param


@pytest.fixture(params=["threads", "one thread"])
def module(request):
    if request.param == "one thread":
        return dummy_threading
    return importlib.import_module(Thread.__module__)


ANY = [0, 0.001, -1, -0.5, -math.inf, False, -(10**400)]
ANY += [Decimal("0.001"), Fraction(1, 1000), -Fraction(10**400)]


@pytest.mark.parametrize("timeout", ANY, ids=lambda t: repr(t)[:16])
def test_any_real_number_of_seconds_is_a_timeout(module, wait, timeout):
    assert wait(module, timeout) is False


@pytest.mark.parametrize("timeout", ["5", b"5", [1], 1j, timedelta(seconds=5), object()], ids=repr)
def test_what_is_no_number_is_a_type_error(module, wait, timeout):
    with pytest.raises(TypeError, match=r"^timeout must be a number of seconds, or None, not ") as refused:
        wait(module, timeout)
    assert repr(timeout) in str(refused.value)
    assert ("total_seconds" in str(refused.value)) is isinstance(timeout, timedelta)


@pytest.mark.parametrize("timeout", [math.nan, Decimal("NaN"), Decimal("sNaN")], ids=repr)
def test_not_a_number_is_a_value_error(module, wait, timeout):
    with pytest.raises(
        ValueError, match=r"^timeout must be a number of seconds, or None, not .*[nN]"
    ) as refused:
        wait(module, timeout)
    assert refused.type is ValueError


@pytest.mark.parametrize(
    "timeout",
    [TIMEOUT_MAX * 2, math.inf, Decimal("Infinity"), Fraction(10**400), 10**400],
    ids=lambda t: str(t)[:9],
)
def test_more_than_can_be_waited_is_an_overflow(module, wait, timeout):
    with pytest.raises(
        OverflowError, match=r"^timeout value is too large: .* the largest is .* or give None"
    ):
        wait(module, timeout)


def test_an_rwlock_takes_minus_one_in_the_place_of_none_as_a_lock_does():
    lock = RWLock()
    for side in (lock.read, lock.write):
        for timeout in (-1, -1.0, Decimal(-1), Decimal("0.001"), Fraction(1, 1000), 0, TIMEOUT_MAX):
            assert side.acquire(timeout=timeout)
            side.release()
        for timeout, kind in (
            (math.nan, ValueError),
            (Decimal("NaN"), ValueError),
            (Decimal("sNaN"), ValueError),
            ("5", TypeError),
            (None, TypeError),
            (math.inf, OverflowError),
        ):
            with pytest.raises(kind, match=r"^timeout .* -1 for ever") as refused:
                side.acquire(timeout=timeout)
            assert refused.type is kind
    assert not lock.locked()


def test_who_has_nothing_to_wait_for_does_not_look_at_the_timeout():
    flag = Event()
    flag.set()
    assert flag.wait("5")
    assert Semaphore().acquire(timeout="5")
    assert Condition().wait_for(lambda: 3, "5") == 3


def test_a_barrier_refuses_a_bad_timeout_also_of_the_last_comer_and_breaks_not():
    barrier = Barrier(1)
    with pytest.raises(TypeError, match="timeout"):
        barrier.wait("5")
    assert barrier.wait() == 0
    barrier.abort()
    with pytest.raises(BrokenBarrierError):
        barrier.wait(5)
    with pytest.raises(ValueError, match="timeout"):
        Barrier(2, timeout=math.nan).wait()


def test_a_timer_takes_any_number_and_names_the_rest(monkeypatch):
    told = []
    monkeypatch.setattr(importlib.import_module(Thread.__module__), "excepthook", told.append)
    timer = Timer(Decimal("0.001"), int)
    timer.start()
    assert timer.result(10) == 0
    timer = Timer("5", int)
    timer.start()
    with pytest.raises(TypeError, match="number of seconds, or None, not '5'"):
        timer.result(10)
    assert [args.thread for args in told] == [timer]
