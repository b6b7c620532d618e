# SPDX-License-Identifier: MIT
"""Hooks that fail, hooks of a single queue, and what users hand in that cannot be."""

from __future__ import annotations

import asyncio
import math
import queue as stdlib_queue
import signal
import sys
import threading
import time
from collections import deque
from decimal import Decimal
from fractions import Fraction
from importlib import import_module
from unittest import mock

import pytest

from plait.queue import Empty, Full, LifoQueue, PriorityQueue, Queue, ShutDown, select

KINDS = pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])


@pytest.mark.parametrize("block", [False, True])
def test_what_was_put_while_a_hook_ran_that_fails_is_there(block):
    class Nesting(Queue):
        def _put(self, item):
            if item == "bad":
                self.put("nested")  # as a signal handler or finaliser would
                raise ValueError(item)
            super()._put(item)

    q = Nesting()
    with pytest.raises(ValueError, match="bad"):
        q.put("bad", block)
    assert (q.qsize(), q.unfinished_tasks) == (1, 1)
    assert q.get(timeout=5) == "nested"
    with pytest.raises(Empty):
        q.get(block=False)


def test_what_was_put_while_a_get_hook_ran_that_fails_is_there():
    class Nesting(Queue):
        failing = False

        def _get(self):
            if self.failing:
                self.failing = False
                self.put("nested")
                raise ZeroDivisionError
            return super()._get()

    q = Nesting()
    q.put("first")
    q.failing = True
    with pytest.raises(ZeroDivisionError):
        q.get(block=False)
    assert q.get_many(block=False) == ["first", "nested"]


@pytest.mark.parametrize("block", [False, True])
def test_a_parked_item_that_is_refused_is_reported_and_not_counted(block, monkeypatch):
    reported = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: reported.append(args.exc_value))

    class Nesting(Queue):
        def _put(self, item):
            if item == 1:
                self.put(2)
                self.put(3)
            if item == 2:
                raise ValueError(item)
            super()._put(item)

    q = Nesting()
    q.put(1, block)
    assert [str(problem) for problem in reported] == ["2"]
    assert q.unfinished_tasks == 2
    assert [q.get(timeout=5), q.get(timeout=5)] == [1, 3]
    assert q.empty()


def test_what_an_interrupt_left_parked_is_taken_from_there():
    class Nesting(Queue):
        def _put(self, item):
            if item == "outer":
                self.put("nested")
                raise KeyboardInterrupt
            if item == "nested" and not self.calm:
                raise KeyboardInterrupt
            super()._put(item)

    q = Nesting()
    q.calm = False
    with pytest.raises(KeyboardInterrupt):
        q.put("outer")
    q.calm = True
    assert q.qsize() == q.unfinished_tasks == 1
    assert q.get(timeout=5) == "nested"


@KINDS
def test_a_cleared_item_whose_finaliser_uses_the_queue(kind, finalise):
    class Item:
        def __init__(self, n, last=False):
            self.n, self.last = n, last

        def __lt__(self, other):
            if got is not None and not got:
                got.append(None)
                try:
                    got.append(q.get(block=False).n)
                except Empty:
                    pass
            return self.n < other.n

        def __del__(self):
            if self.last:
                nonlocal got
                got = []
                q.put(Item(50))
                q.put(Item(51))

    got = None
    q = kind()
    for n in range(6):
        q.put(Item(n, n == 5))
    assert q.clear() == 6
    finalise()
    left = q.get_many(block=False) if q.qsize() else []
    taken = [] if got is None else [n for n in got if n is not None]
    assert sorted([item.n for item in left] + taken) == [50, 51]
    assert q.unfinished_tasks == 2


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX signals")
@pytest.mark.parametrize("kind", ["priority", "hooked"])
def test_what_a_handler_raises_goes_to_whom_it_struck(kind):
    class Late(Exception):
        pass

    def handle(*_):
        raise Late

    def spring():
        if armed and threading.get_ident() == me:
            armed.clear()
            signal.raise_signal(signal.SIGUSR1)
            len(())

    class Item:
        def __init__(self, n):
            self.n = n

        def __lt__(self, other):
            spring()
            return self.n < other.n

    class Hooked(Queue):
        def _put(self, item):
            spring()
            super()._put(item)

    def put():
        try:
            q.put(Item(2), timeout=20)
            outcome.append("put")
        except BaseException as problem:
            outcome.append(repr(problem))

    me, armed, outcome = threading.get_ident(), [], []
    before = signal.signal(signal.SIGUSR1, handle)
    try:
        q = PriorityQueue(2) if kind == "priority" else Hooked(2)
        q.put(Item(0))
        q.put(Item(1))
        putter = threading.Thread(target=put, daemon=True)
        putter.start()
        while not q._putters_:
            time.sleep(0.001)
        armed.append(True)
        with pytest.raises(Late):
            q.clear() if kind == "hooked" else q.get_many(1)
            q.maxsize = 5
    finally:
        signal.signal(signal.SIGUSR1, before)
    q.maxsize = 10
    putter.join(30)
    assert outcome == ["put"]


