# SPDX-License-Identifier: MIT
"""Condition and Event against models: who waits, who is woken, in which order, whatever is done in which order."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from plait.threading import Condition, Event, Lock, RLock, Thread

FEW = settings(max_examples=25, stateful_step_count=20, deadline=None)


class ConditionModel(RuleBasedStateMachine):
    """The model is the list of waiters, oldest first. The machine holds the lock except where a rule lets it go."""

    def __init__(self):
        super().__init__()
        self.cond = None
        self.waiting = []  # (number, thread)
        self.log = []  # (number, what wait() returned)
        self.number = 0

    @precondition(lambda self: self.cond is None)
    @rule(kind=st.sampled_from([Lock, RLock]))
    def make(self, kind):
        self.cond = Condition(kind())

    def wait(self, number, entered, timeout):
        with self.cond:
            entered.set()
            self.log.append((number, self.cond.wait(timeout)))

    @precondition(lambda self: self.cond is not None and len(self.waiting) < 6)
    @rule()
    def somebody_waits(self):
        entered = Event()
        self.number += 1
        thread = Thread(target=self.wait, args=(self.number, entered, 30), daemon=True)
        thread.start()
        assert entered.wait(10)
        with self.cond:  # free only when that thread is waiting
            self.waiting.append((self.number, thread))

    @precondition(lambda self: self.cond is not None)
    @rule(timeout=st.sampled_from([0, -1, 0.0005]))
    def somebody_gives_up(self, timeout):
        self.number += 1
        self.wait(self.number, Event(), timeout)
        assert self.log.pop() == (self.number, False)

    def expect(self, woken):
        for _, thread in woken:
            thread.join(10)
        assert sorted(self.log) == [(number, True) for number, _ in woken]
        self.log.clear()

    @precondition(lambda self: self.cond is not None)
    @rule(n=st.integers(0, 4))
    def notify(self, n):
        with self.cond:
            self.cond.notify(n)
        woken, self.waiting = self.waiting[:n], self.waiting[n:]
        self.expect(woken)

    @precondition(lambda self: self.cond is not None)
    @rule()
    def notify_all(self):
        with self.cond:
            self.cond.notify_all()
        woken, self.waiting = self.waiting, []
        self.expect(woken)

    @invariant()
    def nobody_else_is_awake_and_the_lock_is_free(self):
        if self.cond is not None:
            with self.cond:
                assert len(self.cond._bells) == len(self.waiting)
            assert not self.cond.locked()
            assert not self.log

    def teardown(self):
        if self.cond is not None:
            self.notify_all()


class EventModel(RuleBasedStateMachine):
    """The model is a boolean and the set of those who began to wait while it was false."""

    def __init__(self):
        super().__init__()
        self.event = Event()
        self.up = False
        self.waiting = []
        self.answers = []

    @rule()
    def set(self):
        self.event.set()
        self.up = True
        for thread in self.waiting:
            thread.join(10)
            assert not thread.is_alive()
        assert self.answers == [True] * len(self.waiting)
        self.waiting, self.answers = [], []

    @rule()
    def set_and_clear_at_once(self):
        self.event.set()
        self.event.clear()
        self.up = False
        for thread in self.waiting:
            thread.join(10)
            assert not thread.is_alive()
        assert self.answers == [True] * len(self.waiting)
        self.waiting, self.answers = [], []

    @rule()
    def clear(self):
        self.event.clear()
        self.up = False

    @rule(timeout=st.sampled_from([0, -1, 0.0005]))
    def look(self, timeout):
        assert self.event.wait(timeout) is self.up

    @precondition(lambda self: not self.up and len(self.waiting) < 6)
    @rule()
    def somebody_waits(self):
        thread = Thread(target=lambda: self.answers.append(self.event.wait(30)), daemon=True)
        before = len(self.event._bells)
        thread.start()
        while len(self.event._bells) == before:
            thread.join(0.0001)
            assert thread.is_alive()
        self.waiting.append(thread)

    @invariant()
    def it_says_what_it_is(self):
        assert self.event.is_set() is self.up
        assert len(self.event._bells) == len(self.waiting)

    def teardown(self):
        self.set()


TestConditionModel = ConditionModel.TestCase
TestEventModel = EventModel.TestCase
TestConditionModel.settings = TestEventModel.settings = FEW
