# SPDX-License-Identifier: MIT
"""Subclasses that do things in an order of their own, and calls with what they cannot take: the message says what to do."""

from __future__ import annotations

import gc
import importlib
import math
import pickle
import sys
import threading

import pytest

from plait.queue import Empty, Full, LifoQueue, PriorityQueue, Queue, ShutDown, SimpleQueue, select

MODULE = importlib.import_module(Queue.__module__)
KINDS = pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])


@KINDS
def test_what_a_subclass_sets_before_init_does_no_harm(kind):
    class Early(kind):
        def __init__(self):
            self.queue = ["mine"]
            self.mutex = threading.Lock()
            self.unfinished_tasks = 7
            self.not_empty = self.not_full = self.all_tasks_done = threading.Condition()
            self.maxsize = 9
            assert self.queue == ["mine"]
            super().__init__(1)

    q = Early()
    q.put(1)
    assert q.full()
    assert q.unfinished_tasks == 1
    assert q.get() == 1
    q.put(2)
    assert [*q.queue] == [2]
    with q.not_full:
        assert q.not_full.wait(0) is False


def test_the_container_that_it_sets_stays_if_its_init_makes_none():
    class Own(Queue):
        def __init__(self):
            self.queue = []
            super().__init__()

        def _init(self, maxsize):
            pass

        def _get(self):
            return self.queue.pop()

    q = Own()
    mine = q.queue
    q.put(1)
    q.put(2)
    assert mine == [1, 2]
    assert q.get() == 2


def test_a_hook_set_before_init_is_honoured():
    class Hooked(Queue):
        def __init__(self):
            self._put = lambda item: Queue._put(self, -item)
            super().__init__()

    q = Hooked()
    q.put(1)
    assert q.get() == -1


@pytest.mark.parametrize("name", ["not_empty", "not_full", "all_tasks_done", "mutex"])
def test_what_others_may_wait_in_cannot_be_replaced_later(name):
    q = Queue()
    with pytest.raises(AttributeError, match=f"cannot replace .*{name}"):
        setattr(q, name, threading.Condition())


@KINDS
@pytest.mark.parametrize("call", ["put", "put_nowait", "get", "get_nowait", "peek", "clear", "shutdown"])
def test_who_forgets_to_call_init_is_told_so(kind, call, monkeypatch):
    class Forgetful(kind):
        def __init__(self):
            pass

    reported = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)
    with pytest.raises(AttributeError, match=r"call super\(\).__init__\(maxsize\) in Forgetful.__init__"):
        getattr(Forgetful(), call)(*[1] * call.startswith("put"))
    assert not reported
    assert not importlib.import_module(MODULE.__name__ + "._surely").OVERDUE


HOOKS = {"_init", "_put", "_get", "_qsize", "_peek"}


@KINDS
def test_names_of_a_subclass_do_not_collide_with_those_inside(kind):
    class Shop(kind):
        def __init__(self):
            super().__init__()
            self._stock, self._free, self._alarm, self._lock = {}, [], None, threading.Lock()

        def _close(self):
            raise AssertionError

        _settle = _locked = _change = _level = _close

    q = Shop()
    with q.mutex:
        q.put(1)
    q.task_done()
    assert q.join(1)
    assert q.get(timeout=1) == 1
    inside = {name for name in dir(q) if name[0] == "_" and not name.startswith("__")}
    assert inside - HOOKS == {name for name in inside if name[-1] == "_"} | {
        *("_stock", "_free", "_alarm", "_lock", "_close", "_settle", "_locked", "_change", "_level")
    }


@KINDS
def test_a_bound_that_is_no_number_is_none_whenever_it_is_given(kind):
    with pytest.raises(ValueError, match="maxsize must be a number that can be compared"):
        kind(math.nan)
    q = kind(1)
    with pytest.raises(ValueError, match="maxsize must be a number that can be compared"):
        q.maxsize = math.nan
    assert q.maxsize == 1