@pytest.mark.parametrize("block", [False, True])
def test_a_put_many_that_cannot_be_compared_tells_what_is_left(block):
    q = PriorityQueue()
    with pytest.raises(TypeError) as caught:
        q.put_many([3, 1, "x", 2], block)
    assert caught.value.remaining == ["x", 2]
    assert q.get_many() == [1, 3]


@KINDS
def test_hooks_of_a_single_queue_are_honoured(kind):
    def put(item):
        seen.append(item)
        own_put(item)

    seen = []
    q, other = kind(2), kind(2)
    q.put(0)
    own_put, own_get = q._put, q._get
    q._put = put
    q._get = lambda: own_get() + 100
    q.put(1)
    with pytest.raises(Full):
        q.put(2, block=False)
    assert sorted([q.get(timeout=5), q.get(timeout=5)]) == [100, 101]
    assert seen == [1]
    other.put(1)
    assert other.get() == 1
    del q._get
    q.put(5)
    assert q.get() == 5
    q._qsize = lambda: 0
    assert q.qsize() == 0
    with pytest.raises(TypeError, match="_peek"):
        q.peek()
    # As the standard module does.
    standard = stdlib_queue.Queue()
    standard._put = lambda item: standard.queue.append(-item)
    standard.put(1)
    assert standard.get() == -1


def test_what_cannot_be_a_bound_is_refused_and_changes_nothing():
    q = Queue(2)
    with pytest.raises(ValueError, match=r"maxsize .*nan"):
        q.maxsize = math.nan
    with pytest.raises(TypeError, match=r"maxsize .*None"):
        q.maxsize = None
    assert q.maxsize == 2
    q.put_many([1, 2])
    assert q.full()
    with pytest.raises(Full):
        q.put(3, block=False)
    for kind in (Queue, LifoQueue, PriorityQueue):
        with pytest.raises(TypeError, match=r"maxsize .*None"):
            kind(maxsize=None)
        with pytest.raises(ValueError, match=r"maxsize .*nan"):
            kind(math.nan)
        endless = kind(-math.inf)
        assert endless.mutex
        endless.put_many(range(5), block=False)


def test_the_messages_name_what_is_wrong():
    q = Queue()
    with pytest.raises(TypeError, match=r"max_items .*integer.* not 1\.5"):
        q.get_many(1.5)
    with pytest.raises(AttributeError, match="mutex"):
        q.mutex = threading.Lock()
    q.put(1)
    assert q.get_many(max_items=None, timeout=None) == [1]


@pytest.mark.parametrize("order", [1, -1])
def test_a_crowd_of_cancelled_tasks_gives_its_items_back_in_order(order):
    async def main(n):
        q = Queue()
        tasks = [asyncio.ensure_future(q.aget()) for _ in range(n)]
        await asyncio.sleep(0)
        q.put_many(range(n))
        for task in tasks[::order]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return q.get_many(block=False)

    assert asyncio.run(main(2000)) == list(range(2000))


