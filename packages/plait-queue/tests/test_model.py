# SPDX-License-Identifier: MIT
"""A queue against the simplest model of one, step by step; and against the interpreter's own."""

from __future__ import annotations

import queue as stdlib_queue
from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from plait.queue import Empty, Full, Queue, ShutDown


class Hooked(Queue):
    """Keeps items in a list that grows at its front."""

    def _get(self):
        longest_waiting = self.queue[-1]
        del self.queue[-1]
        return longest_waiting

    def _put(self, item):
        self.queue[:0] = [item]

    def _init(self, maxsize):
        assert maxsize == self.maxsize
        self.queue = []

    _qsize = property(lambda self: self.queue.__len__)


class Model(RuleBasedStateMachine):
    @initialize(kind=st.sampled_from([Queue, Hooked]), bound=st.integers(-1, 4), looked_at=st.booleans())
    def begin(self, kind, bound, looked_at):
        self.q = kind(bound)
        if looked_at:
            self.q.not_empty.acquire()  # from now on the Conditions exist
            self.q.not_empty.release()
        self.items = deque()
        self.bound = bound
        self.unfinished = 0
        self.closed = False

    @rule(item=st.integers(), how=st.sampled_from(["nowait", "no block", "timeout", "wait"]))
    def put(self, item, how):
        room = self.bound <= 0 or len(self.items) < self.bound
        calls = {
            "nowait": lambda: self.q.put_nowait(item),
            "no block": lambda: self.q.put(item, block=False, timeout=-1),
            "timeout": lambda: self.q.put(item, timeout=0),
            "wait": lambda: self.q.put(item, True, None if room or self.closed else 0.0001),
        }
        if self.closed:
            with pytest.raises(ShutDown):
                calls[how]()
        elif not room:
            with pytest.raises(Full):
                calls[how]()
        else:
            calls[how]()
            self.items.append(item)
            self.unfinished += 1

    @rule(how=st.sampled_from(["nowait", "no block", "timeout", "wait"]))
    def get(self, how):
        calls = {
            "nowait": self.q.get_nowait,
            "no block": lambda: self.q.get(block=False, timeout=-1),
            "timeout": lambda: self.q.get(timeout=0),
            "wait": lambda: self.q.get(True, None if self.items or self.closed else 0.0001),
        }
        if self.items:
            assert calls[how]() == self.items.popleft()
        else:
            with pytest.raises(ShutDown if self.closed else Empty):
                calls[how]()

    @rule()
    def task_done(self):
        if self.unfinished:
            self.q.task_done()
            self.unfinished -= 1
        else:
            with pytest.raises(ValueError, match="task_done"):
                self.q.task_done()

    @precondition(lambda self: not self.unfinished)
    @rule()
    def join(self):
        self.q.join()

    @precondition(lambda self: self.items)
    @rule()
    def give_back(self):
        # As a getter does that is interrupted after it was served.
        item = self.q.get()
        assert item == self.items[0]
        self.q._resettle_([item])

    @rule(immediate=st.booleans())
    def shutdown(self, immediate):
        self.q.shutdown(immediate)
        self.closed = True
        if immediate:
            self.unfinished = max(0, self.unfinished - len(self.items))
            self.items.clear()

    @rule()
    def clear_by_hand(self):
        with self.q.mutex:
            given_back = len(self.q._returned_)
            self.q.queue.clear()
            self.q.not_full.notify_all()
        while len(self.items) > given_back:
            self.items.pop()

    @invariant()
    def shows_its_state(self):
        if hasattr(self, "q"):
            assert self.q.qsize() == len(self.items)
            assert self.q.empty() is (not self.items)
            assert self.q.full() is (0 < self.bound <= len(self.items))
            assert self.q.unfinished_tasks == self.unfinished
            assert self.q.is_shutdown is self.closed


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("bound", [0, 1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_random_calls_end_as_with_the_interpreters_own(bound, seed):
    import random

    rng = random.Random(seed)
    ours, theirs = Queue(bound), stdlib_queue.Queue(bound)
    calls = ["put", "put", "get", "get", "task_done", "qsize", "full", "empty", "bad timeout", "unfinished"]
    if hasattr(theirs, "shutdown"):
        calls += ["shutdown"]
    for step in range(600):
        call = rng.choice(calls)
        if call == "shutdown" and step < 500:
            continue
        immediate = rng.random() < 0.5
        assert outcome(ours, call, step, immediate) == outcome(theirs, call, step, immediate)


def outcome(q, call, step, immediate):
    try:
        if call == "put":
            return q.put(step, block=False)
        if call == "get":
            return q.get(block=False)
        if call == "bad timeout":
            return q.put(step, timeout=-1) if step % 2 else q.get(timeout=-1)
        if call == "unfinished":
            return q.unfinished_tasks
        if call == "shutdown":
            return q.shutdown(immediate)
        return getattr(q, call)()
    except Exception as error:
        return type(error).__name__
