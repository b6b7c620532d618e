# SPDX-License-Identifier: MIT
"""Who is served, and with what, when many wait: a queue against a model of its waiting lines.

The waiting calls are tasks of one asyncio loop, because there "everybody has done what he can" is a moment that one can wait
for. Threads and tasks stand in the same lines. Between two such moments (`settle`) the machine does anything: calls that do
not wait, new calls that do, cancellations, also of a task that was served an instant ago and does not know it yet.
"""

from __future__ import annotations

import asyncio
import sys

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from plait.queue import Empty, Full, LifoQueue, PriorityQueue, Queue, ShutDown

EXAMPLES = 60 if sys.implementation.name == "cpython" else 15  # elsewhere hypothesis is slow
KINDS = {"Queue": Queue, "LifoQueue": LifoQueue, "PriorityQueue": PriorityQueue}


class Call:
    """A waiting call, as the model sees it."""

    def __init__(self, task, item=None):
        self.task, self.item = task, item
        self.outcome = None  # what it ought to end with


class OfWaiting(RuleBasedStateMachine):
    @initialize(kind=st.sampled_from(sorted(KINDS)), bound=st.integers(0, 3), looked_at=st.booleans())
    def begin(self, kind, bound, looked_at):
        self.loop = asyncio.new_event_loop()
        self.kind, self.bound = kind, bound
        self.q = KINDS[kind](bound)
        if looked_at:
            with self.q.mutex:
                pass
        self.stock, self.getters, self.putters, self.joiners = [], [], [], []
        self.everybody, self.unfinished, self.closed = [], 0, False
        self.unique = iter(range(10**9))

    def teardown(self):
        if hasattr(self, "loop"):
            for call in self.everybody:
                call.task.cancel()
            self.run_dry()
            self.loop.close()

    def run_dry(self):
        async def turns():
            for _ in range(12):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())

    # -- the model

    def take(self):
        where = {"Queue": 0, "LifoQueue": -1, "PriorityQueue": 0}[self.kind]
        return self.stock.pop(where)

    def store(self, item):
        self.stock.append(item)
        if self.kind == "PriorityQueue":
            self.stock.sort()
        self.unfinished += 1

    def serve(self):
        """What is true whenever nobody is inside the queue: no getter waits while there is stock, and so on."""
        if self.closed:
            for call in self.putters:
                call.outcome = ShutDown
            self.putters.clear()
        while True:
            if self.getters and self.stock:
                self.getters.pop(0).outcome = self.take()
            elif self.putters and (self.bound <= 0 or len(self.stock) < self.bound):
                call = self.putters.pop(0)
                self.store(call.item)
                call.outcome = True
            else:
                break
        if self.closed:
            for call in self.getters:
                call.outcome = ShutDown
            self.getters.clear()
        if not self.unfinished:
            for call in self.joiners:
                call.outcome = True
            self.joiners.clear()

    def settle(self):
        """Let everybody run, and compare."""
        self.run_dry()
        for call in tuple(self.everybody):
            if call.outcome is None:
                assert not call.task.done(), call.task
            else:
                self.everybody.remove(call)
                assert call.task.done(), (call.outcome, call.task)
                assert self.ending(call.task) == call.outcome

    def ending(self, task):
        if task.cancelled():
            return asyncio.CancelledError
        if task.exception() is not None:
            return type(task.exception())
        return True if task.result() is None else task.result()

    # -- who waits

    def call(self, coroutine, line, item=None):
        call = Call(self.loop.create_task(coroutine), item)
        self.run_dry()  # until it waits, or is done
        line.append(call)
        self.everybody.append(call)

    @rule()
    def aget(self):
        self.settle()
        self.call(self.q.aget(), self.getters)
        self.serve()

    @rule()
    def aput(self):
        self.settle()
        item = next(self.unique)
        self.call(self.q.aput(item), self.putters, item)
        self.serve()

    @rule()
    def ajoin(self):
        self.settle()
        self.call(self.q.ajoin(), self.joiners)
        self.serve()

    @rule(which=st.integers(0, 9))
    def cancel_who_waits(self, which):
        self.settle()
        if self.everybody:
            call = self.everybody[which % len(self.everybody)]
            call.task.cancel()
            call.outcome = asyncio.CancelledError
            for line in (self.getters, self.putters, self.joiners):
                if call in line:
                    line.remove(call)
            self.settle()

    @rule()
    def cancel_who_has_just_been_served(self):
        """The first getter is given an item and cancelled before it can know: the item is for the next."""
        self.settle()
        if self.getters and not self.closed:
            call = self.getters.pop(0)
            item = next(self.unique)
            self.q.put(item, block=False)
            call.task.cancel()
            call.outcome = asyncio.CancelledError
            self.store(item)
            self.serve()
            self.settle()

    @rule(number=st.integers(1, 5), which=st.sets(st.integers(0, 4), min_size=1))
    def cancel_some_who_have_just_been_served(self, number, which):
        """The same with several: what comes back is older than what is left, and goes before it."""
        self.settle()
        if not self.getters or self.closed or self.kind != "Queue":
            return
        waiting = tuple(self.getters)
        self.put(number)
        back = []
        for index, call in enumerate(waiting):
            if index in which and call.outcome is not None:
                back.append(call.outcome)
                call.task.cancel()
                call.outcome = asyncio.CancelledError
        self.stock[:0] = back
        self.serve()
        self.settle()

    @rule()
    def cancel_who_has_just_put(self):
        """The first putter's item is taken in, and it is cancelled before it can know: put is put."""
        self.settle()
        if self.putters:
            call = self.putters[0]
            assert self.q.get(block=False) == self.take()
            call.task.cancel()
            self.serve()
            if call in self.putters:  # there was still no room: the bound has shrunk
                self.putters.remove(call)
            call.outcome = asyncio.CancelledError
            self.settle()

    # -- who does not

    @rule(again=st.integers(1, 4))
    def put(self, again):
        for _ in range(again):
            item = next(self.unique)
            try:
                self.q.put(item, block=False)
            except Full:
                assert 0 < self.bound <= len(self.stock)
            except ShutDown:
                assert self.closed
            else:
                assert not self.closed
                assert self.bound <= 0 or len(self.stock) < self.bound
                self.store(item)
                self.serve()

    @rule(again=st.integers(1, 4))
    def get(self, again):
        for _ in range(again):
            try:
                item = self.q.get(block=False)
            except (Empty, ShutDown):
                assert not self.stock
            else:
                assert item == self.take()
                self.serve()

    @rule(number=st.integers(1, 5))
    def put_many(self, number):
        if self.getters and self.kind != "Queue":
            return  # who gets which then depends on how many go in at a time, which is nobody's business
        items = [next(self.unique) for _ in range(number)]
        try:
            self.q.put_many(items, block=False)
            left = []
        except (Full, ShutDown) as refused:
            left = list(refused.remaining)
        for item in items[: number - len(left)]:
            assert not self.closed
            assert self.bound <= 0 or len(self.stock) < self.bound
            self.store(item)
            self.serve()  # whoever is given one makes room for another
        if left:
            assert self.closed or 0 < self.bound <= len(self.stock)

    @rule()
    def task_done(self):
        if self.unfinished:
            self.q.task_done()
            self.unfinished -= 1
            self.serve()

    @rule(bound=st.integers(0, 4))
    def change_the_bound(self, bound):
        self.q.maxsize = self.bound = bound
        self.serve()

    @rule()
    def clear(self):
        assert self.q.clear() == len(self.stock)
        self.unfinished -= len(self.stock)
        self.unfinished = max(0, self.unfinished)
        self.stock.clear()
        self.serve()

    @rule(immediate=st.booleans())
    def shutdown(self, immediate):
        self.q.shutdown(immediate)
        self.closed = True
        if immediate:
            self.unfinished = max(0, self.unfinished - len(self.stock))
            self.stock.clear()
        self.serve()

    @invariant()
    def shows_its_state(self):
        if hasattr(self, "q"):
            assert self.q.qsize() == len(self.stock)
            assert self.q.unfinished_tasks == self.unfinished
            self.settle()


TestOfWaiting = OfWaiting.TestCase
TestOfWaiting.settings = settings(max_examples=EXAMPLES, stateful_step_count=30, deadline=None)