def test_tasks_of_a_closed_loop_are_looked_at_once():
    q = Queue()
    loop = asyncio.new_event_loop()
    tasks = [loop.create_task(q.aget()) for _ in range(100)]
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    q.put(1)
    assert not q._getters_
    assert q.get(block=False) == 1
    for task in tasks:
        task._log_destroy_pending = False


class Moody:
    """An item that cannot be compared when it is in the mood."""

    patience = None  # how many comparisons are left before one fails

    def __init__(self, n):
        self.n = n

    def __lt__(self, other):
        if Moody.patience is not None:
            Moody.patience -= 1
            if Moody.patience < 0:
                raise LookupError("not now")
        return self.n < other.n


@pytest.fixture
def moody(monkeypatch):
    def fails(patience, call, *args):
        monkeypatch.setattr(Moody, "patience", patience)
        try:
            with pytest.raises(LookupError):
                call(*args)
        finally:
            Moody.patience = None

    return fails


def disturbed(moody, put=False, make=PriorityQueue):
    """A queue of 1 to 12 in which a heap operation has failed half way."""
    q = make()
    for n in range(1, 13):
        q.put(Moody(n))
    moody(1, *((q.put, Moody(0)) if put else (q.get,)))
    return q


@pytest.mark.parametrize("put", [False, True])
def test_what_needs_no_order_bears_items_that_cannot_be_compared(put, moody, monkeypatch):
    for act, left in [
        (lambda q: q.clear(), 0),
        (lambda q: q.shutdown(immediate=True), 0),
        (lambda q: q.qsize(), 12),
        (lambda q: setattr(q, "maxsize", 50), 12),
        (lambda q: len(q.queue), 12),
    ]:
        q = disturbed(moody, put)
        monkeypatch.setattr(Moody, "patience", 0)
        act(q)
        monkeypatch.setattr(Moody, "patience", None)
        assert q.qsize() == len(q.queue) == left
        assert q.unfinished_tasks == left
    q.shutdown()
    assert [item.n for item in q] == list(range(1, 13))


@pytest.mark.parametrize("put", [False, True])
def test_a_call_that_needs_the_order_fails_only_as_long_as_it_cannot_be_had(put, moody):
    q = disturbed(moody, put)
    for call in (q.peek, q.get, q.get_many, lambda: q.put(Moody(5)), lambda: q.get(timeout=1)):
        moody(0, call)
        assert (q.qsize(), q.unfinished_tasks) == (12, 12)
    assert q.peek().n == 1
    q.put(Moody(0))
    assert [item.n for item in q.get_many()] == list(range(13))


@pytest.mark.parametrize("put", [False, True])
def test_what_is_done_to_the_list_after_a_comparison_failed_counts(put, moody):
    q = disturbed(moody, put)
    with q.mutex:
        del q.queue[:]
    assert q.empty()
    q = disturbed(moody, put)
    with q.mutex:
        q.queue.append(Moody(0))
        q.queue[:] = [item for item in q.queue if item.n % 2 == 0]
    assert q.qsize() == 7
    assert [item.n for item in q.get_many()] == [0, 2, 4, 6, 8, 10, 12]
    q = disturbed(moody, put)
    with q.mutex:
        q.queue = [Moody(3), Moody(4)]
    assert q.qsize() == 2
    assert [item.n for item in q.get_many()] == [3, 4]


@pytest.mark.parametrize("put", [False, True])
@pytest.mark.parametrize("whose", ["class", "instance"])
def test_behind_hooks_a_failing_comparison_loses_nothing_either(put, whose, moody):
    class Hooked(PriorityQueue):
        def _put(self, item):
            super()._put(item)

        def _get(self):
            return super()._get()

    def hooked():
        q = PriorityQueue()
        own_put, own_get = q._put, q._get
        q._put, q._get = own_put, own_get
        return q

    for patience in range(3):
        q = disturbed(moody, put, Hooked if whose == "class" else hooked)
        moody(patience, *((q.put, Moody(0)) if put else (q.get,)))
        assert (q.qsize(), q.unfinished_tasks) == (12, 12)
        assert [q.get().n for _ in range(12)] == list(range(1, 13))