@KINDS
@pytest.mark.parametrize("call", ["put", "get", "put_many", "get_many", "join", "peek"])
def test_a_timeout_that_is_no_number_is_named(kind, call):
    q = kind()
    q.put(1)
    told = "'timeout' must be a number of seconds, or None to wait for ever, not '5'"
    with pytest.raises(TypeError, match=told):
        getattr(q, call)(*[[2]] * call.startswith("put"), timeout="5")
    assert q.get() == 1
    assert q.empty()


@KINDS
@pytest.mark.parametrize("call", ["aput", "aget", "aput_many", "aget_many", "ajoin"])
def test_so_is_one_of_a_coroutine(kind, call):
    q = kind()
    q.put(1)
    told = "'timeout' must be a number of seconds, or None to wait for ever, not '5'"
    with pytest.raises(TypeError, match=told):
        getattr(q, call)(*[[2]] * call.startswith("aput"), timeout="5").send(None)
    assert q.get() == 1
    assert q.empty()


def test_what_a_hook_raises_is_its_own():
    class Picky(Queue):
        def _put(self, item):
            raise TypeError("mine")

    with pytest.raises(TypeError, match=r"^mine$"):
        Picky().put(1, timeout=1)


def test_select_says_what_it_takes():
    with pytest.raises(TypeError, match=r"select\(\) takes a list, or other iterable, of queues, not None"):
        select(None)
    with pytest.raises(TypeError, match="'timeout' must be a number of seconds"):
        select([Queue()], timeout="5")


@pytest.mark.parametrize("cls", [Queue, LifoQueue, PriorityQueue, SimpleQueue, Empty, Full, ShutDown])
def test_a_class_says_where_it_is_to_be_had(cls):
    ours = cls.__module__.partition(".")[0] == MODULE.__name__.partition(".")[0]
    assert cls.__module__ == (MODULE.__name__ if ours else "_queue")
    assert pickle.loads(pickle.dumps(cls)) is cls
    if ours and not issubclass(cls, Exception):
        assert repr(cls[int]) == f"{MODULE.__name__}.{cls.__name__}[int]"
        assert f"{MODULE.__name__}.{cls.__name__} object" in repr(cls())


@pytest.mark.parametrize("cls", [Empty, Full, ShutDown])
def test_what_is_raised_can_be_sent_elsewhere(cls):
    problem = cls("why")
    problem.remaining = [1, 2]
    copy = pickle.loads(pickle.dumps(problem))
    assert type(copy) is cls
    assert (copy.args, copy.remaining) == (("why",), [1, 2])


@pytest.mark.parametrize("take", [PriorityQueue.get, PriorityQueue.get_nowait, PriorityQueue.get_many])
def test_a_comparison_that_raises_stop_iteration_loses_no_item(take):
    class Item:
        raises = False

        def __init__(self, place):
            self.place = place

        def __lt__(self, other):
            if Item.raises:
                raise StopIteration
            return self.place < other.place

    q = PriorityQueue()
    q.put_many(map(Item, range(6)))
    Item.raises = True
    with pytest.raises(StopIteration):
        take(q)
    Item.raises = False
    assert q.qsize() == len(q.queue) == q.unfinished_tasks == 6
    assert [q.get().place for _ in range(6)] == [*range(6)]


@pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="other interpreters collect all in the same way"
)
@pytest.mark.parametrize("kind", [Queue, PriorityQueue])
@pytest.mark.parametrize(
    "call",
    [
        lambda q: q.get(timeout=0.001),
        lambda q: q.get(timeout=0),
        lambda q: q.get_many(block=False),
        lambda q: [q.put(1), q.put(2, timeout=0.001)],
        lambda q: q.put_many([1, 2], block=False),
        lambda q: [q.shutdown(), q.get()],
        lambda q: [q.shutdown(), q.put(1)],
    ],
)
def test_an_exception_leaves_no_garbage(kind, call):
    """In a cycle with its own traceback it would keep alive what its callers have, until the next collection."""
    q = kind(1)
    gc.collect()
    gc.disable()
    try:
        try:
            call(q)
        except (Empty, Full, ShutDown):
            pass
        assert gc.collect() == 0
    finally:
        gc.enable()
