# SPDX-License-Identifier: MIT
"""Where the interpreter looks for signals: what the engine rests on (_waiting.py), asked of the interpreter itself.

A step of `trips` makes a signal pending, from C code, without looking for it. So its handler runs at the next place where
the interpreter looks.
"""

from __future__ import annotations

import _thread
import signal
import sys
from itertools import repeat, starmap

import pytest

pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs POSIX signals"),
    pytest.mark.skipif(sys.implementation.name != "cpython", reason="PyPy looks nearly anywhere"),
    pytest.mark.skipif(sys.gettrace() is not None, reason="a tracer adds places"),
]


class Struck(Exception):
    pass


def strike(*_):
    raise Struck


@pytest.fixture
def trips():
    before = signal.signal(signal.SIGUSR1, strike)
    yield starmap(_thread.interrupt_main, repeat((signal.SIGUSR1,)))
    signal.signal(signal.SIGUSR1, before)


class Box:
    pass


def test_nothing_comes_between_a_step_and_the_call_behind_it(trips):
    box, kept = Box(), []
    held = "no"
    behind = False
    with pytest.raises(Struck):
        for held in trips:
            if box is not None and not behind:
                box.note = held
                kept.append(held)
                behind = True
    assert held is None
    assert box.note is None
    assert kept == [None]
    assert not behind


def test_a_step_may_be_stored_in_an_attribute(trips):
    box = Box()
    with pytest.raises(Struck):
        for box.note in trips:
            box.more = True
            len(())
    assert box.more


def test_a_step_at_the_end_of_a_call_lets_its_result_through(trips):
    def taken():
        try:
            return "item"
        finally:
            for _ in trips:
                break

    got = None
    with pytest.raises(Struck):
        for got in (taken(),):  # noqa: B007
            len(())
    if sys.version_info >= (3, 11):  # before, a call to Python code is a place, too
        assert got == "item"