@KINDS
def test_a_queue_whose_hooks_are_gone_is_like_others(kind):
    q = kind()
    q._put = lambda item: q.queue.append(item)
    for n in (5, 3, 4):
        q.put(n)
    with pytest.raises(TypeError, match="_peek"):
        q.peek()
    del q._put
    order = {Queue: [5, 3, 4], LifoQueue: [4, 3, 5], PriorityQueue: [3, 4, 5]}[kind]
    assert q.peek() == order[0]
    assert q.get_many() == order
    with pytest.raises(AttributeError, match="_put"):
        del q._put


def test_heap_operations_keep_every_item_whatever_a_comparison_does():
    import random

    from plait.queue._heap import heapify, heappop, heappush, swapping_pop, swapping_push

    rng = random.Random(3)
    for push, pop in ((heappush, heappop), (swapping_push, swapping_pop)):
        for _ in range(200):
            items = [Moody(rng.randrange(9)) for _ in range(rng.randrange(1, 20))]
            heap = [*items]
            heapify(heap)
            first = heap[0]
            Moody.patience = rng.randrange(6)
            try:
                if rng.random() < 0.5:
                    items.append(Moody(rng.randrange(9)))
                    push(heap, items[-1])
                else:
                    items.remove(first)
                    assert pop(heap) is first
            except LookupError:
                pass
            else:
                Moody.patience = None
                ordered = [pop(heap) for _ in range(len(heap))]
                assert [item.n for item in ordered] == sorted(item.n for item in items)
                heap = ordered
            finally:
                Moody.patience = None
            assert set(map(id, heap)) == set(map(id, items))
            assert len(heap) == len(items)
    with pytest.raises(IndexError):
        swapping_pop([])


@pytest.mark.parametrize("number", [Fraction, Decimal, float, int])
def test_a_timeout_may_be_any_number(number):
    async def in_a_loop():
        q = Queue(1)
        with pytest.raises(Empty):
            await q.aget(number(0.03125))
        q.put(1)
        with pytest.raises(Full):
            await q.aput(2, number(0.03125))
        assert not await q.ajoin(number(0.03125))
        return await q.aget(number(5))

    q = Queue(1)
    soon = number(0.03125)  # for int: 0
    for wait in (q.get, q.peek, q.get_many):
        with pytest.raises(Empty):
            wait(timeout=soon)
    assert select([q], soon) == []
    with q.mutex, pytest.raises(Empty):
        q.get(timeout=soon)
    q.put(1, timeout=soon)
    for wait in (q.put, q.put_many):
        with pytest.raises(Full):
            wait([1], timeout=soon)
    assert not q.join(soon)
    assert q.get(timeout=number(5)) == 1
    assert asyncio.run(in_a_loop()) == 1
    with pytest.raises(ValueError, match="non-negative"):
        q.get(timeout=number(-1))


def test_a_timeout_that_no_clock_can_count_is_endless():
    q = Queue()
    threading.Timer(0.02, q.put, (1,)).start()
    assert q.get(timeout=10**400) == 1


def test_a_subclass_may_set_the_bound_before_the_queue_is_made():
    class Small(Queue):
        def __init__(self):
            self.maxsize = 2
            super().__init__(self.maxsize + 1)

    q = Small()
    assert q.maxsize == 3
    q.put_many(range(3), block=False)
    assert q.full()


