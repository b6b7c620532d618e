# SPDX-License-Identifier: MIT
"""Where the interpreter looks for signals: what the engine rests on (_waiting.py), asked of the interpreter itself.

A step of `trips` makes a signal pending, from C code, without looking for it. So its handler runs at the next place where
the interpreter looks.
"""

from __future__ import annotations

import _thread
import dis
import os
import signal
import sys
from functools import cache
from importlib import import_module
from itertools import count, repeat, starmap

import pytest

from plait.queue import Empty, Full, PriorityQueue, Queue

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


def test_an_if_that_is_true_is_no_place(trips):
    box, full, seen = Box(), [1], []
    box.note = False
    with pytest.raises(Struck):
        for _ in trips:
            if not box.note and (box.note or full) and full[0] == 1 and box is not None:
                box.note = not seen and not box.note and (False, True)[full is not None]
                seen.append(1)
                seen.append(2)
    assert box.note is True
    assert seen == [1]


def test_an_if_that_is_false_is_a_place_on_310_alone(trips):
    box, empty, seen = Box(), [], []
    box.note = False
    with pytest.raises(Struck):
        for _ in trips:
            if empty:
                box.note = True
            seen.append(1)
            seen.append(2)
    assert seen == ([] if sys.version_info < (3, 11) else [1])


# -- a nested call at each of those places in turn -----------------------------------------------------------------------

JUMPS = ("JUMP_ABSOLUTE", "POP_JUMP_IF")


@cache
def instructions_of(code):
    return {each.offset: each for each in dis.get_instructions(code)}


def call_at_place(number, operation, nested):
    """`operation()`, with `nested()` at its place of that number; whether there was one."""
    places, before = count(), {}
    came = []

    def look(frame, event, _):
        if event == "opcode" and not came:
            here = instructions_of(frame.f_code)[frame.f_lasti]
            last = before.get(frame)
            before[frame] = here
            if last is None or last.opname.startswith("CALL"):
                place = True
            else:
                place = last.opname.startswith(JUMPS) and here.offset != last.offset + 2
            if place and not here.opname.startswith("SETUP") and next(places) == number:
                came.append(f"{frame.f_code.co_name}, line {frame.f_lineno}")
                nested()
        return look

    def enter(frame, *_):
        if SOURCES not in frame.f_code.co_filename:
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return look

    sys.settrace(enter)
    try:
        operation()
    finally:
        sys.settrace(None)
    return came


SOURCES = os.path.dirname(sys.modules[Queue.__module__].__file__)


def put(q, done, items=count(100, -7)):  # noqa: B008
    item = next(items)
    try:
        q.put(item, block=False)
        done["put"].append(item)
    except Full:
        pass


def get(q, done):
    try:
        done["taken"].append(q.get(block=False))
    except Empty:
        pass


def put_and_get(q, done):
    put(q, done)
    get(q, done)


def get_and_put(q, done):
    get(q, done)
    put(q, done)


class Disturbed(int):
    disturb = None

    def __lt__(self, other):
        if self.disturb:
            disturb, self.disturb = self.disturb, None
            disturb()
        return int(self) < int(other)


def put_disturbed(q, done):
    item = Disturbed(50)
    item.disturb = lambda: put_and_get(q, done)
    try:
        q.put(item, block=False)
        done["put"].append(item)
    except Full:
        pass
    item.disturb = None  # if nothing was compared


def retune(q, _):
    q.maxsize = q.maxsize


@pytest.mark.skipif(sys.version_info >= (3, 11), reason="3.10 has the most places, and others differ")
@pytest.mark.parametrize("nested", [put_and_get, get_and_put, retune])
@pytest.mark.parametrize("operation", [put, put_disturbed, get, retune])
@pytest.mark.parametrize("kind", [Queue, PriorityQueue])
def test_a_nested_call_at_any_place_gives_nothing_twice_and_loses_nothing(kind, operation, nested):
    for filled, looked, torn in ((1, False, False), (3, True, False), (3, False, True)):
        for number in count():
            q, done = kind(3), {"put": [], "taken": []}
            for _ in range(filled):
                put(q, done)
            if looked:
                assert q.mutex
            if torn and kind is PriorityQueue:
                q._sifting_ = import_module(f"{Queue.__module__}._priority").UNSORTED
            came = call_at_place(number, lambda: operation(q, done), lambda: nested(q, done))  # noqa: B023
            assert q.unfinished_tasks == len(done["put"]), came
            assert q.qsize() == len(done["put"]) - len(done["taken"]), came
            rest = [q.get(block=False) for _ in range(q.qsize())]
            assert q.empty()
            assert sorted(done["taken"] + rest) == sorted(done["put"]), came
            if kind is PriorityQueue:
                assert rest == sorted(rest), came
            if not came:
                break
        assert number > 1
