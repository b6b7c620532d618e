# SPDX-License-Identifier: MIT
"""Every kind of queue against the simplest model of one: a sorted or unsorted list, a bound, a count and a flag.

One thread makes all the calls, so that each has one right answer. What waits, and who is served first, is the business of
test_model_of_waiting.py.
"""

from __future__ import annotations

import sys

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from plait.queue import Empty, Full, LifoQueue, PriorityQueue, Queue, ShutDown, SimpleQueue, select

ITEMS = st.integers(0, 9)
MANY = st.lists(ITEMS, max_size=6)
WAYS = st.sampled_from(["no block", "timeout 0", "timeout"])


class Ring(Queue):
    """Keeps items in its own container, as third parties do, newest at the left."""

    def _init(self, maxsize):
        self.queue = []

    def _qsize(self):
        return len(self.queue)

    def _put(self, item):
        self.queue.insert(0, item)

    def _get(self):
        return self.queue.pop()

    def _peek(self):
        return self.queue[-1]


class LargestFirst(PriorityQueue):
    """A subclass of a subclass: only one hook is its own, and it calls the inherited one."""

    def _put(self, item):
        super()._put(-item)


EXAMPLES = 80 if sys.implementation.name == "cpython" else 20  # elsewhere hypothesis is slow
KINDS = {"Queue": Queue, "Ring": Ring, "LifoQueue": LifoQueue, "PriorityQueue": PriorityQueue}


def next_of(kind, items):
    """Where in the model the item is that a get() takes."""
    if kind == "LifoQueue":
        return len(items) - 1
    return items.index(min(items)) if kind == "PriorityQueue" else 0


def waiting(how):
    return {"no block": (False, None), "timeout 0": (True, 0), "timeout": (True, 0.0001)}[how]


class OfAQueue(RuleBasedStateMachine):
    @initialize(kind=st.sampled_from(sorted(KINDS)), bound=st.integers(-1, 5), looked_at=st.booleans())
    def begin(self, kind, bound, looked_at):
        self.kind, self.bound = kind, bound
        self.q = KINDS[kind](bound)
        if looked_at:
            with self.q.mutex:
                len(self.q.queue)
        self.items, self.unfinished, self.closed = [], 0, False

    def room(self):
        return len(self.items) + 1 if self.bound <= 0 else max(0, self.bound - len(self.items))

    def take(self):
        return self.items.pop(next_of(self.kind, self.items))

    def took(self, item):
        """For PriorityQueue equal items are one as good as the other; ints that are equal are the same anyway."""
        assert item == self.take()

    # -- one at a time

    @rule(item=ITEMS, how=WAYS)
    def put(self, item, how):
        if self.closed:
            with pytest.raises(ShutDown):
                self.q.put(item, *waiting(how))
        elif not self.room():
            with pytest.raises(Full):
                self.q.put(item, *waiting(how))
        else:
            self.q.put(item, *waiting(how))
            self.items.append(item)
            self.unfinished += 1

    @rule(how=WAYS)
    def get(self, how):
        if self.items:
            self.took(self.q.get(*waiting(how)))
        else:
            with pytest.raises(ShutDown if self.closed else Empty):
                self.q.get(*waiting(how))

    @rule(how=WAYS)
    def peek(self, how):
        if self.items:
            assert self.q.peek(*waiting(how)) == self.items[next_of(self.kind, self.items)]
        else:
            with pytest.raises(ShutDown if self.closed else Empty):
                self.q.peek(*waiting(how))

    # -- many

    @rule(items=MANY, how=WAYS, lazily=st.booleans())
    def put_many(self, items, how, lazily):
        given = iter(items) if lazily else tuple(items)
        if self.closed:
            if items:
                with pytest.raises(ShutDown) as refused:
                    self.q.put_many(given, *waiting(how))
                assert refused.value.remaining == items
            return
        fit = len(items) if self.bound <= 0 else min(len(items), self.room())
        if fit == len(items):
            assert self.q.put_many(given, *waiting(how)) is None
        else:
            with pytest.raises(Full) as refused:
                self.q.put_many(given, *waiting(how))
            assert refused.value.remaining == items[fit:]
        self.items += items[:fit]
        self.unfinished += fit

    @rule(most=st.none() | st.integers(1, 4), how=WAYS)
    def get_many(self, most, how):
        if not self.items:
            with pytest.raises(ShutDown if self.closed else Empty):
                self.q.get_many(most, *waiting(how))
            return
        expected = [self.take() for _ in range(min(len(self.items), most or len(self.items)))]
        assert self.q.get_many(most, *waiting(how)) == expected

    @rule(most=st.integers(-2, 0))
    def get_too_few(self, most):
        with pytest.raises(ValueError, match="max_items"):
            self.q.get_many(most, block=False)

    # -- the whole of it

    @rule()
    def clear(self):
        assert self.q.clear() == len(self.items)
        self.unfinished = max(0, self.unfinished - len(self.items))
        self.items.clear()

    @rule(bound=st.integers(-1, 5))
    def change_the_bound(self, bound):
        self.q.maxsize = self.bound = bound

    @rule()
    def task_done(self):
        if self.unfinished:
            self.q.task_done()
            self.unfinished -= 1
        else:
            with pytest.raises(ValueError, match="task_done"):
                self.q.task_done()

    @rule(timeout=st.sampled_from([0, 0.0001]))
    def join(self, timeout):
        assert self.q.join(timeout=timeout) is (not self.unfinished)

    @rule(immediate=st.booleans())
    def shutdown(self, immediate):
        self.q.shutdown(immediate)
        self.closed = True
        if immediate:
            self.unfinished = max(0, self.unfinished - len(self.items))
            self.items.clear()

    @precondition(lambda self: self.closed)
    @rule()
    def iterate(self):
        for item in self.q:
            self.took(item)
        assert not self.items

    @rule()
    def is_ready(self):
        other = Queue()
        other.put(1)
        assert select([self.q], 0) == ([self.q] if self.items or self.closed else [])
        ready = select([other, self.q], timeout=0.0001)
        assert ready[0] is other
        assert len(ready) == 1 + bool(self.items or self.closed)

    @invariant()
    def shows_its_state(self):
        if hasattr(self, "q"):
            assert self.q.qsize() == len(self.items)
            assert self.q.empty() is (not self.items)
            assert self.q.full() is (0 < self.bound <= len(self.items))
            assert self.q.maxsize == self.bound
            assert self.q.unfinished_tasks == self.unfinished
            assert self.q.is_shutdown is self.closed