@pytest.mark.parametrize("bound", [2.5, Fraction(5, 2), Decimal("2.5")])
@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
def test_a_broken_bound_is_rounded_up(kind, bound):
    q = kind(bound)
    with pytest.raises(Full) as caught:
        q.put_many(range(5), block=False)
    assert caught.value.remaining == [3, 4]
    assert q.full()


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
def test_one_may_ask_for_more_than_there_can_be(kind):
    q = kind()
    q.put_many([1, 2])
    assert sorted(q.get_many(10**30)) == [1, 2]
    q.put_many([1, 2])
    assert sorted(asyncio.run(q.aget_many(10**30))) == [1, 2]


def test_a_bound_in_a_class_does_not_hide_that_of_its_queues():
    class Small(Queue):
        maxsize = 2

        def __init__(self):
            super().__init__(self.maxsize)

    class Own(Small):
        maxsize = property(lambda self: 7)

    q = Small()
    assert Small.maxsize == q.maxsize == 2
    q.put_many([1, 2])
    assert q.full()
    q.maxsize = 3
    q.put(3, block=False)
    with pytest.raises(Full):
        q.put(4, block=False)
    assert (q.maxsize, Small.maxsize, Small().maxsize) == (3, 2, 2)
    assert Queue.maxsize is not Small.maxsize
    with pytest.raises(AttributeError):
        Own().maxsize = 5
    # As in the standard module, it is only a value to be found there.
    assert type("Plain", (Queue,), {"maxsize": 2})().maxsize == 0
    assert type("Plain", (stdlib_queue.Queue,), {"maxsize": 2})().maxsize == 0


@KINDS
def test_who_is_refused_learns_by_which_queue_and_what_to_do(kind):
    async def in_a_loop(call):
        await call()

    q = kind(1)
    name = rf"<.*\.{kind.__name__} object at .*> "
    for call in (
        lambda: q.get(block=False),
        lambda: q.peek(block=False),
        lambda: asyncio.run(in_a_loop(lambda: q.aget(0))),
    ):
        with pytest.raises(Empty, match=name + "is empty: .*block=True"):
            call()
    for call in (
        lambda: q.get(timeout=0.001),
        lambda: q.peek(timeout=0.001),
        lambda: asyncio.run(in_a_loop(lambda: q.aget(0.001))),
    ):
        with pytest.raises(Empty, match=name + r"had no item within 0\.001 s: .*wait longer"):
            call()
    q.put(1)
    with pytest.raises(Full, match=name + "is full: it may hold 1 items; .*block=True, or set a larger"):
        q.put(2, block=False)
    for call in (
        lambda: q.put(2, timeout=0.001),
        lambda: asyncio.run(in_a_loop(lambda: q.aput(2, 0.001))),
    ):
        with pytest.raises(Full, match=name + r"had no room within 0\.001 s: .*wait longer, or set a larger"):
            call()
    q.shutdown(immediate=True)
    for call in (lambda: q.put(2), q.get, q.peek, lambda: asyncio.run(in_a_loop(q.aget))):
        with pytest.raises(ShutDown, match=name + "was shut down: .*use another queue"):
            call()


# -- nested calls in hooks -------------------------------------------------------------------------------------------------


class Shelf(Queue):
    """Keeps its items elsewhere, and calls what is in *armed* once when a hook begins, as a handler would come in."""

    def _init(self, maxsize):
        self.shelf = deque()
        self.armed = []

    def strike(self):
        if self.armed:
            self.armed.pop()()

    def _qsize(self):
        return len(self.shelf)

    def _put(self, item):
        self.shelf.append(item)

    def _get(self):
        self.strike()
        return self.shelf.popleft()

    def _peek(self):
        self.strike()
        return self.shelf[0]


@pytest.mark.parametrize("call", [Queue.get, Queue.get_many, Queue.peek])
def test_a_nested_get_in_a_hook_takes_the_last_item(call):
    q, nested = Shelf(), []
    q.put(1)
    q.armed.append(lambda: nested.append(q.get(block=False)))
    with pytest.raises(Empty):
        call(q, block=False)
    assert nested == [1]
    for item in (2, 3):
        q.put(item)
    q.armed.append(lambda: nested.append(q.get(block=False)))
    assert call(q, block=False) in (3, [3])
    assert nested == [1, 2]


@pytest.mark.parametrize("immediate", [None, True])
def test_a_nested_get_in_a_hook_takes_the_last_item_from_clear(immediate):
    q, nested = Shelf(), []
    q.put(1)
    q.put(2)
    q.get()
    q.armed.append(lambda: nested.append(q.get(block=False)))
    if immediate:
        q.shutdown(immediate=True)
    else:
        assert q.clear() == 0
    assert nested == [2]
    assert q.unfinished_tasks == 2


def test_a_hook_that_fails_by_itself_still_does_when_a_nested_get_came_in():
    class Failing(Shelf):
        def _get(self):
            self.strike()
            if len(self.shelf) == 1:
                raise LookupError("the last one stays")
            return super()._get()

    q = Failing()
    q.put(1)
    q.put(2)
    q.armed.append(lambda: q.get(block=False))
    with pytest.raises(LookupError, match="stays"):
        q.get(block=False)
    assert q.qsize() == 1


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("later", [False, True])
def test_a_putter_whom_a_nested_get_has_served_is_told_so(later, number):
    class Asked(Shelf):
        countdown = 0

        def _qsize(self):
            self.countdown -= 1
            if not self.countdown:
                self.nested = self.get(block=False)
            return len(self.shelf)

    q, result = Asked(2), []
    q.put(0)
    q.put(1)

    def put():
        if later:
            asyncio.run(q.aput("x"))
        else:
            q.put("x")
        result.append("put")

    thread = threading.Thread(target=put, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not q._putters_:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    with q.mutex:
        q.countdown = 1 + number
        assert q.get() in (0, 1)
        q.countdown = 0
    thread.join(10)
    assert result == ["put"]
    assert "x" in q.shelf


@pytest.mark.parametrize("later", [False, True])
def test_a_putter_whom_a_nested_get_has_served_meanwhile_is_told_so(later):
    q, result, taken = PriorityQueue(2), [], []
    q.put(1)
    q.put(2)

    def put():
        if later:
            asyncio.run(q.aput(3))
        else:
            q.put(3)
        result.append("put")

    thread = threading.Thread(target=put, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not q._putters_:
        assert time.monotonic() < deadline
        time.sleep(0.001)

    level = q._level_

    def strike_once():
        del q._level_
        size = level()
        taken.append(q.get(block=False))
        return size

    with q.mutex:
        q._level_ = strike_once  # as a handler would come in behind it
        taken.append(q.get())
    thread.join(10)
    assert result == ["put"]
    assert sorted(taken + [q.get(block=False) for _ in range(q.qsize())]) == [1, 2, 3]


# -- hooks that come late --------------------------------------------------------------------------------------------------


def test_a_class_decorator_may_give_a_queue_its_hooks():
    def stack(cls):
        cls._init = lambda self, maxsize: setattr(self, "queue", [])
        cls._put = lambda self, item: self.queue.append(item)
        cls._get = lambda self: self.queue.pop()
        cls._qsize = lambda self: len(self.queue)
        return cls

    @stack
    class Stack(Queue):
        pass

    q = Stack()
    for item in range(3):
        q.put(item)
    assert [q.get() for _ in range(3)] == [2, 1, 0]


@KINDS
@pytest.mark.parametrize("where", ["kind", "class", "base"])
@pytest.mark.parametrize("name", ["_init", "_put", "_get", "_qsize"])
def test_a_hook_may_be_patched_into_a_class(kind, where, name):
    class Base(kind):
        pass

    class Derived(Base):
        pass

    patched = {"kind": kind, "class": Derived, "base": Base}[where]
    seen = []
    original = getattr(patched, name)

    def traced(self, *args):
        seen.append(args)
        return original(self, *args)

    def use():
        del seen[:]
        for cls in (Derived,) if patched is not kind else (kind, Derived):
            q = cls(3)
            q.put(1)
            q.put(2)
            assert sorted([q.get(), q.get()]) == [1, 2]
            assert q.empty()
            with pytest.raises(Empty):
                q.get(block=False)

    before = kind(3)
    with mock.patch.object(patched, name, traced):
        use()
        assert seen
        before.put(1)
        assert before.get(timeout=5) == 1  # it goes on, one way or the other
    use()
    assert not seen
    assert not Derived(1)._hooked_
    before.put(1)
    assert before.get(timeout=5) == 1


@KINDS
@pytest.mark.parametrize("name", ["_put", "_get", "_qsize"])
def test_a_hook_patched_later_reaches_the_queues_whose_class_has_hooks(kind, name):
    class Base(kind):
        def _put(self, item):
            super()._put(item)

    class Derived(Base):
        pass

    q, seen = Derived(3), []
    for patched in kind, Base, Derived:
        if patched is kind and name == "_put":
            continue  # Base calls that through super(), which is not looked at here
        original = getattr(patched, name)

        def traced(self, *args, original=original):
            seen.append(args)
            return original(self, *args)

        q.put(1)
        with mock.patch.object(patched, name, traced):
            q.put(2)
            assert sorted([q.get(timeout=5), q.get(timeout=5)]) == [1, 2]
        assert seen
        del seen[:]
        q.put(1)
        assert q.get(timeout=5) == 1
        assert not seen


def test_a_hook_patched_later_does_not_reach_other_queues_at_all():
    before = Queue()
    original = Queue._get

    def overtaken(self):
        original(self)  # which leaves nothing for the next line
        return original(self)

    with mock.patch.object(Queue, "_get", overtaken):
        assert Queue()._hooked_
        assert not before._hooked_
        before.put(1)
        before.maxsize = 3
        assert before.get(timeout=5) == 1
        with before.mutex:
            before.queue.append(2)
        assert before.get(timeout=5) == 2


def test_a_put_that_fails_to_tell_its_size_needs_none_without_a_bound():
    class Speechless(Queue):
        def _qsize(self):
            raise LookupError("no size")

    q = Speechless()
    q.put(1)
    with q.mutex:
        assert list(q.queue) == [1]
    with pytest.raises(LookupError):
        q.get(block=False)
    with pytest.raises(LookupError):
        Speechless(1).put(1)


@pytest.mark.parametrize("where", ["size", "steps"])
def test_a_nested_get_may_take_what_was_parked_before_it_is_stored(where, monkeypatch):
    hooks = import_module(f"{Queue.__module__}._hooks")
    taken = []

    class Nesting(Queue):
        armed = False

        def _get(self):
            if self.armed:
                self.put("nested")  # as a signal handler or finaliser would
            return super()._get()

        def _qsize(self):
            if where == "size":
                self.come_between()
            return super()._qsize()

        def come_between(self):
            if self.armed and self._parked_ and not self._stock_:
                self.armed = False
                taken.append(self.get(block=False))

    def steps_of(call, make=hooks.steps_of):
        if where == "steps":
            q.come_between()
        return make(call)

    monkeypatch.setattr(hooks, "steps_of", steps_of)
    q = Nesting()
    q.put("first")
    q.armed = True
    assert q.get(block=False) == "first"
    assert taken == ["nested"]
    assert (q.qsize(), q.unfinished_tasks) == (0, 2)


# -- sizes that are no counts ----------------------------------------------------------------------------------------------


class Groups(Queue):
    def _init(self, maxsize):
        self.groups = {}

    def _qsize(self):
        return len(self.groups)

    def _put(self, item):
        self.groups.setdefault(item // 10, []).append(item)

    def _get(self):
        tens = min(self.groups)
        item = self.groups[tens].pop(0)
        if not self.groups[tens]:
            del self.groups[tens]
        return item


class Weighed(Queue):
    def _qsize(self):
        return sum(1 / (1 + item) for item in self.queue) / 2


@pytest.mark.parametrize("kind", [Groups, Weighed])
@pytest.mark.parametrize("end", ["clear", "shutdown"])
def test_nothing_is_left_of_a_queue_whose_size_is_no_count(kind, end):
    q = kind()
    for item in range(25):
        q.put(item)
    q.get()
    if end == "clear":
        assert q.clear() == 24
    else:
        q.shutdown(immediate=True)
    assert q.empty()
    assert not (q.groups if kind is Groups else q.queue)
    assert q.unfinished_tasks == 1


def stopping(kind):
    """Its hooks may raise StopIteration, which whoever steps through an iterator takes for the end."""

    class StoppingQueue(kind):
        refused = ()  # which items _put refuses
        gives = True

        def _put(self, item):
            if item in self.refused:
                return next(iter(()))
            return super()._put(item)

        def _get(self):
            if not self.gives:
                return next(iter(()))
            return super()._get()

    return StoppingQueue()


@KINDS
def test_a_hook_that_raises_stop_iteration_fails_the_call_and_loses_nothing(kind):
    q = stopping(kind)
    q.refused = (2,)
    for put in (
        lambda: q.put(2, timeout=5),
        lambda: q.put(2, block=False),
        lambda: q.put_many([1, 2, 3], timeout=5),
        lambda: q.put_many([3, 2, 1], block=False),
    ):
        with pytest.raises(StopIteration, match="_put"):
            put()
    assert q.qsize() == q.unfinished_tasks == 2
    q.gives = False
    for take in (
        lambda: q.get(timeout=5),
        lambda: q.get(block=False),
        lambda: q.get_many(block=False),
        q.clear,
        lambda: q.shutdown(immediate=True),
    ):
        with pytest.raises(StopIteration, match="_get"):
            take()
    assert q.qsize() == q.unfinished_tasks == 2
    with pytest.raises(RuntimeError, match="StopIteration"):  # as of any coroutine
        asyncio.run(q.aget_many())
    q.gives = True
    assert sorted(q.get_many(block=False)) == [1, 3]


@KINDS
def test_a_hook_that_raises_stop_iteration_fails_who_waits_for_it(kind):
    q, seen = stopping(kind), []

    def attempt(call, *args):
        try:
            seen.append(call(*args))
        except StopIteration:
            seen.append("stopped")

    q.maxsize, q.refused = 1, (2,)
    q.put(1)
    putter = threading.Thread(target=attempt, args=(q.put, 2, True, 5))
    putter.start()
    while not q._putters_:
        time.sleep(0.001)
    assert q.get(timeout=5) == 1
    putter.join(10)
    assert seen == ["stopped"]
    q.gives = False
    getter = threading.Thread(target=attempt, args=(q.get, True, 5))
    getter.start()
    while not q._getters_:
        time.sleep(0.001)
    q.put(3)
    getter.join(10)
    assert seen == ["stopped", "stopped"]
    assert q.qsize() == 1


def test_of_many_taken_by_a_task_none_is_lost_if_a_hook_raises_stop_iteration():
    q, allowed = Queue(), iter([True])
    q._get = lambda: next(allowed) and Queue._get(q)

    async def take():
        taking = asyncio.ensure_future(q.aget_many())
        while not q._getters_:
            await asyncio.sleep(0)
        q.put_many([1, 2])
        await taking

    with pytest.raises(RuntimeError, match="StopIteration"):  # as out of any coroutine
        asyncio.run(take())
    del q._get
    assert q.get_many(block=False) == [1, 2]


def test_what_is_parked_and_then_refused_by_stop_iteration_is_told(monkeypatch):
    class Nesting(Queue):
        def _put(self, item):
            if item == "outer":
                self.put("nested")  # as a signal handler or finaliser would
            elif item == "nested":
                next(iter(()))
            super()._put(item)

    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    q = Nesting()
    q.put("outer")
    assert [type(one.exc_value) for one in told] == [StopIteration]
    told.clear()
    assert q.qsize() == q.unfinished_tasks == 1
    assert q.get(timeout=5) == "outer"