TestOfAQueue = OfAQueue.TestCase
TestOfAQueue.settings = settings(max_examples=EXAMPLES, stateful_step_count=40, deadline=None)


# Before 3.13 the interpreter's own may wait for ever when its time is up at once (see the README): not asked for here.
SIMPLE_WAYS = ["nowait", "no block"] + ["timeout 0"] * (
    sys.version_info >= (3, 13) or sys.implementation.name != "cpython"
)


class OfASimpleQueue(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.q, self.items = SimpleQueue(), []

    @rule(item=ITEMS, block=st.booleans(), timeout=st.none() | st.integers(-1, 1))
    def put(self, item, block, timeout):
        self.q.put(item, block, timeout)  # both mean nothing
        self.items.append(item)

    @rule(item=ITEMS)
    def put_nowait(self, item):
        self.q.put_nowait(item)
        self.items.append(item)

    @rule(how=st.sampled_from(SIMPLE_WAYS))
    def get(self, how):
        take = self.q.get_nowait if how == "nowait" else lambda: self.q.get(*waiting(how))
        if self.items:
            assert take() == self.items.pop(0)
        else:
            with pytest.raises(Empty):
                take()

    @rule()
    def get_with_no_time_at_all(self):
        with pytest.raises(ValueError, match="non-negative"):
            self.q.get(timeout=-1)

    @invariant()
    def shows_its_state(self):
        assert self.q.qsize() == len(self.items)
        assert self.q.empty() is (not self.items)


TestOfASimpleQueue = OfASimpleQueue.TestCase
TestOfASimpleQueue.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)


def test_a_hook_that_calls_the_inherited_one_is_honoured_by_every_call():
    q = LargestFirst()
    q.put_many([3, 5])
    q.put(4)
    q.put_many([9, 1])
    assert q.get() == -9
    assert q.get_many(2) == [-5, -4]
    assert q.clear() == 2


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue, Ring])
def test_the_rest_of_a_refused_put_many_can_be_put_later(kind):
    q = kind(2)
    with pytest.raises(Full) as refused:
        q.put_many([1, 2, 3, 4, 5], timeout=0.001)
    taken = q.get_many()
    with pytest.raises(Full) as again:
        q.put_many(refused.value.remaining, block=False)
    taken += q.get_many()
    q.put_many(again.value.remaining)
    taken += q.get_many()
    assert sorted(taken) == [1, 2, 3, 4, 5]
    assert q.unfinished_tasks == 5


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
def test_peek_of_a_class_with_hooks_of_its_own_asks_for_a_hook(kind):
    class Mine(kind):
        def _get(self):
            return super()._get()

    q = Mine()
    q.put(1)
    with pytest.raises((TypeError, NotImplementedError), match=r"Mine[\s\S]*_peek"):
        q.peek()
    assert q.get() == 1
